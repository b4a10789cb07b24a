"""How far a robot is from its command, by which share of what is allowed, and whether it moves at all."""

from dataclasses import replace

import numpy as np
import pytest
from story import make_robot, middle

from pi0_ros.control import ExecutorSettings
from pi0_ros.control.tracking import Standstill, Tracking, lags_of

ROBOT = make_robot()
SETTINGS = ExecutorSettings(tracking_error=0.2, tracking_error_m=0.05, tracking_time=0.3, tracking_lag=0.0)


def off(settings=SETTINGS, robot=ROBOT, speeds=None, **errors):
    """What is said while these channels are so far from their commands, and the worst error."""
    tracking, command = Tracking(robot, settings), np.zeros((3, len(robot.channels)))
    command[0] = middle(robot)
    measured = command[0].copy()
    for name, error in errors.items():
        measured[robot.index[name]] -= error
    for name, speed in (speeds or {}).items():
        command[1, robot.index[name]] = speed
    assert tracking.lost(10.0, command, measured.tolist()) == tracking.lost(10.29, command, measured.tolist()) == ""
    return tracking.lost(10.31, command, measured.tolist()), tracking.error


def test_the_channel_that_is_off_by_the_largest_share_of_what_it_may_be_is_told_in_its_unit():
    said, error = off(left_joint2=0.25, lift=-0.08, right_joint1=-0.1)
    assert said == (
        "TRACKING: lift is 0.08 m from its command, more than tracking_error_m 0.05 m beyond a lag of tracking_lag 0 s; "
        "holding where the robot is"
    )
    assert error == pytest.approx(0.25)
    said, _ = off(left_joint2=-0.35, lift=0.08)
    assert said.startswith(
        "TRACKING: left_joint2 is 0.35 rad from its command, more than tracking_error 0.2 rad beyond"
    )


def test_grippers_and_velocities_are_not_tracked():
    said, error = off(left_gripper=0.9, base_vx=0.4)
    assert (said, error) == ("", 0.0)


@pytest.mark.parametrize("speed", [1.5, -1.5])
def test_what_a_group_is_late_for_by_its_nature_is_no_error(speed):
    """0.1 s for every channel and 0.15 s more for the left arm, at 1.5 rad/s."""
    settings = replace(SETTINGS, tracking_lag=0.1)
    groups = tuple(replace(g, command_latency=0.15 if g.name == "left_arm" else 0.0) for g in ROBOT.groups)
    late = replace(ROBOT, groups=groups)
    assert lags_of(late, settings) == pytest.approx([0.25] * 6 + [0.1] * 12)
    for name, lag in (("left_joint2", 0.25), ("right_joint2", 0.1)):
        for excess, told in ((0.19, False), (0.21, True)):
            said, error = off(settings, late, {name: speed}, **{name: np.sign(speed) * (lag * 1.5 + excess)})
            assert bool(said) is told and error == pytest.approx(excess)


TURRET = """
turret:
  kind: velocity
  channels: [pan, tilt]
  joints: [j1, j2]
  command: {topic: turret, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
arm:
  kind: position
  channels: [j3]
  command: {topic: arm, type: joint_state}
  limits: {source: urdf, acceleration: 5.0}
"""


def test_velocities_that_move_joints_add_up_while_nothing_moves(small_robot):
    robot = small_robot(TURRET)
    still = Standstill(robot, ExecutorSettings(frozen_motion=0.1, state_frozen=0.25), 0.02)
    command = np.array([0.2, -0.5, 0.0])  # -0.5 rad/s: 0.01 rad a period
    still.begin(command)
    assert [still.blocked(command, True, True) for _ in range(9)] == [""] * 9
    assert still.blocked(command, True, False) == ""
    said = still.blocked(command, True, True)
    assert said.startswith("TRACKING: a joint was told to move 0.11 and no joint state has changed for 0.25 s")
    assert still.blocked(command, False, True) == ""
    assert [still.blocked(command, True, True) for _ in range(9)] == [""] * 9  # from nought again


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_position_that_was_to_move_furthest_is_named(small_robot, side):
    robot = small_robot(TURRET)
    still = Standstill(robot, ExecutorSettings(frozen_motion=0.1), 0.02)
    still.begin(np.array([0.0, 0.0, 0.3]))
    away = np.array([0.3, 0.0, 0.3 + 0.11 * side])  # 0.006 rad of the turret
    assert still.blocked(away, True, True).startswith("TRACKING: j3 was told to move 0.11 ")
    assert still.blocked(np.array([9.0, 0.0, 0.3]), False, True) == ""
    assert still.blocked(np.array([0.0, 0.0, 0.3 + 0.09 * side]), True, True) == ""


def test_who_drives_next_begins_without_an_error():
    tracking, command = Tracking(ROBOT, SETTINGS), np.zeros((3, len(ROBOT.channels)))
    off = (command[0] + 0.4).tolist()
    tracking.lost(10.0, command, off)
    assert tracking.error == pytest.approx(0.4)
    tracking.restart()
    assert tracking.error == 0.0 and tracking.lost(10.35, command, off) == ""
    tracking.forgive()
    assert tracking.error == pytest.approx(0.4)


def test_a_robot_without_positions_is_never_off_its_commands():
    base = replace(ROBOT, groups=(ROBOT.group("base"),))
    tracking, standing = Tracking(base, SETTINGS), Standstill(base, SETTINGS, 0.02)
    assert tracking.lost(10.0, np.ones((3, 3)), [0.0] * 3) == tracking.lost(19.0, np.ones((3, 3)), [0.0] * 3) == ""
    assert tracking.error == 0.0
    standing.begin(np.zeros(3))
    assert [standing.blocked(np.ones(3), True, True) for _ in range(9)] == [""] * 9


def test_who_is_forgiven_is_off_for_as_long_again_before_it_is_told_again():
    tracking, command = Tracking(ROBOT, SETTINGS), np.zeros((3, len(ROBOT.channels)))
    assert tracking.error == 0.0
    far = (command[0] + 0.4).tolist()
    told = lambda at: tracking.lost(at, command, far) != ""
    assert [told(at) for at in (10.0, 10.29, 10.31, 10.33)] == [False, False, True, True]
    tracking.forgive()
    assert [told(at) for at in (10.35, 10.64, 10.66)] == [False, False, True]


def test_a_way_counts_from_the_last_command_after_which_something_was_measured_to_move():
    standing, at = Standstill(ROBOT, replace(SETTINGS, frozen_motion=0.1), 0.02), np.zeros(len(ROBOT.channels))
    way = lambda far: at + far * np.eye(len(at))[ROBOT.index["left_joint2"]]
    standing.begin(at)
    assert standing.blocked(way(0.3), False, True) == "" and standing.blocked(way(0.35), True, True) == ""
    assert standing.blocked(way(0.41), True, False) == ""  # it never followed: nobody knows what it measures
    assert standing.blocked(way(0.41), True, True).startswith("TRACKING: left_joint2 was told to move 0.11 ")


def test_a_robot_that_was_never_commanded_is_not_told_to_be_blocked():
    standing = Standstill(ROBOT, SETTINGS, 0.02)
    assert standing.blocked(middle(ROBOT), True, True) == ""
