"""When to request the next chunk, and which part of the running plan the network is given. Pure: time is an argument."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pi0_ros.control.chunk import Chunk
from pi0_ros.robot.quantile import quantiles

LATENCIES_KEPT = 50
FINISHING = 5.0
"""Seconds that the policy plans for a subtask which says that nothing is left to do; then its last plan's end is kept."""


@dataclass(frozen=True)
class Timetable:
    """Seconds: between plans while driving, between plans while not, and spare time before a plan ends."""

    replan: float = 0.4
    idle: float = 0.5
    margin: float = 0.1


@dataclass(frozen=True)
class Situation:
    """What the executor last said, and what is wanted: `received` is the steady time of its message, `stamp` the ROS time that it is about."""

    received: float = -math.inf
    mode: str = "hold"
    epoch: int = 0
    plan_sequence: int = 0
    plan_left: float = 0.0
    stamp: float = math.nan


class Latency:
    """Observation to published chunk, recent values [s]."""

    def __init__(self) -> None:
        self._kept: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def add(self, value: float) -> None:
        """Note one."""
        self._kept.append(value)

    def quantile(self, share: float) -> float:
        """Of the recent latencies; 0 if there is none."""
        return quantiles(self._kept, share)[0]


def due(
    table: Timetable,
    now: Situation,
    steady: float,
    last: float,
    last_epoch: int,
    changed: bool,
    latency: float,
    at_once: int = 1,
) -> bool:
    """Whether to plan at `steady` [s], the last plan having been begun at `last` for `last_epoch`.

    `changed`: the prompt is another one. `latency`: how long the next chunk may take (p95) [s]. `at_once`: how many requests
    may wait for an answer; their answers then come that much closer together.
    """
    if now.mode == "stopped":
        return False
    if changed or now.epoch != last_epoch:
        return True
    since = steady - last
    if now.mode != "autonomy":
        return since >= table.idle
    left, spacing = now.plan_left - max(steady - now.received, 0.0), latency / at_once
    if left <= 0.0 and at_once == 1:  # nothing to be in time for: the last chunk was refused, or is on its way
        return since >= table.replan
    return since >= table.replan or (left < latency + table.margin and since >= spacing)


def finished(running: Chunk | None, newest: Chunk | None, now: Situation, same: bool, since: float) -> Chunk | None:
    """The plan whose end is to be kept, None if the policy plans on: asked with a prompt that leaves nothing to do.

    `running` is what the executor follows, `newest` what was sent last. Once an end is kept it stays that one: the executor
    tells of a plan only when it has begun, so what it follows is one behind. `same`: prompt and epoch are those of the last
    plan; `since` [s]: for how long they have been.
    """
    if now.mode != "autonomy" or not same or since < FINISHING:
        return None
    ending = newest if newest is not None and not np.ptp(newest.values, axis=0).any() else running
    return ending if ending is not None and ending.epoch == now.epoch else None


def stay(running: Chunk, at: float, velocities: NDArray[np.bool_]) -> Chunk:
    """A plan from `at` [ROS s] on that keeps what the running one ends with; the channels that are `velocities` rest.

    A policy asked again and again to do nothing follows its own small errors away from where it was; this one does not.
    """
    values = np.tile(np.where(velocities, 0.0, running.values[-1]), (len(running.values), 1))
    return replace(running, start=at, values=values, frozen_rows=0)


@dataclass(frozen=True)
class Prefix:
    """The rest of the running plan on the next chunk's rows [P, D]: certain rows first, then guidance."""

    values: NDArray[np.float64]
    names: tuple[str, ...]
    delay_rows: int
    execution_rows: int


def behind(running: Chunk, now: Situation) -> float:
    """Seconds by which the executor is late on the running plan, whose rows say when they were to be executed; 0 if it does not say.

    A plan that asked for more than the limits allow, or that began in the slow first second, is executed later than its rows say.
    """
    executed = running.end - now.plan_left
    return now.stamp - executed if math.isfinite(now.stamp) and now.plan_left > 0.0 else 0.0


def running_rows(running: Chunk, stamp: float, period: float, horizon: int) -> NDArray[np.float64]:
    """The running plan at `stamp`, `stamp` + period, ... while it lasts [P <= horizon, D], linear between its rows."""
    rows = running.values
    at = (stamp + period * np.arange(horizon) - running.start) / running.period
    at = at[(at >= 0.0) & (at <= len(rows) - 1)]
    low = at.astype(int)
    high = np.minimum(low + 1, len(rows) - 1)
    share = (at - low)[:, None]
    between: NDArray[np.float64] = rows[low] * (1.0 - share) + rows[high] * share
    return between


def prefix(
    running: Chunk,
    stamp: float,
    period: float,
    horizon: int,
    latency: float,
    replan: float,
    same_prompt: bool,
    late: float = 0.0,
) -> Prefix | None:
    """What the next plan, observed at `stamp`, should agree with; None if there is nothing or it comes too late.

    The rows that pass before the new chunk can be used are certain. With another prompt only those are kept. `late` [s]: how
    much later than its rows say the running plan is executed (`behind`).
    """
    if stamp - late < running.start:
        return None
    rows = running_rows(running, stamp - late, period, horizon)
    delay = math.ceil(latency / period)
    if delay == 0 or len(rows) <= delay or delay > horizon // 2:
        return None
    valid = rows if same_prompt else rows[:delay]
    return Prefix(valid, running.names, delay, max(delay, math.ceil(replan / period)))
