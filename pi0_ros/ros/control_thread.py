"""The control thread of the executor: once a period it reads, runs the control core, sends, and hands over a snapshot.

Nothing that can block is on its way, and nothing else runs in it: who reports, draws or writes files gets an immutable
`Period` and works in a thread of its own.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from pi0_ros.control import Answer, Command, Event, Executor, ExecutorSettings, Step
from pi0_ros.control.fallback_stop import FallbackStop
from pi0_ros.control.modes import Mode
from pi0_ros.control.step import Seam
from pi0_ros.robot.spec import Robot
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.command_writer import CommandWriter
from pi0_ros.ros.executor_inputs import ExecutorInputs
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.loop import Loop
from pi0_ros.ros.plan_thread import PlanThread
from pi0_ros.ros.request_services import RequestServices
from pi0_ros.ros.timing import Timing

INBOX = 1024  # notes from other threads that wait for the next period
REST_SPEED = 1e-4  # [rad/s, m/s] below this in every channel ...
REST_TICKS = 3  # ... for this many periods the robot is at rest

Note = Callable[[float, float], object]
"""Something to be done in the control thread, `note(steady, ros)`."""


def first_epoch() -> int:
    """At random: a chunk that answers an executor which ran before does not meet its epoch again."""
    return secrets.randbelow(2**31 - 1) + 1


class Period(NamedTuple):
    """What one control period has left: the newest `step` and `command` (None before the first), and what happened.

    `sent`: the command is of this period. `fault`: why the core was given up, in one line, with its `trace`.
    """

    step: Step | None = None
    command: Command | None = None
    sent: bool = False
    fault: str = ""
    trace: str = ""
    events: tuple[Event, ...] = ()
    overruns: int = 0

    @property
    def mode(self) -> str:
        """The mode, with a fault of the executor as stopped."""
        if self.fault:
            return "stopped"
        return self.step.mode.value if self.step is not None else "hold"

    @property
    def reason(self) -> str:
        """Why it is in this mode, or what it waits for."""
        if self.fault:
            return f"fault in the executor: {self.fault}"
        return self.step.reason if self.step is not None else "starting"


class ControlThread:
    """Owns the control core and runs it. `report(period)` is called at the end of every period and must not block.

    Larger than a class should be because it owns everything that the control loop uses.
    """

    def __init__(
        self,
        robot: Robot,
        settings: ExecutorSettings,
        clocks: Clocks,
        inputs: ExecutorInputs,
        writer: CommandWriter,
        requests: RequestServices,
        report: Callable[[Period], None],
    ) -> None:
        self._robot, self._settings, self._clocks = robot, settings, clocks
        self._inputs, self._writer, self._requests, self._report = inputs, writer, requests, report
        self._period = 1.0 / robot.control_rate
        self._fallback = FallbackStop(robot)
        self._planner = PlanThread(self._period)
        self.core = Executor(robot, settings, first_epoch(), self._planner)
        writer.include_unmeasured(False)
        inputs.deliver_to(self.core)
        self._inbox: deque[Note] = deque(maxlen=INBOX)
        self._last, self._step, self._events = None, None, ()
        self._fault = self._trace = ""
        self._resting, self._rested = threading.Event(), 0
        self._seam = self.seam_worst = Seam()
        self._loop = Loop(self._period, self._tick, self._failed, first=True, prepare=self._prepare, look=self._look)

    _looked: bool = False  # whether nothing more is read of chunks before the next command
    _last: Command | None
    _step: Step | None
    _events: tuple[Event, ...]

    # --- from other threads ---

    def start(self, priority: int, cpu: int) -> list[str]:
        """Start in HOLD, with real-time `priority` on processor `cpu` (0 and -1: off). What the system refused."""
        refused = self._loop.start(priority, cpu)
        self._requests.poll(True)
        return refused

    def stop(self, timeout: float) -> bool:
        """Decelerate, end the thread at rest or after `timeout` [s]; whether the commands came to rest."""
        self._resting.clear()
        self.post(self._hold_to_rest)
        rested = self._resting.wait(timeout)
        self._loop.stop()
        self._planner.stop()
        self._requests.poll(False)
        return rested

    def post(self, note: Note) -> None:
        """Have something done at the beginning of the next period."""
        self._inbox.append(note)

    @property
    def thread(self) -> GuardedThread:
        """The thread, for the diagnostics."""
        assert self._loop.thread is not None
        return self._loop.thread

    def timing(self) -> Timing:
        """How well it keeps time."""
        return self._loop.times.timing()

    # --- the thread itself ---

    def _look(self) -> None:
        """After a command, and not shortly before one: a chunk takes milliseconds to judge, and its plan some more.

        The earlier it is judged, the earlier its plan is ready. One that comes too late for the next command is too late
        for it wherever it is read.
        """
        if not self._looked:
            found = self._inputs.read_chunks()
            self._looked = found or self._step is None or self._step.mode is not Mode.AUTONOMY

    def _prepare(self) -> None:
        self._inputs.read_routine()

    def _tick(self, deadline: float, late: float) -> None:
        ros = self._clocks.ros() - max(late, 0.0)
        self._inputs.read_urgent()
        self._requests.take(lambda request: self._ask(deadline, ros, request))
        while self._inbox:
            self._inbox.popleft()(deadline, ros)
        command = self._fallback_command(deadline, ros) if self._fault else self._core_command(deadline, ros)
        if command is not None:
            self._writer.send(command)
            self._last = command
        self._watch_rest(command)
        self._hand_over(command is not None)
        self._requests.reply()
        self._planner.due, self._looked = deadline + self._period, False

    def _core_command(self, steady: float, ros: float) -> Command | None:
        self._step = self.core.step(steady, ros)
        if self._step.owner in ("policy", "teleop"):
            self._writer.include_unmeasured(True)
        self._events = self._step.events
        if self._step.seam is not self._seam:
            self._seam = self._step.seam
            self.seam_worst = Seam(*map(max, vars(self.seam_worst).values(), vars(self._seam).values()))
        return self._step.command

    def _fallback_command(self, steady: float, ros: float) -> Command | None:
        if self._last is None:
            return None
        command = self._fallback.step(self._last, ros, self._period)
        self.core.blackbox.add(steady, ros, "command", (command.stamp, command.values), command.values.nbytes)
        return command

    def _ask(self, steady: float, ros: float, request: str) -> Answer:
        if not self._fault:
            self.core.on_policy(lambda policy: policy.seen(self._inputs.policies()))
            return self.core.request(steady, ros, request)
        if request != "reset":
            return Answer(False, f"stopped after a fault in the executor, reset first: {self._fault}")
        self.core = Executor(self._robot, self._settings, first_epoch(), self._planner)
        self._fault = self._trace = ""
        self._inputs.replace_core(self.core)
        return Answer(True, "the control core was started anew; it waits for state in hold")

    def _hold_to_rest(self, steady: float, ros: float) -> None:
        self.core.request(steady, ros, "hold")
        self._rested = 0
        self._resting.clear()

    def _watch_rest(self, command: Command | None) -> None:
        if command is None:
            self._resting.set()
            return
        moving = bool((abs(command.velocities) > REST_SPEED).any())
        self._rested = 0 if moving else self._rested + 1
        if self._rested >= REST_TICKS:
            self._resting.set()

    def _failed(self, trace: str) -> None:
        """The core raised: remember why and brake from the last command on; `reset` starts a new core."""
        if not self._fault:
            steady, ros = self._clocks.steady(), self._clocks.ros()
            self.core.blackbox.add(steady, ros, "event", Event(steady, ros, "error", "fault", trace), len(trace))
            self._trace, self._fault = trace, trace.strip().splitlines()[-1]
        self._hand_over(False)

    def _hand_over(self, sent: bool) -> None:
        events, self._events = self._inputs.events() + self._events, ()
        self._report(Period(self._step, self._last, sent, self._fault, self._trace, events, self._loop.times.overruns))
