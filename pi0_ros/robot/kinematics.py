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
from pi0_ros.robot.urdf import urdf_text

Array = npt.NDArray[np.float64]
TURNING = ("revolute", "continuous")


@dataclass(frozen=True)
class Segment:
    """One URDF joint: its fixed `origin` [4, 4] in the parent link, and how it moves about or along `axis` [3]."""

    joint: str
    type: str
    parent: str
    child: str
    origin: Array
    axis: Array

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
        at = np.tile(np.eye(4), (rows, 1, 1))
        for segment in self.segments:
            at = at @ segment.transforms(joints.get(segment.joint, np.zeros(rows)))
        result: Array = at[:, :3, 3]
        return result


def _rotations(axis: Array, angles: Array) -> Array:
    """Rotation matrices [H, 3, 3] about a unit axis (Rodrigues)."""
    x, y, z = axis
    cross = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    sine, rest = np.sin(angles)[:, None, None], (1.0 - np.cos(angles))[:, None, None]
    result: Array = np.eye(3) + sine * cross + rest * (cross @ cross)
    return result


def _numbers(text: str | None, default: str) -> Array:
    return np.array([float(word) for word in (text or default).split()])


def _origin(element: ElementTree.Element | None) -> Array:
    """A URDF <origin>: fixed-axis roll, pitch, yaw, then the translation."""
    frame = np.eye(4)
    if element is None:
        return frame
    roll, pitch, yaw = _numbers(element.get("rpy"), "0 0 0")
    turns = [_rotations(np.eye(3)[i], np.array([a]))[0] for i, a in ((2, yaw), (1, pitch), (0, roll))]
    frame[:3, :3] = turns[0] @ turns[1] @ turns[2]
    frame[:3, 3] = _numbers(element.get("xyz"), "0 0 0")
    return frame


def _segment(element: ElementTree.Element) -> Segment:
    parent, child, turned = element.find("parent"), element.find("child"), element.find("axis")
    axis = _numbers(turned.get("xyz") if turned is not None else None, "1 0 0")
    return Segment(
        element.get("name", ""),
        element.get("type", "fixed"),
        parent.get("link", "") if parent is not None else "",
        child.get("link", "") if child is not None else "",
        _origin(element.find("origin")),
        axis / max(float(np.linalg.norm(axis)), 1e-12),
    )


def read_segments(file: Path) -> Mapping[str, Segment]:
    """All joints of a URDF by name. Raises RobotError for a bad file."""
    try:
        joints = ElementTree.fromstring(urdf_text(file)).findall("joint")
        return {element.get("name", ""): _segment(element) for element in joints}
    except (ElementTree.ParseError, ValueError) as problem:
        raise RobotError(f"{file}: its joints cannot be read: {problem}") from problem


def chain_to(segments: Mapping[str, Segment], joint: str) -> tuple[Segment, ...]:
    """The joints from the root to `joint`, itself included. Raises RobotError for a joint the URDF does not have."""
    if joint not in segments:
        raise RobotError(f"joint {joint} is not in the URDF")
    by_child = {segment.child: segment for segment in segments.values()}
    found = [segments[joint]]
    while (above := by_child.get(found[-1].parent)) is not None and above not in found:
        found.append(above)
    return tuple(reversed(found))


def chains(robot: Robot) -> Mapping[str, Chain]:
    """The chain of every group of position joints, by group name.

    An arm ends where its gripper's joint sits; a group that carries no gripper ends at its last link.
    """
    segments = read_segments(robot.urdf)
    grips = [segments[g.gripper.joint] for g in robot.groups if g.gripper is not None and g.gripper.joint in segments]
    return {g.name: _chain(segments, g, grips) for g in robot.groups if g.kind is Kind.POSITION}


def _chain(segments: Mapping[str, Segment], group: Group, grips: list[Segment]) -> Chain:
    path = chain_to(segments, group.channels[-1].name)
    held = [grip for grip in grips if grip.parent == path[-1].child]
    return Chain(path[0].parent, (*path, *held[:1]))
