"""Messages to values and back, matched by name. A message that does not fit raises ConversionError, nothing else.

On the wire a gripper speaks its driver's language: the value of the joint that the robot YAML maps to 0 .. 1.
"""

from __future__ import annotations

from array import array
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
from pi0_ros.robot.spec import Group
from pi0_ros.ros.clock import duration_message, seconds, time_message

Vector = NDArray[np.float64]


class ConversionError(ValueError):
    """A message whose content does not fit what was expected; the text names the field."""


# --- measured state ---------------------------------------------------------------------------------------------


def joint_state_values(message: JointState) -> tuple[dict[str, float], dict[str, float]]:
    """Positions and velocities by joint name (rad, m and their rates); velocities may be absent."""
    names = message.name
    if not names or len(message.position) != len(names):
        raise ConversionError(f"joint state has {len(names)} names and {len(message.position)} positions")
    if len(set(names)) != len(names):
        raise ConversionError(f"joint state names a joint twice: {', '.join(sorted(names))}")
    velocities = dict(zip(names, message.velocity, strict=True)) if len(message.velocity) == len(names) else {}
    return dict(zip(names, message.position, strict=True)), velocities


def odometry_values(message: Odometry) -> tuple[float, float, float]:
    """Forward, left and turning velocity in the base frame [m/s, m/s, rad/s]."""
    twist = message.twist.twist
    return twist.linear.x, twist.linear.y, twist.angular.z


# --- gripper units ----------------------------------------------------------------------------------------------


def to_driver(group: Group, values: Sequence[float]) -> list[float]:
    """Channel values of a group as its driver wants them: a gripper's 0 .. 1 becomes a joint value."""
    if group.gripper is None:
        return [float(v) for v in values]
    closed, opened = group.gripper.closed, group.gripper.open
    return [closed + float(v) * (opened - closed) for v in values]


def from_driver(group: Group, values: Sequence[float]) -> list[float]:
    """Driver values of a group as channel values: the inverse of `to_driver`."""
    if group.gripper is None:
        return [float(v) for v in values]
    closed, opened = group.gripper.closed, group.gripper.open
    return [(float(v) - closed) / (opened - closed) for v in values]


_TWIST_AXES = {1: ("vx",), 2: ("vx", "wz"), 3: ("vx", "vy", "wz")}


def twist_axes(group: Group) -> tuple[str, ...]:
    """Which of vx, vy, wz each channel of a group is: by the end of its name, else by how many there are."""
    ends = tuple(c.name.rsplit("_", 1)[-1] for c in group.channels)
    if set(ends) <= {"vx", "vy", "wz"} and len(set(ends)) == len(ends):
        return ends
    if len(ends) not in _TWIST_AXES:
        raise ConversionError(f"group {group.name} has {len(ends)} channels, a twist carries vx, vy and wz")
    return _TWIST_AXES[len(ends)]


# --- commands and teleop, message to channels -------------------------------------------------------------------


def _by_name(names: Sequence[str], values: Sequence[float], wanted: Sequence[str]) -> list[float]:
    if len(names) != len(values):
        raise ConversionError(f"{len(names)} names and {len(values)} values")
    found = dict(zip(names, values, strict=True))
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ConversionError(f"joints {', '.join(missing)} are missing; the message has {', '.join(names)}")
    return [found[name] for name in wanted]


def _read_array(group: Group, message: Float64MultiArray, joints: Sequence[str]) -> list[float]:
    if len(message.data) != len(group.channels):
        raise ConversionError(f"{len(message.data)} values for the {len(group.channels)} channels of {group.name}")
    return from_driver(group, message.data)


def _read_joint_state(group: Group, message: JointState, joints: Sequence[str]) -> list[float]:
    return from_driver(group, _by_name(message.name, message.position, joints))


def _read_trajectory(group: Group, message: JointTrajectory, joints: Sequence[str]) -> list[float]:
    if not message.points:
        raise ConversionError("joint trajectory without points")
    return from_driver(group, _by_name(message.joint_names, message.points[0].positions, joints))


def _read_twist(group: Group, message: Twist | TwistStamped, joints: Sequence[str]) -> list[float]:
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


def channel_values(group: Group, message: object, joints: Sequence[str]) -> list[float]:
    """The group's channel values that a command or teleop message carries, in channel order; raises ConversionError.

    `joints`: what the sender calls the channels. Of a trajectory the first point counts.
    """
    return _READERS[type(message)](group, message, joints)


# --- plans ------------------------------------------------------------------------------------------------------


def chunk_from_message(message: ActionChunk) -> Chunk:
    """The plan in an ActionChunk, as it came: whether it may be followed is the executor's to judge and to count."""
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
