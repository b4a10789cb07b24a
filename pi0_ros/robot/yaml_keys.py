"""The keys of a robot YAML, declared: what each holds, what it is by default, and what it means.

The readers accept exactly these, and the reference page is made of them.
"""

from __future__ import annotations

from dataclasses import dataclass

REQUIRED = "required"


@dataclass(frozen=True)
class Key:
    """One key of a YAML section. `value`: what is written for it, with its unit; `default`: what stands without it."""

    name: str
    value: str
    meaning: str
    default: str = REQUIRED


Keys = tuple[Key, ...]


def key_names(keys: Keys) -> tuple[str, ...]:
    """The names of the keys, in their order."""
    return tuple(key.name for key in keys)


ROBOT: Keys = (
    Key("robot", "text", "name of the robot; black boxes and the robot's lock are filed under it"),
    Key("urdf", "file or package:// address", "the robot model, URDF or xacro; relative to this file"),
    Key("urdf_args", "mapping of text", "arguments of the URDF's xacro, passed on as they are written", "none"),
    Key("control_rate", "number [Hz], above 0, at most 200", "how often commands are sent", "50"),
    Key("cameras", "mapping of camera name to camera", "where pictures come from; may be empty"),
    Key("state", "list of state sources", "where measurements come from; joints are matched by name"),
    Key("groups", "mapping of group name to group", "what is commanded, in the order of the action vector"),
    Key("takeover", "takeover section", "further ways for a person to take over besides the service", "none"),
)

CAMERA: Keys = (
    Key("topic", "topic name", "where its pictures arrive; relative names are put under the namespace"),
    Key("type", "`image` or `compressed_image`", "message type: sensor_msgs/Image or CompressedImage"),
    Key("max_age", "number [s], above 0", "a picture older than this is not planned from"),
    Key(
        "required",
        "true or false",
        "false: the policy plans without it while it is absent, if it may be masked",
        "true",
    ),
)

PICTURE: Keys = (
    Key(
        "encoding",
        "an encoding name of sensor_msgs/Image",
        "what the pixels are, whatever the message says; needed for `8UC3`, `8UC4`, `16UC3` and `16UC4`. For compressed pictures `bgr8` "
        "exchanges red and blue",
        "as the message says",
    ),
    Key("bits", "9 .. 16", "how many bits of a 16-bit value the camera uses", "16"),
    Key("rotate", "0, 90, 180 or 270", "degrees clockwise; after crop", "0"),
    Key(
        "flip",
        "`horizontal`, `vertical` or `both`",
        "mirror the picture: left and right, top and bottom; last step",
        "none",
    ),
    Key(
        "crop",
        "[x, y, width, height]",
        "part of the picture that is kept, in pixels of the picture as sent",
        "all of it",
    ),
)

STATE: Keys = (
    Key("topic", "topic name", "where the measurements arrive"),
    Key("type", "`joint_state` or `odometry`", "message type: sensor_msgs/JointState or nav_msgs/Odometry"),
    Key("max_age", "number [s], above 0", "older measurements are stale: the robot is braked, then held"),
    Key("prefix", "text", "put before every joint name that arrives (joint_state only)", "none"),
    Key(
        "joints",
        "mapping of driver's name to robot's name",
        "joints whose names differ; they get no prefix (joint_state only)",
        "none",
    ),
    Key(
        "scale",
        "number, or a number for each joint",
        "value = scale · reported + offset; degrees: 0.0174533 (joint_state only)",
        "1",
    ),
    Key("offset", "number, or a number for each joint", "see scale, in rad or m (joint_state only)", "0"),
    Key("measures", "list of joint names", "joints that no channel commands but that are part of the state", "none"),
    Key("twist", "`base` or `world`", "frame of the twist (odometry only)", "as child_frame_id says"),
)

TAKEOVER: Keys = (
    Key("deadman", "deadman section", "teleoperation only while a button is held", "none"),
    Key(
        "leader_motion",
        "number [rad or m], from 0",
        "a teleop input that moves by more than this within its max_age takes over by itself; 0: never",
        "0",
    ),
)

DEADMAN: Keys = (
    Key("topic", "topic name", "sensor_msgs/Joy with the button"),
    Key("button", "whole number, from 0", "index of the button in the message"),
)

