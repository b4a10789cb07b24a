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
    dims: how many leading action dimensions count (LeRobot), [B] if rows are of several robots; None: all (openpi).
    """

    actions: Tensor
    noise: Tensor
    t: Tensor
    weight: Tensor | None = None
    dims: int | Tensor | None = None

    def to(self, device: torch.device | str) -> FlowTargets:
        """The same on another device."""
        tensors = {name: getattr(self, name) for name in ("actions", "noise", "t", "weight")}
        dims = self.dims.to(device) if isinstance(self.dims, Tensor) else self.dims
        return replace(self, **{name: t.to(device) for name, t in tensors.items() if t is not None}, dims=dims)


def flow_times(uniform: Tensor) -> Tensor:
    """Times t = 0.001 + 0.999 * Beta(1.5, 1) from uniform numbers in [0, 1), by the inverse distribution."""
    return 0.001 + 0.999 * uniform.pow(1 / 1.5)


def delayed_times(t: Tensor, delay: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
    """Training-time real-time chunking (arXiv 2512.05964): the first `delay` rows carry clean actions at time 0.

    t and delay [...] -> time per token [..., horizon] and weight [..., horizon] (0 on the prefix, 1 behind it).
    """
    behind = torch.arange(horizon, device=t.device) >= delay[..., None]
    return t[..., None] * behind, behind.to(t.dtype)


def flow_mean(loss: Tensor, weight: Tensor | None = None, dims: int | Tensor | None = None) -> Tensor:
    """Mean of per-element losses [B, ..., H, D] over the rows that count and the first `dims` dimensions, [B] or the same
    for all."""
    rows = _over_dimensions(loss, dims) if isinstance(dims, Tensor) else loss[..., :dims].mean(dim=-1)
    if weight is None:
        return rows.mean()
    weight = weight.expand_as(rows) if weight.dim() == rows.dim() else weight[:, None].expand_as(rows)
    return (rows * weight).sum() / weight.sum().clamp(min=1.0)


def _over_dimensions(loss: Tensor, dims: Tensor) -> Tensor:
    """Mean of [B, ..., D] over each row's first `dims` [B] dimensions."""
    count = dims.to(loss.device).view(-1, *[1] * (loss.dim() - 1))
    real = torch.arange(loss.shape[-1], device=loss.device) < count
    return (loss * real).sum(dim=-1) / count[..., 0].clamp(min=1)
