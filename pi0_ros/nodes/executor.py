"""executor: turns action chunks and teleop input into limited commands at a fixed rate, and owns every command topic.

One thread runs the control core (`pi0_ros.control`); subscriptions and services run in the ROS thread and only leave
notes in an inbox; a third thread reports. Nothing that can block is on the control thread's way.
"""

from __future__ import annotations

import gc
import math
import threading
from array import array
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, Float64MultiArray, String
from std_srvs.srv import Trigger

from pi0_ros.control import STRATEGIES, Answer, Command, Event, Executor, ExecutorSettings, Step
from pi0_ros.data.blackbox_file import write_black_box
from pi0_ros.msg import ActionChunk, ExecutorState
from pi0_ros.nodes.brake import Brake
from pi0_ros.robot import RobotError, load_robot
from pi0_ros.robot.spec import Group, StateSource
from pi0_ros.ros.clock import time_message
from pi0_ros.ros.conversions import (
    COMMAND_TYPES,
    MODE_CODES,
    ConversionError,
    channel_values,
    chunk_from_message,
    command_message,
)
from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Health, Rate
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.loop import Loop
from pi0_ros.ros.parameters import Parameter, ParameterError
from pi0_ros.ros.qos import LATCHED, RELIABLE, SENSOR
from pi0_ros.ros.run import Signals, run
from pi0_ros.ros.subscribe import TELEOP_TYPES, subscribe_state

STATE_PERIOD = 0.04
ANSWER_TIMEOUT = 1.0
REST_TIMEOUT = 1.7
REST_SPEED = 1e-4
REST_TICKS = 3
ACKNOWLEDGE = 0.2
REQUESTS = ("hold", "teleop", "autonomy", "stop", "reset")
INBOX = 1024
COLLECT_EVERY = 10.0


_DEFAULT = ExecutorSettings()
_SETTINGS = ("strategy", "chunk_max_age", "start_gap", "engage_time", "engage_scale", "policy_lost", "tracking_error")


