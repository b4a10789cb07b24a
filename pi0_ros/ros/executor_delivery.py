"""What the executor's messages say goes to the control core, with the time at which each was received."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, Float64MultiArray, String

from pi0_ros.control import Executor
from pi0_ros.control.chunk import Cause
from pi0_ros.msg import ActionChunk
from pi0_ros.robot.spec import Group, Robot, StateSource, TeleopTopic
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.conversions import ConversionError, channel_values, chunk_from_message
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.polled_subscriptions import PolledSubscriptions
from pi0_ros.ros.publishers import GraphNames
from pi0_ros.ros.refusals import RefusalEvents
from pi0_ros.ros.source_clocks import SourceClocks, state_ages
from pi0_ros.ros.teleop_devices import TeleopDevices


class PolledInputs(NamedTuple):
    """The subscriptions of the executor by when they are read."""

    routine: PolledSubscriptions
    chunks: PolledSubscriptions
    urgent: PolledSubscriptions
    estop: PolledSubscriptions
    words: PolledSubscriptions

    @classmethod
    def of(cls, node: ManagedNode, refusals: RefusalEvents) -> PolledInputs:
        """None yet, on behalf of a node; unreadable messages go to `refusals`."""
        return cls(*(PolledSubscriptions(node, refusals.add) for _ in range(5)))


class Senders(NamedTuple):
    """Who sends: the nodes behind a topic's publishers, and which teleop device is followed."""

    graph: GraphNames
    devices: TeleopDevices


class ExecutorDelivery:
    """The callbacks of the executor's subscriptions. All belong to the control thread."""

    core: Executor
    """Set before anything is read."""

    def __init__(
        self, robot: Robot, clocks: Clocks, polled: PolledInputs, refusals: RefusalEvents, senders: Senders
    ) -> None:
        self._robot, self._clocks, self._polled = robot, clocks, polled
        self._refusals, self._senders = refusals, senders
        self.sources = SourceClocks(state_ages(robot))

    def restart(self, core: Executor) -> None:
        """From now on this core gets the messages, and the clocks of the sources are judged anew."""
        self.core = core
        self.sources = SourceClocks(state_ages(self._robot))

    def _received(self, polled: PolledSubscriptions) -> tuple[float, float]:
        """Steady and ROS time [s] at which the current message was received."""
        return self._clocks.steady() - polled.age, self._clocks.ros() - polled.age

    def on_joints(
        self, source: StateSource, stamp: float, positions: Mapping[str, float], velocities: Mapping[str, float]
    ) -> None:
        """A measurement of joints."""
        received, ros = self._received(self._polled.routine)
        self.sources.update(source.topic, received, stamp, ros)
        self.core.on_state(received, ros, stamp, positions, velocities, source.topic)

    def on_odometry(self, source: StateSource, stamp: float, velocity: tuple[float, float, float]) -> None:
        """A measurement of a base."""
        received, ros = self._received(self._polled.routine)
        self.sources.update(source.topic, received, stamp, ros)
        self.core.on_odometry(received, ros, stamp, *velocity, source.topic)

    def on_chunk(self, message: ActionChunk) -> None:
        """A chunk; if the core refuses it, the reason is kept."""
        try:
            chunk = chunk_from_message(message)
        except ConversionError as error:
            self._refusals.add("action_chunk", error)
            return
        verdict = self.core.on_chunk(*self._received(self._polled.chunks), chunk)
        if not verdict.accepted and verdict.cause is not Cause.NOT_DRIVING:
            self._refusals.last = f"chunk {chunk.sequence}: {verdict.reason}"

    def on_policy_state(self, message: String) -> None:
        """What the policy says of itself."""
        self.core.on_policy(lambda policy: policy.says(" ".join(message.data.split())))

    def on_teleop(self, group: Group, topic: TeleopTopic, message: JointState | Float64MultiArray) -> None:
        """A person's command for a group."""
        try:
            values = channel_values(group, message, topic)
        except ConversionError as error:
            self._refusals.add(topic.topic, error)
            return
        names, received = tuple(c.name for c in group.channels), self._received(self._polled.urgent)[0]
        if self._senders.devices.follows(topic.topic, self._polled.urgent.publisher, received):
            self.core.on_teleop(received, group.name, names, tuple(values))

    def on_estop(self, message: Bool) -> None:
        """The e-stop button is pressed or released."""
        received, estop = self._received(self._polled.estop)[0], self._polled.estop
        there = self._senders.graph.publishers("estop", self._clocks.steady())
        self.core.on_estop(received, bool(message.data), estop.publisher, there)

    def on_joy(self, message: Joy) -> None:
        """The deadman button is held or not."""
        button = self._robot.takeover.deadman_button
        held = button < len(message.buttons) and bool(message.buttons[button])
        received = self._received(self._polled.urgent)[0]
        if self._senders.devices.follows(self._robot.takeover.deadman_topic, self._polled.urgent.publisher, received):
            self.core.on_deadman(received, held)
