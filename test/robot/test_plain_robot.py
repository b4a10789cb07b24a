"""What counts where a robot YAML says nothing."""

import pytest

from pi0_ros.robot.errors import UserError
from pi0_ros.robot.pictures import PictureOptions
from pi0_ros.robot.spec import Camera, Channel, CommandTopic, GripperMap, Group, Kind, Limits, Origin, Takeover

PLAIN = """
arm:
  kind: position
  channels: [j2, slide]
  command: {topic: arm/commands, type: joint_trajectory}
  limits: {source: urdf, acceleration: 5.0}
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: finger, closed: 0.0, open: 0.04}
  command: {topic: hand/commands, type: float64_multi_array}
base:
  kind: velocity
  channels: [base_vx]
  command: {topic: cmd_vel, type: twist_stamped}
  limits: {velocity: 0.5, acceleration: 1.0}
"""


def test_a_plain_robot_is_commanded_at_fifty_hertz_measured_as_it_reports_and_nobody_takes_it_over(small_robot):
    robot = small_robot(PLAIN)
    assert robot.control_rate == 50.0
    assert robot.takeover == Takeover("", 0, 0.0) and robot.warnings == () and dict(robot.urdf_args) == {}
    (source,) = robot.state
    assert (source.prefix, source.joints, source.scale, source.offset, source.measures, source.twist) == (
        "", (), (), (), (), "",
    )  # fmt: skip


def test_a_plain_camera_is_needed_and_its_pictures_are_taken_as_they_come(small_robot):
    (camera,) = small_robot(PLAIN).cameras
    assert camera.required and camera.max_age == 0.3
    assert camera.options == PictureOptions("", 16, 0, "", None) and not camera.options.moves_pixels


def test_a_plain_group_is_measured_not_late_not_led_and_told_by_its_channels_names(small_robot):
    robot = small_robot(PLAIN)
    for group in robot.groups:
        assert (group.measured, group.command_latency, group.teleop) == (True, 0.0, None)
        command = group.command
        assert (command.stamped, command.order, command.range, command.followers) == (False, (), None, ())
    assert robot.group("arm").command.joints == ("j2", "slide")
    assert [c.unit for c in robot.channels] == ["rad", "m", "", "m/s"]
    assert not any(c.continuous for c in robot.channels)
    grip = robot.group("hand").gripper
    assert (grip.joint, grip.closed, grip.open, grip.measured) == ("finger", 0.0, 0.04, True)
    assert robot.group("arm").gripper is None


def test_the_speed_of_a_plain_gripper_is_its_joints_over_its_stroke(small_robot):
    """0.2 m/s over 0.04 m: five strokes a second."""
    assert small_robot(PLAIN).group("hand").channels[0].limits.velocity == pytest.approx(5.0)


def test_an_error_of_a_user_is_its_first_text_whatever_else_it_carries():
    assert str(UserError("the file is gone", "another", 3)) == "the file is gone" and str(UserError()) == ""


def test_a_position_group_has_no_joint_of_a_gripper(small_robot):
    with pytest.raises(UserError, match="only a group of kind gripper has a joint"):
        small_robot(
            PLAIN.replace("channels: [j2, slide]", "channels: [j2, slide]\n  joint: {name: finger, closed: 0, open: 1}")
        )


def test_what_is_made_without_more_is_measured():
    assert GripperMap("finger", 0.0, 0.04).measured
    assert Group("g", Kind.GRIPPER, (), CommandTopic("t", "joint_state", ())).measured
    assert Camera("eye", "eye/image", "image", 0.3).required


def test_a_channel_of_which_nothing_more_is_said_moves_no_joint_and_turns_no_further_than_it_may():
    channel = Channel("j", Kind.POSITION, "g", "rad", Limits(-1.0, 1.0, 1.0, 1.0, 1.0))
    assert (channel.continuous, channel.axis, channel.joint, channel.reach) == (False, None, "", (-1e6, 1e6))
    assert channel.origin == Origin("", "", 0.0, "")
    command = CommandTopic("t", "joint_trajectory", ("j",))
    assert (command.frame, command.stamped, command.order, command.range, command.followers) == (
        "",
        False,
        (),
        None,
        (),
    )


@pytest.mark.parametrize(
    ("options", "moved"),
    [
        (PictureOptions(), False),
        (PictureOptions(encoding="bgr8", bits=12), False),
        (PictureOptions(rotate=90), True),
        (PictureOptions(flip="both"), True),
        (PictureOptions(crop=(0, 0, 4, 4)), True),
    ],
)
def test_a_picture_is_another_one_where_it_is_turned_mirrored_or_cut(options, moved):
    assert options.moves_pixels is moved
