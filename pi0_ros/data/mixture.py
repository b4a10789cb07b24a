"""How often each dataset of a mixture is drawn: n^0.43 (pi0, arXiv 2410.24164, section V), which damps the large ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.errors import DataError

EXPONENT = 0.43


def mixture_weights(sizes: Sequence[int], exponent: float = EXPONENT) -> NDArray[np.float64]:
    """Share of each dataset of `sizes` frames, summing to 1. Raises DataError if one is empty."""
    if not len(sizes) or min(sizes) < 1:
        raise DataError(f"a mixture needs datasets with frames; their sizes are {list(sizes)}")
    grown: NDArray[np.float64] = np.asarray(sizes, np.float64) ** exponent
    shares: NDArray[np.float64] = grown / grown.sum()
    return shares
