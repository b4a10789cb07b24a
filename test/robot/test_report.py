"""The table of a robot: what a user compares with the vendor's page."""

import json
import re
from dataclasses import replace

import pytest

from pi0_ros.cli import main
from pi0_ros.robot import load_robot
from pi0_ros.robot.report import channel_rows, report, report_lines, table

GROUPS = """
arm:
  kind: position
  channels: [j1, wrist, slide]
  command: {topic: arm/commands, type: joint_trajectory}
  limits: {source: urdf, position: {j1: [-1.0, 3.0]}, acceleration: 5.0, margin: 0.1}
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: finger, closed: 0.0, open: 0.04}
  command: {topic: hand/commands, type: float64_multi_array}
base:
  kind: velocity
  channels: [vx, wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: [0.5, 1.0], acceleration: 1.0}
"""
STATE = """state:
  - {topic: joint_states, type: joint_state, max_age: 0.1}
  - {topic: odom, type: odometry, max_age: 0.3}
"""


@pytest.fixture
def robot(small_robot):
    return small_robot(GROUPS, state=STATE)


def test_every_channel_has_its_limits_units_origins_sources_and_watchdog(robot):
    rows = {row.channel: row for row in channel_rows(robot)}
    j1, wrist, slide, vx = rows["j1"], rows["wrist"], rows["slide"], rows["vx"]
    assert (j1.lower, j1.upper, j1.unit) == (-0.9, 1.9, "rad")
    assert (j1.position_from, j1.margin, j1.velocity_from) == ("small.urdf, small.yaml:13", 0.1, "small.urdf")
    assert (wrist.lower, wrist.upper, wrist.position_from, wrist.margin) == (None, None, "continuous", 0.0)
    assert (slide.unit, slide.velocity, slide.acceleration, slide.jerk) == ("m", 0.3, 5.0, 50.0)
    assert (j1.measured_on, j1.max_age, vx.measured_on, vx.max_age) == (("joint_states",), 0.1, ("odom",), 0.3)
    assert (rows["gripper"].joint, rows["gripper"].velocity) == ("finger", 5.0)


def test_the_lines_say_degrees_too_and_what_is_no_error(robot):
    text = "\n".join(report_lines(robot))
    assert "-0.9 .. 1.9 rad  -51.6 .. 108.9" in text
    assert "turns for ever" in text
    assert "commands on arm/commands (trajectory_msgs/msg/JointTrajectory)" in text
    assert "front/image_raw" in text
    assert "warning  " in text and "-1 .. 3 is wider than the URDF's -2 .. 2 rad" in text


def test_the_report_is_plain_json_with_the_same_numbers(robot):
    found = json.loads(json.dumps(report(robot)))
    assert [c["channel"] for c in found["channels"]] == ["j1", "wrist", "slide", "gripper", "vx", "wz"]
    assert found["channels"][0]["upper"] == 1.9
    assert found["groups"][0]["command"] == {
        "topic": "arm/commands",
        "type": "trajectory_msgs/msg/JointTrajectory",
        "joints": ["j1", "wrist", "slide"],
    }
    assert len(found["warnings"]) == 1


def test_a_velocity_that_moves_a_joint_shows_where_the_joint_is_kept(small_robot):
    arm = GROUPS[: GROUPS.index("hand:")].replace("kind: position", "kind: velocity")
    arm = arm.replace("joint_trajectory", "joint_state").replace(
        "[j1, wrist, slide]", "[a, b, c]\n  joints: [j1, wrist, slide]"
    )
    rows = channel_rows(small_robot(arm, state=STATE))
    assert [(r.joint, r.lower, r.upper) for r in rows] == [
        ("j1", -0.9, 1.9),
        ("wrist", None, None),
        ("slide", 0.1, pytest.approx(0.3)),
    ]
    assert [(r.unit, r.velocity) for r in rows] == [("rad/s", 2.5), ("rad/s", 2.5), ("m/s", 0.3)]
    assert [(r.position_from, r.velocity_from) for r in rows] == [
        ("small.urdf, small.yaml:14", "small.urdf"), ("continuous", "small.urdf"), ("small.urdf", "small.urdf"),
    ]  # fmt: skip


def test_a_source_with_a_prefix_measures_the_joints_that_have_it():
    rows = {row.channel: row for row in channel_rows(load_robot("aloha"))}
    assert rows["left_waist"].measured_on == ("follower_left/joint_states",)
    assert rows["right_gripper"].measured_on == ("follower_right/joint_states",)


