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


class Axis(StrEnum):
    """What a velocity of a mobile base is: forward [m/s], left [m/s], turning left [rad/s], in the base frame."""

    VX = "vx"
    VY = "vy"
    WZ = "wz"


ENDLESS = 1e6
"""Position bound [rad] of a joint without ends: large enough to mean none, finite so that sums of it stay numbers."""


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
class Origin:
    """Where a channel's limits come from, for people: a file, or the line of a YAML; and the margin in rad or m.

    `where` is the line of the YAML in which limits are given, or could be.
    """

    position: str = ""
    velocity: str = ""
    margin: float = 0.0
    where: str = ""


@dataclass(frozen=True)
class Channel:
    """One number of the action vector."""

    name: str
    kind: Kind
    group: str
    unit: str  # "rad", "m", "rad/s", "m/s" or "" for a gripper
    limits: Limits
    continuous: bool = False
    """A position on a circle: angles that differ by whole turns are the same place."""
    axis: Axis | None = None
    """What a velocity of a mobile base is; None for every other channel."""
    joint: str = ""
    """For a velocity: the joint that it moves, "" where it moves none (a base)."""
    reach: tuple[float, float] = (-ENDLESS, ENDLESS)
    """For a velocity that moves a joint: the positions between which that joint is kept, margin included."""
    origin: Origin = Origin()
    """Where the limits (and the reach) come from."""


@dataclass(frozen=True)
class GripperMap:
    """The robot joint behind a gripper channel: its value when the channel is 0 and when it is 1.

    `measured`: whether anybody reports that joint; if not, the last command stands for its measurement.
    """

    joint: str
    closed: float
    open: float
    measured: bool = True


@dataclass(frozen=True)
class CommandTopic:
    """Where a group's commands go.

    `type` is one of float64_multi_array, joint_trajectory, joint_state, twist, twist_stamped.
    `joints` are the names the driver uses, in channel order (equal to the channel names unless renamed); a gripper may
    have several, which are commanded together: `followers` gives (multiplier, offset) of each.
    `order`: for a float64_multi_array, which channel each of its numbers is, () for channel order.
    `range`: what the driver takes for a closed and an open gripper, None for the values of its joint.
    `frame` is the frame_id of a twist_stamped. `topic` is relative, as written in the YAML. `stamped`: a joint_trajectory
    says when it begins, instead of at once.
    """

    topic: str
    type: str
    joints: tuple[str, ...]
    frame: str = ""
    stamped: bool = False
    order: tuple[int, ...] = ()
    range: tuple[float, float] | None = None
    followers: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class TeleopTopic:
    """Where a person's commands for a group come from (joint_state, float64_multi_array, twist, twist_stamped).

    `joints`, `order` and `range` as those of `CommandTopic`, for the sender's messages.
    """

    topic: str
    type: str
    max_age: float
    joints: tuple[str, ...]
    order: tuple[int, ...] = ()
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Group:
    """Channels that are commanded together: limited together, stopped together, owned by one topic.

    `measured`: whether a velocity group's velocities are reported; if not, the last command stands for them.
    `command_latency` [s]: how much later than commanded the group moves; plans are sent that much ahead.
    """

    name: str
    kind: Kind
    channels: tuple[Channel, ...]
    command: CommandTopic
    teleop: TeleopTopic | None = None
    gripper: GripperMap | None = None  # only for kind GRIPPER
    measured: bool = True
    command_latency: float = 0.0


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
    `joints` are (driver's name, robot's name) of joints whose names differ; a joint named there gets no prefix.
    `scale` and `offset` turn what arrives into rad and m: (joint, number) pairs, under "" for all other joints.
    `measures` are joints that no channel commands but that are part of the state.
    `twist`: the frame of an odometry's twist: "base", "world", or "" for what its child_frame_id says.
    """

    topic: str
    type: str
    max_age: float
    prefix: str = ""
    joints: tuple[tuple[str, str], ...] = ()
    scale: tuple[tuple[str, float], ...] = ()
    offset: tuple[tuple[str, float], ...] = ()
    measures: tuple[str, ...] = ()
    twist: str = ""


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
    urdf_args: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Arguments of the URDF's xacro."""
    warnings: tuple[str, ...] = ()
    """Warnings about this description, a sentence each."""

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
        """Channel name to the robot joint whose value it is; velocities are absent."""
        named: dict[str, str] = {}
        for group in self.groups:
            for channel in group.channels:
                if group.gripper is not None:
                    named[channel.name] = group.gripper.joint
                elif group.kind is Kind.POSITION:
                    named[channel.name] = channel.name
        return named

    @cached_property
    def driven_joints(self) -> Mapping[str, str]:
        """Velocity channel to the joint that it moves, for those that move one."""
        return {c.name: c.joint for c in self.channels if c.joint}

    @cached_property
    def state_joints(self) -> tuple[str, ...]:
        """Joints that are measured beside the channels: those that velocities move, those that only sources name."""
        named = [*self.driven_joints.values(), *(n for s in self.state for n in s.measures)]
        return tuple(dict.fromkeys(named))

    def group(self, name: str) -> Group:
        """The group of that name. Raises KeyError listing the groups there are."""
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(f"robot {self.name} has no group {name!r}; it has {', '.join(g.name for g in self.groups)}")
