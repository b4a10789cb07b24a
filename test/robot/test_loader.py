"""A robot is a YAML and a URDF; whatever is wrong with them is said with file, line and key."""

from pathlib import Path

import pytest

from pi0_ros.robot import Kind, RobotError, load_robot

URDF = """<robot name="r"><link name="a"/><link name="b"/><link name="c"/><link name="f"/>
<joint name="j1" type="revolute"><parent link="a"/><child link="b"/>
  <limit lower="-1" upper="2" velocity="3" effort="1"/></joint>
<joint name="j2" type="prismatic"><parent link="b"/><child link="c"/>
  <limit lower="0" upper="0.4" velocity="0.1" effort="1"/></joint>
<joint name="finger" type="prismatic"><parent link="c"/><child link="f"/>
  <limit lower="0" upper="0.04" velocity="0.2" effort="1"/></joint>
</robot>"""

GOOD = """robot: small
urdf: small.urdf
cameras:
  front: {topic: front/image_raw, type: image, max_age: 0.25}
state:
  - {topic: joint_states, type: joint_state, max_age: 0.1}
groups:
  arm:
    kind: position
    channels: [j1, j2]
    command: {topic: arm/commands, type: float64_multi_array}
    limits: {source: urdf, acceleration: [10.0, 1.0], jerk: 100.0, margin: 0.05}
  hand:
    kind: gripper
    channels: [hand]
    joint: {name: finger, closed: 0.0, open: 0.04}
    command: {topic: hand/commands, type: float64_multi_array}
  base:
    kind: velocity
    channels: [vx, wz]
    command: {topic: cmd_vel, type: twist}
    limits: {velocity: [0.5, 1.0], acceleration: 1.0}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.urdf").write_text(URDF)
    return tmp_path


def load(folder: Path, text: str):
    (folder / "small.yaml").write_text(text)
    return load_robot(folder / "small.yaml")


def test_channels_come_in_the_order_of_the_file(folder):
    robot = load(folder, GOOD)
    assert robot.channel_names == ("j1", "j2", "hand", "vx", "wz")
    assert [c.unit for c in robot.channels] == ["rad", "m", "", "m/s", "rad/s"]
    assert robot.group("hand").kind is Kind.GRIPPER


def test_position_limits_are_the_urdfs_less_the_margin(folder):
    limits = load(folder, GOOD).channels[0].limits
    assert (limits.lower, limits.upper, limits.velocity) == (-0.95, 1.95, 3.0)
    assert (limits.acceleration, limits.jerk) == (10.0, 100.0)


def test_gripper_speed_is_the_joints_speed_over_its_stroke(folder):
    assert load(folder, GOOD).channels[2].limits.velocity == pytest.approx(5.0)


def test_velocity_limits_bound_both_directions(folder):
    limits = load(folder, GOOD).channels[3].limits
    assert (limits.lower, limits.upper) == (-0.5, 0.5)


def test_joints_that_measure_a_channel_are_known_by_name(folder):
    assert load(folder, GOOD).joint_of_channel == {"j1": "j1", "j2": "j2", "hand": "finger"}


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("max_age: 0.25", "maxage: 0.25", 4, "cameras.front.maxage: unknown key; known here are topic, type, max_age"),
        ("type: image,", "type: picture,", 4, "must be one of image, compressed_image, not 'picture'"),
        ("max_age: 0.1}", "max_age: -1}", 6, "must be above 0"),
        ("max_age: 0.1}", "max_age: .nan}", 6, "must be a number"),
        ("urdf: small.urdf", "urdf: none.urdf", 2, "there is no file"),
        ("channels: [j1, j2]", "channels: [j1, j9]", 10, "j9 is not a movable joint of the URDF, which has finger, j1"),
        ("channels: [j1, j2]", "channels: [j1, j1]", 10, "j1 is named twice"),
        ("acceleration: [10.0, 1.0], ", "", 12, "key acceleration is missing"),
        ("[10.0, 1.0]", "[10.0]", 12, "needs 2 numbers"),
        ("margin: 0.05", "margin: 0.3", 12, "nothing is left of 0 .. 0.4"),
        (GOOD.splitlines()[11] + "\n", "", 9, "key limits is missing"),
        ("topic: hand/commands", "topic: arm/commands", 14, "command topic arm/commands is already owned by group arm"),
        ("channels: [hand]", "channels: [j1]", 14, "channel j1 is already in group arm"),
        ("channels: [vx, wz]", "channels: [vx, spin]", 20, "channels of a twist end in vx, vy or wz; spin does not"),
        ("closed: 0.0, open: 0.04", "closed: 0.04, open: 0.04", 16, "closed and open are the same value"),
        ("robot: small\n", "robot: small\nrobot: other\n", 2, "given twice, first in line 1"),
        ("type: joint_state,", "type: odometry,", 6, "needs at least one source of type joint_state"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(folder, old, new, line, words):
    assert old in GOOD
    with pytest.raises(RobotError) as problem:
        load(folder, GOOD.replace(old, new, 1))
    message = str(problem.value)
    assert message.startswith(f"{folder / 'small.yaml'}:{line}: ")
    assert words in message


def test_text_that_is_not_yaml_is_refused_with_its_line(folder):
    with pytest.raises(RobotError, match=r"small\.yaml:\d+: is not YAML"):
        load(folder, "robot: [unclosed\nurdf: x\n")


def test_an_unknown_robot_lists_the_robots_there_are():
    with pytest.raises(RobotError, match="no such robot; .* aloha"):
        load_robot("nobody")


def test_a_group_without_jerk_reaches_its_acceleration_in_a_tenth_of_a_second(folder):
    channels = load(folder, GOOD.replace(", jerk: 100.0", "")).channels
    assert [c.limits.jerk for c in channels[:2]] == [100.0, 10.0]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        # joints that are none, or not one's own
        ("channels: [j1, j2]", "channels: [joint_1, j2]", 10, "arm.channels[0]: joint_1 is not a movable joint of the URDF"),
        ("channels: [j1, j2]", "channels: [fingr, j2]", 10, "which has finger, "),
        ("channels: [j1, j2]", "channels: [j1, mount]", 10, "mount is a fixed joint of the URDF, which cannot be commanded"),
        ("channels: [j1, j2]", "channels: [j1, other_finger]", 10, "other_finger mimics finger in the URDF; command finger"),
        ("{name: finger,", "{name: other_finger,", 16, "hand.joint.name: other_finger mimics finger in the URDF; command finger alone"),
        ("{name: finger,", "{name: fngr,", 14, "joint fngr is not in the URDF; name it right or give limits.velocity"),
        ("{name: finger,", "{name: j2,", 16, "groups.hand.joint: joint j2 is already measured by channel j2 of group arm"),
        # topics that ROS would refuse, or that would feed the robot its own commands
        ("front/image_raw", "front-cam/image_raw", 4, "cameras.front.topic: 'front-cam/image_raw' is not a topic name"),
        ("topic: joint_states", "topic: 2nd/joint_states", 6, "state[0].topic: '2nd/joint_states' is not a topic name"),
        ("topic: cmd_vel", "topic: base//cmd_vel", 21, "groups.base.command.topic: 'base//cmd_vel' is not a topic name"),
        ("topic: cmd_vel", "topic: /arm/commands", 19, "command topic /arm/commands is already owned by group arm"),
        ("topic: cmd_vel", "topic: /joint_states", 21, "also read as measured state"),
        ("topic: cmd_vel", "topic: front/image_raw", 21, "also read as pictures of camera front"),
        # files
        ("urdf: small.urdf", "urdf:", 2, "urdf: has no value"),
        ("urdf: small.urdf", "urdf: .", 2, "urdf: there is no file"),
        ("urdf: small.urdf", "urdf: " + "x" * 300, 2, "urdf: there is no file"),
        ("urdf: small.urdf", "urdf: package://nobody_has_this/a.urdf", 2, "package nobody_has_this is not in AMENT_PREFIX_PATH"),
        ("control_rate: 50.0", "control_rate: " + "9" * 400, 3, "control_rate: must be a number"),
    ],
)  # fmt: skip
def test_what_bring_up_would_refuse_is_refused_when_it_is_read(folder, old, new, line, words):
    more = """<link name="m"/><link name="o"/>
