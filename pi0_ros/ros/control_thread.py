"""The control thread of the executor: once a period it reads, runs the control core, sends, and hands over a snapshot.

Nothing that can block is on its way, and nothing else runs in it: who reports, draws or writes files gets an immutable
`Period` and works in a thread of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from pi0_ros.control import Answer, Command, Event, Executor, ExecutorSettings, Step
from pi0_ros.control.modes import Mode
from pi0_ros.control.step import Seam
from pi0_ros.robot.spec import Robot
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.command_writer import CommandWriter
from pi0_ros.ros.executor_inputs import ExecutorInputs
from pi0_ros.ros.guarded_core import GuardedCore
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.loop import Loop
from pi0_ros.ros.plan_thread import PlanThread
from pi0_ros.ros.request_services import RequestServices
from pi0_ros.ros.rest_watch import RestWatch
from pi0_ros.ros.timing import Timing

INBOX = 1024  # notes from other threads that wait for the next period

Note = Callable[[float, float], object]
"""Something to be done in the control thread, `note(steady, ros)`."""


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
    """Owns the control core and runs it. `report(period)` is called at the end of every period and must not block."""

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
        self._clocks, self._inputs, self._writer, self._requests, self._report = (
            clocks,
            inputs,
            writer,
            requests,
            report,
        )
        period = 1.0 / robot.control_rate
        self._planner = PlanThread(period)
        self._guarded = GuardedCore(robot, settings, self._planner)
        writer.include_unmeasured(False)
        inputs.deliver_to(self.core)
        self._inbox: deque[Note] = deque(maxlen=INBOX)
        self._rest = RestWatch()
        self._looked = False  # whether nothing more is read of chunks before the next command
        self._loop = Loop(period, self._tick, self._failed, first=True, prepare=self._prepare, look=self._look)

    # --- from other threads ---

    @property
    def core(self) -> Executor:
        """The control core, another one after a reset that followed a fault."""
        return self._guarded.core

    @property
    def worst_seam(self) -> Seam:
        """The largest jumps from one plan to the next, each by itself."""
        return self._guarded.worst_seam

    def start(self, priority: int, cpu: int) -> list[str]:
        """Start in HOLD, with real-time `priority` on processor `cpu` (0 and -1: off). What the system refused."""
        refused = self._loop.start(priority, cpu)
        self._requests.poll(True)
        return refused

    def stop(self, timeout: float) -> bool:
        """Decelerate, end the thread at rest or after `timeout` [s]; whether the commands came to rest."""
        self._rest.restart()
        self.post(self._hold_to_rest)
        rested = self._rest.wait(timeout)
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
            found, step = self._inputs.read_chunks(), self._guarded.step
            self._looked = found or step is None or step.mode is not Mode.AUTONOMY

    def _prepare(self) -> None:
        self._inputs.read_routine()

    def _tick(self, deadline: float, late: float) -> None:
        ros = self._clocks.ros() - max(late, 0.0)
        self._inputs.read_urgent()
        self._requests.take(lambda request: self._ask(deadline, ros, request))
        while self._inbox:
            self._inbox.popleft()(deadline, ros)
        command = self._guarded.command(deadline, ros)
        if self._guarded.driven:
            self._writer.include_unmeasured(True)
        if command is not None:
            self._writer.send(command)
            self._guarded.last = command
        self._rest.update(command)
        self._hand_over(command is not None)
        self._requests.reply()
        self._planner.due, self._looked = deadline + self._loop.period, False

    def _ask(self, steady: float, ros: float, request: str) -> Answer:
        before = self.core
        answer = self._guarded.request(steady, ros, request, self._inputs.policies)
        if self.core is not before:
            self._inputs.replace_core(self.core)
        return answer

    def _hold_to_rest(self, steady: float, ros: float) -> None:
        self.core.request(steady, ros, "hold")
        self._rest.restart()

    def _failed(self, trace: str) -> None:
        """The core raised: brake from the last command on; `reset` starts a new core."""
        self._guarded.fail(self._clocks.steady(), self._clocks.ros(), trace)
        self._hand_over(False)

    def _hand_over(self, sent: bool) -> None:
        core, events = self._guarded, self._inputs.events() + self._guarded.take_events()
        self._report(Period(core.step, core.last, sent, core.fault, core.trace, events, self._loop.times.overruns))
