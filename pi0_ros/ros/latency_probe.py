"""A small motion on request: takes a running executor into TELEOP, moves one joint out and back, and records what follows."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from pi0_ros.control.latency import CommandLatency, measure_latency, probe_motion
from pi0_ros.msg import ExecutorState
from pi0_ros.robot import Robot, RobotError
from pi0_ros.robot.measurement import nearest_turn, readings_of
from pi0_ros.robot.spec import Group, Kind, StateSource
from pi0_ros.robot.wire import in_wire_order, to_wire
from pi0_ros.ros.commands import COMMAND_TYPES
from pi0_ros.ros.conversions import MODE_NAMES, ConversionError, channel_values
from pi0_ros.ros.qos import RELIABLE, SENSOR
from pi0_ros.ros.subscribe import TELEOP_TYPES, subscribe_state

PATIENCE = 5.0  # [s] for the executor and its services to appear
RATE = 50.0  # [Hz] of the teleop input
SETTLING = 0.5  # [s] at the start position behind the motion: the robot is late, and nothing is to move when it is held
APPROACH = 2.5  # [s] at the start position: the executor begins slowly after a change


@dataclass
class _Recording:
    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        self.times.append(time.monotonic())
        self.values.append(value)

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times [s] and values."""
        return np.array(self.times), np.array(self.values)


class LatencyProbe(Node):
    """Measures how far one channel of a group is behind its commands. Made, used once, and destroyed."""

    def __init__(self, robot: Robot, group: Group, channel: int) -> None:
        """`channel`: which of the group's. Raises RobotError for a group that cannot be moved so."""
        super().__init__("latency_probe")
        if group.kind is not Kind.POSITION or group.teleop is None:
            raise RobotError(f"group {group.name} needs kind position and a teleop input of joint values to be moved")
        self._group, self._channel, self._teleop = group, channel, group.teleop
        self._state: ExecutorState | None = None
        self._reading = readings_of(robot)[robot.index[group.channels[channel].name]]
        self._first = robot.index[group.channels[0].name]
        self.commanded, self.measured = _Recording(), _Recording()
        self.create_subscription(
            COMMAND_TYPES[group.command.type].message, group.command.topic, self._on_command, RELIABLE
        )
        self.create_subscription(ExecutorState, "executor_state", self._on_state, RELIABLE)
        for source in robot.state:
            if source.type == "joint_state":
                subscribe_state(self, source, self._on_joints, lambda *_: None, lambda *_: None)
        self._publisher = self.create_publisher(TELEOP_TYPES[group.teleop.type], group.teleop.topic, SENSOR)
        self._spinner = SingleThreadedExecutor()
        self._spinner.add_node(self)

    def _on_command(self, message: object) -> None:
        try:
            self.commanded.add(channel_values(self._group, message, self._group.command)[self._channel])
        except ConversionError:
            return

    def _on_joints(
        self, source: StateSource, stamp: float, positions: Mapping[str, float], velocities: Mapping[str, float]
    ) -> None:
        reported = positions.get(self._reading.joint)
        if reported is not None:
            near = self.measured.values[-1] if self.measured.values else reported
            self.measured.add(nearest_turn(reported, near) if self._reading.continuous else reported)

    def _seen(self) -> ExecutorState:
        assert self._state is not None, "nothing is moved before the executor was heard"
        return self._state

    def _on_state(self, message: ExecutorState) -> None:
        self._state = message

    def measure(self, amplitude: float, period: float, times: int) -> CommandLatency:
        """Move by `amplitude` [rad or m] and back, `times` times, `period` [s] each; leaves the executor in HOLD.

        Raises RobotError if the executor is not there, refuses, or somebody else takes over.
        """
        self._until(
            lambda: self._state is not None and np.isfinite(self._state.command).all(), "no executor commands the robot"
        )
        start = list(self._seen().command[self._first : self._first + len(self._group.channels)])
        self._ask("teleop")
        try:
            self._lead(start, lambda _: 0.0, APPROACH)
            self.commanded, self.measured = _Recording(), _Recording()
            moving = times * period
            self._lead(start, lambda t: probe_motion(min(t, moving), amplitude, period), moving + SETTLING)
        finally:
            self._ask("hold")
        commanded, measured = self.commanded.arrays(), self.measured.arrays()
        try:
            return measure_latency(*commanded, *measured)
        except ValueError as problem:
            raise RobotError(f"{self._group.channels[self._channel].name}: {problem}") from problem

    def close(self) -> None:
        """Leave the graph."""
        self._spinner.shutdown()
        self.destroy_node()

    def _lead(self, start: list[float], motion: Callable[[float], float], seconds: float) -> None:
        """Send the teleop input for some time: `start`, the measured channel moved by `motion(seconds since now)`."""
        begin = due = time.monotonic()
        while due - begin < seconds:
            values = list(start)
            values[self._channel] += motion(time.monotonic() - begin)
            self._send(values)
            due += 1.0 / RATE
            while (left := due - time.monotonic()) > 0.0:
                self._spinner.spin_once(timeout_sec=left)
            state = self._seen()
            if state.mode != ExecutorState.TELEOP and due - begin > 0.5:
                raise RobotError(f"the executor left teleop: {MODE_NAMES.get(state.mode)}, {state.reason}")

    def _send(self, values: list[float]) -> None:
        teleop = self._teleop
        on_wire = to_wire(self._group, values, teleop)
        if teleop.type == "float64_multi_array":
            self._publisher.publish(Float64MultiArray(data=array("d", in_wire_order(teleop, on_wire))))
            return
        message = JointState(name=list(teleop.joints), position=array("d", on_wire))
        message.header.stamp = self.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _ask(self, request: str) -> None:
        client = self.create_client(Trigger, f"executor/{request}")
        self._until(client.service_is_ready, f"no service executor/{request}; is the executor running?")
        answer = client.call_async(Trigger.Request())
        self._until(answer.done, f"executor/{request} does not answer")
        if not answer.result().success:
            raise RobotError(f"executor/{request}: {answer.result().message}")

    def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise RobotError(f"{otherwise} (waited {PATIENCE:g} s)")
            self._spinner.spin_once(timeout_sec=0.05)


def probe_latency(
    robot: Robot, group: Group, channel: int, amplitude: float, period: float, times: int
) -> CommandLatency:
    """`LatencyProbe.measure` as a program of its own, which joins the ROS graph and leaves it."""
    # rclpy's own handlers would end the graph under the probe, which then could not ask for hold any more.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        probe = LatencyProbe(robot, group, channel)
        try:
            return probe.measure(amplitude, period, times)
        finally:
            probe.close()
    finally:
        rclpy.try_shutdown()
