"""executor: turns action chunks and teleop input into limited commands at a fixed rate, and owns every command topic.

Three threads: the control thread (`ros/control_thread.py`) reads, computes and sends, and depends on nobody; the reporter
(`ros/executor_reporter.py`) tells others what it did; ROS's own has the lifecycle and the diagnostics.
"""

from __future__ import annotations

from dataclasses import replace

from pi0_ros.control import Chunk, ExecutorSettings
from pi0_ros.control.limits import stop_time
from pi0_ros.nodes.executor_parameters import SETTINGS, TABLE
from pi0_ros.robot import RobotError, load_robot
from pi0_ros.ros.command_writer import CommandWriter
from pi0_ros.ros.configured import Configured
from pi0_ros.ros.control_thread import ControlThread
from pi0_ros.ros.diagnostics import WARN, Health
from pi0_ros.ros.executor_black_box import ExecutorBlackBox
from pi0_ros.ros.executor_health import health_of
from pi0_ros.ros.executor_inputs import ExecutorInputs
from pi0_ros.ros.executor_parts import ExecutorParts
from pi0_ros.ros.executor_reporter import ExecutorReporter, Publishing
from pi0_ros.ros.garbage import pause_collector, resume_collector
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.loop import raise_thread_priorities, restore_thread_priorities
from pi0_ros.ros.matching import Matching, ports
from pi0_ros.ros.motion_report import MotionReport
from pi0_ros.ros.notify import extend_timeout
from pi0_ros.ros.parameters import Overrides, ParameterError
from pi0_ros.ros.request_services import RequestServices
from pi0_ros.ros.robot_lock import RobotLock, RobotLockError
from pi0_ros.ros.run import never_wait_for_output, never_wait_for_readers, run
from pi0_ros.ros.second_publishers import SecondPublishers

REST_MARGIN = 0.5  # [s] for coming to rest on deactivation, beyond what the limits ask for
ACKNOWLEDGE = 1.5  # [s] for the last commands to arrive; less if they have, or if nobody reads them reliably
ENDING = 2.0  # [s] for what a process does after that
WRITE_TIMEOUT = 1.0  # [s] for the last black box to be written
BELOW = 10  # how far below the control thread's real-time priority the other threads of the process are


class ExecutorNode(ManagedNode, Configured[ExecutorParts]):
    """The only node that commands the robot."""

    table = TABLE
    expected = (ParameterError, RobotError, RobotLockError)

    def __init__(self, name: str = "executor", parameter_overrides: Overrides = None) -> None:
        super().__init__(name, parameter_overrides)
        self._requests = RequestServices(self, "the executor is not active; activate it first")
        self._parts: ExecutorParts | None = None
        self._robot_lock: RobotLock | None = None
        self.control: ControlThread | None = None
        self._reporter: ExecutorReporter | None = None

    # --- lifecycle ---

    def setup(self) -> None:
        """Load the robot, make the publishers, the subscriptions and the services."""
        robot, values = load_robot(self.values.robot), self.values
        for sentence in robot.warnings:
            self.get_logger().warning(sentence)
        robot = replace(robot, control_rate=values.rate or robot.control_rate)
        period = 1.0 / robot.control_rate
        settings = ExecutorSettings(**{name: getattr(values, name) for name in SETTINGS})
        # First of all: a second executor must not even appear as a publisher beside the one that drives.
        self._robot_lock = RobotLock(robot.name, self.get_namespace())
        commands = CommandWriter(self, robot, period, self.own)
        second = SecondPublishers(self, self.clocks, commands.publishers, self._on_second_publisher)
        self.own(second.timer)
        publishing, inputs = Publishing(self, robot), ExecutorInputs(self, robot, period)
        box = self.own(ExecutorBlackBox(self, robot, values))
        matching = Matching(self, self.clocks.timer, ports(inputs.subscriptions, commands.publishers))
        self.own(matching.timer)
        self.clocks.on_jump(self._on_clock_jump)
        self._parts = ExecutorParts(robot, period, settings, commands, second, publishing, inputs, matching, box)

    def start(self) -> None:
        """Start the control thread, in HOLD, with nothing remembered of an earlier activation."""
        pause_collector()
        parts, logger = self.parts, self.get_logger()
        motion = MotionReport(parts.robot, parts.period)
        reporter = self._reporter = ExecutorReporter(
            parts.publishing, logger, motion, parts.period, self._remaining_plan, parts.black_box.save
        )
        control = self.control = ControlThread(
            parts.robot,
            parts.settings,
            self.clocks,
            parts.inputs,
            parts.commands,
            self._requests,
            reporter.periods.offer,
        )
        for thread in (*parts.black_box.start(control), reporter.thread):
            self.watch_thread(thread)
        reporter.start()
        self._on_second_publisher(parts.second.look_first())
        priority = self.values.realtime_priority
        refused = control.start(priority, self.values.cpu)
        self.watch_thread(control.thread)
        for sentence in refused:
            logger.warning(sentence)
        if priority and not refused:
            raise_thread_priorities(priority - BELOW)

    def halt(self) -> None:
        """Decelerate, wait until the commands are at rest, then go quiet."""
        if self.control is None:
            return
        parts = self.parts
        timeout = stop_time(parts.robot.groups, parts.period) + REST_MARGIN
        extend_timeout(timeout + ACKNOWLEDGE + WRITE_TIMEOUT + ENDING)
        if not self.control.stop(timeout):
            self.get_logger().error(f"the commands did not come to rest within {timeout:.1f} s; going quiet anyway")
        parts.commands.wait_for_acknowledgement(ACKNOWLEDGE)
        if self._reporter is not None:
            self._reporter.stop()
        self.control = None
        parts.black_box.stop(WRITE_TIMEOUT)
        if self.values.realtime_priority:
            restore_thread_priorities()
        resume_collector()

    def teardown(self) -> None:
        """Let go of the robot."""
        if self._robot_lock is not None:
            self._robot_lock.release()
            self._robot_lock = None
        self._parts = None

    # --- between the threads ---

    def _on_clock_jump(self) -> None:
        if (control := self.control) is not None:
            control.post(control.core.on_clock_jump)

    def _on_second_publisher(self, sentence: str) -> None:
        if (control := self.control) is not None:
            control.post(lambda steady, ros: control.core.on_second_publisher(steady, ros, sentence))

    def _remaining_plan(self, ros: float) -> Chunk | None:
        return self.control.core.running_plan(ros) if self.control is not None else None

    def health(self) -> Health:
        """Mode, rates and timing."""
        control, reporter, stops = self.control, self._reporter, self.values.second_publisher == "stop"
        if control is None or reporter is None:
            return Health(WARN, "starting")
        return health_of(self.parts, control, reporter, self.clocks.steady(), stops)


def main() -> int:
    """Run the node."""
    never_wait_for_output()
    never_wait_for_readers()
    return run(lambda _: [ExecutorNode()])


if __name__ == "__main__":
    raise SystemExit(main())