def test_the_command_prints_the_robot_alone_and_exits_with_0(robot, capsys):
    assert main(["check", "--robot", str(robot.file)]) == 0
    assert "small.yaml can be brought up" in capsys.readouterr().out
    assert main(["check", "--robot", str(robot.file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["robot"] == "small"


def test_the_command_exits_with_1_and_one_line_for_a_robot_that_cannot_be_brought_up(robot, capsys):
    robot.file.write_text(robot.file.read_text().replace("[j1, wrist", "[j9, wrist"))
    assert main(["check", "--robot", str(robot.file)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"pi0: {robot.file}:") and "j9 is not a movable joint" in err and err.count("\n") == 1


def test_the_units_of_speeds_and_ranges_are_those_of_the_kind_and_unmeasured_channels_say_nobody(small_robot):
    groups = GROUPS.replace("open: 0.04}", "open: 0.04, measured: false}")
    robot = small_robot(groups, state=STATE)
    lines = {line.split()[0]: line for line in report_lines(robot) if line.startswith("  ")}
    assert "2.5 rad/s" in lines["j1"] and "0.3 m/s" in lines["slide"] and "5 strokes/s" in lines["gripper"]
    assert "0 .. 0.04" in lines["gripper"] and "0.5 m/s" in lines["vx"] and "1 rad/s" in lines["wz"]
    assert lines["j1"].split()[-3:] == ["joint_states", "0.1", "s"] and lines["vx"].split()[-3:] == ["odom", "0.3", "s"]
    assert lines["gripper"].split()[-2:] == ["nobody", "-"]
    assert "-51.6 .. 108.9" in lines["j1"] and "0.1 .. 0.3 m" in lines["slide"]
    rows = {row.channel: row for row in channel_rows(robot)}
    assert rows["gripper"].measured_on == () and rows["gripper"].max_age is None


def test_a_joint_of_two_sources_is_watched_by_the_slower_one_and_odometry_by_its_own(small_robot):
    state = """state:
  - {topic: slow, type: joint_state, max_age: 0.7}
  - {topic: fast, type: joint_state, max_age: 0.1}
  - {topic: left, type: joint_state, max_age: 0.9, prefix: left_}
  - {topic: named, type: joint_state, max_age: 0.4, joints: {a: slide}}
  - {topic: odom, type: odometry, max_age: 0.3}
"""
    rows = {row.channel: row for row in channel_rows(small_robot(GROUPS, state=state))}
    assert (rows["j1"].measured_on, rows["j1"].max_age) == (("slow", "fast", "named"), 0.7)
    assert (rows["slide"].measured_on, rows["slide"].max_age) == (("named",), 0.4)
    assert (rows["wz"].measured_on, rows["wz"].max_age) == (("odom",), 0.3)


def test_cameras_and_prefixes_are_listed_where_there_are_some(robot):
    lines = report_lines(robot)
    assert "cameras" in lines and "cameras  none" not in lines
    assert "cameras  none" in report_lines(replace(robot, cameras=()))
    sources = [line.split() for line in report_lines(load_robot("aloha")) if " prefix " in line]
    assert [(words[0], words[-2:]) for words in sources] == [
        ("follower_left/joint_states", ["prefix", "left_"]), ("follower_right/joint_states", ["prefix", "right_"]),
    ]  # fmt: skip
    assert not any(" prefix " in line for line in lines)


def cells(robot):
    """The cells of each line by its first one; cells are two spaces apart at least."""
    lines = [re.split("  +", line.strip()) for line in report_lines(robot) if line.startswith("  ")]
    return {line[0]: line[1:] for line in lines}


def test_the_velocity_of_a_base_has_no_range_and_that_of_a_joint_shows_the_joints(small_robot, robot):
    assert cells(robot)["vx"][:3] == ["-", "-", "-"] and cells(robot)["j1"][:2] == ["j1", "-0.9 .. 1.9 rad"]
    pan = """
        turret: {kind: velocity, channels: [pan], joints: [j1], command: {topic: turret, type: float64_multi_array},
                 limits: {source: urdf, position: {j1: [-1.0, 1.5]}, acceleration: 5.0}}
        """
    assert cells(small_robot(pan))["pan"][:3] == ["j1", "-1 .. 1.5 rad", "-57.3 .. 85.9"]


@pytest.mark.parametrize("ends", ["-1e7, 3.0", "-3.0, 1e7", "-1e7, 1e7"])
def test_a_joint_that_goes_on_for_ever_to_one_side_has_no_range_in_numbers(small_robot, ends):
    arm = f"""
        arm: {{kind: position, channels: [wrist], command: {{topic: arm, type: joint_trajectory}},
              limits: {{source: urdf, position: {{wrist: [{ends}]}}, acceleration: 5.0, override: true}}}}
        """
    assert cells(small_robot(arm))["wrist"][:3] == ["wrist", "turns for ever", "-"]


def test_a_camera_that_a_policy_needs_is_told_from_one_that_may_be_missing(robot):
    (camera,) = robot.cameras
    both = (replace(camera, name="left", required=True), replace(camera, name="right", required=False))
    found = cells(replace(robot, cameras=both))
    assert (found["left"][-1], found["right"][-1]) == ("required", "may be missing")


def test_the_columns_of_a_table_begin_below_one_another():
    assert table([("a", "bbb", "c"), ("dddd", "e", "ff")]) == ["  a     bbb  c", "  dddd  e    ff"]
    assert table([]) == []


def test_every_channel_has_one_line_of_all_that_was_found(small_robot):
    turret = """
turret:
  kind: velocity
  channels: [pan, lift]
  joints: [j2, finger_r]
  command: {topic: turret, type: float64_multi_array}
  limits: {source: urdf, position: {j2: [-1.0, 1.5]}, acceleration: [4.0, 3.0], jerk: 7.0, margin: {pan: 0.25, lift: 0}}
"""
    robot = small_robot(GROUPS + turret, state=STATE, mimics={})
    state = ["joint_states", "0.1 s"]
    assert {name: line for name, line in cells(robot).items() if name in robot.index} == {
        "j1": ["j1", "-0.9 .. 1.9 rad", "-51.6 .. 108.9", "urdf, small.yaml:13, margin 0.1", "2.5 rad/s", "urdf", "5", "50", *state],
        "wrist": ["wrist", "turns for ever", "-", "continuous", "2.5 rad/s", "urdf", "5", "50", *state],
        "slide": ["slide", "0.1 .. 0.3 m", "-", "urdf, margin 0.1", "0.3 m/s", "urdf", "5", "50", *state],
        "gripper": ["finger", "0 .. 0.04", "-", "closed .. open", "5 strokes/s", "urdf", "50", "500", *state],
        "vx": ["-", "-", "-", "-", "0.5 m/s", "small.yaml:23", "1", "10", "odom", "0.3 s"],
        "wz": ["-", "-", "-", "-", "1 rad/s", "small.yaml:23", "1", "10", "odom", "0.3 s"],
        "pan": ["j2", "-0.75 .. 1.25 rad", "-43.0 .. 71.6", "small.yaml:30, margin 0.25", "2 rad/s", "urdf", "4", "7", *state],
        "lift": ["finger_r", "0 .. 0.08 m", "-", "urdf", "0.2 m/s", "urdf", "3", "7", *state],
    }  # fmt: skip
    names = [line.split("  ")[1].strip() for line in report_lines(robot) if line.startswith("  ")]
    order = [name for name in names if name in robot.index]
    assert order == list(robot.channel_names) and names.count("channel") == 4


def test_topics_cameras_and_warnings_are_in_the_report_as_they_are_in_the_robot(small_robot):
    led = GROUPS.replace(
        "type: float64_multi_array}",
        "type: float64_multi_array}\n  teleop: {topic: glove, type: joint_state, max_age: 0.2}",
    )
    robot = replace(small_robot(led, state=STATE), urdf_args={"reach": "1.50", "fast": "no"})
    found = report(robot)
    names = ("robot", "file", "urdf", "urdf_args", "control_rate")
    assert [found[name] for name in names] == [
        "small",
        str(robot.file),
        str(robot.urdf),
        {"reach": "1.50", "fast": "no"},
        50.0,
    ]
    joint_state = {"topic": "joint_states", "type": "sensor_msgs/msg/JointState", "max_age": 0.1}
    assert found["state"] == [joint_state, {"topic": "odom", "type": "nav_msgs/msg/Odometry", "max_age": 0.3}]
    camera = {"camera": "front", "topic": "front/image_raw", "type": "sensor_msgs/msg/Image", "max_age": 0.3}
    assert found["cameras"] == [camera | {"required": True}]
    arm, hand, base = found["groups"]
    assert arm["command"]["joints"] == ["j1", "wrist", "slide"] and arm["teleop"] is None
    assert hand["teleop"] == {"topic": "glove", "type": "sensor_msgs/msg/JointState", "max_age": 0.2}
    assert (base["group"], base["kind"], base["command"]["topic"]) == ("base", "velocity", "cmd_vel")
    assert len(found["warnings"]) == 1 and found["warnings"] == list(robot.warnings)
    lines = report_lines(robot)
    assert lines[0].endswith(", 6 channels at 50 Hz") and lines[1].endswith("small.urdf reach:=1.50 fast:=no")
    (line,) = (line for line in lines if line.startswith("group    hand"))
    assert "person on glove (sensor_msgs/msg/JointState)" in line
    assert not any("person" in line for line in lines if line.startswith("group    arm"))


def test_what_nobody_measures_is_watched_by_nobody(small_robot):
    base = GROUPS.replace("kind: velocity", "kind: velocity\n  measured: false")
    rows = {row.channel: row for row in channel_rows(small_robot(base, state=STATE))}
    assert (rows["vx"].measured_on, rows["vx"].max_age) == ((), None)
    assert (rows["gripper"].measured_on, rows["j1"].measured_on) == (("joint_states",), ("joint_states",))
