"""The robots that come with the package."""

from pi0_ros.robot import Kind, load_robot


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
