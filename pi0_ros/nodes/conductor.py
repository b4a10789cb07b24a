"""conductor: runs the demo and measures it from the robot's side of the topics.

It starts scenes, says the task, asks for autonomy, takes over once in the middle and drives an arm, gives back, and
writes the report of docs/interface.md. It sees nothing that a person beside the robot with a network cable does not see.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from pi0_ros.msg import ActionChunk, ExecutorState
from pi0_ros.robot import RobotError, load_robot
from pi0_ros.robot.quoting import quote
from pi0_ros.robot.spec import Camera, Group, Kind
from pi0_ros.robot.wire import to_wire
from pi0_ros.ros.bounded import MessageInfo, MessageRefusedError, listen, parse_message
from pi0_ros.ros.clock import Clocks, seconds
from pi0_ros.ros.commands import COMMAND_TYPES
from pi0_ros.ros.conversions import ConversionError, channel_values
from pi0_ros.ros.diagnostics import ERROR
from pi0_ros.ros.images import PictureError, decode_picture
from pi0_ros.ros.parameters import Parameter, ParameterError, Parameters
from pi0_ros.ros.qos import EVENTS, LATCHED, OBSERVED, RELIABLE, SENSOR
from pi0_ros.ros.run import Signals, run
from pi0_ros.ros.subscribe import PICTURE_TYPES, subscribe_camera
from pi0_ros.ros.video import VideoWriter, compose
from pi0_ros.ros.witness import Witness, summary
from pi0_ros.sim.tasks import DONE

TICK = 0.02
START_TIMEOUT = 120.0
SCENE_TIMEOUT = 45.0
GIVEN_UP = 6.0
"""Seconds after which a network that says that nothing is left to do is believed; its last plan runs that long."""
SHORTEST_SCENE = 10.0
TAKEOVER = 4.0
TAKEOVER_SWING = 0.12
VIDEO_RATE = 10
SETTLE = 1.5
REST = 1.5

Condition = Callable[[], bool]


def own_timing(health: Mapping[str, str]) -> dict[str, object]:
    """How late the executor's periods began by its own clock (its diagnostics, last minute), beside what a subscriber saw:
    on a loaded machine the two differ by what the machine delays between them."""
    late = {name: round(float(health.get(f"period_late_ms_{name}", 0.0)), 3) for name in ("p50", "p99", "max")}
    return {"period_late_ms": late, "missed": int(float(health.get("overruns", 0)))}


class Conductor(Node):
    """Drives the demo with a script that is a generator: every yield is a condition to wait for."""

    table = (
        Parameter("robot", "mobile_bimanual", "robot YAML: a file, or a name under config/robots", required=True),
        Parameter("duration", 60.0, "seconds from the first autonomy on; 0: until stopped", low=0.0, high=1e6),
        Parameter("report", "", "JSON file to write the report to"),
        Parameter("video", "", "MP4 file to write what the cameras saw to"),
        Parameter("takeover", True, "take over once in the middle, drive an arm, give back"),
    )

    def __init__(self, signals: Signals, **kwargs: object) -> None:
        super().__init__("conductor", **kwargs)
        self._signals, self.clocks = signals, Clocks(self)
        self._options = Parameters(self, self.table).values()
        try:
            self.robot = load_robot(self._options.robot)
        except RobotError as error:
            raise ParameterError(f"parameter robot: {error}") from None
        self._witness = Witness(self.robot)
        self._forget()
        self._subscribe()
        self._script, self._condition, self._deadline = self._play(), lambda: True, math.inf
        self.clocks.timer(TICK, self._tick)
        self._finished = False

    def _forget(self) -> None:
        self._mode, self._task, self._state = "", "", None
        self._began = math.inf
        self._chunks, self._inference, self._delays = 0, [], []
        self._subtasks, self._takeovers, self._faults = [], 0, []
        self._finished_since = math.inf  # steady time since which the network says that nothing is left to do
        self._fault_kinds: set[str] = set()
        self._scene, self._executor_health = {}, {}
        self._worst = {"jerk_rms": 0.0, "tracking_error": 0.0}
        self._attempted = self._succeeded = 0
        self._underruns_before, self._last_plan = 0, 0
        self._pictures: dict[str, np.ndarray] = {}

    def _subscribe(self) -> None:
        for group in self.robot.groups:
            kind = COMMAND_TYPES[group.command.type].message
            listen(self, kind, group.command.topic, partial(self._on_command, group), OBSERVED, timed=True)
        listen(self, ExecutorState, "executor_state", self._on_state, RELIABLE)
        listen(self, ActionChunk, "action_chunk", self._on_chunk, EVENTS)
        listen(self, String, "mode", self._on_mode, LATCHED)
        listen(self, String, "subtask", self._on_subtask, LATCHED)
        listen(self, DiagnosticArray, "/diagnostics", self._on_health, EVENTS)
        self._task_publisher = self.create_publisher(String, "task", LATCHED)
        self._arm = next((g for g in self.robot.groups if g.teleop is not None and g.kind is Kind.POSITION), None)
        if self._arm is not None:
            self._leader = self.create_publisher(JointState, self._arm.teleop.topic, SENSOR)
        names = ("executor/hold", "executor/teleop", "executor/autonomy", "executor/reset", "sim_robot/reset")
        self._triggers = {name: self.create_client(Trigger, name) for name in names}
        self._video: VideoWriter | None = None
        if self._options.video:
            self._video = VideoWriter(Path(self._options.video), VIDEO_RATE)
            for camera in self.robot.cameras:
                subscribe_camera(self, camera, partial(self._on_picture, camera))
            self.clocks.timer(1.0 / VIDEO_RATE, self._film)

    def bring_up(self) -> bool:
        """Nothing to do: the script starts with the first tick."""
        return True

    def shut_down(self, reason: str) -> None:
        """Write what was measured so far."""
        self._finish()

    # --- what it sees ---

    def _on_command(self, group: Group, message: object, info: dict[str, int]) -> None:
        # The time at which the network layer got it, not the time at which this process came round to look.
        at = info["received_timestamp"] * 1e-9 or self.clocks.ros()
        try:
            values = channel_values(group, message, group.command)
        except ConversionError as error:
            self._fault(f"command on {group.command.topic}: {error}")
            return
        if broken := self._witness.see(group.name, at, values):
            self._fault(f"a command of {group.name} broke a limit: {broken}")

    def _on_state(self, message: ExecutorState) -> None:
        self._state = message
        if message.plan_sequence != self._last_plan and message.plan_sequence:
            self._last_plan = message.plan_sequence
            self._delays.append(message.splice_delay * 1e3)

    def _on_chunk(self, message: ActionChunk) -> None:
        self._chunks += 1
        self._inference.append(seconds(message.inference_time) * 1e3)

    def _on_mode(self, message: String) -> None:
        if message.data == "teleop" and self._mode and self._mode != "teleop":
            self._takeovers += 1
        self._mode = message.data

    def _on_subtask(self, message: String) -> None:
        if message.data and (not self._subtasks or self._subtasks[-1] != message.data):
            self._subtasks.append(message.data)
        if message.data != DONE:
            self._finished_since = math.inf
        elif math.isinf(self._finished_since):
            self._finished_since = self.clocks.steady()
            self.get_logger().info(f"subtask: {quote(message.data)}")

    def _on_health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            # By the whole name: another robot's executor on this network is not ours.
            place, _, name = status.name.rpartition("/")
            if place != self.get_namespace().strip("/"):
                continue
            values = {v.key: v.value for v in status.values}
            if name == "sim_robot":
                self._scene = values
            if name == "executor":
                self._executor_health = values
                if self._running:
                    self._worst = {n: max(worst, float(values.get(n, 0.0))) for n, worst in self._worst.items()}
            if status.level == ERROR and self._running:
                self._fault(f"{name}: {status.message}")

    def _on_picture(self, camera: Camera, data: bytes, _: MessageInfo) -> None:
        try:
            message = parse_message(data, PICTURE_TYPES[camera.type])
            self._pictures[camera.name] = decode_picture(message, camera.options)
        except (PictureError, MessageRefusedError) as error:
            self._fault(f"camera {camera.name}: {error}")

    def _film(self) -> None:
        if self._video is None or not self._pictures:
            return
        subtask = self._subtasks[-1] if self._subtasks else "-"
        lines = (f"task: {self._task or '-'}", f"subtask: {subtask}    mode: {self._mode or '-'}")
        self._video.add(compose(self._pictures, [c.name for c in self.robot.cameras], lines))

    def _fault(self, text: str) -> None:
        # The same sentence with other numbers is the same fault.
        kind = re.sub(r"[0-9.]+", "", text)
        if kind not in self._fault_kinds:
            self._fault_kinds.add(kind)
            self._faults.append(text)
            self.get_logger().warning(text)

    # --- what it does ---

    @property
    def _running(self) -> bool:
        return math.isfinite(self._began)

    @property
    def _elapsed(self) -> float:
        return self.clocks.steady() - self._began if self._running else 0.0

    @property
    def _left(self) -> float:
        return self._options.duration - self._elapsed if self._options.duration else math.inf

    def _tick(self) -> None:
        if self._finished:
            return
        if self._condition() or self.clocks.steady() > self._deadline or (self._running and self._left <= 0.0):
            try:
                self._condition, timeout = next(self._script)
                self._deadline = self.clocks.steady() + timeout
            except StopIteration:
                self._finish()
                self._signals.end("done")

    def _play(self) -> Iterator[tuple[Condition, float]]:
        clients = [self._triggers[n] for n in ("executor/autonomy", "sim_robot/reset")]
        yield lambda: all(c.service_is_ready() for c in clients) and self._state is not None, START_TIMEOUT
        if self._state is None:
            self._fault(f"no executor_state within {START_TIMEOUT:.0f} s")
            return
        yield lambda: all(g.times for g in self._witness.groups.values()), START_TIMEOUT
        pending = self._options.takeover and self._arm is not None
        while not self._running or self._left > SHORTEST_SCENE:
            yield from self._start_scene()
            middle = self._elapsed + SCENE_TIMEOUT >= 0.5 * self._options.duration
            takes_over = pending and (not self._options.duration or middle)
            yield from self._let_it_work(takes_over)
            pending = pending and not takes_over
            self._count_scene()
            if self._left <= 0.0:
                return
        yield lambda: False, self._left  # too short for another scene; commands are measured to the end

    def _ask(self, name: str) -> Iterator[tuple[Condition, float]]:
        """Call a service and wait for its answer, which is returned."""
        future = self._triggers[name].call_async(Trigger.Request())
        yield future.done, 5.0
        answer = future.result() if future.done() else None
        if answer is None:
            self._fault(f"{name} did not answer")
        elif not answer.success:
            self.get_logger().info(f"{name}: {answer.message}")
        return answer

    def _wait(self, length: float) -> Iterator[tuple[Condition, float]]:
        until = self.clocks.steady() + length
        yield lambda: self.clocks.steady() >= until, length + 1.0

    def _start_scene(self) -> Iterator[tuple[Condition, float]]:
        if self._running:
            yield from self._ask("executor/hold")
            yield from self._wait(0.5)
        answer = yield from self._ask("sim_robot/reset")
        self._task = answer.message if answer is not None else ""
        self._scene, self._finished_since = {}, math.inf
        # The arms were put elsewhere; the executor notices and holds where they are now.
        yield from self._wait(SETTLE)
        self._task_publisher.publish(String(data=self._task))
        if not self._running:
            # Loading the weights takes as long as it takes; that is not part of what is measured.
            yield lambda: self._chunks > 0, START_TIMEOUT
        yield from self._engage()
        if not self._running:
            self._start_measuring()

    def _engage(self) -> Iterator[tuple[Condition, float]]:
        """Ask for autonomy until it is given."""
        for _ in range(20):
            answer = yield from self._ask("executor/autonomy")
            if answer is not None and answer.success:
                return
            if self._mode == "stopped":
                yield from self._ask("executor/reset")
            yield from self._wait(0.5)
        self._fault("autonomy was refused twenty times")

    def _start_measuring(self) -> None:
        self._began = self.clocks.steady()
        self._witness.restart()
        self._chunks, self._inference, self._delays = 0, [], []
        self._underruns_before = self._state.underruns
        self.get_logger().info(f"measuring: {self._task}")

    def _let_it_work(self, takes_over: bool) -> Iterator[tuple[Condition, float]]:
        until = self.clocks.steady() + SCENE_TIMEOUT
        if takes_over:
            yield lambda: self._done >= 1 or self._succeeded_scene, min(8.0, SCENE_TIMEOUT)
            yield from self._take_over()
            until += TAKEOVER
        while self.clocks.steady() < until and not self._succeeded_scene and self._left > 0.0:
            waited_for = lambda: self._succeeded_scene or self._mode == "hold" or self._given_up
            yield waited_for, max(0.1, until - self.clocks.steady())
            if self._given_up and not self._succeeded_scene:
                total = self._scene.get("total", "?")
                self.get_logger().warning(
                    f"the network says {DONE!r} after {self._done} of {total}; the scene is given up"
                )
                return
            if self._mode in ("hold", "stopped") and self._left > 0.0 and not self._succeeded_scene:
                self._fault(f"autonomy ended: {self._state.reason}")
                # Where an arm met something, the executor first goes back to where the arm is.
                yield from self._wait(REST)
                yield from self._engage()

    def _take_over(self) -> Iterator[tuple[Condition, float]]:
        """A person's quarter of a minute: ask for teleop, swing an arm from where it is, give back."""
        names = [c.name for c in self._arm.channels]
        at = {n: v for n, v in zip(self._state.channels, self._state.command, strict=True)}
        home, since = np.array([at[n] for n in names]), self.clocks.steady()

        def lead() -> bool:
            t = self.clocks.steady() - since
            swing = np.zeros(len(home))
            swing[0] = TAKEOVER_SWING * math.sin(2.0 * math.pi * t / TAKEOVER)
            message = JointState(name=list(self._arm.teleop.joints))
            message.position = array("d", to_wire(self._arm, home + swing, self._arm.teleop))
            message.header.stamp = self.get_clock().now().to_msg()
            self._leader.publish(message)
            return t >= TAKEOVER

        lead()
        yield from self._ask("executor/teleop")
        yield lead, TAKEOVER + 1.0
        yield from self._engage()

    @property
    def _given_up(self) -> bool:
        """Whether the network has said for a while that nothing is left to do."""
        return self.clocks.steady() - self._finished_since > GIVEN_UP

    @property
    def _done(self) -> int:
        return int(self._scene.get("done", 0))

    @property
    def _succeeded_scene(self) -> bool:
        return self._scene.get("success") == "True"

    def _count_scene(self) -> None:
        total = int(self._scene.get("total", 0))
        # A block that time was not left for was not attempted; the one being reached for was.
        self._attempted += total if self._left > 0.0 else min(total, self._done + 1)
        self._succeeded += self._done
        self.get_logger().info(f"scene over: {self._done} of {total}")

    # --- what it tells ---

    def report(self) -> dict[str, object]:
        """The demo report (docs/interface.md)."""
        state = self._state
        infer50, infer99 = summary(self._inference, 0.5, 0.99)
        delay50, delay99 = summary(self._delays, 0.5, 0.99)
        seam = {n: float(self._executor_health.get(f"seam_{n}_max", 0.0)) for n in ("position", "velocity")}
        return {
            "duration_s": round(self._elapsed, 2),
            "control": {**self._witness.control(), "executor": own_timing(self._executor_health)},
            "policy": {
                "chunks": self._chunks,
                "inference_ms": {"p50": round(infer50, 2), "p99": round(infer99, 2)},
                "observation_to_command_ms": {"p50": round(delay50, 2), "p99": round(delay99, 2)},
            },
            "motion": {
                "limit_violations": self._witness.violations,
                "underruns": state.underruns - self._underruns_before if state is not None else 0,
                "seam_position": seam["position"],
                "seam_velocity": seam["velocity"],
                **self._worst,
            },
            "tasks": {"attempted": self._attempted, "succeeded": self._succeeded},
            "subtasks": self._subtasks,
            "takeovers": self._takeovers,
            "faults": self._faults,
        }

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        if self._video is not None:
            self._video.close()
            if self._video.failure:
                self._fault(self._video.failure)
        told = json.dumps(self.report(), indent=1, ensure_ascii=False)
        if self._options.report:
            file = Path(self._options.report)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(told + "\n", encoding="utf-8")


def main() -> int:
    """Run the node."""
    return run(lambda signals: [Conductor(signals)])


if __name__ == "__main__":
    raise SystemExit(main())
