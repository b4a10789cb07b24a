"""executor: turns action chunks and teleop input into limited commands at a fixed rate, and owns every command topic.

Three threads: the control thread (`ros/control_thread.py`) reads, computes and sends, and depends on nobody; the reporter
(`ros/executor_reporter.py`) tells others what it did; ROS's own has the lifecycle and the diagnostics.
"""

from __future__ import annotations

import gc
import tempfile
from dataclasses import replace
from pathlib import Path

from pi0_ros.control import STRATEGIES, Chunk, ExecutorSettings
from pi0_ros.control.limits import stop_time
from pi0_ros.data.blackbox_file import Keep, private_folder
from pi0_ros.robot import RobotError, load_robot
from pi0_ros.ros.black_box_writer import BlackBoxWriter
from pi0_ros.ros.camera_thumbnails import CameraThumbnails
from pi0_ros.ros.command_writer import CommandWriter
from pi0_ros.ros.control_thread import ControlThread
from pi0_ros.ros.diagnostics import WARN, Health
from pi0_ros.ros.executor_health import executor_health, executor_values, with_second_publisher
from pi0_ros.ros.executor_inputs import ExecutorInputs
from pi0_ros.ros.executor_reporter import ExecutorReporter, Publishing
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.loop import raise_thread_priorities, restore_thread_priorities
from pi0_ros.ros.matching import Matching, ports
from pi0_ros.ros.motion_report import MotionReport
from pi0_ros.ros.notify import extend_timeout
from pi0_ros.ros.parameters import Parameter, ParameterError
from pi0_ros.ros.request_services import RequestServices
from pi0_ros.ros.robot_lock import RobotLock, RobotLockError
from pi0_ros.ros.run import never_wait_for_output, never_wait_for_readers, run
from pi0_ros.ros.second_publishers import SecondPublishers

REST_MARGIN = 0.5  # [s] for coming to rest on deactivation, beyond what the limits ask for
ACKNOWLEDGE = 1.5  # [s] for the last commands to arrive; less where they have, or where nobody reads them reliably
ENDING = 2.0  # [s] for what a process does after that
WRITE_TIMEOUT = 1.0  # [s] for the last black box to be written
BELOW = 10  # how far below the control thread's real-time priority the other threads of the process are

_DEFAULT = ExecutorSettings()
_SETTINGS = (
    "strategy",
    "chunk_max_age",
    "start_gap",
    "limit_margin",
    "reach_time",
    "reach_speed",
    "engage_time",
    "engage_scale",
    "policy_lost",
    "state_grace",
    "tracking_error",
    "tracking_error_m",
    "tracking_time",
    "tracking_lag",
    "slow_down",
    "chunk_max_ahead",
    "wait_max_age",
)


