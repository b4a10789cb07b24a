"""How fast a path may be run: slower if it asks for more than the robot can do, for all channels together.

The path is kept and its time is stretched (trajectory scaling, as in Hollerbach, "Dynamic scaling of manipulator
trajectories", 1984): at rate r a velocity is r times, an acceleration r^2 times, a jerk r^3 times what the rows ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pi0_ros.control.row_path import RowPath

Array = npt.NDArray[np.float64]

USABLE = 0.95  # share of the limits that the path may ask for; the rest is for joining it
USABLE_SPEED = 0.98
CATCH_UP = 1.3  # most that a path is run faster than its rows to make up for a delay
CATCH_UP_TIME = 0.3  # [s] a delay is made up for in about this time, where the rate above allows
CLIMB = 0.6  # share of the acceleration limits with which a rate may rise
BESIDE = 8  # samples before and after a stretch of path that shape it
SLOWEST, FASTEST = 0.02, 100.0  # rates beyond these are not distinguished
CALM = 0.02  # share of the velocity limits below which a path says nothing about how fast it is being run
WINDOW = 0.08  # [s] of path around a fast place that are slowed with it
QUANTITIES = ("velocity", "acceleration", "jerk")


@dataclass(frozen=True)
class PathLimits:
    """What the path may ask for, one entry per channel; infinite if a channel sets no limit (grippers).

    For a velocity channel `speed` bounds its value, `acceleration` the first and `jerk` the second derivative of it.
    """

    speed: Array
    acceleration: Array
    jerk: Array
    driven: npt.NDArray[np.bool_]  # velocity channels


@dataclass(frozen=True)
class PathTimes:
    """Plan time [N+1] at each knot from the join on, and what slowed the path most: channel, quantity, share of limit."""

    times: Array
    rates: Array  # [N] path seconds per second
    channel: int
    quantity: str
    excess: float  # how many times its limit the worst quantity is, as the rows ask for it
    factor: float  # how many times longer than planned the path takes


@lru_cache(maxsize=16)
def smoother(count: int, step: float, smoothing: float) -> Array:
    """Matrix [count, count] of the low-pass 1 / (1 + (w T)^6) on samples `step` [s] apart, T = `smoothing` [s].

    It is what the least-squares problem of `motion_plan` does to a path without limits. Straight at both ends.
    """
    third = np.diff(np.eye(count), n=3, axis=0)
    matrix: Array = np.linalg.inv(np.eye(count) + (smoothing / step) ** 6 * third.T @ third).astype(np.float64)
    matrix.setflags(write=False)
    return matrix


def _least_around(values: Array, reach: int) -> Array:
    """The least of `values` [n] within `reach` samples, then its mean over as many: smooth, and never above `values`."""
    padded = np.concatenate([np.full(2 * reach, values[0]), values, np.full(2 * reach, values[-1])])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    least = windows.min(axis=1)
    smooth: Array = np.convolve(least, np.full(2 * reach + 1, 1.0 / (2 * reach + 1)), mode="valid")
    return smooth


@dataclass(frozen=True)
class PathDemand:
    """What a stretch of path asks for: samples `step` [s] of path apart from `start` on."""

    start: float
    step: float
    speed: Array  # [n] largest rate that keeps the velocity limits
    rate: Array  # [n] largest rate that keeps acceleration and jerk limits
    climb: Array  # [n] largest rise of the rate per second
    velocity: Array  # [n, D] of the smoothed path
    channel: int
    quantity: str
    excess: float


def demand(path: RowPath, start: float, count: int, step: float, smoothing: float, limits: PathLimits) -> PathDemand:
    """Measure `count` samples of `path` from plan time `start` on; rows are smoothed first so that noise asks for nothing."""
    margin = BESIDE
    times: Array = start + step * np.arange(-margin, count + margin, dtype=np.float64)
    values: Array = smoother(len(times), step, smoothing) @ path.at(times)
    first = np.gradient(values, step, axis=0)
    second = np.gradient(first, step, axis=0)
    third = np.gradient(second, step, axis=0)
    driven = limits.driven
    velocity = np.where(driven, values, first)[margin:-margin]
    acceleration = np.where(driven, first, second)[margin:-margin]
    jerk = np.where(driven, second, third)[margin:-margin]
    shares = np.stack(
        [
            np.abs(velocity) / (limits.speed * np.where(driven, 1.0, USABLE_SPEED)),
            np.sqrt(np.abs(acceleration) / (limits.acceleration * USABLE)),
            np.cbrt(np.abs(jerk) / (limits.jerk * USABLE)),
        ]
    )
    reach = max(1, round(WINDOW / step))
    speed = _least_around(1.0 / np.maximum(shares[0].max(axis=1), 1.0 / FASTEST), reach)
    rate = _least_around(1.0 / np.maximum(shares[1:].max(axis=(0, 2)), 1.0 / FASTEST), reach)
    climb = CLIMB / np.maximum((np.abs(velocity) / limits.acceleration).max(axis=1), 0.02)
    worst = np.unravel_index(int(np.argmax(shares)), shares.shape)
    power = (1, 2, 3)[int(worst[0])]
    excess = float(shares[worst]) ** power * (USABLE if power > 1 else USABLE_SPEED)
    return PathDemand(start, step, speed, rate, climb, velocity, int(worst[2]), QUANTITIES[int(worst[0])], excess)


def starting_rate(velocity: Array, state: Array, limits: PathLimits) -> float:
    """The rate at which the path would move as the robot does now: 0 at rest, 1 if the path is calm.

    `velocity` [D] of the path and `state` [3, D] of the command at the join.
    """
    moves = np.where(limits.driven, 0.0, velocity / limits.speed)
    size = float(moves @ moves)
    if size < CALM * CALM:
        return 1.0
    return float(np.clip((moves @ (state[1] / limits.speed * ~limits.driven)) / size, 0.0, CATCH_UP))


def path_times(
    demanded: PathDemand, begin: float, behind: float, rate: float, clock: float, scales: Array
) -> PathTimes:
    """Plan times from `begin` on, one knot `asked.step` [s] apart for each of `scales` [N].

    `behind`: seconds by which the path is late, or early where it is negative; made up for at no more than `CATCH_UP`. `rate`: the first rate.
    `clock`: seconds of the ROS clock per second of the loop. `scales`: shares of the velocity limits.
    """
    step, last = demanded.step, len(demanded.rate) - 1
    speed, most, climb = demanded.speed.tolist(), demanded.rate.tolist(), demanded.climb.tolist()
    times, rates, time = [begin], [], begin
    for scale in scales.tolist():
        place = min(max((time - demanded.start) / step, 0.0), last)
        low = int(place)
        high, share = min(low + 1, last), place - low
        fast = (speed[low] * (1.0 - share) + speed[high] * share) * scale
        able = min(most[low] * (1.0 - share) + most[high] * share, fast)
        wanted = clock * (1.0 + min(max(behind / CATCH_UP_TIME, 1.0 - CATCH_UP), CATCH_UP - 1.0))
        rate = max(min(wanted, able, rate + step * climb[low]), SLOWEST)
        time += step * rate
        behind += step * (clock - rate)
        times.append(time)
        rates.append(rate)
    able_all = np.minimum(1.0, np.minimum(demanded.rate, demanded.speed))
    factor = float(np.mean(1.0 / np.maximum(able_all, SLOWEST)))
    return PathTimes(np.array(times), np.array(rates), demanded.channel, demanded.quantity, demanded.excess, factor)
