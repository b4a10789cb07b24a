"""Whether commands may go out: from the first good measurement on, and not after it was lost and all is at rest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pi0_ros.control.acceptance import beyond_limits
from pi0_ros.control.inputs import Inputs
from pi0_ros.control.journal import Journal, Now
from pi0_ros.control.modes import Trigger
from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]
AGAIN = 10.0  # [s] between two log lines of a robot that is not there yet
UNMEASURED = {Kind.VELOCITY: 0.0, Kind.GRIPPER: 1.0}  # where channels start that nobody measures: at rest, open


class StartUp:
    """What a robot waits for before it is commanded."""

    def __init__(self, robot: Robot, inputs: Inputs, journal: Journal) -> None:
        self._robot, self._inputs, self._journal = robot, inputs, journal
        self.done = False
        """Commands go out."""
        self.waiting = ""
        """What is waited for, "" for nothing."""

    def change_owner(self, _: float) -> None:
        """Somebody asked for another mode: what is waited for is said anew."""
        self.waiting = ""

    def begin(self) -> None:
        """Commands go out from now on."""
        self.done, self.waiting = True, ""

    def objection(self, steady: float, quiet: str) -> str:
        """Why the robot cannot be commanded yet, "" if it can; `quiet`: what has not been measured lately."""
        return (
            self._inputs.competitors.get(Trigger.SECOND_PUBLISHER) or quiet or self._inputs.measured.unsettled(steady)
        )

    def wait(self, now: Now, why: str) -> None:
        """Say what is waited for."""
        self.waiting = f"waiting: {why}"
        self._journal.note(now, "warn", "waiting", self.waiting, AGAIN)

    def place(self, now: Now) -> Array:
        """Where the commands [D] begin: at the measurement, at rest."""
        unmeasured = np.array([UNMEASURED.get(c.kind, np.nan) for c in self._robot.channels])
        driven = np.array([c.kind is Kind.VELOCITY for c in self._robot.channels])
        start: Array = np.where(driven, 0.0, self._inputs.measured.or_commanded(unmeasured))
        limits = [c.limits for c in self._robot.channels]
        lower, upper = np.array([m.lower for m in limits]), np.array([m.upper for m in limits])
        if beyond := beyond_limits(self._robot, start, lower, upper):
            self._journal.note(now, "warn", "beyond limit", beyond)
        return start
