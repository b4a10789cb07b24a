"""What the executor publishes and logs: state, mode, log lines, the plan as a picture, the black box; in a thread of its own.

It is given one immutable `Period` a control period and never touches what the control thread works on.
"""

from __future__ import annotations

import gc
import math
from array import array
from collections.abc import Callable, Sequence

from rclpy.impl.rcutils_logger import RcutilsLogger
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from pi0_ros.control import Chunk, Event, Step
from pi0_ros.msg import ExecutorState
from pi0_ros.robot.spec import Robot
from pi0_ros.ros.clock import time_message
from pi0_ros.ros.control_thread import Period
from pi0_ros.ros.conversions import MODE_CODES
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.motion_report import MotionReport
from pi0_ros.ros.period_mailbox import STATE_PERIOD, PeriodMailbox
from pi0_ros.ros.preview import Preview
from pi0_ros.ros.qos import LATCHED, RELIABLE

COLLECT_EVERY = 1.0  # [s] between two garbage collections: the less there is to collect, the shorter the GIL is held


class Publishing:
    """The publishers of what the executor tells: `executor_state`, `mode`, and the plan that is followed."""

    def __init__(self, node: ManagedNode, robot: Robot) -> None:
        self._names = robot.channel_names
        self._clocks, self._preview = node.clocks, Preview(robot)
        self._state = node.own(node.create_publisher(ExecutorState, "executor_state", RELIABLE))
        self._mode = node.own(node.create_publisher(String, "mode", LATCHED))
        self._trajectory = node.own(node.create_publisher(JointTrajectory, "~/trajectory_preview", RELIABLE))
        self._markers = node.own(node.create_publisher(MarkerArray, "~/markers", RELIABLE))

    def state(self, period: Period) -> None:
        """Publish `executor_state`."""
        if period.step is not None:
            self._state.publish(self._message(period, period.step))

    def mode(self, mode: str) -> None:
        """Publish `mode`."""
        self._mode.publish(String(data=mode))

    def plan(self, remaining: Callable[[float], Chunk | None]) -> None:
        """Publish `remaining(now)`, the plan from ROS time `now` on, or that there is none, if somebody listens."""
        if not (self._markers.get_subscription_count() or self._trajectory.get_subscription_count()):
            return
        ros = self._clocks.ros()
        chunk = remaining(ros)
        self._markers.publish(self._preview.markers(chunk, ros))
        if chunk is not None:
            self._trajectory.publish(self._preview.trajectory(chunk))

    def _message(self, period: Period, step: Step) -> ExecutorState:
        last = period.command
        stamp = last.stamp if last is not None else self._clocks.ros()
        message = ExecutorState(mode=MODE_CODES[period.mode], epoch=step.epoch, reason=period.reason)
        message.header.stamp = time_message(stamp)
        message.plan_sequence, message.plan_left = int(step.plan_sequence), float(step.plan_left)
        message.splice_delay = float(step.splice_delay)
        message.channels = list(self._names)
        message.command = array("d", last.values if last is not None else [math.nan] * len(self._names))
        message.measured = array("d", step.measured)
        counted = step.counters
        message.chunks_accepted, message.chunks_rejected = counted.chunks_accepted, counted.chunks_rejected
        message.underruns, message.limited, message.overruns = counted.underruns, counted.limited, period.overruns
        return message


class ExecutorReporter:
    """The reporting thread. `periods` is where the control thread puts what is reported."""

    def __init__(
        self,
        publishing: Publishing,
        logger: RcutilsLogger,
        motion: MotionReport,
        period: float,
        remaining_plan: Callable[[float], Chunk | None],
        save: Callable[[str], None],
    ) -> None:
        """`period` [s] of the control loop; `remaining_plan(ros)`; `save(reason)` has a black box written."""
        self._publishing, self._logger = publishing, logger
        self._remaining_plan, self._save = remaining_plan, save
        self.periods = PeriodMailbox(period)
        self.latest = Period()
        self.trouble: Event | None = None
        """The event that ended a motion, if it was more than somebody's wish."""
        self.motion = motion
        self._reported: tuple[str, str] = ("", "")
        self._saved: tuple[object, ...] = ()
        self._shown: tuple[object, ...] = ()
        self.thread = GuardedThread("report", self._run, logger.error)

    def start(self) -> None:
        """Begin to report."""
        self.thread.start()

    def stop(self) -> None:
        """End."""
        self.periods.close()
        self.thread.stop(1.0)

    def _run(self) -> None:
        collected = 0.0
        while self.periods.wait():
            self._report(self._take())
            collected += STATE_PERIOD
            if collected > COLLECT_EVERY:
                collected = 0.0
                gc.collect(1)

    def _take(self) -> list[Event]:
        """The events of all periods since the last call; `latest` is the newest of them."""
        events: list[Event] = []
        for period in self.periods.take():
            self.latest = period
            events += period.events
            if period.sent:
                self.motion.see(period)
        return events

    def _report(self, events: Sequence[Event]) -> None:
        period = self.latest
        if period.step is None:
            return
        self._publishing.state(period)
        mode, fault = self._reported
        if period.mode != mode:
            self._publishing.mode(period.mode)
        if period.fault and period.fault != fault:
            self._logger.error(f"the control step failed, braking:\n{period.trace}")
        if fault and not period.fault:
            self.trouble = None  # a new core was started
        self._reported = (period.mode, period.fault)
        for event in events:
            self._log(event)
        self._save_if_in_trouble(period, period.step.epoch)
        plan = (period.step.epoch, period.step.plan_sequence, bool(period.fault))
        if plan != self._shown:
            self._shown = plan
            self._publishing.plan(self._remaining_plan if not period.fault else lambda _: None)

    def _log(self, event: Event) -> None:
        if event.name == "mode":
            self.trouble = event if event.level != "info" else None
        # rclpy ties a severity to a line of code, so each level has its own.
        if event.level == "error":
            self._logger.error(event.text)
        elif event.level == "warn":
            self._logger.warning(event.text)
        else:
            self._logger.info(event.text)

    def _save_if_in_trouble(self, period: Period, epoch: int) -> None:
        """Have the black box written, once for every change that a fault or a stop has made."""
        change = (period.fault, epoch)
        reason = period.reason if period.mode == "stopped" else self.trouble.text if self.trouble is not None else None
        if change == self._saved or reason is None:
            return
        self._saved = change
        self._save(reason)
