"""Differences between recorded and recomputed values, one row per output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


class ParityError(ValueError):
    """A case that cannot be run; the message names the file or the missing key."""


@dataclass(frozen=True)
class Row:
    """One output. `difference` is the largest absolute difference, infinite if shapes or kinds differ.

    `exact` rows (integers, strings, booleans) allow none.
    """

    name: str
    difference: float
    exact: bool = False
    note: str = ""

    def passes(self, tolerance: float) -> bool:
        """Whether the difference is within the tolerance (none for exact rows). NaN never passes."""
        return self.difference <= (0.0 if self.exact else tolerance)


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() and value.dtype.itemsize < 4 else value
        return np.asarray(value.numpy())
    return np.asarray(value)


def close(name: str, found: Any, recorded: Any, where: Any = None, note: str = "") -> Row:
    """A row for floating-point values; `where` is a boolean mask of the elements that count (leading axes)."""
    found, recorded = _array(found), _array(recorded)
    if found.shape != recorded.shape:
        return Row(name, np.inf, note=f"shape {list(found.shape)} instead of {list(recorded.shape)}")
    if where is not None:
        keep = _array(where).astype(bool)
        found, recorded = found[keep], recorded[keep]
    with np.errstate(invalid="ignore"):
        difference = np.abs(found.astype(np.float64) - recorded.astype(np.float64))
    # equal infinities and recorded NaN in the same place are no difference
    same = (found == recorded) | (np.isnan(found) & np.isnan(recorded))
    difference = np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))
    return Row(name, float(difference.max(initial=0.0)), note=note)


def equal(name: str, found: Any, recorded: Any, note: str = "") -> Row:
    """A row for integers, booleans, strings and lists of them: the number of elements that differ."""
    if isinstance(recorded, str) or isinstance(found, str) or found is None or recorded is None:
        return Row(name, float(found != recorded), True, note)
    found, recorded = _array(found), _array(recorded)
    if found.shape != recorded.shape:
        return Row(name, np.inf, True, f"shape {list(found.shape)} instead of {list(recorded.shape)}")
    return Row(name, float(np.count_nonzero(found != recorded)), True, note)


def line(row: Row, tolerance: float, width: int = 0) -> str:
    """One output in one line: name, largest difference, verdict, remark."""
    counted = row.exact and np.isfinite(row.difference)
    number = f"{int(row.difference)} differ" if counted else f"{row.difference:.3g}"
    verdict = "ok" if row.passes(tolerance) else "DIFFERS"
    return f"{row.name:<{width}}  {number:>12}  {verdict}{'  ' + row.note if row.note else ''}"
