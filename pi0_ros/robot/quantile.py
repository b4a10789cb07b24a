"""Quantiles of measured numbers, by one rule wherever a running system reports or uses them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt


def quantiles(values: Collection[float] | npt.NDArray[np.float64], *shares: float) -> tuple[float, ...]:
    """For each share the value that this share of all is below: one that was measured, the `int(share * n)`-th from 0, at
    most the largest. Zeros if there are no values."""
    count = len(values)
    if not count:
        return (0.0,) * len(shares)
    ranks = [min(count - 1, int(share * count)) for share in shares]
    # Partitioned, not sorted: sorting a minute of 200 Hz holds the GIL for milliseconds.
    numbers = values if isinstance(values, np.ndarray) else np.array(list(values), np.float64)
    ordered = np.partition(numbers, sorted(set(ranks)))
    return tuple(float(ordered[rank]) for rank in ranks)
