"""executor: turns action chunks and teleop input into limited commands at a fixed rate, and owns every command topic.

Three threads: the control thread (`ros/control_thread.py`) reads, computes and sends, and depends on nobody; the reporter
(`ros/executor_reporter.py`) tells others what it did; ROS's own has the lifecycle and the diagnostics.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

from pi0_ros.control import Chunk, ExecutorSettings
from pi0_ros.control.limits import stop_time
from pi0_ros.data.blackbox_file import Keep
from pi0_ros.nodes.executor_parameters import SETTINGS, TABLE
from pi0_ros.robot import Robot, RobotError, load_robot
from pi0_ros.ros.black_box_folder import black_box_folder, black_box_problem
from pi0_ros.ros.black_box_writer import BlackBoxWriter
from pi0_ros.ros.camera_thumbnails import CameraThumbnails
from pi0_ros.ros.command_writer import CommandWriter
from pi0_ros.ros.control_thread import ControlThread
from pi0_ros.ros.diagnostics import WARN, Health
from pi0_ros.ros.executor_health import executor_health, executor_values, with_second_publisher
from pi0_ros.ros.executor_inputs import ExecutorInputs
from pi0_ros.ros.executor_parts import ExecutorParts
from pi0_ros.ros.executor_reporter import ExecutorReporter, Publishing
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
ACKNOWLEDGE = 1.5  # [s] for the last commands to arrive; less where they have, or where nobody reads them reliably
ENDING = 2.0  # [s] for what a process does after that
WRITE_TIMEOUT = 1.0  # [s] for the last black box to be written
BELOW = 10  # how far below the control thread's real-time priority the other threads of the process are


class ExecutorNode(ManagedNode):
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
        self._writer: BlackBoxWriter | None = None
        self._thumbnails: CameraThumbnails | None = None

    # --- lifecycle ---

    @property
    def parts(self) -> ExecutorParts:
        """What `setup` made; only while the node is configured."""
        assert self._parts is not None
        return self._parts

    @property
    def robot(self) -> Robot:
        """The robot, at the rate at which it is controlled."""
        return self.parts.robot

    def setup(self) -> None:
        """Load the robot, make the publishers, the subscriptions and the services."""
        robot, values = load_robot(self.values.robot), self.values
        for sentence in robot.warnings:
            self.get_logger().warning(sentence)
        robot = replace(robot, control_rate=values.rate or robot.control_rate)
        period, namespace = 1.0 / robot.control_rate, self.get_namespace()
        settings = ExecutorSettings(**{name: getattr(values, name) for name in SETTINGS})
        # First of all: a second executor must not even appear as a publisher beside the one that drives.
        self._robot_lock = RobotLock(robot.name, namespace)
        commands = CommandWriter(self, robot, period, self.own)
        second = SecondPublishers(self, self.clocks, commands.publishers, self._on_second_publisher)
        self.own(second.timer)
        publishing, inputs = Publishing(self, robot), ExecutorInputs(self, robot, period)
        box = black_box_folder(values.black_box, namespace, robot.name) if values.black_box else None
        no_box = black_box_problem(box) if box is not None else ""
        if no_box:
            self.get_logger().error(no_box)
        if box is not None and values.picture_period:
            self._thumbnails = CameraThumbnails(self, robot.cameras, values.picture_period, self._on_thumbnail)
        matching = Matching(self, self.clocks.timer, ports(inputs.subscriptions, commands.publishers))
        self.own(matching.timer)
        self.clocks.on_jump(self._on_clock_jump)
        self._parts = ExecutorParts(
            robot, period, settings, commands, second, publishing, inputs, matching, box, no_box
        )

    def start(self) -> None:
        """Start the control thread, in HOLD, with nothing remembered of an earlier activation."""
        gc.collect()
        gc.freeze()
        gc.disable()
        parts = self.parts
        if parts.black_box is not None:
            keep = Keep(bytes=int(self.values.black_box_gb * 1e9), days=self.values.black_box_days)
            names = parts.robot.channel_names
            self._writer = BlackBoxWriter(parts.black_box, names, self._boxed, self._not_boxed, keep)
        motion = MotionReport(parts.robot, parts.period)
        reporter = self._reporter = ExecutorReporter(
            parts.publishing, self.get_logger(), motion, parts.period, self._remaining_plan, self._save
        )
        control = self.control = ControlThread(
            parts.robot,
            parts.settings,
            self.clocks,
            parts.inputs,
            parts.commands,
            self._requests,
            reporter.offer,
        )
        if self._thumbnails is not None:
            self.watch_thread(self._thumbnails.start())
        reporter.start()
        for each in (reporter, self._writer):
            if each is not None:
                self.watch_thread(each.thread)
        self._on_second_publisher(parts.second.look_first())
        priority = self.values.realtime_priority
        refused = control.start(priority, self.values.cpu)
        self.watch_thread(control.thread)
        for sentence in refused:
            self.get_logger().warning(sentence)
        if priority and not refused:
            raise_thread_priorities(priority - BELOW)

    def halt(self) -> None:
        """Decelerate, wait until the robot is told to stand still, then go quiet."""
        if self.control is None:
            return
        timeout = stop_time(self.robot.groups, self.parts.period) + REST_MARGIN
        extend_timeout(timeout + ACKNOWLEDGE + WRITE_TIMEOUT + ENDING)
        if not self.control.stop(timeout):
            self.get_logger().error(f"the commands did not come to rest within {timeout:.1f} s; going quiet anyway")
        self.parts.commands.wait_for_acknowledgement(ACKNOWLEDGE)
        if self._reporter is not None:
            self._reporter.stop()
        self.control = None
        if self._thumbnails is not None:
            self._thumbnails.stop()
        if self._writer is not None:
            self._writer.close(WRITE_TIMEOUT)
            self._writer = None
        if self.values.realtime_priority:
            restore_thread_priorities()
        gc.enable()
        gc.unfreeze()

    def teardown(self) -> None:
        """Let go of the cameras and of the robot."""
        if self._robot_lock is not None:
            self._robot_lock.release()
            self._robot_lock = None
        if self._thumbnails is not None:
            self._thumbnails.close()
            self._thumbnails = None
        self._parts = None

    # --- from the other threads to the control thread ---

    def _on_clock_jump(self) -> None:
        if self.control is not None:
            control = self.control
            control.post(control.core.on_clock_jump)

    def _on_second_publisher(self, sentence: str) -> None:
        if self.control is not None:
            control = self.control
            control.post(lambda steady, ros: control.core.on_second_publisher(steady, ros, sentence))

    def _on_thumbnail(self, camera: str, stamp: float, jpeg: bytes) -> None:
        if self.control is not None:
            box = self.control.core.blackbox
            self.control.post(
                lambda steady, ros: box.add(steady, ros, "picture", (camera, stamp or ros, jpeg), len(jpeg))
            )

    # --- for the reporter ---

    def _remaining_plan(self, ros: float) -> Chunk | None:
        return self.control.core.running_plan(ros) if self.control is not None else None

    def _save(self, reason: str) -> None:
        if self._writer is not None and self.control is not None:
            self._writer.save(self.control.core.blackbox.snapshot(), reason)

    def _boxed(self, file: Path) -> None:
        self.get_logger().info(f"black box: {file}")

    def _not_boxed(self, sentence: str) -> None:
        self.get_logger().error(sentence)

    def health(self) -> Health:
        """Mode, rates and timing."""
        control, reporter = self.control, self._reporter
        if control is None or reporter is None or reporter.latest.step is None:
            return Health(WARN, "starting")
        parts, steady, motion = self.parts, self.clocks.steady(), reporter.motion
        period, timing, inputs = reporter.latest, control.timing(), parts.inputs
        values = executor_values(period, timing, 1.0 / parts.period, control.seam_worst)
        values |= {"messages_refused": inputs.refused, "last_rejection": inputs.last_rejection}
        values |= inputs.sources.values(steady)
        values["black_box_mb"] = control.core.blackbox.size / 1e6
        values["black_box_pictures"] = self._thumbnails.taken if self._thumbnails is not None else 0
        if self._thumbnails is not None:
            values |= {f"camera {name} refused": why for name, why in list(self._thumbnails.refused.items())}
        box = self._writer
        values |= {} if box is None else {"black_box_files": box.files, "black_box_failures": box.failures}
        values |= motion.values()
        silent, clocks = inputs.sources.silent, inputs.sources.sentences(steady)
        missed = timing.overruns / max(timing.ticks, 1)
        failure = parts.no_black_box or (box.last_failure if box is not None else "")
        unheard = parts.matching.sentences
        told = executor_health(
            period, reporter.trouble, unheard, silent, missed, values, failure, clocks, motion.sentences
        )
        for others in (*inputs.competing, parts.second.sentence):
            told = with_second_publisher(told, others, self.values.second_publisher == "stop")
        return told


def main() -> int:
    """Run the node."""
    never_wait_for_output()
    never_wait_for_readers()
    return run(lambda _: [ExecutorNode()])


if __name__ == "__main__":
    raise SystemExit(main())
