"""Which joint of the URDF a name in the robot YAML means, and what to write if it means none."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from pi0_ros.robot.errors import RobotError
from pi0_ros.robot.urdf import Joint, Urdf
from pi0_ros.robot.yaml_nodes import YamlNode

MOST_NAMES = 24


def named_joint(at: YamlNode, name: str, urdf: Urdf) -> Joint:
    """The movable joint of that name. Raises RobotError, naming near matches first, for any other name.

    A joint that mimics another is refused too: the joint that it follows is the one to command.
    """
    joint = urdf.joints.get(name)
    if joint is None:
        raise unknown_joint(at, name, urdf)
    if joint.mimic is not None:
        raise at.error(f"{name} mimics {joint.mimic.joint} in the URDF; command {joint.mimic.joint} alone")
    return joint


def unknown_joint(at: YamlNode, name: str, urdf: Urdf) -> RobotError:
    """The error for a name that is no movable joint of the URDF."""
    if not urdf.types:
        macros = "; does it only define macros? Give the file that calls them" if urdf.file.suffix == ".xacro" else ""
        return at.error(f"{name} is not in {urdf.file.name}, which has no joints{macros}")
    kind = urdf.types.get(name)
    movable = [n for n, joint in urdf.joints.items() if joint.mimic is None]
    if kind is not None:
        return at.error(
            f"{name} is a {kind or 'typeless'} joint of the URDF, which cannot be commanded{_listed(movable)}"
        )
    return at.error(f"{name} is not a movable joint of the URDF, which has {near_first(name, movable) or 'none'}")


def _listed(names: list[str]) -> str:
    return f"; movable are {near_first('', names)}" if names else ""


def near_first(name: str, names: Iterable[str]) -> str:
    """Names as text, those that look like `name` first, and not too many."""
    ordered = sorted(names)
    near = get_close_matches(name, ordered, n=3)
    ordered = [*near, *(n for n in ordered if n not in near)]
    more = len(ordered) - MOST_NAMES
    return ", ".join(ordered[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
