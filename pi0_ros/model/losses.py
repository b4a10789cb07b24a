"""Training losses: flow matching, cross-entropy on text and FAST tokens, and both in one forward (pi0.5).

Nothing is drawn here: noise and times are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.model.inputs import PROMPT, Inputs
from pi0_ros.model.network import Pi0, Prefix


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


@dataclass(frozen=True)
class Losses:
    """Scalars: total = text + alpha * flow; a part that was not asked for is zero."""

    total: Tensor
    flow: Tensor
    text: Tensor


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


def text_loss(model: Pi0, prefix: Prefix, tokens: Tensor, counts: Tensor) -> Tensor:
    """Mean cross-entropy of the tokens [B, L] where `counts` [B, L], each predicted from the token before it.

    Vocabulary logits are made for those tokens alone.
    """
    length = tokens.shape[1]
    counts = counts.bool()
    logits = model.logits(prefix.hidden[:, -length - 1 : -1][counts])
    return F.cross_entropy(logits, tokens[counts].long(), reduction="sum") / counts.sum().clamp(min=1)


def target_tokens(inputs: Inputs) -> Tensor:
    """Which tokens [B, L] are to be predicted: valid ones with a role other than PROMPT."""
    if inputs.roles is None:
        return torch.zeros_like(inputs.token_mask, dtype=torch.bool)
    return inputs.token_mask.bool() & (inputs.roles != PROMPT)


def combined_loss(
    model: Pi0,
    inputs: Inputs,
    flow: FlowTargets | None = None,
    alpha: float = 10.0,
    insulate: bool = False,
) -> Losses:
    """Cross-entropy on text and FAST tokens + alpha * flow, with one run of the prefix (pi0.5, eq. 1).

    The expert does not see FAST tokens. With `insulate` its loss does not reach the trunk through keys and values
    (knowledge insulation). flow None leaves the flow part out, alpha = 0 too.
    """
    prefix = model.prefix(inputs)
    counts = target_tokens(inputs)
    text = text_loss(model, prefix, inputs.tokens, counts) if inputs.roles is not None else prefix.hidden.new_zeros(())
    if flow is None or alpha == 0:
        return Losses(text, torch.zeros_like(text), text)
    seen = prefix.detached() if insulate else prefix
    errors = model.flow_loss(flow.actions, flow.noise, flow.t, seen, inputs.state)
    mean = flow_mean(errors, flow.weight, flow.dims)
    return Losses(text + alpha * mean, mean, text)