class ExecutorNode(ManagedNode):
    """The only node that commands the robot."""

    table = (
        Parameter("robot", "mobile_bimanual", "robot YAML: a file, or a name under config/robots", required=True),
        Parameter("rate", 0.0, "control rate [Hz]; 0 takes the robot's control_rate", low=0.0, high=200.0),
        Parameter("realtime_priority", 50, "SCHED_FIFO priority of the control thread; 0 is off", low=0, high=90),
        Parameter("cpu", -1, "CPU to pin the control thread to; -1 is off", low=-1, high=1023),
        Parameter(
            "black_box", "~/.ros/pi0_ros", "folder for the last 30 s before a fault or stop; empty: none is kept"
        ),
        Parameter("strategy", _DEFAULT.strategy, "how a new plan is joined to the running one", choices=STRATEGIES),
        Parameter("chunk_max_age", _DEFAULT.chunk_max_age, "oldest observation [s] of a chunk", low=0.05, high=60.0),
        Parameter(
            "start_gap", _DEFAULT.start_gap, "how far from the robot autonomy may start [rad]", low=0.0, high=6.3
        ),
        Parameter("engage_time", _DEFAULT.engage_time, "seconds of slow motion after a change", low=0.0, high=60.0),
        Parameter("engage_scale", _DEFAULT.engage_scale, "share of the speed limits meanwhile", low=0.01, high=1.0),
        Parameter("policy_lost", _DEFAULT.policy_lost, "underrun [s] until autonomy ends", low=0.0, high=60.0),
        Parameter("tracking_error", _DEFAULT.tracking_error, "largest tracking error [rad]", low=0.01, high=6.3),
    )
    expected = (ParameterError, RobotError)

    def __init__(self, name: str = "executor", **kwargs: object) -> None:
        self._lock = threading.Condition()
        super().__init__(name, **kwargs)
        self._saver: threading.Thread | None = None
        self._inbox: deque[Callable[[float, float], None]] = deque(maxlen=INBOX)
        self._loop: Loop | None = None

    # --- lifecycle ---

    def setup(self) -> None:
        """Load the robot, make the core, the publishers and the subscriptions."""
        robot = load_robot(self.values.robot)
        robot = replace(robot, control_rate=self.values.rate or robot.control_rate)
        self.robot, self.period = robot, 1.0 / robot.control_rate
        self._settings = ExecutorSettings(**{name: getattr(self.values, name) for name in _SETTINGS})
        self._brake = Brake(robot)
        self._reset_memory()
        self._slices = {g.name: slice(robot.index[g.channels[0].name], 0) for g in robot.groups}
        self._slices = {n: slice(s.start, s.start + len(robot.group(n).channels)) for n, s in self._slices.items()}
        self._commands = [(g, self._slices[g.name], self._command_publisher(g)) for g in robot.groups]
        self._state_publisher = self.own(self.create_publisher(ExecutorState, "executor_state", RELIABLE))
        self._mode_publisher = self.own(self.create_publisher(String, "mode", LATCHED))
        self._subscribe()
        for request in REQUESTS:
            self.own(self.create_service(Trigger, f"~/{request}", partial(self._on_request, request)))
        self.clocks.on_jump(lambda: self._post(self._core_jump))

    def start(self) -> None:
        """Start the control thread, in HOLD, with nothing remembered of an earlier activation."""
        self._reset_memory()
        gc.collect()
        gc.freeze()
        gc.disable()
        self._loop = Loop(self.period, self._tick, self._tick_failed)
        for refused in self._loop.start(self.values.realtime_priority, self.values.cpu):
            self.get_logger().warning(refused)
        self._reporting = True
        self._reporter = threading.Thread(target=self._report_forever, name="report", daemon=True)
        self._reporter.start()

    def halt(self) -> None:
        """Decelerate, wait until the robot is told to stand still, then go quiet."""
        loop = self._loop
        if loop is None:
            return
        self._resting.clear()
        self._post(self._hold_to_rest)
        if not self._resting.wait(REST_TIMEOUT):
            self.get_logger().error(f"the commands did not come to rest within {REST_TIMEOUT} s; going quiet anyway")
        loop.stop()
        self._loop = None
        until = self.clocks.steady() + ACKNOWLEDGE
        for _, _, publisher in self._commands:
            # A process that ends right away would take its last commands with it.
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, until - self.clocks.steady())))
        with self._lock:
            self._reporting = False
            self._lock.notify_all()
        self._reporter.join(timeout=1.0)
        if self._saver is not None:
            self._saver.join(timeout=1.0)
        gc.enable()
        gc.unfreeze()

    def _reset_memory(self) -> None:
        self._core = Executor(self.robot, self._settings)
        self._inbox.clear()
        self._last: Command | None = None
        self._step: Step | None = None
        self._fault = ""
        self._resting, self._rested = threading.Event(), 0
        self._events: deque[Event] = deque(maxlen=256)
        self._seam_worst: tuple[float, ...] = (0.0, 0.0, 0.0)
        self._seen: tuple[object, ...] = ()
        self._rejected_messages = 0
        self._last_rejection = ""
        self._rates: dict[str, Rate] = {}

    # --- wiring ---

    def _command_publisher(self, group: Group) -> object:
        return self.own(self.create_publisher(COMMAND_TYPES[group.command.type][0], group.command.topic, RELIABLE))

    def _subscribe(self) -> None:
        for source in self.robot.state:
            self.own(subscribe_state(self, source, self._on_joints, self._on_odometry, self._bad_message))
        for group in self.robot.groups:
            if group.teleop is not None:
                kind = TELEOP_TYPES[group.teleop.type]
                callback = partial(self._on_teleop, group)
                self.own(self.create_subscription(kind, group.teleop.topic, callback, SENSOR))
        self.own(self.create_subscription(ActionChunk, "action_chunk", self._on_chunk, RELIABLE))
        self.own(self.create_subscription(Bool, "estop", self._on_estop, RELIABLE))
        if self.robot.takeover.deadman_topic:
            topic = self.robot.takeover.deadman_topic
            self.own(self.create_subscription(Joy, topic, self._on_joy, SENSOR))

    # --- the ROS thread: convert, leave a note ---

    def _post(self, note: Callable[[float, float], object]) -> None:
        self._inbox.append(note)

    def _bad_message(self, topic: str, error: Exception) -> None:
        self._rejected_messages += 1
        self._last_rejection = f"{topic}: {error}"
        self.get_logger().warning(f"message on {topic} refused: {error}", throttle_duration_sec=1.0)

    def _heard(self, topic: str) -> None:
        self._rates.setdefault(topic, Rate()).tick(self.clocks.steady())

    def _on_joints(self, source: StateSource, stamp: float, positions: dict, velocities: dict) -> None:
        self._heard(source.topic)
        received, ros = self.clocks.steady(), self.clocks.ros()
        self._post(lambda *_: self._core.on_state(received, ros, stamp, positions, velocities))

    def _on_odometry(self, source: StateSource, stamp: float, velocity: tuple[float, float, float]) -> None:
        self._heard(source.topic)
        received, ros = self.clocks.steady(), self.clocks.ros()
        self._post(lambda *_: self._core.on_odometry(received, ros, stamp, *velocity))

    def _on_chunk(self, message: ActionChunk) -> None:
        chunk = chunk_from_message(message)
        received, ros = self.clocks.steady(), self.clocks.ros()

        def take(steady: float, now: float) -> None:
            verdict = self._core.on_chunk(received, ros, chunk)
            if not verdict.accepted and not verdict.reason.startswith("ignored"):
                self._last_rejection = f"chunk {chunk.sequence}: {verdict.reason}"

        self._post(take)

    def _on_teleop(self, group: Group, message: JointState | Float64MultiArray) -> None:
        try:
            values = channel_values(group, message, group.teleop.joints)
        except ConversionError as error:
            self._bad_message(group.teleop.topic, error)
            return
        received, names = self.clocks.steady(), tuple(c.name for c in group.channels)
        self._post(lambda *_: self._core.on_teleop(received, group.name, names, tuple(values)))

    def _on_estop(self, message: Bool) -> None:
        received, pressed = self.clocks.steady(), bool(message.data)
        self._post(lambda *_: self._core.on_estop(received, pressed))

    def _on_joy(self, message: Joy) -> None:
        button = self.robot.takeover.deadman_button
        received, held = self.clocks.steady(), button < len(message.buttons) and bool(message.buttons[button])
        self._post(lambda *_: self._core.on_deadman(received, held))

    def _on_request(self, request: str, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        loop = self._loop
        if loop is None or not loop.running:
            response.success, response.message = False, "the executor is not active; activate it first"
            return response
        answer: Future[Answer] = Future()
        self._post(lambda steady, ros: answer.set_result(self._ask_core(steady, ros, request)))
        try:
            given = answer.result(timeout=ANSWER_TIMEOUT)
            response.success, response.message = given.ok, given.message
        except FutureTimeout:
            response.success, response.message = False, f"the control loop did not answer within {ANSWER_TIMEOUT} s"
        return response

    # --- the control thread ---

    def _core_jump(self, steady: float, ros: float) -> None:
        self._core.on_clock_jump(steady, ros)

    def _hold_to_rest(self, steady: float, ros: float) -> None:
        self._core.request(steady, ros, "hold")
        self._rested = 0
        self._resting.clear()

    def _ask_core(self, steady: float, ros: float, request: str) -> Answer:
        if not self._fault:
            return self._core.request(steady, ros, request)
        if request != "reset":
            return Answer(False, f"stopped after a fault in the executor, reset first: {self._fault}")
        self._core, self._fault = Executor(self.robot, self._settings), ""
        return Answer(True, "the control core was started anew; it waits for state in hold")

    def _tick(self, deadline: float, late: float) -> None:
        ros = self.clocks.ros() - max(late, 0.0)
        while self._inbox:
            self._inbox.popleft()(deadline, ros)
        if self._fault:
            command = self._brake.step(self._last, ros, self.period) if self._last is not None else None
        else:
            self._step = self._core.step(deadline, ros)
            command = self._step.command
            self._events.extend(self._step.events)
            seam = self._step.seam
            self._seam_worst = tuple(map(max, self._seam_worst, (seam.position, seam.velocity, seam.velocity_share)))
        if command is not None:
            self._send(command)
        else:
            self._resting.set()
        self._notice_change()

    def _send(self, command: Command) -> None:
        """Validate and build everything, then publish."""
        if not np.all(np.isfinite(command.values)):
            bad = [n for n, v in zip(command.names, command.values, strict=True) if not math.isfinite(v)]
            raise ValueError(f"the command for {', '.join(bad)} is not finite")
        ready = [
            (publisher, command_message(g, command.stamp, command.values[s], command.velocities[s], self.period))
            for g, s, publisher in self._commands
        ]
        for publisher, message in ready:
            publisher.publish(message)
        self._last = command
        moving = float(np.max(np.abs(command.velocities))) > REST_SPEED
        self._rested = 0 if moving else self._rested + 1
        if self._rested >= REST_TICKS:
            self._resting.set()

    def _tick_failed(self, trace: str) -> None:
        """The core raised: remember why and brake from the last command on; `reset` starts a new core."""
        if not self._fault:
            self._fault = trace.strip().splitlines()[-1]
            self._fault_trace = trace
        self._notice_change()

    def _notice_change(self) -> None:
        step = self._step
        seen = (self._fault, *((step.mode, step.reason, step.epoch, step.plan_sequence) if step else ()))
        if seen != self._seen:
            self._seen = seen
            if self._lock.acquire(blocking=False):
                self._lock.notify_all()
                self._lock.release()

    # --- the reporting thread ---

    def _report_forever(self) -> None:
        mode, told, collected = None, "", self.clocks.steady()
        while True:
            with self._lock:
                if not self._reporting:
                    return
                self._lock.wait(STATE_PERIOD)
            state = self._state_message()
            if state is None:
                continue
            self._state_publisher.publish(state)
            name = self._mode_name()
            if name != mode:
                mode = name
                self._mode_publisher.publish(String(data=name))
                if name == "stopped":
                    self._save_black_box(state.reason)
            if self._fault and self._fault != told:
                self.get_logger().error(f"the control step failed, braking:\n{self._fault_trace}")
            self._log_events()
            told = self._fault
            if self.clocks.steady() - collected > COLLECT_EVERY:
                collected = self.clocks.steady()
                gc.collect(1)

    def _log_events(self) -> None:
        while self._events:
            event = self._events.popleft()
            # rclpy ties a severity to a line of code, so each level has its own.
            if event.level == "error":
                self.get_logger().error(event.text)
            elif event.level == "warn":
                self.get_logger().warning(event.text)
            else:
                self.get_logger().info(event.text)

    def _save_black_box(self, reason: str) -> None:
        """Write what the core remembers, in a thread: writing takes seconds and the reporter has other things to say."""
        if not self.values.black_box or (self._saver is not None and self._saver.is_alive()):
            return
        records, folder = self._core.blackbox.snapshot(), Path(self.values.black_box).expanduser()

        def save() -> None:
            try:
                file = write_black_box(folder, records, reason, self.robot.channel_names)
                self.get_logger().info(f"black box: {file}")
            except OSError as error:
                self.get_logger().error(f"the black box could not be written: {error}")

        self._saver = threading.Thread(target=save, name="black box", daemon=True)
        self._saver.start()

    def _mode_name(self) -> str:
        if self._fault or self._step is None:
            return "stopped" if self._fault else "hold"
        return self._step.mode.value

    def _state_message(self) -> ExecutorState | None:
        step, last = self._step, self._last
        if step is None:
            return None
        stamp = last.stamp if last is not None else self.clocks.ros()
        message = ExecutorState(mode=MODE_CODES[self._mode_name()], epoch=step.epoch)
        message.header.stamp = time_message(stamp)
        message.reason = f"fault in the executor: {self._fault}" if self._fault else step.reason
        message.plan_sequence, message.plan_left = int(step.plan_sequence), float(step.plan_left)
        message.splice_delay = float(step.splice_delay)
        message.channels = list(self.robot.channel_names)
        message.command = array("d", last.values if last is not None else [math.nan] * len(self.robot.channels))
        message.measured = array("d", step.measured)
        counted = step.counters
        message.chunks_accepted, message.chunks_rejected = counted.chunks_accepted, counted.chunks_rejected
        message.underruns, message.limited = counted.underruns, counted.limited
        message.overruns = self._loop.overruns if self._loop is not None else 0
        return message

    def health(self) -> Health:
        """Mode, rates and timing."""
        loop, step, steady = self._loop, self._step, self.clocks.steady()
        if loop is None or step is None:
            return Health(WARN, "starting")
        timing = loop.timing()
        values = {
            "mode": self._mode_name(),
            "rate_hz": 1.0 / self.period,
            "period_late_ms_p50": timing.late_p50 * 1e3,
            "period_late_ms_p99": timing.late_p99 * 1e3,
            "period_late_ms_max": timing.late_max * 1e3,
            "work_ms_p99": timing.work_p99 * 1e3,
            "ticks": timing.ticks,
            **vars(step.counters),
            "overruns": timing.overruns,
            "owner": step.owner,
            "strategy": step.strategy,
            "messages_refused": self._rejected_messages,
            "last_rejection": self._last_rejection,
            "splice_delay_ms": step.splice_delay * 1e3,
        }
        values |= {f"{topic} hz": rate.hz(steady) for topic, rate in list(self._rates.items())}
        values |= {
            "delay_p95_ms": step.delay_p95 * 1e3,
            "seam_position_max": self._seam_worst[0],
            "seam_velocity_max": self._seam_worst[1],
            "seam_velocity_share_max": self._seam_worst[2],
            "tracking_error": step.tracking_error,
        }
        return self._judge(values, timing.overruns / max(timing.ticks, 1))

    def _judge(self, values: dict[str, object], overrun_share: float) -> Health:
        if self._fault:
            return Health(ERROR, f"fault in the executor, braking: {self._fault}", values)
        reason, mode = self._step.reason, self._mode_name()
        if mode == "stopped":
            return Health(ERROR, f"stopped: {reason}", values)
        silent = [s.topic for s in self.robot.state if s.topic not in self._rates]
        if silent:
            return Health(WARN, f"waiting for the first message on {', '.join(silent)}", values)
        if overrun_share > 0.1:
            return Health(WARN, f"{overrun_share:.0%} of the control periods are missed", values)
        return Health(OK, f"{mode}: {reason}", values)


def make(_: Signals) -> list[Node]:
    """The node of this process."""
    return [ExecutorNode()]


def main() -> int:
    """Run the node."""
    return run(make)


if __name__ == "__main__":
    raise SystemExit(main())
