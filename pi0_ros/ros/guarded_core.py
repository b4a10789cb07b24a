"""The control core, and the fallback stop that commands in its place after it has raised, until somebody resets it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from pi0_ros.control import Answer, Command, Event, Executor, ExecutorSettings, Step
from pi0_ros.control.fallback_stop import FallbackStop
from pi0_ros.control.step import Seam
from pi0_ros.robot.spec import Robot
from pi0_ros.ros.plan_thread import PlanThread


def first_epoch() -> int:
    """At random: a chunk that answers an executor which ran before does not meet its epoch again."""
    return secrets.randbelow(2**31 - 1) + 1


class GuardedCore:
    """One command per period, whatever happens in the core. Belongs to the control thread."""

    def __init__(self, robot: Robot, settings: ExecutorSettings, planner: PlanThread) -> None:
        self._new_core: Callable[[], Executor] = lambda: Executor(robot, settings, first_epoch(), planner)
        self._fallback, self._period = FallbackStop(robot), 1.0 / robot.control_rate
        self.core = self._new_core()
        self.step: Step | None = None
        """What the core did last."""
        self.last: Command | None = None
        """The command that was sent last; set by who sends it."""
        self.fault = self.trace = ""
        """Why the core was given up, in one line, "" while it runs; and the whole traceback."""
        self._events: tuple[Event, ...] = ()
        self._seam = self.worst_seam = Seam()

    def command(self, steady: float, ros: float) -> Command | None:
        """The command of the period that begins at `steady` and ROS time `ros` [s], None as long as there is none."""
        if self.fault:
            return self._fallback_command(steady, ros)
        self.step = self.core.step(steady, ros)
        self._events = self.step.events
        if self.step.seam is not self._seam:
            self._seam = self.step.seam
            self.worst_seam = Seam(*map(max, vars(self.worst_seam).values(), vars(self._seam).values()))
        return self.step.command

    def _fallback_command(self, steady: float, ros: float) -> Command | None:
        if self.last is None:
            return None
        command = self._fallback.step(self.last, ros, self._period)
        self.core.blackbox.add(steady, ros, "command", (command.stamp, command.values), command.values.nbytes)
        return command

    @property
    def driven(self) -> bool:
        """Whether a policy or a person moves the robot, and the core runs."""
        return not self.fault and self.step is not None and self.step.owner in ("policy", "teleop")

    def take_events(self) -> tuple[Event, ...]:
        """What the core had to say since the last call."""
        events, self._events = self._events, ()
        return events

    def fail(self, steady: float, ros: float, trace: str) -> None:
        """The period raised: remember why, and brake from the last command on. A fault of the braking changes nothing."""
        if not self.fault:
            self.core.blackbox.add(steady, ros, "event", Event(steady, ros, "error", "fault", trace), len(trace))
            self.trace, self.fault = trace, trace.strip().splitlines()[-1]

    def request(self, steady: float, ros: float, request: str, policies: Callable[[], tuple[str, ...]]) -> Answer:
        """Ask the core for a mode; `policies()` are the nodes that publish chunks now. After a fault everything but a reset is refused.

        After a reset that followed a fault `core` is another one.
        """
        if not self.fault:
            self.core.on_policy(lambda policy: policy.seen(policies()))
            return self.core.request(steady, ros, request)
        if request != "reset":
            return Answer(False, f"stopped after a fault in the executor, reset first: {self.fault}")
        self.core = self._new_core()
        self.fault = self.trace = ""
        return Answer(True, "the control core was started anew; it waits for state in hold")
