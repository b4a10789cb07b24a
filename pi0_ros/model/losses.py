"""The flow matching loss: what it is computed from, and its mean. Nothing is drawn here: noise and times are arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class FlowTargets:
    """What the action expert learns from.

    actions: [B, H, D] normalised, padded to action_dim. noise: [B, H, D], or K draws [B, K, H, D] on one prefix.
    t: [B] or [B, H]; with draws [B, K] or [B, K, H].
    weight: [B, H] or with draws [B, K, H]: 0 for rows that do not count (no action, RTC prefix); None: all count.
    dims: how many leading action dimensions count (LeRobot); None: all (openpi).
    """

    actions: Tensor
    noise: Tensor
    t: Tensor
    weight: Tensor | None = None
    dims: int | None = None

    def to(self, device: torch.device | str) -> FlowTargets:
        """The same on another device."""
        tensors = {name: getattr(self, name) for name in ("actions", "noise", "t", "weight")}
        return replace(self, **{name: t.to(device) for name, t in tensors.items() if t is not None})


def flow_times(uniform: Tensor) -> Tensor:
    """Times t = 0.001 + 0.999 * Beta(1.5, 1) from uniform numbers in [0, 1), by the inverse distribution."""
    return 0.001 + 0.999 * uniform.pow(1 / 1.5)


def delayed_times(t: Tensor, delay: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
    """Training-time real-time chunking (arXiv 2512.05964): the first `delay` rows carry clean actions at time 0.

    t and delay [...] -> time per token [..., horizon] and weight [..., horizon] (0 on the prefix, 1 behind it).
    """
    behind = torch.arange(horizon, device=t.device) >= delay[..., None]
    return t[..., None] * behind, behind.to(t.dtype)


def flow_mean(loss: Tensor, weight: Tensor | None = None, dims: int | None = None) -> Tensor:
    """Mean of per-element losses [..., H, D] over the rows that count and the first `dims` dimensions."""
    rows = loss[..., :dims].mean(dim=-1)
    if weight is None:
        return rows.mean()
    weight = weight.expand_as(rows) if weight.dim() == rows.dim() else weight[:, None].expand_as(rows)
    return (rows * weight).sum() / weight.sum().clamp(min=1.0)
