"""What one control period gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pi0_ros.control.events import Event
from pi0_ros.control.modes import Mode

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """Whether a request was granted, and what it led to or why not."""

    ok: bool
    message: str


class Command(NamedTuple):
    """All channels of one control period: `values` [D] in robot units, `velocities` [D] their derivatives.

    For a velocity channel both are the velocity.
    """

    stamp: float
    names: tuple[str, ...]
    values: Array
    velocities: Array


@dataclass(frozen=True)
class Counters:
    """Totals since the start, as in ExecutorState.msg; `ignored` counts messages of a source that was not the owner."""

    chunks_accepted: int = 0
    chunks_rejected: int = 0
    underruns: int = 0
    limited: int = 0
    overruns: int = 0
    ignored: int = 0
    refused: int = 0


@dataclass(frozen=True)
class Seam:
    """What the newest splice did to the commands: its share of the first step after it, and the raw disagreement.

    `position`, `velocity` (`velocity_share`: over its limit) of the worst channel compare the first command of
    the new plan with what the old plan would have sent; `gap` is how far apart the two plans themselves were. It is
    computed after that command was sent, so the next step is the first to have it.
    """

    position: float = 0.0
    velocity: float = 0.0
    velocity_share: float = 0.0
    gap: float = 0.0


class Step(NamedTuple):
    """Result of `Executor.step`. `command` is None if nothing may be published."""

    command: Command | None
    mode: Mode
    reason: str
    owner: str  # "none", "hold", "teleop" or "policy"
    epoch: int
    plan_sequence: int
    plan_left: float
    starved: bool  # in autonomy, its plan has run out and the next chunk is waited for
    splice_delay: float
    delay_p95: float
    strategy: str
    seam: Seam
    plan_rate: float  # path seconds per second: 1 as the rows say, less if limits or the first second slow them
    tracking_error: float
    measured: Array
    counters: Counters
    events: tuple[Event, ...]
