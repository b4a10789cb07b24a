"""Joining a new plan to the one that runs, and the choice between the ways to do it.

replace: the new rows at once, the gap closes quickly. blend: the old rows fade into the new ones. ensemble: the mean of all
chunks that have a row for the moment. rtc: the policy itself continued the old rows in its frozen rows; fading hides what is left.
wait: the robot stands while the policy thinks, runs the chunk, and stands again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pi0_ros.control.row_path import Joint, RowPath

Array = npt.NDArray[np.float64]

LEAD_IN = 8  # samples of a joined path that lie before the join
WAIT_ABOVE, WAIT_BELOW = 0.9, 0.6  # delay over chunk length: where waiting begins and where it ends again
RTC_STREAK = 3  # chunks in a row whose frozen rows cover the delay before rtc is taken up again


def row_times(start: float, period: float, rows: int) -> Array:
    """ROS time of every row [H]."""
    return start + period * np.arange(rows, dtype=np.float64)


def blended(path: RowPath, old: RowPath, begin: float, shift: float, window: float, step: float) -> RowPath:
    """`path` from plan time `begin` on, joined to the path `old`, which is `shift` [s] further on its own time there.

    The old path goes on until the new one starts and fades within `window` [s] after that, or by its own end. What is left
    of the difference between the two is at most its share 0 .. 1 of it at every moment: it can only shrink.
    """
    first = max(begin, path.start)
    span = max(min(window, old.end - shift - first), 0.0)
    count = LEAD_IN + max(1, math.ceil((first - begin + span) / step)) + 1
    times: Array = begin + step * (np.arange(count, dtype=np.float64) - LEAD_IN)
    share = _fading((times - first) / max(span, 1e-9))
    rows, before = path.rows_at(times), old.at(times + shift)
    return replace(path, joint=Joint(float(times[0]), step, rows + share[:, None] * (before - rows)))


def closed(path: RowPath, begin: float, gap: Array, window: float, step: float) -> RowPath:
    """`path` from `begin` on, moved by `gap` [D] there; the gap closes within `window` [s]."""
    span = max(min(window, path.end - begin), step)
    times: Array = begin + step * (np.arange(LEAD_IN + math.ceil(span / step) + 1, dtype=np.float64) - LEAD_IN)
    share = _fading((times - begin) / span)
    held = path.rows_at(np.maximum(times, begin))
    return replace(path, joint=Joint(float(times[0]), step, held + share[:, None] * gap))


def _fading(s: Array) -> Array:
    """1 .. 0 with no slope and no curvature at either end (1 - 6 s^5 + 15 s^4 - 10 s^3, Perlin)."""
    s = np.clip(s, 0.0, 1.0)
    shares: Array = 1.0 - s * s * s * (s * (6.0 * s - 15.0) + 10.0)
    return shares


def ensemble_rows(values: Array, times: Array, earlier: Sequence[RowPath], decay: float, smooth: Array) -> Array:
    """Weighted mean of every path that covers a row, w_i = exp(-m i), oldest first (ACT, section 4)."""
    total, weights = np.zeros_like(values), np.zeros(len(values))
    for age, path in enumerate(earlier):
        has = (times >= path.start) & (times <= path.end)
        if bool(has.any()):
            weight = math.exp(-decay * age)
            total[has] += weight * path.rows_at(times[has])
            weights[has] += weight
    newest = math.exp(-decay * len(earlier))
    mean = (total + newest * values) / (weights + newest)[:, None]
    return values + smooth * (mean - values)


@dataclass(frozen=True)
class Choice:
    """What `auto` settled on, and how many chunks in a row have qualified for something better."""

    strategy: str = "blend"
    streak: int = 0


def choose(previous: Choice, delay: float, typical: float, span: float, frozen: float) -> Choice:
    """rtc -> blend -> wait as the delay [s] outgrows the frozen rows [s] and then the chunk [s].

    `delay` is this chunk's, `typical` the 95th percentile of the newest. Down at once, up only after it has been good
    for a while, so that a jittery link does not toggle.
    """
    if max(delay, typical) > (WAIT_BELOW if previous.strategy == "wait" else WAIT_ABOVE) * span:
        return Choice("wait")
    if frozen <= 0.0 or delay > frozen:
        return Choice("blend")
    if previous.strategy == "rtc" or previous.streak + 1 >= RTC_STREAK:
        return Choice("rtc", previous.streak)
    return Choice("blend", previous.streak + 1)
