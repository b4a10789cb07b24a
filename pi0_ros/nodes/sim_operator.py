"""sim_operator: the person beside a simulated robot, scripted. It lets the policy work, takes over through the teleop topics
where it goes wrong, drives to the end and gives back, scene after scene.

It knows where the blocks were laid, and sees of the robot what anybody sees: joint states, odometry, the executor's state.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from pi0_ros.msg import ExecutorState
from pi0_ros.robot import RobotError, load_robot
from pi0_ros.robot.spec import Group
from pi0_ros.robot.wire import to_wire
from pi0_ros.ros.bounded import listen
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.conversions import MODE_NAMES
from pi0_ros.ros.parameters import Parameter, ParameterError, Parameters
from pi0_ros.ros.qos import EVENTS, LATCHED, RELIABLE, SENSOR
from pi0_ros.ros.run import Signals, run
from pi0_ros.sim.bystander import Bystander

TICK = 0.02
START_TIMEOUT = 120.0
SETTLE = 1.0  # s after a reset in which the executor notices that the arms were put elsewhere
LONGEST = 12.0  # s that a person drives in one scene
LINGER = 0.4  # s that a person stays after the touch
SERVICES = ("executor/hold", "executor/teleop", "executor/autonomy", "executor/reset", "sim_robot/reset")

Script = Generator[tuple[Callable[[], bool], float], None, Any]


class SimOperatorNode(Node):
    """Watches, takes over, gives back."""

    table = (
        Parameter("robot", "mobile_bimanual", "robot YAML: a file, or a name under config/robots", required=True),
        Parameter("corrections", 30, "scenes in which somebody took over, after which it ends", low=1, high=100_000),
        Parameter("scenes", 1000, "scenes after which it ends at the latest", low=1, high=1_000_000),
    )

    def __init__(self, signals: Signals, **kwargs: object) -> None:
        super().__init__("sim_operator", **kwargs)
        self._signals, self.clocks = signals, Clocks(self)
        self.values = Parameters(self, self.table).values()
        try:
            self.robot = load_robot(self.values.robot)
        except RobotError as error:
            raise ParameterError(f"parameter robot: {error}") from None
        self.watcher = Bystander(self.robot, period=TICK)
        self._joints: dict[str, float] = {}
        self._pose, self._state, self._scene = (0.0, 0.0, 0.0), ExecutorState(), {}
        self._began, self._driving = math.inf, False
        self.counts = {"scenes": 0, "alone": 0, "corrected": 0, "lost": 0}
        self._wire()
        self._finished = False
        self._script = self.play()
        self._waits: tuple[Callable[[], bool], float] = (lambda: True, math.inf)
        self.clocks.timer(TICK, self._tick)

    def _wire(self) -> None:
        for source in self.robot.state:
            if source.type == "joint_state":
                listen(self, JointState, source.topic, self._on_joints, SENSOR)
            else:
                listen(self, Odometry, source.topic, self._on_odometry, SENSOR)
        listen(self, ExecutorState, "executor_state", self._on_state, RELIABLE)
        listen(self, DiagnosticArray, "/diagnostics", self._on_health, EVENTS)
        self._task = self.create_publisher(String, "task", LATCHED)
        self._calls = {name: self.create_client(Trigger, name) for name in SERVICES}
        kinds = {"joint_state": JointState, "twist_stamped": TwistStamped}
        self._leaders = [
            (g, self.create_publisher(kinds[g.teleop.type], g.teleop.topic, SENSOR))
            for g in self.robot.groups
            if g.teleop is not None and g.teleop.type in kinds
        ]

    def bring_up(self) -> bool:
        """Nothing to do: the script starts with the first tick."""
        return True

    def shut_down(self, reason: str) -> None:
        """Say what came of it."""
        self._finish()

    def _on_joints(self, message: JointState) -> None:
        self._joints.update(zip(message.name, message.position, strict=False))

    def _on_odometry(self, message: Odometry) -> None:
        at, turn = message.pose.pose.position, message.pose.pose.orientation
        self._pose = (at.x, at.y, 2.0 * math.atan2(turn.z, turn.w))

    def _on_state(self, message: ExecutorState) -> None:
        self._state = message

    def _on_health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            place, _, name = status.name.rpartition("/")
            if name == "sim_robot" and place == self.get_namespace().strip("/"):
                self._scene = {v.key: v.value for v in status.values}

    @property
    def mode(self) -> str:
        """Who drives."""
        return MODE_NAMES.get(self._state.mode, "") if self._state.channels else ""

    # --- what a person does ---

    def play(self) -> Script:
        """Scene after scene."""
        yield lambda: all(c.service_is_ready() for c in self._calls.values()) and bool(self.mode), START_TIMEOUT
        counts, values = self.counts, self.values
        while counts["corrected"] < values.corrections and counts["scenes"] < values.scenes:
            counts["scenes"] += 1
            how = yield from self._one_scene()
            counts[how] += 1
            self.get_logger().info(
                f"scene {counts['scenes']}: {how}; {counts['corrected']} of {values.corrections} corrections"
            )

    def _one_scene(self) -> Script:
        """One scene: "alone", "corrected" or "lost"."""
        yield from self._ask("executor/hold")
        answer = yield from self._ask("sim_robot/reset")
        told = answer.message if answer is not None else ""
        yield from self._wait(SETTLE)
        yield lambda: self._scene.get("instruction") == told, 10.0
        self.watcher.begin(self._scene.get("scene", "reach"), int(self._scene.get("seed", 0)))
        self._task.publish(String(data=told))
        yield from self._engage()
        self._began = self.clocks.steady()
        self.watcher.look_anew()
        yield self._something_happens, self.watcher.task.time_limit
        why = self.watcher.objection
        if self.watcher.solved or self.watcher.lost or not why:
            how = "alone" if self.watcher.solved else "lost"
        else:
            self.get_logger().info(f"taking over: {why} ({told})")
            yield from self._drive()
            how = "corrected" if self.watcher.solved else "lost"
        self._began = math.inf
        return how

    def _something_happens(self) -> bool:
        return self.watcher.solved or self.watcher.lost or bool(self.watcher.objection)

    def _drive(self) -> Script:
        """Take over and drive until the task is done."""
        self.watcher.take(np.array(self._state.command))
        self._driving, self._began = True, self.clocks.steady()  # a person has all the time of the task again
        yield from self._ask("executor/teleop")
        yield lambda: self.watcher.solved, LONGEST
        yield from self._wait(LINGER)
        yield from self._ask("executor/hold")
        self._driving = False

    def _engage(self) -> Script:
        """Ask for autonomy until it is given."""
        yield from self._wait(0.3)
        for _ in range(40):
            answer = yield from self._ask("executor/autonomy")
            if answer is not None and answer.success:
                return
            if self.mode == "stopped":
                yield from self._ask("executor/reset")
            yield from self._wait(0.5)

    def _ask(self, name: str) -> Script:
        future = self._calls[name].call_async(Trigger.Request())
        yield future.done, 5.0
        return future.result() if future.done() else None

    def _wait(self, length: float) -> Script:
        until = self.clocks.steady() + length
        yield lambda: self.clocks.steady() >= until, length + 1.0

    # --- every period ---

    def _tick(self) -> None:
        if self._finished:
            return
        now = self.clocks.steady()
        if math.isfinite(self._began):
            self.watcher.see(now - self._began, self._joints, self._pose)
            if self._driving:
                goal = self.watcher.lead(np.array(self._state.measured))
                for group, publisher in self._leaders:
                    publisher.publish(self._lead_message(group, goal))
        condition, deadline = self._waits
        if condition() or now > deadline:
            try:
                condition, timeout = next(self._script)
                self._waits = (condition, self.clocks.steady() + timeout)
            except StopIteration:
                self._finish()
                self._signals.end("done")

    def _lead_message(self, group: Group, goal: np.ndarray) -> JointState | TwistStamped:
        values = [float(goal[self.robot.index[c.name]]) for c in group.channels]
        stamp = self.get_clock().now().to_msg()
        if group.teleop.type == "twist_stamped":
            twist = TwistStamped()
            twist.header.stamp = stamp
            return twist  # the base stands still
        message = JointState(name=list(group.teleop.joints))
        message.position = array("d", to_wire(group, values, group.teleop))
        message.header.stamp = stamp
        return message

    def _finish(self) -> None:
        if not self._finished:
            self._finished = True
            told = ", ".join(f"{count} {what}" for what, count in self.counts.items())
            self.get_logger().info(f"over: {told}")


def main() -> int:
    """Run the node."""
    return run(lambda signals: [SimOperatorNode(signals)])


if __name__ == "__main__":
    raise SystemExit(main())
