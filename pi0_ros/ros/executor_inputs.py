"""The executor's subscriptions, read by the control loop itself, once a period."""

from __future__ import annotations

from functools import partial

from rclpy.subscription import Subscription
from sensor_msgs.msg import Joy
from std_msgs.msg import Bool, String

from pi0_ros.control import Event, Executor
from pi0_ros.control.chunk import MAX_ROWS
from pi0_ros.control.modes import Trigger
from pi0_ros.control.policy_watch import PolicyWatch
from pi0_ros.msg import ActionChunk
from pi0_ros.robot.spec import Robot
from pi0_ros.ros.any_publisher import subscribe_to_any
from pi0_ros.ros.executor_delivery import ExecutorDelivery, PolledInputs, Senders
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.publishers import GraphNames
from pi0_ros.ros.qos import SENSOR
from pi0_ros.ros.refusals import RefusalEvents
from pi0_ros.ros.source_clocks import SourceClocks
from pi0_ros.ros.subscribe import TELEOP_TYPES, subscribe_state
from pi0_ros.ros.teleop_devices import TeleopDevices

CHUNKS = 2  # of each subscription that are judged in one period; a policy sends a few a second
CHUNKS_WAITING = 8
CHUNK_HEAD = 1 << 16  # [bytes] for the names in a chunk, beside its values
ESTOPS_WAITING = 256  # a press among many messages of others must not be lost
ESTOP_BYTES, TEXT_BYTES = 64, 4096
BUDGET = 0.25  # share of a period for what is read before the deadline; what does not fit waits


class ExecutorInputs:
    """The subscriptions of the executor node; what they say goes to the control core given to `deliver_to`."""

    def __init__(self, node: ManagedNode, robot: Robot, period: float) -> None:
        """`period` [s]: how often it is read."""
        self._node, self._robot, self._clocks = node, robot, node.clocks
        self._longest, self._budget = 2.0 * period, BUDGET * period
        self.refusals = RefusalEvents(node.clocks.steady)
        self._polled = PolledInputs.of(node, self.refusals)
        deadman = robot.takeover.deadman_topic
        devices = [g.teleop.topic for g in robot.groups if g.teleop is not None] + ([deadman] if deadman else [])
        self._graph = GraphNames(node)
        self._devices = TeleopDevices(self._graph, devices)
        senders = Senders(self._graph, self._devices)
        self._delivery = ExecutorDelivery(robot, node.clocks, self._polled, self.refusals, senders)
        self._states = self._subscribe()
        self.competing: tuple[str, ...] = ()
        """Who competes for the teleop and for the plans of this robot, as sentences; "" for nobody."""

    @property
    def sources(self) -> SourceClocks:
        """The clocks of the state topics."""
        return self._delivery.sources

    def deliver_to(self, core: Executor) -> None:
        """From now on this core gets the messages; what has come so far and what was counted is forgotten."""
        self._delivery.restart(core)
        self.refusals.clear()
        self._polled.routine.drain()
        self._polled.chunks.drain()
        self._polled.urgent.drain()
        self._polled.estop.drain(deliver_last=True)  # a button that was pressed before is pressed
        self._polled.words.drain(deliver_last=True)

    def replace_core(self, core: Executor) -> None:
        """From now on this core gets the messages; nothing else changes."""
        self._delivery.core = core

    def read_routine(self) -> None:
        """Measurements: some time before the deadline, because their handling takes long at times."""
        core = self._delivery.core
        if self._polled.routine.recount():
            core.on_publishers({topic: self._polled.routine.publishers(s) for topic, s in self._states})
        steady = self._clocks.steady()
        devices = self._devices.sentence(steady)
        core.on_second_publisher(steady, self._clocks.ros(), devices, Trigger.TWO_DEVICES)
        policies = tuple(self._graph.publishers("action_chunk", steady, least=2).values())
        self.competing = devices, PolicyWatch(policies).competition()
        self._polled.words.take(self._longest)
        self._polled.routine.take(self._longest, self._budget)

    def read_chunks(self) -> bool:
        """Chunks; whether there was one."""
        return self._polled.chunks.take(self._longest, self._budget) > 0

    def read_urgent(self) -> None:
        """E-stop, teleop and deadman: at the deadline."""
        self._polled.estop.take(self._longest)
        self._polled.urgent.take(self._longest)

    def policies(self) -> tuple[str, ...]:
        """Names of the nodes that publish chunks now."""
        return tuple(self._graph.publishers("action_chunk", self._clocks.steady(), now=True).values())

    def events(self) -> tuple[Event, ...]:
        """What went wrong with messages since the last call."""
        return self.refusals.take()

    @property
    def subscriptions(self) -> list[Subscription]:
        """All of them."""
        return [subscription for polled in self._polled for subscription in polled.subscriptions]

    def _subscribe(self) -> list[tuple[str, Subscription]]:
        """Subscribe to everything; the state sources' topics with their subscriptions."""
        own, to, routine, urgent = self._node.own, self._delivery, self._polled.routine, self._polled.urgent
        states: list[tuple[str, Subscription]] = []
        for source in self._robot.state:
            callbacks = (to.on_joints, to.on_odometry, self.refusals.add)
            subscription = subscribe_state(self._node, source, *callbacks, routine.group)
            own(routine.keep(subscription, newest=True))
            states.append((source.topic, subscription))
        for group in self._robot.groups:
            if group.teleop is not None:
                kind = TELEOP_TYPES[group.teleop.type]
                own(urgent.add(kind, group.teleop.topic, partial(to.on_teleop, group, group.teleop), SENSOR))
        node, depth = self._node, CHUNKS_WAITING
        chunks = subscribe_to_any(
            node, ActionChunk, "action_chunk", to.on_chunk, depth, False, self._polled.chunks.group
        )
        words = subscribe_to_any(node, String, "policy_state", to.on_policy_state, 2, True, self._polled.words.group)
        largest = 4 * MAX_ROWS * len(self._robot.channels) + CHUNK_HEAD
        buttons = subscribe_to_any(node, Bool, "estop", to.on_estop, ESTOPS_WAITING, True, self._polled.estop.group)
        for each in (*words, *chunks, *buttons):
            own(each)
        for collector in (
            self._polled.words.keep_together(words, most=2, largest=TEXT_BYTES),
            self._polled.chunks.keep_together(chunks, most=CHUNKS, largest=largest),
            self._polled.estop.keep_together(buttons, most=ESTOPS_WAITING, largest=ESTOP_BYTES),
        ):
            own(collector)
            node.watch_thread(collector.thread)
        if self._robot.takeover.deadman_topic:
            own(urgent.add(Joy, self._robot.takeover.deadman_topic, to.on_joy, SENSOR))
        return states
