"""executor: turns action chunks and teleop input into limited commands at a fixed rate, and owns every command topic.

One thread reads what has come, a little before each deadline, runs the control core (`pi0_ros.control`) at the deadline and
publishes. Services run in the ROS thread and only leave notes in an inbox; a third thread reports, when the control thread
has done its work. Nothing that can block is on the control thread's way.
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

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, Float64MultiArray, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from pi0_ros.control import STRATEGIES, Answer, Command, Event, Executor, ExecutorSettings, Step
from pi0_ros.control.jerk import JerkMeter
from pi0_ros.control.step import Seam
from pi0_ros.msg import ActionChunk, ExecutorState
from pi0_ros.nodes.black_box import BlackBoxWriter
from pi0_ros.nodes.brake import Brake
from pi0_ros.robot import RobotError, load_robot
from pi0_ros.robot.spec import Group, StateSource
from pi0_ros.ros.clock import time_message, time_parts
from pi0_ros.ros.commands import COMMAND_TYPES, CommandStencil, GroupCommand
from pi0_ros.ros.conversions import (
    MODE_CODES,
    ConversionError,
    channel_values,
    chunk_from_message,
)
from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Health, Rate
from pi0_ros.ros.inlets import Inlets
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.loop import Loop, calm_others, urge_others
from pi0_ros.ros.parameters import Parameter, ParameterError
from pi0_ros.ros.preview import Preview
from pi0_ros.ros.qos import LATCHED, READ, RELIABLE, SENSOR
from pi0_ros.ros.run import Signals, never_wait_for_output, never_wait_for_readers, run
from pi0_ros.ros.snapshots import Snapshots
from pi0_ros.ros.subscribe import TELEOP_TYPES, subscribe_state

STATE_PERIOD = 0.04
ANSWER_TIMEOUT = 1.0
REST_TIMEOUT = 1.7
REST_SPEED = 1e-4
REST_TICKS = 3
ACKNOWLEDGE = 0.2
WRITE_TIMEOUT = 1.0
REQUESTS = ("hold", "teleop", "autonomy", "stop", "reset")
INBOX = 1024
SENT = 1024  # commands between two diagnostics
COMPLAINTS = 1.0  # [s] between two log lines about messages of one topic
COLLECT_EVERY = 1.0  # [s]: the less there is to collect, the shorter the interpreter is held
BELOW = 10  # how far below the control thread's real-time priority the other threads of the process are


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
            "black_box", "~/.ros/pi0_ros", "folder for the last 30 s before a fault or stop; empty: none is written"
        ),
        Parameter(
            "picture_period", 1.0, "seconds between two pictures of a camera in it; 0: no pictures", low=0.0, high=30.0
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
        self._writer: BlackBoxWriter | None = None
        self._snapshots: Snapshots | None = None
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
        self._inlets, self._urgent_inlets = Inlets(self, self._bad_message), Inlets(self, self._bad_message)
        self._slices = {g.name: slice(robot.index[g.channels[0].name], 0) for g in robot.groups}
        self._slices = {n: slice(s.start, s.start + len(robot.group(n).channels)) for n, s in self._slices.items()}
        self._publishers = [self._command_publisher(g) for g in robot.groups]
        # Straight into rcl: what `Publisher.publish` does around it costs half as much again.
        self._commands = [
            (CommandStencil(g), self._slices[g.name], publisher.handle.publish_raw)
            for g, publisher in zip(robot.groups, self._publishers, strict=True)
        ]
        self._state_publisher = self.own(self.create_publisher(ExecutorState, "executor_state", RELIABLE))
        self._mode_publisher = self.own(self.create_publisher(String, "mode", LATCHED))
        self._preview = Preview(robot)
        self._trajectory_publisher = self.own(self.create_publisher(JointTrajectory, "~/trajectory_preview", RELIABLE))
        self._marker_publisher = self.own(self.create_publisher(MarkerArray, "~/markers", RELIABLE))
        self._subscribe()
        if self.values.black_box and self.values.picture_period:
            self._snapshots = Snapshots(self, robot.cameras, self.values.picture_period, self._on_snapshot)
        for request in REQUESTS:
            self.own(self.create_service(Trigger, f"~/{request}", partial(self._on_request, request)))
        self.clocks.on_jump(lambda: self._post(self._core_jump))

    def start(self) -> None:
        """Start the control thread, in HOLD, with nothing remembered of an earlier activation."""
        self._reset_memory()
        self._inlets.drain()
        self._urgent_inlets.drain()
        gc.collect()
        gc.freeze()
        gc.disable()
        if self.values.black_box:
            folder = Path(self.values.black_box).expanduser()
            self._writer = BlackBoxWriter(folder, self.robot.channel_names, self._boxed, self._not_boxed)
        if self._snapshots is not None:
            self._snapshots.start()
        self._reporting = True
        self._reporter = threading.Thread(target=self._report_forever, name="report", daemon=True)
        self._reporter.start()
        priority = self.values.realtime_priority
        self._loop = Loop(self.period, self._tick, self._tick_failed, first=True, prepare=self._read)
        refused = self._loop.start(priority, self.values.cpu)
        for sentence in refused:
            self.get_logger().warning(sentence)
        if priority and not refused:
            urge_others(priority - BELOW)

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
        for publisher in self._publishers:
            # A process that ends right away would take its last commands with it.
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, until - self.clocks.steady())))
        with self._lock:
            self._reporting = False
            self._lock.notify_all()
        self._reporter.join(timeout=1.0)
        if self._snapshots is not None:
            self._snapshots.stop()
        if self._writer is not None:
            self._writer.close(WRITE_TIMEOUT)
            self._writer = None
        if self.values.realtime_priority:
            calm_others()
        gc.enable()
        gc.unfreeze()

    def teardown(self) -> None:
        """Let go of the cameras."""
        if self._snapshots is not None:
            self._snapshots.close()
            self._snapshots = None

    def _reset_memory(self) -> None:
        self._core = Executor(self.robot, self._settings)
        self._inbox.clear()
        self._last: Command | None = None
        self._step: Step | None = None
        self._fault = ""
        self._resting, self._rested = threading.Event(), 0
        self._events: deque[Event] = deque(maxlen=256)
        self._seam, self._seam_worst = Seam(), (0.0, 0.0, 0.0)
        self._seen: tuple[object, ...] = ()
        self._untold = 0.0
        self._jerk, self._sent = JerkMeter(self.robot, self.period), deque(maxlen=SENT)
        self._trouble: Event | None = None
        self._told_mode, self._told_fault = "", ""
        self._saved_at: tuple[object, ...] = ()
        self._shown: tuple[object, ...] = ()
        self._rejected_messages = 0
        self._last_rejection = ""
        self._complained: dict[str, float] = {}
        self._rates: dict[str, Rate] = {}

    # --- wiring ---

    def _command_publisher(self, group: Group) -> Publisher:
        return self.own(self.create_publisher(COMMAND_TYPES[group.command.type].message, group.command.topic, RELIABLE))

    def _subscribe(self) -> None:
        inlets, urgent = self._inlets, self._urgent_inlets
        for source in self.robot.state:
            heard = (self._on_joints, self._on_odometry, self._bad_message)
            self.own(inlets.keep(subscribe_state(self, source, *heard, inlets.group), newest=True))
        for group in self.robot.groups:
            if group.teleop is not None:
                kind = TELEOP_TYPES[group.teleop.type]
                self.own(urgent.add(kind, group.teleop.topic, partial(self._on_teleop, group), SENSOR))
        self.own(inlets.add(ActionChunk, "action_chunk", self._on_chunk, READ))
        self.own(urgent.add(Bool, "estop", self._on_estop, READ))
        if self.robot.takeover.deadman_topic:
            self.own(urgent.add(Joy, self.robot.takeover.deadman_topic, self._on_joy, SENSOR))

    # --- messages, in the control thread ---

    def _read(self) -> None:
        """Before the deadline: measurements and chunks, whose handling takes long at times, and what is known ahead."""
        self._inlets.take(2.0 * self.period)
        self._core.prepare()

    def _received(self, inlets: Inlets) -> tuple[float, float]:
        """Steady and ROS time [s] at which the message in hand was received."""
        return self.clocks.steady() - inlets.age, self.clocks.ros() - inlets.age

    def _bad_message(self, topic: str, error: Exception) -> None:
        self._rejected_messages += 1
        self._last_rejection = f"{topic}: {error}"
        steady = self.clocks.steady()
        if steady - self._complained.get(topic, -math.inf) >= COMPLAINTS:
            self._complained[topic] = steady
            self._events.append(Event(steady, 0.0, "warn", "message", f"message on {topic} refused: {error}"))

    def _heard(self, topic: str, steady: float) -> None:
        self._rates.setdefault(topic, Rate()).tick(steady)

    def _on_joints(self, source: StateSource, stamp: float, positions: dict, _: dict) -> None:
        received, ros = self._received(self._inlets)
        self._heard(source.topic, received)
        self._core.on_state(received, ros, stamp, positions)

    def _on_odometry(self, source: StateSource, stamp: float, velocity: tuple[float, float, float]) -> None:
        received, ros = self._received(self._inlets)
        self._heard(source.topic, received)
        self._core.on_odometry(received, ros, stamp, *velocity)

    def _on_chunk(self, message: ActionChunk) -> None:
        chunk = chunk_from_message(message)
        verdict = self._core.on_chunk(*self._received(self._inlets), chunk)
        if not verdict.accepted and not verdict.reason.startswith("ignored"):
            self._last_rejection = f"chunk {chunk.sequence}: {verdict.reason}"

    def _on_teleop(self, group: Group, message: JointState | Float64MultiArray) -> None:
        try:
            values = channel_values(group, message, group.teleop.joints)
        except ConversionError as error:
            self._bad_message(group.teleop.topic, error)
            return
        names = tuple(c.name for c in group.channels)
        self._core.on_teleop(self._received(self._urgent_inlets)[0], group.name, names, tuple(values))

    def _on_estop(self, message: Bool) -> None:
        self._core.on_estop(self._received(self._urgent_inlets)[0], bool(message.data))

    def _on_joy(self, message: Joy) -> None:
        button = self.robot.takeover.deadman_button
        held = button < len(message.buttons) and bool(message.buttons[button])
        self._core.on_deadman(self._received(self._urgent_inlets)[0], held)

    # --- the ROS thread: leave a note ---

    def _post(self, note: Callable[[float, float], object]) -> None:
        self._inbox.append(note)

    def _on_snapshot(self, camera: str, stamp: float, jpeg: bytes) -> None:
        self._post(lambda *now: self._core.blackbox.add(*now, "picture", (camera, stamp or now[1], jpeg), len(jpeg)))

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
        self._core, self._fault, self._trouble = Executor(self.robot, self._settings), "", None
        return Answer(True, "the control core was started anew; it waits for state in hold")

    def _tick(self, deadline: float, late: float) -> None:
        ros = self.clocks.ros() - max(late, 0.0)
        self._urgent_inlets.take(2.0 * self.period)
        while self._inbox:
            self._inbox.popleft()(deadline, ros)
        if self._fault:
            command = self._brake_step(deadline, ros)
        else:
            self._step = self._core.step(deadline, ros)
            command = self._step.command
            self._events.extend(self._step.events)
            if self._step.seam is not self._seam:
                self._seam = seam = self._step.seam
                self._seam_worst = tuple(
                    map(max, self._seam_worst, (seam.position, seam.velocity, seam.velocity_share))
                )
        if command is not None:
            self._send(command)
        else:
            self._resting.set()
        self._notice_change()

    def _brake_step(self, steady: float, ros: float) -> Command | None:
        if self._last is None:
            return None
        command = self._brake.step(self._last, ros, self.period)
        self._core.blackbox.add(steady, ros, "command", (command.stamp, command.values), command.values.nbytes)
        return command

    def _send(self, command: Command) -> None:
        """Validate and build everything, then publish."""
        values, rates = command.values.tolist(), command.velocities.tolist()
        if not math.isfinite(sum(values)):
            bad = [n for n, v in zip(command.names, command.values, strict=True) if not math.isfinite(v)]
            raise ValueError(f"the command for {', '.join(bad)} is not finite")
        stamp = time_parts(command.stamp)
        ready = [
            (publish, stencil(GroupCommand(stamp, values[s], rates[s], self.period)))
            for stencil, s, publish in self._commands
        ]
        for publish, serialized in ready:
            publish(serialized)
        self._last = command
        self._sent.append(command.velocities)
        moving = max(rates) > REST_SPEED or min(rates) < -REST_SPEED
        self._rested = 0 if moving else self._rested + 1
        if self._rested >= REST_TICKS:
            self._resting.set()

    def _tick_failed(self, trace: str) -> None:
        """The core raised: remember why and brake from the last command on; `reset` starts a new core."""
        if not self._fault:
            steady, ros = self.clocks.steady(), self.clocks.ros()
            self._core.blackbox.add(steady, ros, "event", Event(steady, ros, "error", "fault", trace), len(trace))
            self._fault_trace, self._fault = trace, trace.strip().splitlines()[-1]
        self._notice_change()

    def _notice_change(self) -> None:
        """Wake the reporter where there is news or it is time: now, so that it is done when the next period begins."""
        step = self._step
        seen = (self._fault, *((step.mode, step.reason, step.epoch, step.plan_sequence) if step else ()))
        self._untold += self.period
        if (seen != self._seen or self._untold > STATE_PERIOD - 0.5 * self.period) and self._lock.acquire(False):
            self._seen, self._untold = seen, 0.0
            self._lock.notify_all()
            self._lock.release()

    # --- the reporting thread ---

    def _report_forever(self) -> None:
        """Say everything at a fixed rate, and at once what has changed."""
        collected = self.clocks.steady()
        while True:
            with self._lock:
                if not self._reporting:
                    return
                self._lock.wait(2.0 * STATE_PERIOD)  # the control thread says when, as long as it runs
            self._report_once()
            steady = self.clocks.steady()
            if steady - collected > COLLECT_EVERY:
                collected = steady
                gc.collect(1)

    def _report_once(self) -> None:
        state = self._state_message()
        if state is None:
            return
        self._state_publisher.publish(state)
        mode = self._mode_name()
        if mode != self._told_mode:
            self._told_mode = mode
            self._mode_publisher.publish(String(data=mode))
        if self._fault != self._told_fault:
            self._told_fault = self._fault
            if self._fault:
                self.get_logger().error(f"the control step failed, braking:\n{self._fault_trace}")
        self._log_events()
        self._save_in_trouble(mode, state.reason)
        self._show_plan()

    def _log_events(self) -> None:
        while self._events:
            event = self._events.popleft()
            if event.name == "mode":
                self._trouble = event if event.level != "info" else None
            # rclpy ties a severity to a line of code, so each level has its own.
            if event.level == "error":
                self.get_logger().error(event.text)
            elif event.level == "warn":
                self.get_logger().warning(event.text)
            else:
                self.get_logger().info(event.text)

    def _save_in_trouble(self, mode: str, reason: str) -> None:
        """Have the black box written, once for every change that a fault or a stop has made."""
        change = (self._fault, self._step.epoch)
        if change == self._saved_at or (mode != "stopped" and self._trouble is None):
            return
        self._saved_at = change
        if self._writer is not None:
            told = reason if mode == "stopped" else self._trouble.text
            self._writer.save(self._core.blackbox.snapshot(), told)

    def _boxed(self, file: Path) -> None:
        self.get_logger().info(f"black box: {file}")

    def _not_boxed(self, error: OSError) -> None:
        self.get_logger().error(f"the black box could not be written: {error}")

    def _show_plan(self) -> None:
        """Draw a new plan where somebody looks, and take it away when it is over."""
        step = self._step
        plan = (step.epoch, step.plan_sequence, bool(self._fault))
        if plan == self._shown:
            return
        self._shown = plan
        if not (self._marker_publisher.get_subscription_count() or self._trajectory_publisher.get_subscription_count()):
            return
        ros = self.clocks.ros()
        chunk = None if self._fault else self._core.running_plan(ros)
        self._marker_publisher.publish(self._preview.markers(chunk, ros))
        if chunk is not None:
            self._trajectory_publisher.publish(self._preview.trajectory(chunk))

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
            "work_ms_p50": timing.work_p50 * 1e3,
            "work_ms_p99": timing.work_p99 * 1e3,
            "work_ms_max": timing.work_max * 1e3,
            "work_ms_p99_run": timing.work_p99_run * 1e3,
            "prepare_ms_p99": timing.prepare_p99 * 1e3,
            "prepare_ms_max": timing.prepare_max * 1e3,
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
            "black_box_mb": self._core.blackbox.size / 1e6,
            "black_box_pictures": self._snapshots.taken if self._snapshots is not None else 0,
        }
        while self._sent:
            self._jerk.see(self._sent.popleft())
        values["jerk_rms"], values["jerk_max"] = self._jerk.take()
        return self._judge(values, timing.overruns / max(timing.ticks, 1))

    def _judge(self, values: dict[str, object], overrun_share: float) -> Health:
        if self._fault:
            return Health(ERROR, f"fault in the executor, braking: {self._fault}", values)
        reason, mode = self._step.reason, self._mode_name()
        if mode == "stopped":
            return Health(ERROR, f"stopped: {reason}", values)
        trouble = self._trouble
        if trouble is not None:
            return Health(ERROR if trouble.level == "error" else WARN, f"{mode}: {reason}", values)
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
    never_wait_for_output()
    never_wait_for_readers()
    return run(make)


if __name__ == "__main__":
    raise SystemExit(main())
