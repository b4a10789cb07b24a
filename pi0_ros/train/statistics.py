"""Normalisation statistics of the frames a policy is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pi0_ros.policy import transforms
from pi0_ros.policy.normalize import Statistics
from pi0_ros.train.frames import Frames

LEAST_SPAN = 0.1  # a dimension that hardly moved (an unused base) is not blown up to fill [-1, 1]


def statistics_of(values: NDArray[np.floating], least_span: float = LEAST_SPAN) -> Statistics:
    """mean, std, q01, q99 of [N, D]; q01 and q99 are at least `least_span` apart, moved evenly about their middle, and
    std is at least a quarter of it, so that a channel that hardly moved is not blown up when it does."""
    rows = np.asarray(values, np.float64)
    low, high = np.quantile(rows, [0.01, 0.99], axis=0)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, least_span / 2)
    return Statistics(
        {
            "mean": rows.mean(0),
            "std": np.maximum(rows.std(0), least_span / 4),
            "q01": middle - half,
            "q99": middle + half,
        }
    )


def frame_statistics(
    frames: Frames, delta: Sequence[bool], steps: Sequence[float] = (), limit: int = 50_000
) -> dict[str, Statistics]:
    """Statistics of state and of action chunks (as offsets if `delta`, as steps from where the robot will be if `steps`),
    from at most `limit` evenly spaced frames. Rows behind an episode's end, which repeat its last one and are not learned, do not
    count.

    Keys "state" and "actions", as in openpi's norm_stats.json.
    """
    take = np.unique(np.linspace(0, len(frames) - 1, min(limit, len(frames))).astype(int))
    state, chunk = frames.state[take], frames.chunk[take]
    offsets = transforms.step_delta(transforms.delta(chunk, state, delta), state, steps)
    return {
        "state": statistics_of(state),
        "actions": statistics_of(offsets[shown_rows(frames.valid[take], chunk.shape[1])]),
    }


def shown_rows(valid: NDArray[np.integer], horizon: int) -> NDArray[np.bool_]:
    """Which rows of the chunks of frames [N] were shown [N, H], of which `valid` [N] says how many."""
    return np.arange(horizon) < np.asarray(valid)[:, None]
