"""The flow of an exported network, on arrays: Euler steps, with real-time chunking by `identity`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pi0_ros.model.euler import MAX_GUIDANCE, guidance_weight, identity
from pi0_ros.policy.backend import NormalisedPrefix

Array = NDArray[np.float32]


def integrate(
    velocity: Callable[[Array, Array], Array], noise: Array, grid: list[float], prefix: NormalisedPrefix | None
) -> Array:
    """Actions [1, H, D] from noise [1, H, D] over the times of `grid`. velocity: of x [1, H, D] at t [1]."""
    x, dt = noise, np.float32(-1.0 / len(grid))
    previous, weights = (None, None) if prefix is None else continued(prefix, noise.shape)
    for t in grid:
        v = velocity(x, np.full(1, t, np.float32))
        if previous is not None and weights is not None:
            strength = guidance_weight(t, MAX_GUIDANCE)
            v = identity(x, v, t, previous, weights, strength).astype(np.float32)
        x = (x + dt * v).astype(np.float32)
    return x


def continued(prefix: NormalisedPrefix, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The previous plan [1, H, D], zeros if it has nothing, and the weight of its rows [H, 1]: 1 for those that will
    have run, falling linearly to 0 at the last that it has a say in (arXiv 2506.07339)."""
    _, horizon, width = shape
    rows = np.asarray(prefix.values, np.float32)[:horizon, :width]
    previous = np.zeros((1, horizon, width), np.float32)
    previous[0, : rows.shape[0], : rows.shape[1]] = rows
    end = min(prefix.execution_rows, len(prefix.values), horizon)
    start = min(prefix.delay_rows, end)
    falling = np.linspace(1.0, 0.0, end - start + 2, dtype=np.float32)[1:-1]
    weights = np.concatenate([np.ones(start), falling, np.zeros(horizon - end)]).astype(np.float32)
    return previous, weights[:, None]
