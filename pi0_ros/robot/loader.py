"""A robot YAML and its URDF, read strictly into a `Robot`.

The schema is docs/interface.md, "Robot YAML". Everything wrong is a `RobotError` with file, line and key.
"""

from __future__ import annotations

from pathlib import Path

from pi0_ros.robot.errors import RobotError
from pi0_ros.robot.groups import read_group, refuse_shared_names
from pi0_ros.robot.resources import resolve, share
from pi0_ros.robot.sources import read_camera, read_state, read_takeover
from pi0_ros.robot.spec import Robot
from pi0_ros.robot.urdf import read_joints
from pi0_ros.robot.yaml_nodes import read_yaml


def load_robot(name_or_file: str | Path) -> Robot:
    """The robot of that name under config/robots, or of that file.

    Raises RobotError, naming file, line and key, or the robots there are.
    """
    file = _find(str(name_or_file))
    root = read_yaml(file).section("robot", "urdf", "control_rate", "cameras", "state", "groups", "takeover")
    urdf = resolve(root.need("urdf").text(), file.parent)
    if not urdf.is_file():
        raise root.need("urdf").error(f"there is no file {urdf}")
    joints = read_joints(urdf)
    groups = tuple(read_group(name, at, joints) for name, at in root.need("groups").items())
    if not groups:
        raise root.need("groups").error("needs at least one group")
    refuse_shared_names(root.need("groups"), groups)
    rate = root.get("control_rate")
    return Robot(
        name=root.need("robot").text(),
        file=file,
        urdf=urdf,
        control_rate=rate.number(0.0, 200.0) if rate else 50.0,
        cameras=tuple(read_camera(name, at) for name, at in root.need("cameras").items()),
        state=read_state(root.need("state"), groups),
        groups=groups,
        takeover=read_takeover(root.get("takeover")),
    )


def robot_names() -> tuple[str, ...]:
    """The robots that come with the package."""
    return tuple(sorted(file.stem for file in share("config", "robots").glob("*.yaml")))


def _find(name: str) -> Path:
    file = Path(name) if name.endswith((".yaml", ".yml")) else share("config", "robots", f"{name}.yaml")
    if not file.is_file():
        raise RobotError(f"{name}: no such robot; give the path of a YAML, or one of {', '.join(robot_names())}")
    return file.resolve()
