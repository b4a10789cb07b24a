"""Confidence intervals of success rates."""

from __future__ import annotations

import math

Z = 1.959963984540054  # of the normal distribution for 95 %


def wilson(successes: int, trials: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a share (E. B. Wilson, 1927), 95 % by default.

    It stays within 0 .. 1 and is sound for few trials and for shares near 0 or 1. Raises ValueError without a trial.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} of {trials} is no share")
    share, square = successes / trials, z * z / trials
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)
