"""Joining a new plan to the one that runs: replace, blend, ensemble, rtc, and the choice between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pi0_ros.control.timeline import Residual, Spline, Timeline, make_residual

Array = npt.NDArray[np.float64]

MIN_JOIN, MAX_JOIN = 0.1, 1.0  # [s] how fast and how slowly a gap may die away
HOLD_ABOVE, HOLD_BELOW = 0.9, 0.6  # delay over chunk length: where hold begins and where it ends again
RTC_STREAK = 3  # chunks in a row whose frozen rows cover the delay before rtc is taken up again


def smoothstep(s: Array) -> Array:
    """0 .. 1 with no rate and no rate of rate at either end (Perlin's 6 s^5 - 15 s^4 + 10 s^3)."""
    s = np.clip(s, 0.0, 1.0)
    weight: Array = s * s * s * (s * (6.0 * s - 15.0) + 10.0)
    return weight


def row_times(start: float, period: float, rows: int) -> Array:
    """ROS time of every row [H]."""
    return start + period * np.arange(rows, dtype=np.float64)


def blend_rows(values: Array, times: Array, old: Timeline, now: float, window: float, smooth: Array) -> Array:
    """New rows [H, D] that leave the old plan at `now` and are all new after `window` [s].

    `smooth` [D] is 1 where a channel may be mixed; a gripper (0) takes the new value at once.
    """
    known = (times >= old.spline.start) & (times <= old.end)
    if not bool(known.any()):
        return values
    share = np.where(known, 1.0 - smoothstep((times - now) / window), 0.0)[:, None] * smooth
    before = np.stack([old.at(t)[0] if k else v for t, k, v in zip(times, known, values, strict=True)])
    return values + share * (before - values)


def ensemble_rows(values: Array, times: Array, earlier: Sequence[Spline], decay: float, smooth: Array) -> Array:
    """Weighted mean of every plan that has an opinion on a row, w_i = exp(-m i), oldest first (ACT, section 4)."""
    total, weights = np.zeros_like(values), np.zeros(len(values))
    for age, spline in enumerate(earlier):
        weight = math.exp(-decay * age)
        for k, time in enumerate(times):
            if spline.start <= time <= spline.end:
                total[k] += weight * spline.at(float(time))[0]
                weights[k] += weight
    newest = math.exp(-decay * len(earlier))
    mean = (total + newest * values) / (weights + newest)[:, None]
    return values + smooth * (mean - values)


def join(
    spline: Spline, time: float, state: Array, velocity: Array, smooth: Array, shortest: float = MIN_JOIN
) -> Residual | None:
    """What must die away so that `spline` starts from the commanded `state` [3, D] at `time`.

    The larger the gap, the longer it takes: the quintic's peak rate, 1.875 gap / duration, stays below half of the
    `velocity` limits [D]. None where there is no gap.
    """
    gap = (state - spline.at(time)) * smooth
    size = float(np.max(np.abs(gap[0]) / velocity))
    if size < 1e-12 and float(np.max(np.abs(gap))) < 1e-9:
        return None
    return make_residual(time, min(max(2.0 * 1.875 * size, shortest), MAX_JOIN), gap)


@dataclass(frozen=True)
class Choice:
    """What `auto` settled on, and how many chunks in a row have qualified for something better."""

    strategy: str = "blend"
    streak: int = 0


def choose(previous: Choice, delay: float, typical: float, span: float, frozen: float) -> Choice:
    """rtc -> blend -> hold as the delay [s] outgrows the frozen rows [s] and then the chunk [s].

    `delay` is this chunk's, `typical` the 95th percentile of the newest. Down at once, up only after it has been good
    for a while, so that a jittery link does not toggle.
    """
    if max(delay, typical) > (HOLD_BELOW if previous.strategy == "hold" else HOLD_ABOVE) * span:
        return Choice("hold")
    if frozen <= 0.0 or delay > frozen:
        return Choice("blend")
    if previous.strategy == "rtc" or previous.streak + 1 >= RTC_STREAK:
        return Choice("rtc", previous.streak)
    return Choice("blend", previous.streak + 1)