GROUP: Keys = (
    Key("kind", "`position`, `velocity` or `gripper`", "how its channels are commanded, and how they stop"),
    Key("channels", "list of names", "names of the action vector; of a position group its URDF joints"),
    Key("command", "command section", "the topic that commands go to"),
    Key("limits", "limits section", "how far and how fast; optional for a gripper", "required except for a gripper"),
    Key("teleop", "teleop section", "the topic that a person's commands come from", "none: not teleoperated"),
    Key("joint", "joint section", "of a gripper: the joint behind it", "required for a gripper"),
    Key(
        "joints",
        "list of URDF joints",
        "of a velocity group: the joints its channels move, in the same order",
        "a base",
    ),
    Key("axes", "list of `vx`, `vy`, `wz`", "of a base: what each channel is", "the last word of the channel's name"),
    Key("continuous", "list of channels", "joints without ends, besides those of the URDF", "those of the URDF"),
    Key(
        "measured",
        "true or false",
        "of a velocity group: false lets the last command stand for the measurement",
        "true",
    ),
    Key(
        "command_latency",
        "number [s], 0 .. 0.5",
        "how late the group follows its commands; plans are sent that much ahead",
        "0",
    ),
)

JOINT: Keys = (
    Key("name", "joint name", "the measured joint, in the robot's names"),
    Key("closed", "number", "value of the joint when the channel is 0"),
    Key("open", "number", "value of the joint when the channel is 1"),
    Key("measured", "true or false", "false: nobody reports it; the last command is used as measurement", "true"),
)

LIMITS: Keys = (
    Key("source", "`urdf`", "take position bounds and velocity from the URDF", "only what is written here"),
    Key(
        "position",
        "[lower, upper] for each channel, or a mapping by joint",
        "position bounds [rad or m]; the narrower of these and the URDF's counts; `null`: as the URDF",
        "the URDF's",
    ),
    Key(
        "velocity",
        "number, list or mapping by joint",
        "velocity limit [rad/s or m/s; of a gripper strokes/s]; the narrower counts",
        "the URDF's",
    ),
    Key(
        "acceleration",
        "number, list or mapping by joint",
        "acceleration limit [rad/s² or m/s²]",
        "required; of a gripper 10 · velocity",
    ),
    Key("jerk", "number, list or mapping by joint", "jerk limit [rad/s³ or m/s³]", "10 · acceleration"),
    Key("margin", "number, list or mapping by joint", "how far inside the position bounds to stay [rad or m]", "0"),
    Key("override", "true or false", "true: the limits written here are used even if wider than the URDF's", "false"),
)

COMMAND: Keys = (
    Key("topic", "topic name", "where commands go"),
    Key(
        "type",
        "`float64_multi_array`, `joint_trajectory`, `joint_state`, `twist` or `twist_stamped`",
        "message type; groups that all speak joint_state, or all joint_trajectory, may share a topic",
    ),
    Key(
        "joints",
        "list of names",
        "the driver's names in channel order; of a float64_multi_array: the order of its numbers; of a gripper: its "
        "fingers",
        "the channel names",
    ),
    Key("frame", "text", "frame_id of a twist_stamped", "empty"),
    Key("closed", "number", "of a gripper: the driver's value for closed", "the joint's closed"),
    Key("open", "number", "of a gripper: the driver's value for open", "the joint's open"),
    Key("stamp", "`zero` or `now`", "of a joint_trajectory: begin at once, or at the time of the stamp", "zero"),
)

TELEOP: Keys = (
    Key("topic", "topic name", "where a person's commands come from"),
    Key("type", "`joint_state`, `float64_multi_array`, `twist` or `twist_stamped`", "message type"),
    Key("max_age", "number [s], above 0", "an input that is silent for longer is not followed"),
    Key("joints", "list of names", "the sender's names in channel order", "the channel names"),
    Key("closed", "number", "of a gripper: the sender's value for closed", "the joint's closed"),
    Key("open", "number", "of a gripper: the sender's value for open", "the joint's open"),
)

SECTIONS: tuple[tuple[str, str, Keys], ...] = (
    ("Top level", "", ROBOT),
    ("Camera", "cameras.NAME", CAMERA + PICTURE),
    ("State source", "state[]", STATE),
    ("Group", "groups.NAME", GROUP),
    ("Limits", "groups.NAME.limits", LIMITS),
    ("Command", "groups.NAME.command", COMMAND),
    ("Teleoperation", "groups.NAME.teleop", TELEOP),
    ("Gripper joint", "groups.NAME.joint", JOINT),
    ("Taking over", "takeover", TAKEOVER),
    ("Deadman button", "takeover.deadman", DEADMAN),
)
"""Every section of a robot YAML: title, where it stands, its keys."""
