"""Which joint a name means, and what a person is told who names none."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from pi0_ros.robot import RobotError
from pi0_ros.robot.joint_names import near_first, unknown_joint
from pi0_ros.robot.urdf import Joint, Mimic, Urdf
from pi0_ros.robot.yaml_nodes import YamlNode, read_yaml


@pytest.fixture
def at(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text("a: 1\n")
    return read_yaml(file)


def joint(name, mimic=None):
    return Joint(name, "revolute", -1.0, 1.0, 1.0, 1.0, mimic)


def urdf(joints=(), types=None, name="r.urdf"):
    found = {j.name: j for j in joints}
    return Urdf(Path(name), ElementTree.Element("robot"), found, {n: "revolute" for n in found} | (types or {}))


def told(at: YamlNode, name, of):
    error = unknown_joint(at, name, of)
    assert isinstance(error, RobotError)
    return str(error).partition(":1: ")[2]


def test_of_the_joints_that_there_are_those_that_move_by_themselves_are_named_the_like_first(at):
    model = urdf([joint("wrist"), joint("elbow"), joint("finger_r", Mimic("finger", 1.0, 0.0)), joint("finger")])
    assert told(at, "wirst", model) == "wirst is not a movable joint of the URDF, which has wrist, elbow, finger"
    assert told(at, "x", urdf(types={"base": "fixed"})) == "x is not a movable joint of the URDF, which has none"


def test_a_joint_that_does_not_move_is_told_with_its_type(at):
    model = urdf([joint("elbow")], {"mount": "fixed", "odd": ""})
    assert (
        told(at, "mount", model) == "mount is a fixed joint of the URDF, which cannot be commanded; movable are elbow"
    )
    assert told(at, "odd", model).startswith("odd is a typeless joint of the URDF")
    assert told(at, "mount", urdf(types={"mount": "fixed"})).endswith("which cannot be commanded")


@pytest.mark.parametrize(("name", "macros"), [("r.urdf", False), ("r.urdf.xacro", True)])
def test_a_model_without_joints_may_be_one_of_macros(at, name, macros):
    said = told(at, "elbow", urdf(name=name))
    assert said.startswith(f"elbow is not in {name}, which has no joints")
    assert said.endswith("does it only define macros? Give the file that calls them") is macros


@pytest.mark.parametrize(("count", "more"), [(23, ""), (24, ""), (25, " and 1 more"), (40, " and 16 more")])
def test_twenty_four_names_are_shown_and_the_others_counted(count, more):
    names = [f"j{k:02}" for k in range(count)]
    assert near_first("", reversed(names)) == ", ".join(names[:24]) + more


def test_the_three_names_that_are_most_alike_come_first_the_most_alike_at_the_front():
    names = ["shoulder_pan", "elbow", "wrist_1", "wrist_2", "wrist_3", "wrist_4"]
    assert near_first("wrist_2x", names).split(", ")[0] == "wrist_2"
    shown = near_first("wrist_2x", names).split(", ")
    assert set(shown[:3]) <= set(names[2:]) and shown[3:] == sorted(set(names) - set(shown[:3]))
