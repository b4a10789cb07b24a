"""What is drawn of a plan is the plan."""

import math

import numpy as np
import pytest

pytest.importorskip("rclpy")

Rotation = pytest.importorskip("scipy.spatial.transform").Rotation

from visualization_msgs.msg import Marker

from pi0_ros.control import Chunk
from pi0_ros.robot import load_robot
from pi0_ros.robot.urdf import read_urdf
from pi0_ros.ros.clock import seconds
from pi0_ros.ros.preview import Preview, base_path


@pytest.fixture(scope="module")
def robot():
    return load_robot("mobile_bimanual")


@pytest.fixture(scope="module")
def plan(robot):
    """Eight rows in which every channel moves."""
    limits = [c.limits for c in robot.channels]
    start = np.array([0.5 * (m.lower + m.upper) for m in limits])
    rows = start + np.linspace(0.0, 0.1, 8)[:, None]
    return Chunk(100.0, 0.1, robot.channel_names, rows, 3, 1)


def test_the_trajectory_names_joints_and_has_the_times_of_the_rows(robot, plan):
    message = Preview(robot).trajectory(plan)
    assert "left_finger_joint" in message.joint_names and "base_vx" not in message.joint_names
    assert seconds(message.header.stamp) == pytest.approx(100.0)
    assert [seconds(p.time_from_start) for p in message.points] == pytest.approx([0.1 * k for k in range(8)])
    column = message.joint_names.index("left_joint2")
    np.testing.assert_allclose(
        [p.positions[column] for p in message.points], plan.values[:, robot.index["left_joint2"]]
    )
    grip = robot.group("left_gripper").gripper
    wanted = grip.closed + plan.values[-1, robot.index["left_gripper"]] * (grip.open - grip.closed)
    assert message.points[-1].positions[message.joint_names.index("left_finger_joint")] == pytest.approx(wanted)


def place_of(urdf, joint, values):
    """Where a URDF joint's child sits in the root frame, by multiplying matrices along the tree."""
    found = {element.get("name"): element for element in urdf.root.findall("joint")}
    above = {element.find("child").get("link"): name for name, element in found.items()}
    place = np.eye(4)
    while joint is not None:
        element = found[joint]
        origin, axis = element.find("origin"), element.find("axis")
        numbers = (
            [[float(w) for w in (origin.get(k) or "0 0 0").split()] for k in ("xyz", "rpy")]
            if origin is not None
            else np.zeros((2, 3))
        )
        here, moved = np.eye(4), np.eye(4)
        here[:3, 3], here[:3, :3] = numbers[0], Rotation.from_euler("xyz", numbers[1]).as_matrix()
        along = np.array([float(w) for w in axis.get("xyz").split()]) if axis is not None else np.array([1.0, 0.0, 0.0])
        if element.get("type") == "prismatic":
            moved[:3, 3] = along * values[joint]
        elif element.get("type") in ("revolute", "continuous"):
            moved[:3, :3] = Rotation.from_rotvec(along * values[joint]).as_matrix()
        place = here @ moved @ place
        joint = above.get(element.find("parent").get("link"))
    return place[:3, 3]


def test_the_paths_are_those_of_the_arms_ends_and_of_the_base(robot, plan):
    preview = Preview(robot)
    clear, *lines = preview.markers(plan, 101.0).markers
    assert clear.action == Marker.DELETEALL
    assert [line.ns for line in lines] == ["left_arm", "right_arm", "base", "lift"]
    assert len({line.id for line in lines}) == len(lines)
    for line in lines:
        assert line.header.frame_id == "base_link" and line.type == Marker.LINE_STRIP and line.color.a > 0.0
    drawn = np.array([(p.x, p.y, p.z) for p in lines[0].points])
    finger = robot.group("left_gripper").gripper
    for row, point in zip(plan.values, drawn, strict=True):
        joints = {name: row[robot.index[name]] for name in robot.channel_names}
        joints[finger.joint] = finger.closed + row[robot.index["left_gripper"]] * (finger.open - finger.closed)
        np.testing.assert_allclose(
            point, place_of(read_urdf(robot.urdf, robot.urdf_args), finger.joint, joints), atol=1e-9
        )
    assert len(drawn) == 8 and np.ptp(drawn, axis=0).max() > 0.01


ARM = """
arm:
  kind: position
  channels: [j1, j2, slide]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 10.0}
"""


