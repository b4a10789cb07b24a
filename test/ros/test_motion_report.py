"""What a robot's leaders say, and what the executor's motion looks like in /diagnostics."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from pi0_ros.ros.black_box_folder import black_box_folder, black_box_problem
from pi0_ros.ros.leaders import Leaders
from pi0_ros.ros.motion_report import MotionReport

GROUPS = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
  teleop: {topic: leader/arm, type: joint_state, max_age: 0.2, joints: [a, b]}
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: finger, closed: 0.0, open: 0.04}
  command: {topic: hand/commands, type: float64_multi_array}
  teleop: {topic: leader/hand, type: joint_state, max_age: 0.2, joints: [c]}
base:
  kind: velocity
  channels: [base_vx, base_wz]
  command: {topic: cmd_vel, type: twist}
  teleop: {topic: leader/base, type: twist, max_age: 0.2}
  limits: {velocity: 0.5, acceleration: 1.0}
other:
  kind: position
  channels: [j3]
  command: {topic: other/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
"""
STATE = """state:
  - {topic: joint_states, type: joint_state, max_age: 0.1}
  - {topic: odom, type: odometry, max_age: 0.2}
"""


def test_every_leader_of_joints_says_its_part_of_the_goal_in_its_own_names(small_robot):
    from builtin_interfaces.msg import Time

    sent = []
    node = SimpleNamespace(
        create_publisher=lambda kind, topic, qos: SimpleNamespace(publish=lambda m: sent.append((topic, kind, m))),
        get_clock=lambda: SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: Time(sec=7))),
    )
    robot = small_robot(GROUPS, STATE)
    goal = {"j1": 0.125, "j2": -0.25, "gripper": 0.75, "base_vx": 0.5, "base_wz": 0.375, "j3": 0.625}
    Leaders(node, robot).lead(np.array([goal[name] for name in robot.channel_names]))
    assert [
        (topic, kind is type(m), list(m.name), list(m.position), m.header.stamp.sec) for topic, kind, m in sent
    ] == [
        ("leader/arm", True, ["a", "b"], [0.125, -0.25], 7),
        ("leader/hand", True, ["c"], [pytest.approx(0.03)], 7),
    ]


def test_the_jerk_since_the_last_look_and_the_lag_of_each_group_are_told(small_robot):
    """All joints follow 140 ms late, which is seven periods."""
    robot, period = small_robot(GROUPS, STATE), 0.02
    report = MotionReport(robot, period)
    count = len(robot.channel_names)
    path = lambda at: 0.3 * np.sin(3.0 * at) * np.arange(1, count + 1) / count
    for k in range(1200):  # six windows of 4 s, of which five say something
        at = 10.0 + period * k
        velocity = 0.9 * np.cos(3.0 * at) * np.arange(1, count + 1) / count
        command = SimpleNamespace(stamp=at, values=path(at), velocities=velocity)
        report.see(SimpleNamespace(command=command, step=SimpleNamespace(measured=path(at - 0.14))))
        if k % 200 == 199:
            values = report.values()
    report.see(SimpleNamespace(command=None, step=SimpleNamespace(measured=path(0.0))))
    report.see(SimpleNamespace(command=command, step=None))
    assert values["arm lag_ms"] == pytest.approx(140.0, abs=5.0)
    assert values["jerk_max"] >= values["jerk_rms"] > 0.0
    assert any("group arm follows its commands 0.14 s later" in sentence for sentence in report.sentences)
    again = report.values()
    assert again["jerk_max"] == again["jerk_rms"] == 0.0 and again["arm lag_ms"] == values["arm lag_ms"]


def test_each_robot_has_a_folder_of_its_own_and_one_that_cannot_be_written_is_told_before_it_is_needed(tmp_path):
    assert black_box_folder(str(tmp_path), "/left/", "aloha") == tmp_path / "left" / "aloha"
    assert black_box_folder("~/boxes", "/", "aloha").parts[-2:] == ("boxes", "aloha")
    assert black_box_folder("~/boxes", "/", "aloha").is_absolute()
    folder = tmp_path / "left" / "aloha"
    assert black_box_problem(folder) == "" and not list(folder.iterdir())
    (tmp_path / "file").write_text("")
    assert f"parameter black_box: {tmp_path}/file/x cannot be written" in black_box_problem(tmp_path / "file" / "x")
