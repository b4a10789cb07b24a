"""Running mean, deviation and 1 % / 99 % quantiles of vectors, as openpi computes them (shared/normalize.py).

Quantiles come from a histogram of 5000 bins a dimension that is binned anew whenever the range grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.normalize import Statistics

BINS = 5000
_MARGIN = 1e-10
Array = NDArray[np.floating]


@dataclass(frozen=True)
class RunningStats:
    """Statistics so far; `update` gives new ones. All arrays are [D], the histograms and edges [D, bins (+1)]."""

    count: int
    mean: Array
    mean_of_squares: Array
    low: Array
    high: Array
    histograms: Array
    edges: Array

    @staticmethod
    def start(batch: ArrayLike) -> RunningStats:
        """From a first batch [..., D]. Raises PolicyError if it is empty or not finite."""
        rows = _rows(batch)
        low, high = rows.min(axis=0), rows.max(axis=0)
        edges = _edges(low, high, _MARGIN)
        return RunningStats(
            len(rows), rows.mean(axis=0), (rows**2).mean(axis=0), low, high, _counts(rows, edges), edges
        )

    def update(self, batch: ArrayLike) -> RunningStats:
        """With a further batch [..., D]. Raises PolicyError if D differs or a value is not finite."""
        rows = _rows(batch)
        if rows.shape[1] != len(self.mean):
            raise PolicyError(f"statistics of {len(self.mean)} dimensions got vectors of {rows.shape[1]}")
        low, high = np.minimum(self.low, rows.min(axis=0)), np.maximum(self.high, rows.max(axis=0))
        edges, histograms = self.edges, self.histograms
        if np.any(low < self.low) or np.any(high > self.high):
            edges = _edges(low, high, 0.0)  # openpi 15a9616 drops the margin here, later versions keep it
            histograms = _rebinned(histograms, self.edges, edges)
        count = self.count + len(rows)
        share = len(rows) / count
        return RunningStats(
            count,
            self.mean + (rows.mean(axis=0) - self.mean) * share,
            self.mean_of_squares + ((rows**2).mean(axis=0) - self.mean_of_squares) * share,
            low,
            high,
            histograms + _counts(rows, edges),
            edges,
        )

    def statistics(self) -> Statistics:
        """mean, std, q01, q99. Raises PolicyError below two vectors."""
        if self.count < 2:
            raise PolicyError("statistics need at least two vectors")
        deviation = np.sqrt(np.maximum(0, self.mean_of_squares - self.mean**2))
        return Statistics({"mean": self.mean, "std": deviation, "q01": self.quantile(0.01), "q99": self.quantile(0.99)})

    def quantile(self, q: float) -> Array:
        """Left edge of the bin where the cumulative count reaches q."""
        found = [np.searchsorted(np.cumsum(h), q * self.count) for h in self.histograms]
        return np.array([e[i] for e, i in zip(self.edges, found, strict=True)])


def running(batches: list[ArrayLike]) -> RunningStats:
    """Statistics over batches in order; the quantiles depend slightly on the order, as openpi's do."""
    return reduce(RunningStats.update, batches[1:], RunningStats.start(batches[0]))


def _rows(batch: ArrayLike) -> Array:
    array = np.asarray(batch)
    if not array.ndim or not array.size or not np.all(np.isfinite(array)):
        raise PolicyError("statistics need vectors, all of them finite")
    return array.reshape(-1, array.shape[-1])


def _edges(low: Array, high: Array, margin: float) -> Array:
    pairs = zip(low.astype(np.float64), high.astype(np.float64), strict=True)  # the margin is below float32's grain
    return np.stack([np.linspace(a - margin, b + margin, BINS + 1) for a, b in pairs])


def _counts(rows: Array, edges: Array) -> Array:
    return np.stack([np.histogram(column, bins=e)[0] for column, e in zip(rows.T, edges, strict=True)]).astype(float)


def _rebinned(histograms: Array, old: Array, new: Array) -> Array:
    """Counts moved to new bins by the left edges of their old ones."""
    moved = [np.histogram(o[:-1], bins=n, weights=h)[0] for h, o, n in zip(histograms, old, new, strict=True)]
    return np.stack(moved)
