"""The robots that come with the package."""

import pytest

from pi0_ros.robot import Kind, load_robot
from pi0_ros.robot.joint_names import near_first


def test_aloha_has_fourteen_channels_from_two_joint_state_topics():
    robot = load_robot("aloha")
    assert len(robot.channel_names) == 14
    assert [s.prefix for s in robot.state] == ["left_", "right_"]
    assert {g.command.type for g in robot.groups} == {"joint_trajectory"}
    assert robot.groups[0].command.joints[0] == "waist"


def test_the_mobile_manipulator_has_the_eighteen_channels_of_the_paper():
    robot = load_robot("mobile_bimanual")
    arm = [f"joint{i}" for i in range(1, 7)] + ["gripper"]
    expected = [f"left_{n}" for n in arm] + [f"right_{n}" for n in arm] + ["base_vx", "base_vy", "base_wz", "lift"]
    assert list(robot.channel_names) == expected
    assert [c.name for c in robot.channels if c.kind is Kind.VELOCITY] == ["base_vx", "base_vy", "base_wz"]
    assert {c.name for c in robot.cameras} == {"base", "back", "left_wrist", "right_wrist"}


def test_a_group_that_does_not_exist_is_told_with_those_that_do():
    with pytest.raises(KeyError, match="aloha has no group 'tail'; it has left_arm, left_gripper"):
        load_robot("aloha").group("tail")


def test_a_robot_can_be_a_key_though_its_xacro_arguments_are_a_mapping():
    assert len({load_robot("aloha"), load_robot("aloha")}) == 1


def test_a_robot_can_be_a_key_and_the_same_one_is_the_same_key():
    assert {load_robot("mobile_bimanual"): 1, load_robot("aloha"): 2}[load_robot("mobile_bimanual")] == 1


def test_of_many_names_those_like_the_wanted_one_come_first():
    names = [*(f"joint_{k}" for k in range(30)), "wrist_roll", "wrist_pitch"]
    text = near_first("wrist_rol", names)
    assert text.startswith("wrist_roll, wrist_pitch, joint_0, joint_1, joint_10") and text.endswith(" more")
    assert near_first("", ["b", "a"]) == "a, b" and near_first("x", []) == ""
