"""What happens in a demo, scene by scene. A script is a generator: every yield is a condition to wait for, with a timeout."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from pi0_ros.msg import ExecutorState
from pi0_ros.nodes.demo_record import DemoRecord, Stage
from pi0_ros.robot.spec import Group, Kind, Robot, TeleopTopic
from pi0_ros.robot.wire import to_wire
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.qos import LATCHED, SENSOR
from pi0_ros.touch.words import DONE

START_TIMEOUT = 120.0
SCENE_TIMEOUT = 45.0
GIVEN_UP = 6.0
"""Seconds after which a network that says that nothing is left to do is believed."""
SHORTEST_SCENE = 10.0
FIRST = 8.0
"""Seconds in which something of a scene is to be done before a person takes over."""
TAKEOVER = 4.0
TAKEOVER_SWING = 0.12
SETTLE = 1.5
REST = 1.5
SERVICES = ("executor/hold", "executor/teleop", "executor/autonomy", "executor/reset", "sim_robot/reset")

Condition = Callable[[], bool]
Script = Generator[tuple[Condition, float], None, Any]


class Leader:
    """A leader arm: what a person holds to move one group of the robot."""

    def __init__(self, node: Node, group: Group, topic: TeleopTopic) -> None:
        self.group, self._node, self._topic = group, node, topic
        self._publisher = node.create_publisher(JointState, topic.topic, SENSOR)

    def lead(self, positions: Sequence[float]) -> None:
        """Move it to `positions` [rad]."""
        message = JointState(name=list(self._topic.joints))
        message.position = array("d", to_wire(self.group, positions, self._topic))
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


class DemoHands:
    """What a person does in a demo: calls services, says the task, moves a leader arm."""

    def __init__(self, node: Node, robot: Robot) -> None:
        self._task = node.create_publisher(String, "task", LATCHED)
        leading = ((g, g.teleop) for g in robot.groups if g.teleop is not None and g.kind is Kind.POSITION)
        self._leader = next((Leader(node, *found) for found in leading), None)
        self.arm = self._leader.group if self._leader is not None else None
        self._services = {name: node.create_client(Trigger, name) for name in SERVICES}

    def ready(self) -> bool:
        """Whether there is somebody to ask."""
        return all(self._services[n].service_is_ready() for n in ("executor/autonomy", "sim_robot/reset"))

    def call(self, name: str) -> Any:
        """Call a service; the future of its answer."""
        return self._services[name].call_async(Trigger.Request())

    def say(self, task: str) -> None:
        """Publish the task."""
        self._task.publish(String(data=task))

    def lead(self, positions: Sequence[float]) -> None:
        """Move the leader of `arm`, which there has to be, to `positions` [rad]."""
        assert self._leader is not None
        self._leader.lead(positions)


class DemoScript:
    """Starts scenes, says the task, asks for autonomy, takes over once in the middle and gives back."""

    def __init__(
        self,
        node: Node,
        clocks: Clocks,
        hands: DemoHands,
        stage: Stage,
        record: DemoRecord,
        duration: float,
        takeover: bool,
    ) -> None:
        """`duration` [s] from the first autonomy on, 0 without end."""
        self._clocks, self._hands, self._stage, self._record = clocks, hands, stage, record
        self._duration, self._takeover = duration, takeover and hands.arm is not None
        self._log = node.get_logger()

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._duration - self._stage.elapsed(self._clocks.steady()) if self._duration else math.inf

    def play(self) -> Script:
        """The whole demo."""
        stage = self._stage
        yield lambda: self._hands.ready() and stage.state is not None, START_TIMEOUT
        if stage.state is None:
            self._record.faults.add(f"no executor_state within {START_TIMEOUT:.0f} s")
            return
        yield lambda: all(g.times for g in self._record.monitor.groups.values()), START_TIMEOUT
        pending = self._takeover
        while not stage.running or self.left > SHORTEST_SCENE:
            yield from self._start_scene()
            middle = stage.elapsed(self._clocks.steady()) + SCENE_TIMEOUT >= 0.5 * self._duration  # without end at once
            takes_over = pending and middle
            yield from self.let_it_work(takes_over)
            pending = pending and not takes_over
            self.end_scene()
        yield from self._wait(self.left)  # too short for another scene; commands are measured to the end

    def start_measuring(self) -> None:
        """From now on everything counts."""
        self._stage.began = self._clocks.steady()
        self._record.start(self._state().underruns)
        self._log.info(f"measuring: {self._stage.task}")

    def let_it_work(self, takes_over: bool) -> Script:
        """Wait until the scene is solved, given up or out of time, asking for autonomy again where it ended."""
        stage, until = self._stage, self._clocks.steady() + SCENE_TIMEOUT
        if takes_over:
            yield lambda: stage.done >= 1 or stage.solved, FIRST
            yield from self._take_over()
            until += TAKEOVER
        while self._clocks.steady() < until and not stage.solved and self.left > 0.0:
            ended = lambda: stage.solved or stage.mode == "hold" or self._given_up()
            yield ended, until - self._clocks.steady()
            if self._given_up() and not stage.solved:
                of = stage.scene.get("total", "?")
                self._log.warning(f"the network says {DONE!r} after {stage.done} of {of}; the scene is given up")
                return
            if stage.mode in ("hold", "stopped") and self.left > 0.0 and not stage.solved:
                self._record.faults.add(f"autonomy ended: {self._state().reason}")
                # Where an arm met something, the executor first goes back to where the arm is.
                yield from self._wait(REST)
                yield from self._engage()

    def end_scene(self) -> None:
        """Count what was done in it."""
        self._record.end_scene(self._stage, self.left > 0.0)
        self._log.info(f"scene over: {self._stage.done} of {self._stage.total}")

    def _given_up(self) -> bool:
        """Whether the network has said for a while that nothing is left to do."""
        return self._clocks.steady() - self._stage.finished_since > GIVEN_UP

    def _ask(self, name: str) -> Script:
        """Call a service and wait for its answer, which is returned."""
        future = self._hands.call(name)
        yield future.done, 5.0
        answer = future.result() if future.done() else None
        if answer is None:
            self._record.faults.add(f"{name} did not answer")
        elif not answer.success:
            self._log.info(f"{name}: {answer.message}")
        return answer

    def _wait(self, length: float) -> Script:
        yield lambda: False, length

    def _start_scene(self) -> Script:
        stage = self._stage
        if stage.running:
            yield from self._ask("executor/hold")
            yield from self._wait(0.5)
        answer = yield from self._ask("sim_robot/reset")
        stage.task = answer.message if answer is not None else ""
        stage.scene, stage.finished_since = {}, math.inf
        # The arms were put elsewhere; the executor notices and holds where they are now.
        yield from self._wait(SETTLE)
        self._hands.say(stage.task)
        if not stage.running:
            # Loading the weights takes as long as it takes; that is not part of what is measured.
            yield lambda: self._record.plans.chunks > 0, START_TIMEOUT
        yield from self._engage()
        if not stage.running:
            self.start_measuring()

    def _state(self) -> ExecutorState:
        """The executor's newest state; nothing begins before there is one."""
        assert self._stage.state is not None
        return self._stage.state

    def _engage(self) -> Script:
        """Ask for autonomy until it is given."""
        for _ in range(20):
            answer = yield from self._ask("executor/autonomy")
            if answer is not None and answer.success:
                return
            if self._stage.mode == "stopped":
                yield from self._ask("executor/reset")
            yield from self._wait(0.5)
        self._record.faults.add("autonomy was refused twenty times")

    def _take_over(self) -> Script:
        """A person's quarter of a minute: ask for teleop, swing an arm from where it is, give back."""
        state, arm = self._state(), self._hands.arm
        assert arm is not None
        at = dict(zip(state.channels, state.command, strict=True))
        home, since = np.array([at[c.name] for c in arm.channels]), self._clocks.steady()

        def lead() -> bool:
            t = self._clocks.steady() - since
            swing = np.zeros(len(home))
            swing[0] = TAKEOVER_SWING * math.sin(2.0 * math.pi * t / TAKEOVER)
            self._hands.lead((home + swing).tolist())
            return t >= TAKEOVER

        lead()
        yield from self._ask("executor/teleop")
        yield lead, math.inf
        yield from self._engage()
