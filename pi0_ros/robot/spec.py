"""What a robot is: channels in groups, where their values come from and go to, and how far they may move.

Values only; `pi0_ros.robot.loader` makes them from a robot YAML and its URDF.
Units throughout: rad, m, rad/s, m/s, s; a gripper channel is 0 (closed) .. 1 (open).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from pi0_ros.robot.pictures import PictureOptions


class Kind(StrEnum):
    """How a channel is commanded, which decides how it is interpolated and how it stops."""

    POSITION = "position"
    VELOCITY = "velocity"
    GRIPPER = "gripper"


@dataclass(frozen=True)
class Limits:
    """Bounds of one channel's command.

    `lower`/`upper` already contain the margin. For a velocity channel they bound the velocity itself
    (and equal -velocity/+velocity), `velocity` repeats the upper bound, and `acceleration` bounds its rate.
    """

    lower: float
    upper: float
    velocity: float
    acceleration: float
    jerk: float


@dataclass(frozen=True)
class Channel:
    """One number of the action vector."""

    name: str
    kind: Kind
    group: str
    unit: str  # "rad", "m", "rad/s", "m/s" or "" for a gripper
    limits: Limits


@dataclass(frozen=True)
class GripperMap:
    """The robot joint behind a gripper channel: its value when the channel is 0 and when it is 1."""

    joint: str
    closed: float
    open: float


@dataclass(frozen=True)
class CommandTopic:
    """Where a group's commands go.

    `type` is one of float64_multi_array, joint_trajectory, joint_state, twist, twist_stamped.
    `joints` are the names the driver uses, in channel order (equal to the channel names unless renamed).
    `frame` is the frame_id of a twist_stamped. `topic` is relative, as written in the YAML.
    """

    topic: str
    type: str
    joints: tuple[str, ...]
    frame: str = ""


@dataclass(frozen=True)
class TeleopTopic:
    """Where a person's commands for a group come from (joint_state, float64_multi_array, twist, twist_stamped)."""

    topic: str
    type: str
    max_age: float
    joints: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Channels that are commanded together: limited together, stopped together, owned by one topic."""

    name: str
    kind: Kind
    channels: tuple[Channel, ...]
    command: CommandTopic
    teleop: TeleopTopic | None = None
    gripper: GripperMap | None = None  # only for kind GRIPPER


@dataclass(frozen=True)
class Camera:
    """One picture source. `type` is image or compressed_image; `options` say how its pictures are read and turned."""

    name: str
    topic: str
    type: str
    max_age: float
    required: bool = True
    options: PictureOptions = field(default_factory=PictureOptions)


@dataclass(frozen=True)
class StateSource:
    """One source of measured state. `type` is joint_state or odometry.

    `prefix` is put before every joint name that arrives: two arms whose drivers both say "waist" stay apart.
    """

    topic: str
    type: str
    max_age: float
    prefix: str = ""


@dataclass(frozen=True)
class Takeover:
    """Optional ways a person takes over besides the service.

    `deadman_topic`/`deadman_button`: teleoperation only while that `sensor_msgs/Joy` button is held.
    `leader_motion`: a teleop input that moves by more than this (rad or m) within its max_age takes over; 0 is off.
    """

    deadman_topic: str = ""
    deadman_button: int = 0
    leader_motion: float = 0.0


@dataclass(frozen=True)
class Robot:
    """A whole robot, channels in the order of the action vector."""

    name: str
    file: Path
    urdf: Path
    control_rate: float
    cameras: tuple[Camera, ...]
    state: tuple[StateSource, ...]
    groups: tuple[Group, ...]
    takeover: Takeover = field(default_factory=Takeover)

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        """All channels in action-vector order."""
        return tuple(c for g in self.groups for c in g.channels)

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        """Names of `channels`."""
        return tuple(c.name for c in self.channels)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Channel name to position in the action vector."""
        return {n: i for i, n in enumerate(self.channel_names)}

    @cached_property
    def joint_of_channel(self) -> Mapping[str, str]:
        """Channel name to the robot joint that measures it; base velocities measure through odometry and are absent."""
        named: dict[str, str] = {}
        for group in self.groups:
            for channel in group.channels:
                if group.gripper is not None:
                    named[channel.name] = group.gripper.joint
                elif group.kind is Kind.POSITION:
                    named[channel.name] = channel.name
        return named

    def group(self, name: str) -> Group:
        """The group of that name. Raises KeyError listing the groups there are."""
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(f"robot {self.name} has no group {name!r}; it has {', '.join(g.name for g in self.groups)}")
