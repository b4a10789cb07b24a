"""A policy's chunk, and the checks that it has to pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from pi0_ros.control.plan_sources import order_problem
from pi0_ros.robot.measurement import unwrap_rows
from pi0_ros.robot.quoting import quote
from pi0_ros.robot.spec import Robot

Array = npt.NDArray[np.float64]

MIN_PERIOD, MAX_PERIOD = 1e-3, 10.0  # [s]; outside of these a period is a mistake, not a rate
MAX_ROWS = 4096


@dataclass(frozen=True)
class Chunk:
    """H rows of D channel values; row k is meant for ROS time start + k * period.

    `values` [H, D] in robot units (rad, m, rad/s, m/s, gripper 0..1), copied and made read-only. Nothing is checked
    here: `check_chunk` says whether a chunk is usable, so that a broken message can be counted instead of raised.
    """

    start: float
    period: float
    names: tuple[str, ...]
    values: Array
    sequence: int
    epoch: int
    source: str = ""
    frozen_rows: int = 0
    subtask: str = ""

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    @property
    def rows(self) -> int:
        """H, or 0 if the values are no table."""
        return int(self.values.shape[0]) if self.values.ndim == 2 else 0

    @property
    def end(self) -> float:
        """ROS time of the last row; a single row lasts one period."""
        return self.start + max(self.rows - 1, 1) * self.period


class Cause(Enum):
    """Why a chunk was not taken."""

    NONE = "none"
    MALFORMED = "malformed"
    OLD_EPOCH = "old epoch"
    NOT_DRIVING = "not driving"
    BEYOND_LIMIT = "beyond a limit"
    FAR_START = "far start"
    TOO_FAST = "too fast"
    DELAY = "delay"


@dataclass(frozen=True)
class Verdict:
    """Whether a chunk was taken, and one sentence why not."""

    accepted: bool
    reason: str = ""
    cause: Cause = Cause.NONE


ACCEPTED = Verdict(True)


def unflatten(flat: Sequence[float] | Array, width: int) -> Array:
    """Rows [H, width] of a flat row-by-row message field; [1, N] if it does not divide, which is then refused."""
    values = np.asarray(flat, dtype=np.float64).ravel()
    return values.reshape(-1, width) if width > 0 and values.size % width == 0 else values.reshape(1, -1)


def check_shape(chunk: Chunk, robot: Robot) -> str:
    """What is wrong with the table or its channel names, "" if nothing is."""
    names, shape = chunk.names, chunk.values.shape
    if len(shape) != 2 or shape[0] < 1 or shape[1] != len(names):
        return f"values of shape {tuple(shape)} do not fit {len(names)} channel names"
    if shape[0] > MAX_ROWS:
        return f"{shape[0]} rows are more than {MAX_ROWS}"
    # In this order, so that a message of 100,000 names costs no more than a look at each.
    if (unknown := next((n for n in names if n not in robot.index), None)) is not None:
        return f"channel {quote(unknown)} is not one of {robot.name}"
    there = Counter(names)
    if twice := [n for n, count in there.items() if count > 1]:
        return f"channel {twice[0]} is there twice"
    if missing := [n for n in robot.channel_names if n not in there]:
        return f"channel {missing[0]} of {robot.name} is missing"
    return ""


def check_values(chunk: Chunk) -> str:
    """Where a value is not finite, "" if all are."""
    finite = np.isfinite(chunk.values)
    if bool(finite.all()):
        return ""
    row, column = np.argwhere(~finite)[0]
    return f"{chunk.names[column]} is {chunk.values[row, column]} in row {row}"


@dataclass(frozen=True)
class Ages:
    """How old and how early an observation may be [s]: `oldest` while the robot moves, `waiting` if it has not moved
    since; `ahead` of the ROS clock."""

    oldest: float
    waiting: float
    ahead: float


def check_time(chunk: Chunk, ros: float, ages: Ages, executed: float) -> str:
    """What is wrong with start, period or age at ROS time `ros` [s], "" if nothing is.

    `executed`: seconds of plan that have been executed since the observation; rows are over when they have been executed.
    """
    if not (math.isfinite(chunk.period) and MIN_PERIOD <= chunk.period <= MAX_PERIOD):
        return f"period {chunk.period} s is not between {MIN_PERIOD} and {MAX_PERIOD} s"
    if not math.isfinite(chunk.start):
        return f"start {chunk.start} is no time"
    age = ros - chunk.start
    if executed > 0.0 and age > ages.oldest:
        return f"stale: its observation is {age:.2f} s old, more than chunk_max_age {ages.oldest:.2f} s"
    if age > ages.waiting:
        return f"stale: its observation is {age:.2f} s old, more than wait_max_age {ages.waiting:.2f} s"
    if age < -ages.ahead:
        return (
            f"its observation is {-age:.2f} s in the future, more than chunk_max_ahead {ages.ahead:.2f} s: "
            f"the clock that stamps it is ahead of this one; synchronise them"
        )
    if chunk.start + executed >= chunk.end:
        return f"it ended {chunk.start + executed - chunk.end:.2f} s ago"
    return ""


def check_order(chunk: Chunk, epoch: int, sequences: Mapping[str, int]) -> str:
    """Whether the chunk answers `epoch` and comes after the last one of its source, "" if it does."""
    if chunk.epoch != epoch:
        return f"epoch {chunk.epoch} is not the current epoch {epoch}"
    return order_problem(chunk.source, chunk.sequence, sequences)


def check_chunk(
    chunk: Chunk, robot: Robot, ros: float, ages: Ages, executed: float, epoch: int, sequences: Mapping[str, int]
) -> Verdict:
    """All checks in order, the first failure as one sentence. Never raises for any content of a `Chunk`."""
    if not isinstance(chunk.frozen_rows, int) or chunk.frozen_rows < 0:
        return Verdict(False, f"frozen_rows {chunk.frozen_rows!r} is no count")
    reason = (
        check_shape(chunk, robot)
        or check_values(chunk)
        or check_time(chunk, ros, ages, executed)
        or check_order(chunk, epoch, sequences)
    )
    return Verdict(False, reason, Cause.MALFORMED) if reason else ACCEPTED


def in_robot_order(chunk: Chunk, robot: Robot) -> Array:
    """Values [H, D] with the columns in the robot's channel order; the names must have passed `check_shape`."""
    if chunk.names == robot.channel_names:
        return chunk.values
    column = {name: i for i, name in enumerate(chunk.names)}
    return chunk.values[:, [column[name] for name in robot.channel_names]]


def on_nearest_turn(chunk: Chunk, robot: Robot, command: Array) -> Chunk:
    """The same plan with the angles of joints without ends on the turn of the `command` [D], and without jumps by turns.

    The chunk must have passed `check_shape` and `check_values`.
    """
    continuous = {c.name for c in robot.channels if c.continuous}
    columns = np.array([name in continuous for name in chunk.names])
    reference = np.array([command[robot.index[name]] for name in chunk.names])
    return replace(chunk, values=unwrap_rows(chunk.values, reference, columns))
