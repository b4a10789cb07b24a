"""Whether a run of commands kept every promise; what tests, benchmarks and replays judge by."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pi0_ros.control.limits import Bounds, bounds_of
from pi0_ros.robot.spec import Group, Kind, Robot

Array = npt.NDArray[np.float64]
ROUNDING = 1e-6  # relative; what is left of a limit after three differences in double precision
INSIDE = 1e-8  # [robot units] beyond a position limit that is rounding


def violations(robot: Robot, values: Array, period: float) -> list[str]:
    """Every broken promise in the commands [N, D] sent one `period` [s] apart, as sentences; empty if none is.

    Finite, inside the position limits, and first, second and third difference within velocity, acceleration and jerk.
    Where the run starts outside the position limits it may only come inward.
    """
    if not bool(np.isfinite(values).all()):
        return ["a command is not finite"]
    found: list[str] = []
    start = 0
    for group in robot.groups:
        bounds, part = bounds_of(group, period), values[:, start : start + len(group.channels)]
        start += len(group.channels)
        found += [f"{group.name}: {text}" for text in _broken(bounds, part, period, group.kind is not Kind.VELOCITY)]
    return found


class GroupAudit:
    """Judges the commands of one group as they come, each against those before it."""

    def __init__(self, group: Group, period: float) -> None:
        """`period` [s] between two commands."""
        self._bounds = bounds_of(group, period)
        self._orders = tuple(_orders(self._bounds, period, group.kind is not Kind.VELOCITY))
        self._recent: deque[Array] = deque(maxlen=4)

    def judge(self, values: Sequence[float] | Array, periods: int = 1) -> str:
        """What the next command [D] breaks, "" if it keeps every promise. It comes `periods` after the last one: across a
        gap nothing is known of what was commanded meanwhile, but how far it may have led.
        """
        now = np.asarray(values, np.float64)
        if not bool(np.isfinite(now).all()):
            self._recent.clear()
            return "it is not finite"
        if periods > 1 and self._recent:
            way = np.abs(now - self._recent[-1]) / periods
            self._recent.clear()
            self._recent.append(now)
            name, limit, slack = self._orders[0]
            return f"{name} above its limit" if bool((way > limit + slack).any()) else ""
        self._recent.append(now)
        return self._newest()

    def _newest(self) -> str:
        rows = np.array(self._recent)
        if (outside := _outside(self._bounds, rows)) > 0.0:
            return f"position {outside:.3g} beyond its limit"
        for order, (name, limit, slack) in enumerate(self._orders, start=1):
            if bool((np.abs(np.diff(rows[-order - 1 :], order, axis=0)) > limit + slack).any()):
                return f"{name} above its limit"
        return ""


def _broken(bounds: Bounds, values: Array, period: float, third: bool) -> list[str]:
    found = []
    if (outside := _outside(bounds, values)) > 0.0:
        found.append(f"position up to {outside:.3g} beyond its limit")
    change = values
    for name, limit, slack in _orders(bounds, period, third):
        change = np.diff(change, axis=0)
        if bool((np.abs(change) > limit + slack).any()):
            found.append(f"{name} {float((np.abs(change) / limit).max()):.3g} times its limit")
    return found


def _outside(bounds: Bounds, values: Array) -> float:
    """How far commands [N, D] are outside their position limits, 0 if they are not, or come from outside."""
    low, high = np.minimum(bounds.lower, values[0]), np.maximum(bounds.upper, values[0])
    far = float(max((low - values).max(), (values - high).max()))
    return far if far > INSIDE else 0.0


def _orders(bounds: Bounds, period: float, third: bool) -> Iterator[tuple[str, Array, Array]]:
    """Name, limit and rounding [D each] of the first, second and, if it is limited, third difference."""
    names = ("velocity", "acceleration", "jerk") if third else ("velocity", "acceleration")
    for order, name in enumerate(names, start=1):
        limit = np.array(getattr(bounds, name)) * period**order
        yield name, limit, limit * ROUNDING + 2.0**order * 1e-12
