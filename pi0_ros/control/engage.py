"""The first second after a change of owner: a small share of the velocity limits, and then back to all of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pi0_ros.control.settings import ExecutorSettings

Array = npt.NDArray[np.float64]
SHARP = 0.1  # [s] by which the slow time is kept longer ahead: motion is smoothed over its end


class Engage:
    """Since when somebody owns the robot, and since when it moves for them. All times are on the steady clock [s]."""

    def __init__(self, settings: ExecutorSettings, period: float) -> None:
        """`period` [s] between commands."""
        self._settings, self._period = settings, period
        self._since = -math.inf

    def change_owner(self, steady: float) -> None:
        """Somebody else drives from now on."""
        self._since = steady

    def begin(self, steady: float) -> None:
        """The slow time begins (again) now."""
        self._since = steady

    def scale(self, steady: float) -> float:
        """Share of the velocity limits now."""
        return engage_scale(self._settings, steady - self._since)

    def scale_ahead(self, steady: float, ros: float, moving: bool) -> Callable[[Array], Array]:
        """Shares of the velocity limits as a function of ROS times, `ros` [s] being now.

        `moving`: a plan is followed; before the first one, it is as if the slow time began in the next period.
        """
        since = (steady - self._since if moving else -self._period) - SHARP
        return lambda times: np.array([engage_scale(self._settings, since + float(t) - ros) for t in times])


def engage_scale(settings: ExecutorSettings, since: float) -> float:
    """Share of the velocity limits `since` seconds after a change of owner: small at first, then back to all of it."""
    later = since - settings.engage_time
    if later < 0.0:
        return settings.engage_scale
    return min(1.0, settings.engage_scale + (1.0 - settings.engage_scale) * later / max(settings.engage_ramp, 1e-3))
