"""What the package needs of a URDF: its text after xacro, and its joints with their limits.

Only joints that the robot YAML names have to be sound, so nothing here is refused for what a single joint lacks.
Source: the URDF specification of joints (http://wiki.ros.org/urdf/XML/joint): a missing lower or upper is 0, a
continuous joint has no bounds, soft limits stand in <safety_controller>.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

from pi0_ros.robot.errors import RobotError
from pi0_ros.robot.files import decode, encoding_of, is_file, read_bytes
from pi0_ros.robot.xacro_expand import expand_xacro

MAX_BYTES = 16 << 20
MOVABLE = ("revolute", "prismatic", "continuous")
UNBOUNDED = 1e4
"""rad, m or per second; no joint goes that far or fast: exporters write such numbers for "no limit"."""
NO_ARGUMENTS: Mapping[str, str] = MappingProxyType({})
_XACRO_NAMESPACE = "xacro"


@dataclass(frozen=True)
class Mimic:
    """A joint's value is `multiplier` times that of `joint`, plus `offset`."""

    joint: str
    multiplier: float
    offset: float


@dataclass(frozen=True)
class Joint:
    """A movable joint: position bounds [rad or m], greatest speed [rad/s or m/s] and effort [N m or N].

    Bounds are infinite and speed is NaN if the URDF gives none. `soft_lower`/`soft_upper` are those of
    <safety_controller>, infinite without one. `mimic`: the joint it follows, None for one that moves by itself.
    `problem` says what cannot be read; it is an error only for a joint that is used. `hint` is what the <limit> of a
    continuous joint says, which does not count.
    """

    name: str
    type: str
    lower: float
    upper: float
    velocity: float
    effort: float
    mimic: Mimic | None = None
    soft_lower: float = -math.inf
    soft_upper: float = math.inf
    problem: str = ""
    hint: str = ""

    @property
    def bounded(self) -> bool:
        """Whether the URDF bounds the joint's position."""
        return self.type != "continuous" and -UNBOUNDED < self.lower < self.upper < UNBOUNDED

    @property
    def has_speed(self) -> bool:
        """Whether the URDF gives the joint a speed limit."""
        return 0.0 < self.velocity < UNBOUNDED

    @property
    def soft(self) -> bool:
        """Whether soft limits narrow the position bounds."""
        inside = self.soft_lower < self.soft_upper and self.type != "continuous"
        return inside and (self.soft_lower > self.lower or self.soft_upper < self.upper)


@dataclass(frozen=True)
class Urdf:
    """A robot model: its XML, its movable joints by name, and the types of all joints by name."""

    file: Path
    root: ElementTree.Element
    joints: Mapping[str, Joint] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)


def urdf_text(file: Path, arguments: Mapping[str, str] = NO_ARGUMENTS) -> str:
    """The URDF of a `.urdf` or `.xacro` file as text; `arguments` are xacro's.

    The encoding is what the file declares. Raises RobotError when it cannot be read or expanded.
    """
    if not is_file(file):
        raise RobotError(f"{file}: there is no such URDF")
    data = read_bytes(file, MAX_BYTES)
    if file.suffix == ".xacro":
        return expand_xacro(file, arguments)
    if arguments:
        raise RobotError(f"{file}: urdf_args are for xacro files; this one does not end in .xacro")
    return decode(file, data, encoding_of(data))


def read_urdf(file: Path, arguments: Mapping[str, str] = NO_ARGUMENTS) -> Urdf:
    """A URDF or xacro file. Raises RobotError for a file that is none, or that has two joints of one name."""
    root = _parse(file, urdf_text(file, arguments))
    elements = root.findall("joint")
    types: dict[str, str] = {}
    for element in elements:
        name = element.get("name", "")
        if name in types:
            raise RobotError(f"{file}: there are two joints {name}; a joint's name must be its own")
        types[name] = element.get("type", "")
    joints = (_joint(element) for element in elements if element.get("type") in MOVABLE)
    return Urdf(file, root, {joint.name: joint for joint in joints}, types)