<joint name="mount" type="fixed"><parent link="a"/><child link="m"/></joint>
<joint name="other_finger" type="prismatic"><parent link="c"/><child link="o"/><mimic joint="finger"/></joint></robot>"""
    (folder / "small.urdf").write_text(URDF.replace("</robot>", more))
    text = (
        GOOD.replace("urdf: small.urdf\n", "urdf: small.urdf\ncontrol_rate: 50.0\n") if "control_rate" in old else GOOD
    )
    assert old in text
    with pytest.raises(RobotError) as problem:
        load(folder, text.replace(old, new, 1))
    message = str(problem.value)
    assert message.startswith(f"{folder / 'small.yaml'}:{line}: ")
    assert words in message and message.count("small.yaml") == 1


def test_a_xacro_that_only_defines_macros_is_told(folder):
    macros = (
        '<robot name="r" xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:macro name="arm"><a/></xacro:macro></robot>'
    )
    (folder / "small.urdf.xacro").write_text(macros)
    with pytest.raises(RobotError, match=r"small\.yaml:10: .* which has no joints; does it only define macros\?"):
        load(folder, GOOD.replace("small.urdf\n", "small.urdf.xacro\n"))


def test_a_base_needs_no_joints(folder):
    (folder / "small.urdf").write_text('<robot name="r"><link name="base_link"/></robot>')
    head, groups = GOOD.split("groups:\n")
    assert load(folder, head + "groups:\n" + groups[groups.index("  base:") :]).channel_names == ("vx", "wz")


def test_arguments_reach_the_xacro_as_they_are_written(folder):
    xacro = URDF.replace('<robot name="r">', '<robot name="r" xmlns:xacro="http://www.ros.org/wiki/xacro">')
    xacro = xacro.replace('upper="2"', 'upper="$(arg reach)"').replace('velocity="3"', 'velocity="$(arg fast)"')
    (folder / "small.urdf.xacro").write_text(xacro)
    text = GOOD.replace("small.urdf\n", "small.urdf.xacro\nurdf_args: {reach: 1.50, fast: 2e0}\n")
    robot = load(folder, text)
    assert (robot.channels[0].limits.upper, robot.channels[0].limits.velocity) == (1.45, 2.0)
    assert robot.urdf_args == {"reach": "1.50", "fast": "2e0"}


def test_arguments_for_a_file_that_takes_none_are_refused(folder):
    with pytest.raises(RobotError, match="urdf_args are for xacro files"):
        load(folder, GOOD.replace("small.urdf\n", "small.urdf\nurdf_args: {reach: 1.5}\n"))
