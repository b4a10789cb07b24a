"""Statistics of features as LeRobot v3.0 keeps them: min, max, mean, std, count and five quantiles.

Quantiles come from a histogram of 5000 bins between smallest and largest value, interpolated inside a bin, as in
lerobot's RunningQuantileStats (src/lerobot/datasets/compute_stats.py). The quantiles of several episodes together do not
follow from each episode's: the outer ones are bounded by the outermost of the episodes, so that at least that share of all
frames lies within (lerobot since its pull request 3804; before, it took a weighted mean, which may lie anywhere).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.stored import Values

Stats = dict[str, Values]

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
BINS = 5000
LARGE_PICTURE = 300  # pixels; larger ones are thinned out to about THINNED for statistics, as lerobot does
THINNED = 150
SAMPLED = 100  # pictures of an episode that its statistics are of


def vector_stats(values: Values) -> Stats:
    """Statistics of [N, ...] finite numbers, each of the trailing shape; count is [1].

    Moments are computed in float64, bin edges at the precision of the values (as lerobot does).
    """
    rows = np.asarray(values)
    if not np.issubdtype(rows.dtype, np.floating):
        rows = rows.astype(np.float64)
    shape, flat = rows.shape[1:], rows.reshape(len(rows), -1)
    wide = flat.astype(np.float64)
    found = {"min": wide.min(0), "max": wide.max(0), "mean": wide.mean(0), "std": wide.std(0)}
    columns = np.array([_quantiles(column, np.ones(len(column))) for column in flat.T])
    found |= {name: columns[:, k] for k, name in enumerate(QUANTILES)}
    return _ordered({k: v.reshape(shape) for k, v in found.items()}, len(rows))


def _ordered(found: Stats, count: int) -> Stats:
    """The count put in, statistics in the order of lerobot's columns."""
    whole = {**found, "count": np.array([count], np.int64)}
    return {name: whole[name] for name in ("min", "max", "mean", "std", "count", *QUANTILES)}


def _quantiles(values: Values, weights: Values) -> list[float]:
    """The five quantiles of weighted values."""
    edges = np.linspace(values.min() - 1e-10, values.max() + 1e-10, BINS + 1)
    counts, _ = np.histogram(values, bins=edges, weights=weights)
    below = np.cumsum(counts)
    return [_inside(edges, counts, below, q * float(weights.sum())) for q in QUANTILES.values()]


def _inside(edges: Values, counts: Values, below: Values, wanted: float) -> float:
    """The place where the running count reaches `wanted`."""
    k = int(np.searchsorted(below, wanted))
    if k == 0:
        return float(edges[0])
    if k >= len(below):  # of values that are no number
        return float(edges[-1])
    return float(edges[k] + (wanted - below[k - 1]) / counts[k] * (edges[k + 1] - edges[k]))


class PictureStatistics:
    """Collects the levels of a video's pictures; `result` is per channel [3, 1, 1], in 0..1."""

    def __init__(self) -> None:
        self.counts = np.zeros((3, 256), np.int64)
        self.frames = 0

    def add(self, picture: NDArray[np.uint8]) -> None:
        """One more picture [H, W, 3]."""
        self.add_levels(levels_of(picture))

    def add_levels(self, counts: NDArray[np.int64]) -> None:
        """One more picture, of which `levels_of` is known."""
        self.counts += counts
        self.frames += 1

    def result(self) -> Stats:
        """Statistics of the pictures so far; count is their number."""
        found = [_level_statistics(counts) for counts in self.counts]
        stacked = {k: np.array([f[k] for f in found]).reshape(3, 1, 1) for k in found[0]}
        return _ordered(stacked, self.frames)


def sampled(count: int) -> range:
    """Numbers of the pictures, of `count`, that statistics are of: the first and every n-th behind it, at most SAMPLED."""
    return range(0, count, max(1, -(-count // SAMPLED)))


def levels_of(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels of each channel of a picture [H, W, 3] have each level [3, 256], large pictures thinned out."""
    longest = max(picture.shape)
    step = longest // THINNED if longest >= LARGE_PICTURE else 1
    thin = picture[::step, ::step]
    return np.stack([np.bincount(thin[..., channel].reshape(-1), minlength=256) for channel in range(3)])


def _level_statistics(counts: NDArray[np.int64]) -> dict[str, float]:
    seen = np.flatnonzero(counts)
    weights = counts[seen].astype(np.float64)
    mean = float(np.average(seen, weights=weights))
    std = float(np.sqrt(np.average((seen - mean) ** 2, weights=weights)))
    found = {"min": float(seen[0]), "max": float(seen[-1]), "mean": mean, "std": std}
    found |= dict(zip(QUANTILES, _quantiles(seen.astype(np.float32), weights), strict=True))
    return {name: value / 255.0 for name, value in found.items()}


def aggregate(episodes: Sequence[Mapping[str, Stats]]) -> dict[str, Stats]:
    """Statistics of all episodes together, for every feature that any of them has."""
    keys = dict.fromkeys(key for episode in episodes for key in episode)
    return {key: _aggregate_one([e[key] for e in episodes if key in e]) for key in keys}


def _aggregate_one(parts: Sequence[Stats]) -> Stats:
    """Parallel mean and variance (Chan, Golub, LeVeque 1983); of the quantiles below the middle the lowest, above it the
    highest, in the middle the mean weighted by frames."""
    counts = np.array([int(p["count"][0]) for p in parts], np.int64)
    share = counts / counts.sum()

    def weighted(values: Sequence[Values]) -> Values:
        return np.tensordot(share, np.stack(values), axes=1)

    mean = weighted([p["mean"] for p in parts])
    variance = weighted([p["std"] ** 2 + (p["mean"] - mean) ** 2 for p in parts])
    found = {"min": np.min([p["min"] for p in parts], axis=0), "max": np.max([p["max"] for p in parts], axis=0)}
    found |= {"mean": mean, "std": np.sqrt(variance), "count": np.array([counts.sum()], np.int64)}
    for name, share_below in QUANTILES.items():
        if all(name in p for p in parts):
            each = [p[name] for p in parts]
            outer = np.min if share_below < 0.5 else np.max
            found[name] = weighted(each) if share_below == 0.5 else outer(each, axis=0)
    return found