def _parse(file: Path, text: str) -> ElementTree.Element:
    if "<!ENTITY" in text:
        raise RobotError(f"{file}: declares XML entities, which are not read; write their text instead")
    try:
        # xacro writes file names into a comment; where the locale is C they may hold what no UTF-8 can.
        root = ElementTree.fromstring(text.lstrip("\ufeff").encode("utf-8", "replace").decode())
    except ElementTree.ParseError as problem:
        raise RobotError(
            f"{file}:{problem.position[0]}: is not XML: {problem}; mend that line, or copy the file anew"
        ) from problem
    except (ValueError, RecursionError, MemoryError) as problem:
        raise RobotError(f"{file}: is not XML: {problem}") from problem
    if root.tag != "robot":
        raise RobotError(f"{file}: its root is <{_local(root.tag)}>, not <robot>{_kind_of(root)}; give a URDF")
    if file.suffix != ".xacro" and _has_xacro(root):
        name = file.with_suffix(".urdf.xacro").name
        raise RobotError(
            f"{file}: has xacro in it; name it {name}, or expand it: xacro {file.name} > {file.stem}_expanded.urdf"
        )
    return root


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _kind_of(root: ElementTree.Element) -> str:
    kinds = {"mujoco": "an MJCF model", "mujocoinclude": "an MJCF model", "sdf": "an SDF model", "html": "a web page"}
    kind = kinds.get(_local(root.tag).lower(), "")
    return f" ({kind})" if kind else ""


def _has_xacro(root: ElementTree.Element) -> bool:
    """Whether macros are left: elements of xacro's namespace, or expressions in the names of joints."""
    macros = any(_XACRO_NAMESPACE in element.tag.partition("}")[0] for element in root.iter() if "}" in element.tag)
    return macros or any("${" in e.get("name", "") or "$(" in e.get("name", "") for e in root.findall("joint"))


def _joint(element: ElementTree.Element) -> Joint:
    name, kind = element.get("name", ""), element.get("type", "")
    limit = element.find("limit")
    free = kind == "continuous"
    attributes = limit.attrib if limit is not None else {}
    try:
        default = "nan" if limit is None else "0"
        lower = -math.inf if free else _number(attributes, "lower", default)
        upper = math.inf if free else _number(attributes, "upper", default)
        velocity = _number(attributes, "velocity", "nan")
        soft = _soft_limits(element.find("safety_controller"))
        mimic = _mimic(element.find("mimic"))
    except ValueError as problem:
        return Joint(name, kind, math.nan, math.nan, math.nan, math.nan, problem=str(problem))
    crossed = f"lower {lower:g} is above upper {upper:g}" if lower > upper else ""
    hint = f"{attributes['lower']} .. {attributes['upper']}" if free and _ranged(attributes) else ""
    return Joint(name, kind, lower, upper, velocity, _effort(attributes), mimic, *soft, crossed, hint)


def _ranged(attributes: Mapping[str, str]) -> bool:
    return "lower" in attributes and "upper" in attributes


def _mimic(element: ElementTree.Element | None) -> Mimic | None:
    if element is None:
        return None
    if not element.get("joint"):
        raise ValueError("its <mimic> names no joint")
    multiplier, offset = _number(element.attrib, "multiplier", "1"), _number(element.attrib, "offset", "0")
    return Mimic(element.attrib["joint"], multiplier, offset)


def _number(attributes: Mapping[str, str], key: str, default: str) -> float:
    text = attributes.get(key, default)
    try:
        return float(text)
    except ValueError as problem:
        raise ValueError(f"{key} is {text!r}, which is no number") from problem


def _effort(attributes: Mapping[str, str]) -> float:
    """Never used to move anything, so never refused."""
    try:
        return float(attributes.get("effort", "nan"))
    except ValueError:
        return math.nan


def _soft_limits(element: ElementTree.Element | None) -> tuple[float, float]:
    """Soft bounds; infinite if there are none, or if they leave nothing (a controller that only limits the speed)."""
    attributes = element.attrib if element is not None else {}
    lower, upper = _number(attributes, "soft_lower_limit", "0"), _number(attributes, "soft_upper_limit", "0")
    return (lower, upper) if lower < upper else (-math.inf, math.inf)
