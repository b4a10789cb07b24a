"""Where the end of an arm is: forward kinematics of a robot's groups, from its URDF. Metres, radians, root frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from pi0_ros.robot.errors import RobotError
from pi0_ros.robot.spec import Group, Kind, Robot
from pi0_ros.robot.urdf import Urdf, read_urdf

Array = npt.NDArray[np.float64]
TURNING = ("revolute", "continuous")


@dataclass(frozen=True)
class Segment:
    """One URDF joint: its fixed `origin` [4, 4] in the parent link, and how it moves about or along `axis` [3].

    A joint that follows another (<mimic>) is at multiplier * its value + offset; `follows` is "" for all others.
    """

    joint: str
    type: str
    parent: str
    child: str
    origin: Array
    axis: Array
    follows: str
    multiplier: float
    offset: float

    def values(self, joints: Mapping[str, Array], rows: int) -> Array:
        """Values [H] of this joint (rad or m) for values [H] by joint; one that is not named is at 0."""
        if self.follows:
            result: Array = self.multiplier * joints.get(self.follows, np.zeros(rows)) + self.offset
            return result
        return joints.get(self.joint, np.zeros(rows))

    def transforms(self, values: Array) -> Array:
        """Child frame in the parent frame [H, 4, 4] for joint values [H] (rad or m)."""
        moved = np.tile(np.eye(4), (len(values), 1, 1))
        if self.type in TURNING:
            moved[:, :3, :3] = _rotations(self.axis, values)
        elif self.type == "prismatic":
            moved[:, :3, 3] = values[:, None] * self.axis
        result: Array = self.origin @ moved
        return result


@dataclass(frozen=True)
class Chain:
    """From the robot's root link to the end of a group."""

    root: str
    segments: tuple[Segment, ...]

    def points(self, joints: Mapping[str, Array]) -> Array:
        """Positions [H, 3] of the chain's end in the root frame for values [H] by joint; a joint not named is at 0."""
        rows = len(next(iter(joints.values())))
        at: Array = np.eye(4)
        for segment in self.segments:
            at = at @ segment.transforms(segment.values(joints, rows))
        return at[..., :3, 3]


def _rotations(axis: Array, angles: Array) -> Array:
    """Rotation matrices [H, 3, 3] about a unit axis (Rodrigues)."""
    x, y, z = axis
    cross = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    sine, rest = np.sin(angles)[:, None, None], (1.0 - np.cos(angles))[:, None, None]
    result: Array = np.eye(3) + sine * cross + rest * (cross @ cross)
    return result


def _numbers(text: str | None, default: str) -> Array:
    """Three finite numbers. Raises ValueError."""
    found = np.array([float(word) for word in (text or default).split()])
    if found.shape != (3,) or not np.isfinite(found).all():
        raise ValueError(f"{text!r} are not three numbers")
    return found


def _origin(element: ElementTree.Element | None) -> Array:
    """A URDF <origin>: fixed-axis roll, pitch, yaw, then the translation."""
    frame = np.eye(4)
    if element is None:
        return frame
    roll, pitch, yaw = _numbers(element.get("rpy"), "0 0 0")
    z, y, x = (_rotations(np.eye(3)[i], np.array([angle])) for i, angle in ((2, yaw), (1, pitch), (0, roll)))
    (frame[:3, :3],) = z @ y @ x
    frame[:3, 3] = _numbers(element.get("xyz"), "0 0 0")
    return frame


def _segment(element: ElementTree.Element) -> Segment:
    turned, mimic = element.find("axis"), element.find("mimic")
    axis = _numbers(turned.get("xyz") if turned is not None else None, "1 0 0")
    length, type_ = float(np.linalg.norm(axis)), element.get("type", "fixed")
    if length < 1e-9 and type_ != "fixed":
        raise ValueError("its axis has no direction")
    follows, multiplier, offset = "", 1.0, 0.0
    if mimic is not None:
        follows, multiplier, offset = (
            mimic.get("joint", ""),
            float(mimic.get("multiplier", 1.0)),
            float(mimic.get("offset", 0.0)),
        )
    return Segment(
        element.get("name", ""),
        type_,
        _link(element, "parent"),
        _link(element, "child"),
        _origin(element.find("origin")),
        axis / max(length, 1e-12),
        follows,
        multiplier,
        offset,
    )


