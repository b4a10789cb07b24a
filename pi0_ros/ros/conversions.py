"""Messages to values and back, matched by name. A message that does not fit raises ConversionError, nothing else.

On the wire a gripper's value is the driver's: that of the joint which the robot YAML maps to 0 .. 1.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from pi0_ros.control import Chunk, unflatten
from pi0_ros.msg import ActionChunk, ExecutorState
from pi0_ros.robot.errors import UserError
from pi0_ros.robot.measurement import base_velocity
from pi0_ros.robot.quoting import quote_names
from pi0_ros.robot.spec import Group, Kind
from pi0_ros.robot.wire import Wire, first_finger, from_wire, in_channel_order
from pi0_ros.ros.clock import duration_message, seconds, time_message

Vector = NDArray[np.float64]


class ConversionError(UserError):
    """A message whose content does not fit what was expected; the text names the field."""


# --- measured state ---------------------------------------------------------------------------------------------


def joint_state_values(message: JointState) -> tuple[dict[str, float], dict[str, float]]:
    """Positions and velocities by joint name, in the driver's names and units; either may be absent (wheels say none)."""
    names = message.name
    if len(set(names)) != len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        raise ConversionError(f"joint state names {quote_names(twice)} twice")
    if len(message.position) not in (0, len(names)) or not names:
        raise ConversionError(f"joint state has {len(names)} names and {len(message.position)} positions")
    velocities = dict(zip(names, message.velocity, strict=True)) if len(message.velocity) == len(names) else {}
    positions = dict(zip(names, message.position, strict=True)) if message.position else {}
    return positions, velocities


def odometry_values(message: Odometry, frame: str = "") -> tuple[float, float, float]:
    """Forward, left and turning velocity in the base frame [m/s, m/s, rad/s].

    The message defines its twist in `child_frame_id`: if that is the frame of the pose, or `frame` is "world", it is
    turned into the base frame; "base" takes it as it is.
    """
    twist, child = message.twist.twist, message.child_frame_id
    if frame == "world" or (frame == "" and child and child == message.header.frame_id):
        v, w, q = twist.linear, twist.angular, message.pose.pose.orientation
        return base_velocity((v.x, v.y, v.z), (w.x, w.y, w.z), q.x, q.y, q.z, q.w)
    return twist.linear.x, twist.linear.y, twist.angular.z


# --- commands and teleop, message to channels -------------------------------------------------------------------


def twist_axes(group: Group) -> tuple[str, ...]:
    """Which of vx, vy, wz each channel of a group is."""
    axes = tuple(c.axis for c in group.channels if c.axis is not None)
    if len(axes) != len(group.channels):
        raise ConversionError(f"group {group.name} is no base: its channels are not vx, vy or wz")
    return axes


def _by_name(names: Sequence[str], values: Sequence[float], wanted: Sequence[str]) -> list[float]:
    if len(names) != len(values):
        raise ConversionError(f"{len(names)} names and {len(values)} values")
    found = dict(zip(names, values, strict=True))
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ConversionError(f"joints {', '.join(missing)} are missing; the message has {quote_names(names)}")
    return [found[name] for name in wanted]


def _read_array(group: Group, message: Float64MultiArray, wire: Wire) -> list[float]:
    count = len(wire.joints) if group.gripper is not None else len(group.channels)
    if len(message.data) != count:
        raise ConversionError(f"{len(message.data)} values for the {count} channels of {group.name}")
    return in_channel_order(wire, first_finger(wire, message.data))


def _read_joint_state(group: Group, message: JointState, wire: Wire) -> list[float]:
    """Positions, or the velocities of a group that is driven by them."""
    values = message.velocity if group.kind is Kind.VELOCITY else message.position
    return first_finger(wire, _by_name(message.name, values, wire.joints))


def _read_trajectory(group: Group, message: JointTrajectory, wire: Wire) -> list[float]:
    if not message.points:
        raise ConversionError("joint trajectory without points")
    return first_finger(wire, _by_name(message.joint_names, message.points[0].positions, wire.joints))


def _read_twist(group: Group, message: Twist | TwistStamped, wire: Wire) -> list[float]:
    twist = message.twist if isinstance(message, TwistStamped) else message
    value = {"vx": twist.linear.x, "vy": twist.linear.y, "wz": twist.angular.z}
    return [value[axis] for axis in twist_axes(group)]


_READERS: Mapping[type, Callable[..., list[float]]] = {
    Float64MultiArray: _read_array,
    JointState: _read_joint_state,
    JointTrajectory: _read_trajectory,
    Twist: _read_twist,
    TwistStamped: _read_twist,
}


def channel_values(group: Group, message: object, wire: Wire) -> list[float]:
    """The group's channel values that a command or teleop message carries, in channel order; raises ConversionError.

    `wire`: `group.command` or `group.teleop`, which say what the sender calls the channels and where a gripper's ends
    are. Of a trajectory the first point counts.
    """
    return from_wire(group, _READERS[type(message)](group, message, wire), wire)


# --- plans ------------------------------------------------------------------------------------------------------


def chunk_from_message(message: ActionChunk) -> Chunk:
    """The plan in an ActionChunk; whether it may be followed is the executor's to judge and to count.

    Raises ConversionError for numbers that no plan has: a stamp that is no time, more frozen rows than rows.
    """
    stamp, width = message.header.stamp, len(message.channels)
    if stamp.sec < 0 or stamp.nanosec >= 1_000_000_000:
        raise ConversionError(f"header.stamp of {stamp.sec} s and {stamp.nanosec} ns is no time")
    rows = len(message.values) // width if width else 0
    if message.frozen_rows > rows:
        raise ConversionError(f"frozen_rows is {message.frozen_rows}, and there are {rows} rows")
    return Chunk(
        start=seconds(message.header.stamp),
        period=message.period,
        names=tuple(message.channels),
        values=unflatten(np.asarray(message.values, np.float64), len(message.channels)),
        sequence=message.sequence,
        epoch=message.epoch,
        source=message.source,
        frozen_rows=message.frozen_rows,
        subtask=message.subtask,
    )


def chunk_message(chunk: Chunk, inference_seconds: float = 0.0) -> ActionChunk:
    """A plan as an ActionChunk."""
    message = ActionChunk(source=chunk.source, epoch=chunk.epoch, sequence=chunk.sequence, period=chunk.period)
    message.header.stamp = time_message(chunk.start)
    message.channels = list(chunk.names)
    message.values = array("f", np.asarray(chunk.values, np.float32).ravel())
    message.frozen_rows, message.subtask = chunk.frozen_rows, chunk.subtask
    message.inference_time = duration_message(inference_seconds)
    return message


MODE_NAMES = {
    ExecutorState.HOLD: "hold",
    ExecutorState.TELEOP: "teleop",
    ExecutorState.AUTONOMY: "autonomy",
    ExecutorState.STOPPED: "stopped",
}
"""ExecutorState.mode to the text on the topic `mode`."""

MODE_CODES = {name: code for code, name in MODE_NAMES.items()}
"""The inverse of MODE_NAMES."""
