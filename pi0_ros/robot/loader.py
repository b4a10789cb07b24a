"""A robot YAML and its URDF, read strictly into a `Robot`.

The schema is `yaml_keys`. Everything wrong is a `RobotError` with file, line and key. What `load_robot`
takes, every node can bring up: `pi0 check`, `pi0 up`, the launch file and the nodes all ask this one function.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pi0_ros.robot.conflicts import refuse_conflicts
from pi0_ros.robot.errors import RobotError
from pi0_ros.robot.files import is_file
from pi0_ros.robot.groups import read_group, refuse_shared_names
from pi0_ros.robot.kinematics import chains
from pi0_ros.robot.resources import config_names, resolve, share
from pi0_ros.robot.sources import read_camera, read_state, read_takeover
from pi0_ros.robot.spec import Robot
from pi0_ros.robot.urdf import Urdf, read_urdf
from pi0_ros.robot.yaml_keys import ROBOT, key_names
from pi0_ros.robot.yaml_nodes import Section, YamlNode, read_yaml


def load_robot(name_or_file: str | Path) -> Robot:
    """The robot of that name under config/robots, or of that file.

    Raises RobotError, naming file, line and key, or the robots there are.
    """
    file = _find(str(name_or_file))
    root = read_yaml(file).section(*key_names(ROBOT))
    arguments = _arguments(root.get("urdf_args"))
    urdf, warnings = _urdf(root, arguments), list[str]()
    groups = tuple(read_group(name, at, urdf, warnings) for name, at in root.need("groups").items())
    if not groups:
        raise root.need("groups").error("needs at least one group")
    refuse_shared_names(root.need("groups"), groups)
    state = read_state(root.need("state"), groups)
    cameras = tuple(read_camera(name, at) for name, at in root.need("cameras").items())
    refuse_conflicts(root, groups, state, cameras)
    rate = root.get("control_rate")
    robot = Robot(
        name=root.need("robot").text(),
        file=file,
        urdf=urdf.file,
        control_rate=rate.number(0.0, 200.0) if rate else 50.0,
        cameras=cameras,
        state=state,
        groups=groups,
        takeover=read_takeover(root.get("takeover")),
        urdf_args=arguments,
        warnings=tuple(warnings),
    )
    chains(robot)
    return robot


def robot_names() -> tuple[str, ...]:
    """The robots that come with the package."""
    return config_names("robots")


def _find(name: str) -> Path:
    file = Path(name) if name.endswith((".yaml", ".yml")) else share("config", "robots", f"{name}.yaml")
    if not is_file(file):
        raise RobotError(f"{name}: no such robot; give the path of a YAML, or one of {', '.join(robot_names())}")
    return file.resolve()


def _urdf(root: Section, arguments: Mapping[str, str]) -> Urdf:
    at = root.need("urdf")
    text = at.text()
    try:
        file = resolve(text, root.at.file.parent)
    except (OSError, ValueError) as problem:  # a name that no file can have
        raise at.error(f"is no file name: {problem}") from problem
    if not is_file(file):
        raise at.error(f"there is no file {file}")
    return read_urdf(file, arguments)


def _arguments(at: YamlNode | None) -> dict[str, str]:
    """xacro arguments as they are written: `0.10` and `true` stay so."""
    if at is None:
        return {}
    found = {}
    for name, entry in at.items():
        entry.value()
        found[name] = str(entry.node.value)
    return found