def _link(element: ElementTree.Element, role: str) -> str:
    found = element.find(role)
    name = found.get("link", "") if found is not None else ""
    if not name:
        raise ValueError(f"it has no {role} link")
    return name


@dataclass(frozen=True)
class Tree:
    """The joints of a URDF, read as far as they are needed: errors in a joint on no chain do not matter."""

    file: Path
    elements: Mapping[str, ElementTree.Element]
    above: Mapping[str, tuple[str, ...]]
    """Link to the joints whose child it is: none for the root, more than one in a URDF that is no tree."""

    def segment(self, joint: str) -> Segment:
        """A joint by name. Raises RobotError for one that the URDF does not have, or that cannot be read."""
        if joint not in self.elements:
            raise RobotError(f"{self.file}: joint {joint} is not in the URDF")
        try:
            return _segment(self.elements[joint])
        except ValueError as problem:
            raise RobotError(f"{self.file}: joint {joint} cannot be read: {problem}") from problem

    def chain_to(self, joint: str) -> tuple[Segment, ...]:
        """The joints from the root to `joint`, itself included. Raises RobotError for one that no root leads to."""
        found = [self.segment(joint)]
        while above := self.above.get(found[-1].parent, ()):
            if len(above) > 1:
                raise RobotError(f"{self.file}: link {found[-1].parent} is the child of {' and '.join(above)}")
            (next_up,) = above
            if next_up in {segment.joint for segment in found}:
                raise RobotError(f"{self.file}: joint {joint} hangs on itself, by {next_up}")
            found.append(self.segment(next_up))
        return tuple(reversed(found))


def tree_of(urdf: Urdf) -> Tree:
    """The joints of a URDF by name, and the tree that they form."""
    elements = {element.get("name", ""): element for element in urdf.root.findall("joint")}
    above: dict[str, tuple[str, ...]] = {}
    for name, element in elements.items():
        child = element.find("child")
        link = child.get("link", "") if child is not None else ""
        above[link] = (*above.get(link, ()), name)
    return Tree(urdf.file, elements, above)


def chains(robot: Robot) -> Mapping[str, Chain]:
    """The chain of every group of position joints, by group name.

    An arm ends at the joint of its gripper; a group without a gripper ends at the link that is furthest
    from the root, whatever the order of its channels. Raises RobotError for a URDF that is no tree.
    """
    tree = tree_of(read_urdf(robot.urdf, robot.urdf_args))
    grips = [g.gripper.joint for g in robot.groups if g.gripper is not None and g.gripper.joint in tree.elements]
    hands = [tree.chain_to(joint) for joint in grips]
    return {g.name: _chain(tree, g, hands) for g in robot.groups if g.kind is Kind.POSITION}


def _chain(tree: Tree, group: Group, hands: list[tuple[Segment, ...]]) -> Chain:
    arm = max((tree.chain_to(channel.name) for channel in group.channels), key=len)
    last = arm[-1].joint
    # Flanges and tool changers: whatever is fixed between the arm's last joint and the gripper's belongs to the arm.
    held = [hand for hand in hands if last in _carriers(hand)]
    path = held[0] if held else arm
    return Chain(path[0].parent, path)


def _carriers(hand: tuple[Segment, ...]) -> set[str]:
    """The joint of the arm that carries this gripper: the last one before its own that moves by itself."""
    moving = [s.joint for s in hand[:-1] if s.type != "fixed" and not s.follows]
    return set(moving[-1:])
