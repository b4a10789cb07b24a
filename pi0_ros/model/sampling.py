"""From noise to actions with the plain network: Euler steps from t = 1 to t = 0, with or without real-time chunking."""

from __future__ import annotations

import torch
from torch import Tensor

from pi0_ros.model.euler import time_grid
from pi0_ros.model.inputs import Inputs
from pi0_ros.model.network import Pi0
from pi0_ros.model.rtc import Rtc, Velocity, guided


@torch.no_grad()
def sample_actions(model: Pi0, inputs: Inputs, noise: Tensor, steps: int = 10, rtc: Rtc | None = None) -> Tensor:
    """Actions [B, H, D] (normalised) from noise [B, H, D], by the plain forward.

    Raises InputError or RtcError if something does not fit.
    """
    prefix = model.prefix(inputs)
    grid = time_grid(steps, model.config.numerics.time_grid)
    return integrate(lambda x, t: model.velocity(x, t, prefix, inputs.state), noise, grid, rtc)


def integrate(velocity: Velocity, noise: Tensor, grid: list[float], rtc: Rtc | None = None) -> Tensor:
    """Euler integration of velocity(x [B, H, D], t [B] or [B, H]) over the times of `grid`."""
    x, dt = noise, -1.0 / len(grid)
    if rtc is not None and rtc.method == "prefix":
        return _integrate_behind_prefix(velocity, noise, grid, rtc)
    for t in grid:
        time = torch.full((len(x),), t, device=x.device)
        v = velocity(x, time) if rtc is None else guided(velocity, x, time, t, rtc)
        x = x + dt * v
    return x


def _integrate_behind_prefix(velocity: Velocity, noise: Tensor, grid: list[float], rtc: Rtc) -> Tensor:
    """Rows before the delay hold the previous actions at time 0, before and after each step."""
    given = (torch.arange(noise.shape[1], device=noise.device) < rtc.delay)[None, :, None]
    previous = rtc.padded(noise)
    x = torch.where(given, previous, noise)
    for t in grid:
        time = torch.full(x.shape[:2], t, device=x.device).masked_fill(given[..., 0], 0.0)
        x = torch.where(given, previous, x - velocity(x, time) / len(grid))
    return x