class ExecutorNode(ManagedNode):
    """The only node that commands the robot."""

    table = (
        Parameter("robot", "", "robot YAML: a file, or a name under config/robots", required=True),
        Parameter("rate", 0.0, "control rate [Hz]; 0 takes the robot's control_rate", low=0.0, high=200.0),
        Parameter("realtime_priority", 50, "SCHED_FIFO priority of the control thread; 0 is off", low=0, high=90),
        Parameter("cpu", -1, "CPU to pin the control thread to; -1 is off", low=-1, high=1023),
        Parameter(
            "black_box", "~/.ros/pi0_ros", "folder for the last 30 s before a fault or stop; empty: none is written"
        ),
        Parameter("black_box_days", 30.0, "days that black boxes are kept; 0: however old", low=0.0, high=36500.0),
        Parameter("black_box_gb", 0.5, "gigabytes of black boxes that are kept of a robot", low=0.001, high=1000.0),
        Parameter(
            "picture_period", 1.0, "seconds between two pictures of a camera in it; 0: no pictures", low=0.0, high=30.0
        ),
        Parameter("strategy", _DEFAULT.strategy, "how a new plan is joined to the running one", choices=STRATEGIES),
        Parameter("chunk_max_age", _DEFAULT.chunk_max_age, "oldest observation [s] of a chunk", low=0.05, high=60.0),
        Parameter(
            "start_gap", _DEFAULT.start_gap, "how far from the robot autonomy may start [rad]", low=0.0, high=6.3
        ),
        Parameter(
            "limit_margin",
            _DEFAULT.limit_margin,
            "share of its range a value may be beyond a limit",
            low=0.0,
            high=10.0,
        ),
        Parameter(
            "reach_time", _DEFAULT.reach_time, "seconds of motion that a plan may start away", low=0.0, high=10.0
        ),
        Parameter("reach_speed", _DEFAULT.reach_speed, "times the velocity limit a plan may be", low=1.0, high=1000.0),
        Parameter("engage_time", _DEFAULT.engage_time, "seconds of slow motion after a change", low=0.0, high=60.0),
        Parameter("engage_scale", _DEFAULT.engage_scale, "share of the speed limits meanwhile", low=0.01, high=1.0),
        Parameter("policy_lost", _DEFAULT.policy_lost, "underrun [s] until autonomy ends", low=0.0, high=60.0),
        Parameter(
            "state_grace",
            _DEFAULT.state_grace,
            "seconds for which late measurements cost speed and not yet the mode",
            low=0.0,
            high=1.0,
        ),
        Parameter(
            "second_publisher",
            "stop",
            "what to do while somebody else publishes on a command topic: stop and refuse to move, or only warn",
            choices=("stop", "warn"),
        ),
        Parameter("tracking_error", _DEFAULT.tracking_error, "largest tracking error [rad]", low=0.01, high=6.3),
        Parameter("tracking_error_m", _DEFAULT.tracking_error_m, "largest tracking error [m]", low=0.001, high=10.0),
        Parameter("tracking_time", _DEFAULT.tracking_time, "seconds of it until autonomy ends", low=0.0, high=10.0),
        Parameter("tracking_lag", _DEFAULT.tracking_lag, "how late the robot follows [s], no error", low=0.0, high=5.0),
        Parameter("slow_down", _DEFAULT.slow_down, "a chunk slowed more than this is refused", low=1.0, high=100.0),
        Parameter(
            "chunk_max_ahead",
            _DEFAULT.chunk_max_ahead,
            "a chunk stamped further ahead [s] is refused",
            low=0.0,
            high=10.0,
        ),
        Parameter(
            "wait_max_age",
            _DEFAULT.wait_max_age,
            "as chunk_max_age, if the robot stood since [s]",
            low=0.05,
            high=600.0,
        ),
    )
    expected = (ParameterError, RobotError, RobotLockError)

    def __init__(self, name: str = "executor", **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        self._requests = RequestServices(self, "the executor is not active; activate it first")
        self._robot_lock: RobotLock | None = None
        self.control: ControlThread | None = None
        self._reporter: ExecutorReporter | None = None
        self._writer: BlackBoxWriter | None = None
        self._thumbnails: CameraThumbnails | None = None

    # --- lifecycle ---

    def setup(self) -> None:
        """Load the robot, make the publishers, the subscriptions and the services."""
        robot = load_robot(self.values.robot)
        for sentence in robot.warnings:
            self.get_logger().warning(sentence)
        robot = replace(robot, control_rate=self.values.rate or robot.control_rate)
        self.robot, self.period = robot, 1.0 / robot.control_rate
        self._settings = ExecutorSettings(**{name: getattr(self.values, name) for name in _SETTINGS})
        # First of all: a second executor must not even appear as a publisher beside the one that drives.
        self._robot_lock = RobotLock(robot.name, self.get_namespace())
        self._commands = CommandWriter(self, robot, self.period, self.own)
        self._second = SecondPublishers(self, self.clocks, self._commands.publishers, self._on_second_publisher)
        self.own(self._second.timer)
        self._publishing = Publishing(self, robot)
        self._inputs = ExecutorInputs(self, robot, self.period)
        self._no_black_box = self._black_box_problem() if self.values.black_box else ""
        if self._no_black_box:
            self.get_logger().error(self._no_black_box)
        if self.values.black_box and self.values.picture_period:
            self._thumbnails = CameraThumbnails(self, robot.cameras, self.values.picture_period, self._on_thumbnail)
        watched = ports(self._inputs.subscriptions, self._commands.publishers)
        self._matching = Matching(self, self.clocks.timer, watched)
        self.own(self._matching.timer)
        self.clocks.on_jump(self._on_clock_jump)

    def start(self) -> None:
        """Start the control thread, in HOLD, with nothing remembered of an earlier activation."""
        gc.collect()
        gc.freeze()
        gc.disable()
        if self.values.black_box:
            folder = self._black_box_folder()
            keep = Keep(bytes=int(self.values.black_box_gb * 1e9), days=self.values.black_box_days)
            self._writer = BlackBoxWriter(folder, self.robot.channel_names, self._boxed, self._not_boxed, keep)
        self._motion = MotionReport(self.robot, self.period)
        self._reporter = ExecutorReporter(
            self._publishing, self.get_logger(), self._motion, self.period, self._remaining_plan, self._save
        )
        self.control = ControlThread(
            self.robot,
            self._settings,
            self.clocks,
            self._inputs,
            self._commands,
            self._requests,
            self._reporter.offer,
        )
        if self._thumbnails is not None:
            self._thumbnails.start()
            self.watch_thread(self._thumbnails.thread)
        self._reporter.start()
        for each in (self._reporter, self._writer):
            if each is not None:
                self.watch_thread(each.thread)
        self._on_second_publisher(self._second.look_first())
        priority = self.values.realtime_priority
        refused = self.control.start(priority, self.values.cpu)
        self.watch_thread(self.control.thread)
        for sentence in refused:
            self.get_logger().warning(sentence)
        if priority and not refused:
            raise_thread_priorities(priority - BELOW)

    def halt(self) -> None:
        """Decelerate, wait until the robot is told to stand still, then go quiet."""
        if self.control is None:
            return
        timeout = stop_time(self.robot.groups, self.period) + REST_MARGIN
        extend_timeout(timeout + ACKNOWLEDGE + WRITE_TIMEOUT + ENDING)
        if not self.control.stop(timeout):
            self.get_logger().error(f"the commands did not come to rest within {timeout:.1f} s; going quiet anyway")
        self._commands.wait_for_acknowledgement(ACKNOWLEDGE)
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

    def _black_box_folder(self) -> Path:
        """A folder for each robot: the files of one do not push out another's."""
        return Path(self.values.black_box).expanduser() / self.get_namespace().strip("/") / self.robot.name

    def _black_box_problem(self) -> str:
        """Why no black box can be written, "" if one can: better known before the fault than after it."""
        folder = self._black_box_folder()
        try:
            private_folder(folder)
            with tempfile.TemporaryFile(dir=folder):
                return ""
        except OSError as error:
            return f"parameter black_box: {folder} cannot be written ({error.strerror}): there will be no black box"

    # --- from the other threads to the control thread ---

    def _on_clock_jump(self) -> None:
        if self.control is not None:
            control = self.control
            control.post(lambda *now: control.core.on_clock_jump(*now))

    def _on_second_publisher(self, sentence: str) -> None:
        if self.values.second_publisher == "warn":
            if sentence:
                self.get_logger().warning(sentence, throttle_duration_sec=10.0)
        elif self.control is not None:
            control = self.control
            control.post(lambda *now: control.core.on_second_publisher(*now, sentence))

    def _on_thumbnail(self, camera: str, stamp: float, jpeg: bytes) -> None:
        if self.control is not None:
            box = self.control.core.blackbox
            self.control.post(lambda *now: box.add(*now, "picture", (camera, stamp or now[1], jpeg), len(jpeg)))

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
        if control is None or reporter.latest.step is None:
            return Health(WARN, "starting")
        period, timing, inputs, steady = reporter.latest, control.timing(), self._inputs, self.clocks.steady()
        values = executor_values(period, timing, 1.0 / self.period, control.seam_worst)
        values |= {"messages_refused": inputs.refused, "last_rejection": inputs.last_rejection}
        values |= inputs.sources.values(steady)
        values["black_box_mb"] = control.core.blackbox.size / 1e6
        values["black_box_pictures"] = self._thumbnails.taken if self._thumbnails is not None else 0
        if self._thumbnails is not None:
            values |= {f"camera {name} refused": why for name, why in list(self._thumbnails.refused.items())}
        box = self._writer
        values |= {} if box is None else {"black_box_files": box.files, "black_box_failures": box.failures}
        values |= self._motion.values()
        silent, clocks = inputs.sources.silent, inputs.sources.sentences(steady)
        missed = timing.overruns / max(timing.ticks, 1)
        failure = self._no_black_box or (box.last_failure if box is not None else "")
        unheard = self._matching.sentences
        told = executor_health(
            period, reporter.trouble, unheard, silent, missed, values, failure, clocks, self._motion.sentences
        )
        return with_second_publisher(told, self._second.sentence, self.values.second_publisher == "stop")


def main() -> int:
    """Run the node."""
    never_wait_for_output()
    never_wait_for_readers()
    return run(lambda _: [ExecutorNode()])


if __name__ == "__main__":
    raise SystemExit(main())