def test_an_arm_whose_joints_are_rolled_pitched_and_yawed_is_drawn_where_it_goes(small_robot, tmp_path):
    small_robot(ARM)
    file = tmp_path / "small.urdf"
    text = file.read_text().replace("<axis", '<origin xyz="0.1 -0.2 0.3" rpy="0.4 -0.5 0.9"/><axis')
    for joint, parent in (("j2", "j1_link"), ("slide", "j2_link")):  # one behind the other
        head, tail = text.split(f'<joint name="{joint}"')
        text = f'{head}<joint name="{joint}"' + tail.replace('<parent link="base"/>', f'<parent link="{parent}"/>', 1)
    file.write_text(text)
    robot = load_robot(tmp_path / "small.yaml")
    rows = np.array([[0.0, 0.0, 0.0], [0.5, -0.3, 0.1], [-0.7, 0.9, 0.35]])
    (line,) = Preview(robot).markers(Chunk(5.0, 0.1, robot.channel_names, rows, 1, 1), 5.0).markers[1:]
    wanted = [place_of(read_urdf(file), "slide", dict(zip(robot.channel_names, row, strict=True))) for row in rows]
    np.testing.assert_allclose([(p.x, p.y, p.z) for p in line.points], wanted, atol=1e-9)


def test_without_a_plan_what_was_drawn_is_taken_away(robot):
    (clear,) = Preview(robot).markers(None, 1.0).markers
    assert clear.action == Marker.DELETEALL


def test_a_base_that_turns_as_it_rolls_goes_in_a_circle():
    turns = np.tile([0.5, 0.5 / 0.4], (201, 1))  # half a metre a second on a radius of 0.4 m
    points = base_path(turns, ("vx", "wz"), 2 * math.pi * 0.4 / 0.5 / 200)
    np.testing.assert_allclose(np.linalg.norm(points - (0.0, 0.4, 0.0), axis=1), 0.4, atol=1e-3)
    np.testing.assert_allclose(points[-1], points[0], atol=1e-3)


def test_a_base_that_slides_sideways_does(robot):
    points = base_path(np.tile([0.0, 0.2, 0.0], (6, 1)), ("vx", "vy", "wz"), 0.1)
    np.testing.assert_allclose(points[-1], (0.0, 0.1, 0.0))


def test_another_robot_is_drawn_in_its_own_frame():
    robot = load_robot("aloha")
    rows = np.tile([0.5 * (c.limits.lower + c.limits.upper) for c in robot.channels], (4, 1))
    shown = Preview(robot).markers(Chunk(0.0, 0.02, robot.channel_names, rows, 1, 1), 0.0).markers[1:]
    assert [m.ns for m in shown] == ["left_arm", "right_arm"] and {m.header.frame_id for m in shown} == {"table"}


def test_what_is_drawn_has_the_moment_the_width_and_the_number_of_its_group(robot, plan):
    clear, *lines = Preview(robot).markers(plan, 101.25).markers
    (alone,) = Preview(robot).markers(None, 102.5).markers
    assert seconds(alone.header.stamp) == 102.5 and alone.header.frame_id == "base_link"
    assert clear.header.frame_id == "base_link" and clear.ns == ""
    assert {seconds(marker.header.stamp) for marker in (clear, *lines)} == {101.25}
    groups = [g.name for g in robot.groups]
    for line in lines:
        assert line.id == groups.index(line.ns) and line.action == Marker.ADD and line.scale.x == 0.006
        turn = line.pose.orientation
        assert (turn.x, turn.y, turn.z, turn.w) == (0.0, 0.0, 0.0, 1.0) and line.color.a == pytest.approx(0.9)
    colours = [(line.color.r, line.color.g, line.color.b) for line in lines]
    assert len(set(colours)) == len(lines) == 4


def test_a_base_that_slides_forth_and_aside_and_turns_goes_where_the_exact_motion_does():
    """Of constant velocities in the plane: the integral over the turning frame (Lynch and Park, Modern Robotics, 3.3.3)."""
    vx, vy, wz, period, count = 0.4, -0.3, 1.3, 0.002, 600
    points = base_path(np.tile([wz, vx, vy], (count + 1, 1)), ("wz", "vx", "vy"), period)
    angle = wz * period * np.arange(count + 1)
    wanted = [
        (vx * np.sin(angle) - vy * (1 - np.cos(angle))) / wz,
        (vx * (1 - np.cos(angle)) + vy * np.sin(angle)) / wz,
    ]
    np.testing.assert_allclose(points[:, :2].T, wanted, atol=1e-6)
    assert not points[:, 2].any() and len(points) == count + 1


def test_the_last_velocity_leads_nowhere_and_those_before_count_for_a_period_each():
    rows = np.array([[0.5], [1.0], [7.0]])
    np.testing.assert_allclose(base_path(rows, ("vx",), 0.1)[:, 0], [0.0, 0.05, 0.15])
    turned = base_path(np.array([[0.0, math.pi], [1.0, 0.0], [0.0, 0.0]]), ("vx", "wz"), 0.5)
    np.testing.assert_allclose(turned[-1], (0.0, 0.5, 0.0), atol=1e-12)
