"""What the package needs of a URDF: its text after xacro, and its joints' limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from pi0_ros.robot.errors import RobotError


@dataclass(frozen=True)
class Mimic:
    """A joint's value is `multiplier` times that of `joint`, plus `offset`."""

    joint: str
    multiplier: float
    offset: float


@dataclass(frozen=True)
class Joint:
    """A movable joint: position bounds [rad or m], greatest speed [rad/s or m/s] and effort [N m or N].

    `mimic`: the joint it follows, None for one that moves by itself.
    """

    name: str
    type: str
    lower: float
    upper: float
    velocity: float
    effort: float
    mimic: Mimic | None = None


def urdf_text(file: Path) -> str:
    """The URDF of a `.urdf` or `.xacro` file as text. Raises RobotError when it cannot be read or expanded."""
    if not file.is_file():
        raise RobotError(f"{file}: there is no such URDF")
    if file.suffix != ".xacro":
        return file.read_text(encoding="utf-8")
    try:
        import xacro

        return str(xacro.process_file(str(file)).toxml())
    except ImportError as problem:
        raise RobotError(f"{file}: reading xacro needs the Python package xacro; pip install xacro") from problem
    except Exception as problem:  # xacro raises several unrelated types for a bad file
        raise RobotError(f"{file}: xacro cannot expand it: {problem}") from problem


def read_joints(file: Path) -> Mapping[str, Joint]:
    """All movable joints by name. Continuous joints have infinite position bounds. Raises RobotError for a bad file."""
    try:
        root = ElementTree.fromstring(urdf_text(file))
    except ElementTree.ParseError as problem:
        raise RobotError(f"{file}: is not XML: {problem}") from problem
    movable = [e for e in root.findall("joint") if e.get("type") in ("revolute", "prismatic", "continuous")]
    return {e.get("name", ""): replace(_joint(e, file), mimic=_mimic(e, file)) for e in movable}


def _mimic(element: ElementTree.Element, file: Path) -> Mimic | None:
    at = element.find("mimic")
    if at is None:
        return None
    try:
        return Mimic(at.attrib["joint"], float(at.get("multiplier", "1")), float(at.get("offset", "0")))
    except (KeyError, ValueError) as problem:
        raise RobotError(
            f"{file}: joint {element.get('name')}: <mimic> lacks or has a bad value: {problem}"
        ) from problem


def _joint(element: ElementTree.Element, file: Path) -> Joint:
    name, kind = element.get("name", ""), element.get("type", "")
    limit = element.find("limit")
    if limit is None and kind == "continuous":
        return Joint(name, kind, -math.inf, math.inf, math.nan, math.nan)
    if limit is None:
        raise RobotError(f"{file}: joint {name} has no <limit>; add lower, upper, velocity and effort")
    free = kind == "continuous"
    try:
        lower = -math.inf if free else float(limit.attrib["lower"])
        upper = math.inf if free else float(limit.attrib["upper"])
        return Joint(name, kind, lower, upper, float(limit.attrib["velocity"]), float(limit.attrib["effort"]))
    except (KeyError, ValueError) as problem:
        raise RobotError(f"{file}: joint {name}: <limit> lacks or has a bad value: {problem}") from problem
