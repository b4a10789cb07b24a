"""What the scripted person beside a simulated robot does, scene after scene. A script is a generator: every yield is a
condition to wait for, with a timeout."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from pi0_ros.msg import ExecutorState
from pi0_ros.robot.spec import Robot
from pi0_ros.ros.bounded import listen
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.conversions import MODE_NAMES
from pi0_ros.ros.leaders import Leaders
from pi0_ros.ros.qos import EVENTS, LATCHED, RELIABLE, SENSOR
from pi0_ros.touch.bystander import Bystander

START_TIMEOUT = 120.0
SETTLE = 1.0  # s after a reset in which the executor notices that the arms were put elsewhere
LONGEST = 12.0  # s that a person drives in one scene
LINGER = 0.4  # s that a person stays after the touch
TRIES = 40
SERVICES = ("executor/hold", "executor/teleop", "executor/autonomy", "executor/reset", "sim_robot/reset")

Script = Generator[tuple[Callable[[], bool], float], None, Any]


class OperatorView:
    """The newest that the robot, the executor and the simulation say."""

    def __init__(self, node: Node, robot: Robot) -> None:
        self._place = node.get_namespace().strip("/")
        self.joints: dict[str, float] = {}
        self.pose, self.state = (0.0, 0.0, 0.0), ExecutorState()
        self.scene: dict[str, str] = {}
        for source in robot.state:
            if source.type == "joint_state":
                listen(node, JointState, source.topic, self._on_joints, SENSOR)
            else:
                listen(node, Odometry, source.topic, self._on_odometry, SENSOR)
        listen(node, ExecutorState, "executor_state", self._on_state, RELIABLE)
        listen(node, DiagnosticArray, "/diagnostics", self._on_health, EVENTS)

    @property
    def mode(self) -> str:
        """Who drives; "" before anything was heard."""
        return MODE_NAMES.get(self.state.mode, "") if self.state.channels else ""

    def _on_joints(self, message: JointState) -> None:
        self.joints.update(zip(message.name, message.position, strict=False))

    def _on_odometry(self, message: Odometry) -> None:
        at, turn = message.pose.pose.position, message.pose.pose.orientation
        self.pose = (at.x, at.y, 2.0 * math.atan2(turn.z, turn.w))

    def _on_state(self, message: ExecutorState) -> None:
        self.state = message

    def _on_health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            place, _, name = status.name.rpartition("/")
            if name == "sim_robot" and place == self._place:
                self.scene = {v.key: v.value for v in status.values}


class OperatorScript:
    """Lets the policy work, takes over where it goes wrong, drives to the end and gives back."""

    def __init__(
        self, node: Node, clocks: Clocks, robot: Robot, watcher: Bystander, corrections: int, scenes: int
    ) -> None:
        """Ends after so many scenes in which it took over, or so many scenes in all."""
        self._clocks, self._log, self._watcher = clocks, node.get_logger(), watcher
        self._heard, self._leaders = OperatorView(node, robot), Leaders(node, robot)
        self._task = node.create_publisher(String, "task", LATCHED)
        self._calls = {name: node.create_client(Trigger, name) for name in SERVICES}
        self._most = corrections, scenes
        self._began, self._driving = math.inf, False
        self.counts = {"scenes": 0, "alone": 0, "corrected": 0, "lost": 0}

    def play(self) -> Script:
        """Scene after scene."""
        ready = lambda: all(c.service_is_ready() for c in self._calls.values()) and bool(self._heard.mode)
        yield ready, START_TIMEOUT
        if not ready():
            missing = [name for name, call in self._calls.items() if not call.service_is_ready()]
            self._log.error(f"nobody offers {', '.join(missing) or 'executor_state'}: is pi0 up sim:=true running?")
            return
        counts, (corrections, scenes) = self.counts, self._most
        while counts["corrected"] < corrections and counts["scenes"] < scenes:
            counts["scenes"] += 1
            how = yield from self._one_scene()
            counts[how] += 1
            self._log.info(f"scene {counts['scenes']}: {how}; {counts['corrected']} of {corrections} corrections")

    def every_period(self) -> None:
        """Look, and move the leaders while it drives."""
        if not math.isfinite(self._began):
            return
        self._watcher.see(self._clocks.steady() - self._began, self._heard.joints, self._heard.pose)
        if self._driving:
            self._leaders.lead(self._watcher.lead(np.array(self._heard.state.measured)))

    def _one_scene(self) -> Script:
        """One scene: "alone", "corrected" or "lost"."""
        watcher = self._watcher
        instruction = yield from self._next_scene()
        yield from self._engage()
        self._began = self._clocks.steady()
        watcher.look_anew()
        yield lambda: watcher.solved or watcher.lost or bool(watcher.objection), watcher.task.time_limit
        why = watcher.objection
        if watcher.solved or watcher.lost or not why:
            how = "alone" if watcher.solved else "lost"
        else:
            self._log.info(f"taking over: {why} ({instruction})")
            yield from self._drive()
            how = "corrected" if watcher.solved else "lost"
        self._began = math.inf
        return how

    def _next_scene(self) -> Script:
        """Have the next scene laid, know it, and say its task, which is returned."""
        yield from self._ask("executor/hold")
        answer = yield from self._ask("sim_robot/reset")
        instruction, received = answer.message if answer is not None else "", self._heard
        yield from self._wait(SETTLE)
        yield lambda: received.scene.get("instruction") == instruction, 10.0
        self._watcher.begin(received.scene.get("scene", "reach"), int(received.scene.get("seed", 0)))
        self._task.publish(String(data=instruction))
        return instruction

    def _drive(self) -> Script:
        """Take over and drive until the task is done."""
        self._watcher.take(np.array(self._heard.state.command))
        self._driving, self._began = True, self._clocks.steady()  # a person has all the time of the task again
        yield from self._ask("executor/teleop")
        yield lambda: self._watcher.solved, LONGEST
        yield from self._wait(LINGER)
        yield from self._ask("executor/hold")
        self._driving = False

    def _engage(self) -> Script:
        """Ask for autonomy until it is given."""
        yield from self._wait(0.3)
        for _ in range(TRIES):
            answer = yield from self._ask("executor/autonomy")
            if answer is not None and answer.success:
                return
            if self._heard.mode == "stopped":
                yield from self._ask("executor/reset")
            yield from self._wait(0.5)
        self._log.warning(
            f"autonomy was refused {TRIES} times: {answer.message if answer is not None else 'no answer'}"
        )

    def _ask(self, name: str) -> Script:
        future = self._calls[name].call_async(Trigger.Request())
        yield future.done, 5.0
        return future.result() if future.done() else None

    def _wait(self, length: float) -> Script:
        yield lambda: False, length
