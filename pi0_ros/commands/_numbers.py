"""Numbers on the command line: finite and within bounds, or refused with the option's name before any work begins."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

SEEDS = 2**31 - 1


def number(low: float, high: float) -> Callable[[str], float]:
    """A finite number with low <= number <= high, as a `type` of argparse."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:  # not a number is not in there either
            raise argparse.ArgumentTypeError(f"must be a number from {low:g} to {high:g}, not {text[:40]!r}")
        return value

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number with low <= number <= high, as a `type` of argparse."""

    def read(text: str) -> int:
        try:
            value = int(text) if len(text) <= 40 else high + 1
        except ValueError:
            value = high + 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, not {text[:40]!r}")
        return value

    return read


def any_number(default: float) -> Callable[[str], float]:
    """A finite number of the kind that `default` is, if the settings themselves know their bounds."""
    return whole(-(10**15), 10**15) if isinstance(default, int) else number(-1e15, 1e15)
