"""Real-time chunking: keep a new chunk consistent with the actions that run while it is computed.

Sources: Black et al., "Real-time execution of action chunking flow policies" (arXiv 2506.07339) and its kinetix code;
LeRobot `policies/rtc`; "Training-time action conditioning for efficient RTC" (arXiv 2512.05964).
All values are in the model's normalised action space. Time runs from t = 1 (noise) to t = 0, tau = 1 - t.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.model.euler import MAX_GUIDANCE, guidance_weight, identity

METHODS = ("identity", "vjp", "prefix")
SCHEDULES = ("LINEAR", "EXP", "ONES", "ZEROS")

Velocity = Callable[[Tensor, Tensor], Tensor]


class RtcError(ValueError):
    """A real-time chunking request that cannot be met; the message says why."""


@dataclass(frozen=True)
class Rtc:
    """How the new chunk continues the old one.

    previous: [B, P, D'] leftover of the old chunk on the new chunk's rows; padded with zeros to [B, H, D].
    delay: rows that will have run when the new chunk arrives. execution_horizon: rows the old chunk has a say in.
    method: "identity" (LeRobot: the guidance correction is the error itself), "vjp" (the paper: the gradient through
        the network) or "prefix" (for models trained with it: the first `delay` rows are given, at time 0).
    schedule: how the weight falls from row `delay` to `execution_horizon`. max_guidance_weight: cap beta.
    """

    previous: Tensor
    delay: int
    execution_horizon: int = 10
    method: str = "identity"
    schedule: str = "LINEAR"
    max_guidance_weight: float = MAX_GUIDANCE

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise RtcError(
                f"real-time chunking method '{self.method}' is not known; choose one of {', '.join(METHODS)}"
            )
        if self.schedule not in SCHEDULES:
            raise RtcError(f"schedule '{self.schedule}' is not known; choose one of {', '.join(SCHEDULES)}")
        if self.delay < 0:
            raise RtcError(f"delay is a number of rows, got {self.delay}")
        if self.method == "prefix" and self.delay > self.previous.shape[1]:
            raise RtcError(f"delay {self.delay} is longer than the {self.previous.shape[1]} rows of the previous chunk")

    def padded(self, like: Tensor) -> Tensor:
        """The previous chunk with `like`'s shape [B, H, D], zeros if it has nothing."""
        previous = self.previous[:, : like.shape[1], : like.shape[2]].to(like)
        rows, dims = like.shape[1] - previous.shape[1], like.shape[2] - previous.shape[2]
        return F.pad(previous, (0, dims, 0, rows))

    def weights(self, horizon: int) -> Tensor:
        """Weight per row [horizon]; a leftover shorter than the execution horizon cuts it."""
        return prefix_weights(self.delay, min(self.execution_horizon, self.previous.shape[1]), horizon, self.schedule)


def prefix_weights(start: int, end: int, horizon: int, schedule: str) -> Tensor:
    """1 before row `start`, 0 from row `end` on, and in between as the schedule says. [horizon] float32."""
    end = min(end, horizon)
    start = min(start, end)
    weights = torch.zeros(horizon)
    weights[:start] = 1.0
    middle = torch.linspace(1, 0, end - start + 2)[1:-1]
    if schedule == "EXP":
        middle = middle * torch.expm1(middle) / (math.e - 1)
    if schedule == "ONES":
        middle = torch.ones(end - start)
    if schedule != "ZEROS":
        weights[start:end] = middle
    return weights


def guided(velocity: Velocity, x: Tensor, time: Tensor, t: float, rtc: Rtc) -> Tensor:
    """Velocity at x [B, H, D] pulled towards the previous chunk. `time` is what `velocity` takes for t."""
    previous, weights = rtc.padded(x), rtc.weights(x.shape[1]).to(x)[:, None]
    strength = guidance_weight(t, rtc.max_guidance_weight)
    if rtc.method == "identity":
        return identity(x, velocity(x, time), t, previous, weights, strength)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        v = velocity(x, time)
        clean = x - t * v
        error = (previous - clean).detach() * weights
        correction = torch.autograd.grad(clean, x, error)[0]
    return v.detach() - strength * correction
