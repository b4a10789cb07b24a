"""Joining a new plan to the one that runs, and the choice between the ways to do it.

replace: the new plan at once, the gap dies away. blend: the old plan fades into the new one. ensemble: the mean of all
plans that have an opinion. rtc: the policy itself continued the old plan in its frozen rows; fading hides what is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pi0_ros.control.timeline import Residual, Spline, Timeline, make_residual

Array = npt.NDArray[np.float64]

MIN_JOIN, MAX_JOIN = 0.2, 1.0  # [s] how fast and how slowly a gap may die away
MAX_SWING = 0.3  # [s]
PAST_ROWS = 5  # a spline forgets a row by a factor of 0.27 a knot
SOFT = 0.25  # share of the jerk limit that closing a gap may use
HOLD_ABOVE, HOLD_BELOW = 0.9, 0.6  # delay over chunk length: where hold begins and where it ends again
RTC_STREAK = 3  # chunks in a row whose frozen rows cover the delay before rtc is taken up again


def smoothstep(s: float) -> float:
    """0 .. 1 with no rate and no rate of rate at either end (Perlin's 6 s^5 - 15 s^4 + 10 s^3)."""
    s = min(max(s, 0.0), 1.0)
    return s * s * s * (s * (6.0 * s - 15.0) + 10.0)


def row_times(start: float, period: float, rows: int) -> Array:
    """ROS time of every row [H]."""
    return start + period * np.arange(rows, dtype=np.float64)


def blend_rows(values: Array, times: Array, old: Timeline, now: float, window: float, smooth: Array) -> Array:
    """New rows [H, D] that are the old plan's at `now` and all new after `window` [s] or where the old plan ends.

    Mixed are the rows and not the motions between them: a spline through mixed rows is as smooth as either plan, while
    a mixture in time adds the difference of their rates on top. `smooth` [D] is 1 where a channel may be mixed; a
    gripper (0) takes the new value at once. Rows long past keep their new values, they no longer shape anything.
    """
    span = min(window, old.end - now)
    near = (times >= max(now - PAST_ROWS * (times[-1] - times[0]) / max(len(times) - 1, 1), old.spline.start)) & (
        times < now + span
    )
    if span <= 0.0 or not bool(near.any()):
        return values
    mixed = values.copy()
    for k in np.flatnonzero(near):
        share = smooth * (1.0 - smoothstep((float(times[k]) - now) / span))
        mixed[k] += share * (old.at(float(times[k]))[0] - values[k])
    return mixed


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


def join_times(gap: Array, rate: Array, jerk: Array) -> Array:
    """Seconds [D] in which each channel of `gap` [3, D] may die away as a quintic.

    Long enough for a peak rate (15/8 gap / T) below half of the rate limits [D] and a first jerk
    (60 x / T^3 + 36 v / T^2 + 9 a / T, each) below a quarter of the jerk limits [D]; a gap in rate alone is not drawn
    out, because what it adds to the way grows with the time it takes.
    """
    x, v, a = np.abs(gap)
    soft = SOFT * jerk
    way = np.maximum(3.75 * x / rate, np.cbrt(60.0 * x / soft))
    swing = np.minimum(np.maximum(np.sqrt(36.0 * v / soft), 9.0 * a / soft), MAX_SWING)
    times: Array = np.clip(np.maximum(way, swing), MIN_JOIN, MAX_JOIN)
    return times


def join(plan: Timeline, time: float, state: Array, rate: Array, jerk: Array, smooth: Array) -> Residual | None:
    """What must die away so that `plan` starts from the commanded `state` [3, D] at `time`; None where nothing must.

    `smooth` [3, D] is 1 where value, rate and rate of rate of a channel are to be continuous.
    """
    gap = (state - plan.at(time)) * smooth
    if float(np.max(np.abs(gap))) < 1e-9:
        return None
    return make_residual(time, join_times(gap, rate, jerk), gap)


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
