"""What the executor listens to, read by the control loop itself, once a period."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from functools import partial

from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, Float64MultiArray, String

from pi0_ros.control import Event, Executor
from pi0_ros.control.chunk import MAX_ROWS, Cause
from pi0_ros.control.modes import Trigger
from pi0_ros.control.policy_watch import PolicyWatch
from pi0_ros.msg import ActionChunk
from pi0_ros.robot.quoting import escape
from pi0_ros.robot.spec import Group, Robot, StateSource, TeleopTopic
from pi0_ros.ros.any_publisher import subscribe_to_any
from pi0_ros.ros.conversions import ConversionError, channel_values, chunk_from_message
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.polled_subscriptions import PolledSubscriptions
from pi0_ros.ros.publishers import GraphNames
from pi0_ros.ros.qos import SENSOR
from pi0_ros.ros.source_clocks import SourceClocks, state_ages
from pi0_ros.ros.subscribe import TELEOP_TYPES, subscribe_state
from pi0_ros.ros.teleop_devices import TeleopDevices

CHUNKS = 2  # of each subscription that are judged in one period; a policy sends a few a second
CHUNKS_WAITING = 8
CHUNK_HEAD = 1 << 16  # [bytes] for the names in a chunk, beside its values
ESTOPS_WAITING = 256  # a press among many messages of others must not be lost
ESTOP_BYTES, TEXT_BYTES = 64, 4096
BUDGET = 0.25  # share of a period for what is read before the deadline; what does not fit waits
COMPLAINTS = 1.0  # [s] between two events about messages of one topic


class ExecutorInputs:
    """The subscriptions of the executor node; what they say goes to the control core given to `deliver_to`.

    Larger than a class should be because it has one callback per thing that the executor listens to.
    """

    _core: Executor
    """Given by `deliver_to`, before anything is read."""

    def __init__(self, node: ManagedNode, robot: Robot, period: float) -> None:
        """`period` [s]: how often it is read."""
        self._node, self._robot, self._clocks = node, robot, node.clocks
        self._longest, self._budget = 2.0 * period, BUDGET * period
        self._routine, self._chunks, self._urgent, self._estop, self._words = (
            PolledSubscriptions(node, self._refuse) for _ in range(5)
        )
        self._states = self._subscribe()
        deadman = robot.takeover.deadman_topic
        devices = [g.teleop.topic for g in robot.groups if g.teleop is not None] + ([deadman] if deadman else [])
        self._graph = GraphNames(node)
        self._devices = TeleopDevices(self._graph, devices)
        self.competing: tuple[str, ...] = ()
        """Who competes for the teleop and for the plans of this robot, as sentences; "" for nobody."""
        self.refused, self.last_rejection = 0, ""
        self._events: deque[Event] = deque(maxlen=256)
        self._complained: dict[str, float] = {}
        self.sources = SourceClocks(state_ages(robot))

    def deliver_to(self, core: Executor) -> None:
        """From now on this core gets the messages; what has come so far and what was counted is forgotten."""
        self._core = core
        self.refused, self.last_rejection = 0, ""
        self._events.clear()
        self._complained.clear()
        self.sources = SourceClocks(state_ages(self._robot))
        self._routine.drain()
        self._chunks.drain()
        self._urgent.drain()
        self._estop.drain(deliver_last=True)  # a button that was pressed before is pressed
        self._words.drain(deliver_last=True)

    def replace_core(self, core: Executor) -> None:
        """From now on this core gets the messages; nothing else changes."""
        self._core = core

    def read_routine(self) -> None:
        """Measurements: some time before the deadline, because their handling takes long at times."""
        if self._routine.recount():
            self._core.on_publishers({topic: self._routine.publishers(s) for topic, s in self._states})
        steady = self._clocks.steady()
        devices = self._devices.sentence(steady)
        self._core.on_second_publisher(steady, self._clocks.ros(), devices, Trigger.TWO_DEVICES)
        policies = tuple(self._graph.publishers("action_chunk", steady, least=2).values())
        self.competing = devices, PolicyWatch(policies).competition()
        self._words.take(self._longest)
        self._routine.take(self._longest, self._budget)

    def read_chunks(self) -> bool:
        """Chunks; whether there was one."""
        return self._chunks.take(self._longest, self._budget) > 0

    def read_urgent(self) -> None:
        """E-stop, teleop and deadman: at the deadline."""
        self._estop.take(self._longest)
        self._urgent.take(self._longest)

    def policies(self) -> tuple[str, ...]:
        """Names of the nodes that publish chunks now."""
        return tuple(self._graph.publishers("action_chunk", self._clocks.steady(), now=True).values())

    def events(self) -> tuple[Event, ...]:
        """What went wrong with messages since the last call."""
        events = tuple(self._events)
        self._events.clear()
        return events

    @property
    def subscriptions(self) -> list[Subscription]:
        """All of them."""
        every = (self._routine, self._chunks, self._urgent, self._estop, self._words)
        return [subscription for polled in every for subscription in polled.subscriptions]

    def _subscribe(self) -> list[tuple[str, Subscription]]:
        """Subscribe to everything; the state sources' topics with their subscriptions."""
        own, routine, urgent = self._node.own, self._routine, self._urgent
        states: list[tuple[str, Subscription]] = []
        for source in self._robot.state:
            callbacks = (self._on_joints, self._on_odometry, self._refuse)
            subscription = subscribe_state(self._node, source, *callbacks, routine.group)
            own(routine.keep(subscription, newest=True))
            states.append((source.topic, subscription))
        for group in self._robot.groups:
            if group.teleop is not None:
                kind = TELEOP_TYPES[group.teleop.type]
                own(urgent.add(kind, group.teleop.topic, partial(self._on_teleop, group, group.teleop), SENSOR))
        node, depth = self._node, CHUNKS_WAITING
        chunks = subscribe_to_any(node, ActionChunk, "action_chunk", self._on_chunk, depth, False, self._chunks.group)
        words = subscribe_to_any(node, String, "policy_state", self._on_policy_state, 2, True, self._words.group)
        largest = 4 * MAX_ROWS * len(self._robot.channels) + CHUNK_HEAD
        buttons = subscribe_to_any(node, Bool, "estop", self._on_estop, ESTOPS_WAITING, True, self._estop.group)
        for each in (*words, *chunks, *buttons):
            own(each)
        for collector in (
            self._words.keep_together(words, most=2, largest=TEXT_BYTES),
            self._chunks.keep_together(chunks, most=CHUNKS, largest=largest),
            self._estop.keep_together(buttons, most=ESTOPS_WAITING, largest=ESTOP_BYTES),
        ):
            own(collector)
            node.watch_thread(collector.thread)
        if self._robot.takeover.deadman_topic:
            own(urgent.add(Joy, self._robot.takeover.deadman_topic, self._on_joy, SENSOR))
        return states

    def _received(self, polled: PolledSubscriptions) -> tuple[float, float]:
        """Steady and ROS time [s] at which the current message was received."""
        return self._clocks.steady() - polled.age, self._clocks.ros() - polled.age

    def _refuse(self, topic: str, error: Exception) -> None:
        self.refused += 1
        self.last_rejection = escape(f"{topic}: {error}")
        steady = self._clocks.steady()
        if steady - self._complained.get(topic, -math.inf) >= COMPLAINTS:
            self._complained[topic] = steady
            self._events.append(Event(steady, 0.0, "warn", "message", escape(f"message on {topic} refused: {error}")))

    def _on_joints(
        self, source: StateSource, stamp: float, positions: Mapping[str, float], velocities: Mapping[str, float]
    ) -> None:
        received, ros = self._received(self._routine)
        self.sources.update(source.topic, received, stamp, ros)
        self._core.on_state(received, ros, stamp, positions, velocities, source.topic)

    def _on_odometry(self, source: StateSource, stamp: float, velocity: tuple[float, float, float]) -> None:
        received, ros = self._received(self._routine)
        self.sources.update(source.topic, received, stamp, ros)
        self._core.on_odometry(received, ros, stamp, *velocity, source.topic)

    def _on_chunk(self, message: ActionChunk) -> None:
        try:
            chunk = chunk_from_message(message)
        except ConversionError as error:
            self._refuse("action_chunk", error)
            return
        verdict = self._core.on_chunk(*self._received(self._chunks), chunk)
        if not verdict.accepted and verdict.cause is not Cause.NOT_DRIVING:
            self.last_rejection = f"chunk {chunk.sequence}: {verdict.reason}"

    def _on_policy_state(self, message: String) -> None:
        self._core.on_policy(lambda policy: policy.says(" ".join(message.data.split())))

    def _on_teleop(self, group: Group, topic: TeleopTopic, message: JointState | Float64MultiArray) -> None:
        try:
            values = channel_values(group, message, topic)
        except ConversionError as error:
            self._refuse(topic.topic, error)
            return
        names, received = tuple(c.name for c in group.channels), self._received(self._urgent)[0]
        if self._devices.follows(topic.topic, self._urgent.publisher, received):
            self._core.on_teleop(received, group.name, names, tuple(values))

    def _on_estop(self, message: Bool) -> None:
        received, there = self._received(self._estop)[0], self._graph.publishers("estop", self._clocks.steady())
        self._core.on_estop(received, bool(message.data), self._estop.publisher, there)

    def _on_joy(self, message: Joy) -> None:
        button = self._robot.takeover.deadman_button
        held = button < len(message.buttons) and bool(message.buttons[button])
        received = self._received(self._urgent)[0]
        if self._devices.follows(self._robot.takeover.deadman_topic, self._urgent.publisher, received):
            self._core.on_deadman(received, held)
