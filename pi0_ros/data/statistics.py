"""Statistics of episodes as LeRobot writes them: min, max, mean, std, count and five quantiles of each feature.

Quantiles of an episode come from a histogram of 5000 bins with interpolation in the bin; those of a dataset are the
means of its episodes' weighted by their frames (lerobot compute_stats.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

BINS = 5000
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_MARGIN = 1e-10
_LEAST_PICTURES, _MOST_PICTURES = 100, 10_000
Stats = dict[str, NDArray]


def vector_stats(values: NDArray) -> Stats:
    """Statistics of one episode's numbers [N, D], each [D]; count [1]."""
    rows = np.asarray(values, np.float64)
    rows = rows.reshape(len(rows), -1)
    stats = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    quantiles = np.array([_quantiles(column) for column in rows.T])
    return {**stats, "count": np.array([len(rows)]), **{n: quantiles[:, i] for i, n in enumerate(QUANTILES)}}


def picture_stats(pictures: Sequence[NDArray[np.uint8]]) -> Stats:
    """Statistics of one episode's pictures [H, W, 3] scaled to 0..1, each [3, 1, 1]; count [1] is pictures used."""
    chosen = [_thinned(pictures[i]) for i in picture_indices(len(pictures))]
    pixels = np.concatenate([p.reshape(-1, p.shape[-1]) for p in chosen])
    counts = np.stack([np.bincount(channel, minlength=256) for channel in pixels.T])
    levels = np.arange(256) / 255.0
    shares = counts / counts.sum(1, keepdims=True)
    mean = shares @ levels
    std = np.sqrt(np.maximum(shares @ levels**2 - mean**2, 0.0))
    present = [np.flatnonzero(c) for c in counts]
    stats = {"min": np.array([p[0] for p in present]) / 255, "max": np.array([p[-1] for p in present]) / 255}
    quantiles = np.array([_quantiles(np.arange(256.0), c) for c in counts]) / 255
    stats |= {"mean": mean, "std": std, **{n: quantiles[:, i] for i, n in enumerate(QUANTILES)}}
    return {n: v[:, None, None] for n, v in stats.items()} | {"count": np.array([len(chosen)])}


def picture_indices(count: int) -> list[int]:
    """Which of an episode's pictures the statistics look at: count^0.75, at least 100, evenly spread (lerobot)."""
    least = min(_LEAST_PICTURES, count)
    number = max(least, min(int(count**0.75), _MOST_PICTURES))
    return np.round(np.linspace(0, count - 1, number)).astype(int).tolist()


def _thinned(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every n-th row and column of a large picture, so that its longer side is near 150 pixels (lerobot)."""
    longest = max(picture.shape[:2])
    step = 1 if longest < 300 else int(longest / 150)
    return picture[::step, ::step]


def _quantiles(column: NDArray, weights: NDArray | None = None) -> list[float]:
    present = column if weights is None else column[weights > 0]
    edges = np.linspace(present.min() - _MARGIN, present.max() + _MARGIN, BINS + 1)
    counts = np.histogram(column, bins=edges, weights=weights)[0]
    total = np.cumsum(counts)
    return [_in_bin(q * total[-1], counts, total, edges) for q in QUANTILES.values()]


def _in_bin(target: float, counts: NDArray, total: NDArray, edges: NDArray) -> float:
    bin_ = int(np.searchsorted(total, target))
    if bin_ == 0:
        return float(edges[0])
    if bin_ >= len(counts):
        return float(edges[-1])
    before = total[bin_ - 1]
    share = (target - before) / counts[bin_] if counts[bin_] else 0.0
    return float(edges[bin_] + share * (edges[bin_ + 1] - edges[bin_]))


def aggregate(parts: Sequence[Mapping[str, Stats]]) -> dict[str, Stats]:
    """Statistics of all episodes together, by feature."""
    features = dict.fromkeys(name for part in parts for name in part)
    return {name: _aggregate([part[name] for part in parts if name in part]) for name in features}


def _aggregate(parts: Sequence[Stats]) -> Stats:
    count = np.array([p["count"] for p in parts], np.float64)
    weight = (count / count.sum()).reshape(-1, *([1] * parts[0]["mean"].ndim))

    def mixed(name: str) -> NDArray:
        return (np.stack([p[name] for p in parts]) * weight).sum(0)

    mean = mixed("mean")
    spread = np.stack([np.square(p["std"]) + np.square(p["mean"] - mean) for p in parts])
    result = {"min": np.min([p["min"] for p in parts], 0), "max": np.max([p["max"] for p in parts], 0)}
    result |= {"mean": mean, "std": np.sqrt((spread * weight).sum(0))}
    return result | {"count": np.array([int(count.sum())])} | {n: mixed(n) for n in QUANTILES if n in parts[0]}
