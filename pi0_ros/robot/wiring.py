"""Where a group's commands go and a person's come from: the keys `command` and `teleop` of a group."""

from __future__ import annotations

from collections.abc import Mapping

from pi0_ros.robot.spec import Axis, CommandTopic, GripperMap, Kind, TeleopTopic
from pi0_ros.robot.topics import read_topic
from pi0_ros.robot.urdf import Joint
from pi0_ros.robot.yaml_keys import COMMAND, TELEOP, key_names
from pi0_ros.robot.yaml_nodes import Section, YamlNode

COMMAND_TYPES = ("float64_multi_array", "joint_trajectory", "joint_state", "twist", "twist_stamped")
TELEOP_TYPES = ("joint_state", "float64_multi_array", "twist", "twist_stamped")
TWIST_TYPES = ("twist", "twist_stamped")
ARRAY, TRAJECTORY = "float64_multi_array", "joint_trajectory"


class Wiring:
    """Reads the topics of one group: its kind, its channel names, its base axes and its gripper."""

    def __init__(
        self,
        channels: YamlNode,
        kind: Kind,
        names: tuple[str, ...],
        axes: tuple[Axis | None, ...],
        gripper: GripperMap | None,
        joints: Mapping[str, Joint],
    ) -> None:
        self._channels, self._kind, self._names, self._axes = channels, kind, names, axes
        self._gripper, self._joints = gripper, joints

    def command(self, at: YamlNode) -> CommandTopic:
        """The key `command`. Raises RobotError with file, line and key."""
        keys = at.section(*key_names(COMMAND))
        kind, frame, stamp = keys.need("type").choice(*COMMAND_TYPES), keys.get("frame"), keys.get("stamp")
        if stamp is not None and kind != TRAJECTORY:
            raise stamp.error(f"stamp is a key of a {TRAJECTORY}; a {kind} has no choice")
        self._refuse_bad_type(keys.need("type"), kind)
        fingers = self._fingers(keys, kind)
        joints, order = (fingers, ()) if fingers else self._joints_of(keys, kind, exchange=False)
        return CommandTopic(
            topic=read_topic(keys.need("topic")),
            type=kind,
            joints=joints,
            frame=frame.text() if frame else "",
            stamped=stamp is not None and stamp.choice("zero", "now") == "now",
            order=order,
            range=self._range(keys),
            followers=tuple(self._follower(keys.need("joints"), name, fingers[0]) for name in fingers),
        )

    def teleop(self, at: YamlNode | None) -> TeleopTopic | None:
        """The key `teleop`, None if there is none. Raises RobotError with file, line and key."""
        if at is None:
            return None
        keys = at.section(*key_names(TELEOP))
        kind = keys.need("type").choice(*TELEOP_TYPES)
        self._refuse_bad_type(keys.need("type"), kind)
        joints, order = self._joints_of(keys, kind, exchange=True)
        return TeleopTopic(
            read_topic(keys.need("topic")), kind, keys.need("max_age").number(0.0), joints, order, self._range(keys)
        )

    def _refuse_bad_type(self, at: YamlNode, kind: str) -> None:
        if kind in TWIST_TYPES and self._kind is not Kind.VELOCITY:
            raise at.error(f"{kind} carries velocities; the group's kind is {self._kind.value}")
        if kind == "joint_trajectory" and self._kind is Kind.VELOCITY:
            raise at.error("a joint_trajectory carries positions, and the group's kind is velocity; use joint_state")
        if kind in TWIST_TYPES:
            for name, axis in zip(self._names, self._axes, strict=True):
                if axis is None:
                    raise self._channels.error(
                        f"channels of a twist end in vx, vy or wz; {name} does not: say what each channel is, "
                        "for example axes: [vx, wz]"
                    )

    def _joints_of(self, keys: Section, kind: str, exchange: bool) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Names on the topic in channel order, and the order of an array's numbers.

        `exchange`: whether names may be those of other channels of the group, which a device may well use.
        """
        at, names = keys.get("joints"), self._names
        if at is None:
            return names, ()
        joints = at.texts()
        if len(joints) != len(names):
            raise at.error(f"needs {len(names)} names, one a channel ({', '.join(names)}), and has {len(joints)}")
        if kind in TWIST_TYPES:
            raise at.error("a twist carries no joint names; give axes: to the group")
        if self._gripper is not None:
            return joints, ()
        if kind == ARRAY:
            if set(joints) != set(names):
                raise at.error(
                    f"a {ARRAY} carries no names; joints gives the order of its numbers, in the names of the channels: "
                    f"{', '.join(names)}"
                )
            order = tuple(names.index(joint) for joint in joints)
            return names, () if order == tuple(range(len(names))) else order
        if not exchange and joints != names and set(joints) == set(names):
            first = next(i for i, (joint, name) in enumerate(zip(joints, names, strict=True)) if joint != name)
            raise at.error(
                f"calls channel {names[first]} {joints[first]}, which is another channel of the group; joints are the "
                "driver's names in the order of the channels, and messages by name need no order"
            )
        return joints, ()

    def _fingers(self, keys: Section, kind: str) -> tuple[str, ...]:
        """The joints of a gripper that is commanded by several, () for any other group."""
        at = keys.get("joints")
        if at is None or self._gripper is None or kind in TWIST_TYPES:
            return ()
        names = at.texts()
        return names if len(names) > 1 else ()

    def _follower(self, at: YamlNode, name: str, first: str) -> tuple[float, float]:
        """How a finger follows the gripper's value: as the URDF's <mimic> says, or alike."""
        joint = self._joints.get(name)
        if joint is None or joint.mimic is None or self._gripper is None:
            return 1.0, 0.0
        if joint.mimic.joint not in (first, self._gripper.joint):
            raise at.error(f"{name} mimics {joint.mimic.joint} in the URDF, not {first}")
        return joint.mimic.multiplier, joint.mimic.offset

    def _range(self, keys: Section) -> tuple[float, float] | None:
        """The keys `closed` and `open`: what a gripper's ends are on this topic."""
        closed, opened = keys.get("closed"), keys.get("open")
        if closed is None and opened is None:
            return None
        if self._gripper is None:
            raise keys.at.error("only a gripper has closed and open")
        ends = (keys.need("closed").number(), keys.need("open").number())
        if ends[0] == ends[1]:
            raise keys.at.error("closed and open are the same value")
        return ends
