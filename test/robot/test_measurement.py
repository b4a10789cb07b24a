"""From what drivers report to a robot's channels: names, units, turns, and what is no measurement."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi0_ros.robot import StateSource, load_robot
from pi0_ros.robot.measurement import (
    Reading,
    SourceMap,
    axis_of,
    base_velocity,
    joint_value,
    nearest_turn,
    observable,
    readings_of,
    unit_guess,
    unwrap_rows,
)
from pi0_ros.robot.spec import Axis

ANGLE = st.floats(-50.0, 50.0)


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("vx", Axis.VX),
        ("base_vy", Axis.VY),
        ("base.wz", Axis.WZ),
        ("left/vx", Axis.VX),
        ("base-wz", Axis.WZ),
        ("basevx", None),
        ("theta.vel", None),
        ("vx_limit", None),
    ],
)
def test_a_base_velocity_is_known_by_the_last_word_of_its_name(name, axis):
    assert axis_of(name) is axis


@given(ANGLE, ANGLE)
def test_an_angle_is_put_on_the_turn_nearest_to_a_reference(angle, reference):
    near = nearest_turn(angle, reference)
    assert abs(near - reference) <= math.pi + 1e-9
    assert math.cos(near) == pytest.approx(math.cos(angle)) and math.sin(near) == pytest.approx(
        math.sin(angle), abs=1e-9
    )


def test_an_angle_near_its_reference_stays_as_it_is():
    assert nearest_turn(3.13, 3.14) == 3.13
    assert nearest_turn(-3.13, 3.14) == pytest.approx(2.0 * math.pi - 3.13)
    assert math.isnan(nearest_turn(math.nan, 0.0)) and nearest_turn(1.0, math.nan) == 1.0


def test_a_plan_over_pi_goes_on_where_it_said_minus_pi_and_other_channels_are_left_alone():
    turning = np.array([3.0, 3.1, -3.1, -3.0])
    rows = np.stack([turning, turning, np.array([1.0, 2.0, 9.0, 2.0])], axis=1)
    found = unwrap_rows(rows, np.array([2.9 + 4.0 * math.pi, 2.9, 0.0]), np.array([True, False, False]))
    np.testing.assert_allclose(found[:, 0], np.unwrap(turning) + 4.0 * math.pi)
    np.testing.assert_array_equal(found[:, 1:], rows[:, 1:])
    np.testing.assert_array_equal(unwrap_rows(rows, rows[0] + 9.0, np.zeros(3, bool)), rows)


def test_a_row_that_is_no_number_is_left_and_puts_those_after_it_on_no_other_turn():
    rows = np.array([[3.0], [-3.1], [np.nan], [3.1], [np.inf], [-3.0]])
    expected = rows + 2.0 * np.pi * np.array([[0.0], [1.0], [1.0], [1.0], [1.0], [1.0]])
    np.testing.assert_allclose(unwrap_rows(rows, np.array([2.9]), np.array([True])), expected)
    np.testing.assert_array_equal(unwrap_rows(rows[:1], np.array([np.nan]), np.array([True])), rows[:1])


def test_many_plans_are_put_on_their_turns_each_beside_its_own_reference():
    rows = np.array([[[3.0, 1.0], [-3.0, 9.0]], [[0.5, 2.0], [0.6, 8.0]]])
    found = unwrap_rows(rows, np.array([[-3.0, 5.0], [13.0, 5.0]]), np.array([True, False]))
    turns = np.array([[[-1.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [2.0, 0.0]]])
    np.testing.assert_allclose(found, rows + 2.0 * np.pi * turns)


def test_a_twist_in_the_worlds_frame_is_turned_into_the_bases():
    quarter = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))  # facing +y
    assert base_velocity((0.0, 0.3, 0.0), (0.0, 0.0, 0.2), *quarter) == pytest.approx((0.3, 0.0, 0.2))
    assert base_velocity((0.5, 0.0, 0.0), (0.0, 0.0, 0.0), *quarter) == pytest.approx((0.0, -0.5, 0.0))


@given(st.floats(-3.0, 3.0), st.floats(0.1, 2.0))
def test_a_base_that_drives_ahead_says_so_wherever_it_faces_and_however_long_its_quaternion_is(yaw, length):
    z, w = length * math.sin(yaw / 2.0), length * math.cos(yaw / 2.0)
    found = base_velocity((0.4 * math.cos(yaw), 0.4 * math.sin(yaw), 0.0), (0.0, 0.0, -0.7), 0.0, 0.0, z, w)
    assert found == pytest.approx((0.4, 0.0, -0.7), abs=1e-9)


def source(**other):
    return StateSource("joint_states", "joint_state", 0.1, **other)


def test_a_source_says_joints_in_the_robots_names_and_units():
    mapped = SourceMap(
        source(
            prefix="left_",
            joints=(("fr3_joint1", "joint1"),),
            scale=(("", math.radians(1.0)), ("joint1", 0.5)),
            offset=(("joint1", -1.0),),
        )
    )
    found = mapped.positions({"waist": 90.0, "fr3_joint1": 4.0})
    assert found == pytest.approx({"left_waist": math.pi / 2.0, "joint1": 1.0})
    assert mapped.rates({"waist": 180.0, "fr3_joint1": 4.0}) == pytest.approx({"left_waist": math.pi, "joint1": 2.0})
    assert (mapped.reported("left_waist"), mapped.reported("joint1")) == ("waist", "fr3_joint1")
    assert mapped.reported_value("left_waist", math.pi / 2.0, math.pi) == pytest.approx((90.0, 180.0))
    assert mapped.reported_value("joint1", 1.0, 2.0) == pytest.approx((4.0, 4.0))


def test_two_names_that_are_exchanged_are_exchanged_once():
    mapped = SourceMap(source(joints=(("j1", "j2"), ("j2", "j1"))))
    assert mapped.positions({"j1": 0.1, "j2": 0.2, "j3": 0.3}) == {"j2": 0.1, "j1": 0.2, "j3": 0.3}


def test_a_gripper_is_read_as_the_share_of_its_stroke_and_written_back():
    robot = load_robot("aloha")
    group = robot.group("left_gripper")
    reading = readings_of(robot)[robot.index["left_gripper"]]
    assert reading.joint == "left_left_finger"
    assert [reading.value(v) for v in (0.01844, 0.05800, 0.02833)] == pytest.approx([0.0, 1.0, 0.25])
    assert joint_value(group, 0.25) == pytest.approx(0.02833)
    assert joint_value(robot.group("left_arm"), -0.7) == -0.7


def test_base_velocities_are_read_from_odometry_and_positions_from_joints_of_the_same_name():
    robot = load_robot("mobile_bimanual")
    found = readings_of(robot)
    assert [r.name for r in found] == list(robot.channel_names)
    assert [r.axis for r in found if r.axis] == [Axis.VX, Axis.VY, Axis.WZ]
    assert found[robot.index["lift"]].joint == "lift"


@pytest.mark.parametrize(
    ("value", "bounds", "unit", "words"),
    [
        (15.6, (-2.0, 2.0), "rad", "degrees? Then give scale: 0.0174533"),
        (350.0, (0.0, 0.4), "m", "millimetres? Then give scale: 0.001"),
        (2048.0, (-2.0, 2.0), "rad", "ticks"),
        (2.5, (1.0, 1.4), "m", ""),
        (-500.25, (-2.0, 2.0), "rad", ""),
    ],
)
def test_a_value_in_another_unit_is_guessed(value, bounds, unit, words):
    assert unit_guess(value, *bounds, unit).startswith(words)
    assert bool(unit_guess(value, *bounds, unit)) == bool(words)


def test_what_is_believed_of_a_reading_lies_between_its_limits_and_a_gripper_may_be_a_stroke_off():
    robot = load_robot("mobile_bimanual")
    found = dict(zip(robot.channel_names, readings_of(robot), strict=True))
    for name in ("left_joint2", "lift"):
        limits = robot.channels[robot.index[name]].limits
        reading = found[name]
        assert (reading.lower, reading.upper, reading.speed) == (limits.lower, limits.upper, limits.velocity)
        assert reading.lower < reading.upper and reading.measured and reading.needed and not reading.commanded
    grip = found["left_gripper"]
    assert (grip.lower, grip.upper) == (-1.0, 2.0) and not grip.rate
    base = found["base_vy"]
    assert base.rate and base.needed and base.measured and (base.lower, base.upper) == (-math.inf, math.inf)


def test_a_base_without_odometry_and_a_gripper_that_nobody_reports_stand_where_they_were_commanded(small_robot):
    robot = small_robot(
        """
        arm: {kind: position, channels: [j1], command: {topic: arm, type: joint_state},
              limits: {source: urdf, acceleration: 5.0}}
        hand: {kind: gripper, channels: [grip], joint: {name: finger, closed: 0.0, open: 0.04, measured: false},
               command: {topic: hand, type: float64_multi_array}}
        base: {kind: velocity, channels: [vx], measured: false, command: {topic: cmd_vel, type: twist},
               limits: {velocity: [0.5], acceleration: 1.0}}
        """
    )
    j1, grip, base = readings_of(robot)
    assert j1.measured and j1.needed and not j1.commanded
    for reading in (grip, base):
        assert not reading.measured and not reading.needed and reading.commanded


def test_each_joint_is_read_within_its_limits_and_a_gripper_within_a_stroke_of_its_ends(small_robot):
    """From 0.04 m closed to 0.01 m open at 0.2 m/s: 20/3 strokes a second."""
    robot = small_robot(
        """
        arm: {kind: position, channels: [j2, wrist], command: {topic: arm, type: joint_state},
              limits: {source: urdf, acceleration: 5.0}}
        hand: {kind: gripper, channels: [grip], joint: {name: finger, closed: 0.04, open: 0.01},
               command: {topic: hand, type: float64_multi_array}}
        """
    )
    j2, wrist, grip = readings_of(robot)
    assert j2 == Reading("j2", "j2", lower=-1.5, upper=1.9, speed=2.0)
    assert wrist == Reading("wrist", "wrist", continuous=True, lower=-1e6, upper=1e6, speed=2.5)
    assert [grip.value(v) for v in (0.04, 0.01, 0.034)] == pytest.approx([0.0, 1.0, 0.2])
    assert (grip.name, grip.joint, grip.lower, grip.upper) == ("grip", "finger", -1.0, 2.0)
    assert grip.speed == pytest.approx(20.0 / 3.0)
    assert (grip.needed, grip.commanded, grip.continuous, grip.rate, grip.axis) == (True, False, False, False, None)


JOINTS_ONLY = "state:\n  - {topic: joint_states, type: joint_state, max_age: 0.1}\n"
ODOMETRY = "  - {topic: odom, type: odometry, max_age: 0.3}\n"


@pytest.mark.parametrize(
    ("state", "measured", "axis", "commanded"),
    [
        (JOINTS_ONLY + ODOMETRY, "true", Axis.WZ, False),
        (JOINTS_ONLY, "true", None, False),
        (JOINTS_ONLY + ODOMETRY, "false", None, True),
        (JOINTS_ONLY, "false", None, True),
    ],
)
def test_a_base_is_read_from_odometry_if_there_is_some_and_it_is_measured(
    small_robot, state, measured, axis, commanded
):
    robot = small_robot(
        f"""
        arm: {{kind: position, channels: [j1], command: {{topic: arm, type: joint_state}},
              limits: {{source: urdf, acceleration: 5.0}}}}
        base: {{kind: velocity, channels: [wz], measured: {measured}, command: {{topic: cmd_vel, type: twist}},
               limits: {{velocity: 0.5, acceleration: 1.5}}}}
        """,
        state=state,
    )
    base = readings_of(robot)[1]
    assert (base.axis, base.needed, base.commanded, base.measured) == (axis, bool(axis), commanded, bool(axis))
    assert (base.joint, base.rate, base.speed) == ("", True, 1.5)


def test_a_policy_may_measure_the_joints_behind_grippers_that_are_measured_and_each_once(small_robot):
    hands = """
        arm: {kind: position, channels: [j1], command: {topic: arm, type: joint_state},
              limits: {source: urdf, acceleration: 5.0}}
        hand: {kind: gripper, channels: [grip], joint: {name: finger, closed: 0.0, open: 0.04 MEASURED},
               command: {topic: hand, type: float64_multi_array}}
        """
    names = [reading.name for reading in observable(small_robot(hands.replace("MEASURED", "")))]
    assert names == ["j1", "grip", "finger"]
    finger = observable(small_robot(hands.replace("MEASURED", "")))[-1]
    assert (finger.joint, finger.needed, finger.value(0.03)) == ("finger", False, 0.03)
    unmeasured = small_robot(hands.replace("MEASURED", ", measured: false"))
    assert [reading.name for reading in observable(unmeasured)] == ["j1", "grip"]


def test_a_quaternion_of_no_length_turns_nothing_and_a_tilted_base_is_turned_about_all_axes():
    assert base_velocity((0.4, 0.1, 0.2), (0.3, 0.5, 0.7), 0.0, 0.0, 0.0, 0.0) == pytest.approx((0.4, 0.1, 0.7))
    roll, pitch, yaw = 0.3, -0.5, 1.1
    c, s = np.cos, np.sin
    rx = np.array([[1, 0, 0], [0, c(roll), -s(roll)], [0, s(roll), c(roll)]])
    ry = np.array([[c(pitch), 0, s(pitch)], [0, 1, 0], [-s(pitch), 0, c(pitch)]])
    rz = np.array([[c(yaw), -s(yaw), 0], [s(yaw), c(yaw), 0], [0, 0, 1]])
    turned = rz @ ry @ rx
    w = 0.5 * math.sqrt(1.0 + np.trace(turned))
    x, y, z = (turned[a, b] - turned[b, a] for a, b in ((2, 1), (0, 2), (1, 0)))
    quaternion = tuple(1.7 * part for part in (x / (4 * w), y / (4 * w), z / (4 * w), w))  # of any length
    linear, angular = np.array([0.4, -0.2, 0.1]), np.array([0.3, 0.5, -0.7])
    expected = (*(turned.T @ linear)[:2], (turned.T @ angular)[2])
    assert base_velocity(tuple(linear), tuple(angular), *quaternion) == pytest.approx(expected)


def test_a_guess_of_the_unit_needs_the_value_inside_both_limits_and_ticks_below_4096():
    assert unit_guess(-57.3, -2.0, 0.5, "rad").startswith("degrees") and unit_guess(57.3, -2.0, 0.5, "rad") == ""
    assert unit_guess(-350.0, 0.0, 0.4, "m") == "" and unit_guess(500.0, 0.0, 0.4, "m") == ""
    assert unit_guess(2.5, 0.0, 0.05, "m").startswith("millimetres")  # though 2.5 degrees are inside as well
    assert unit_guess(4095.0, -1.0, 1.0, "rad").startswith("ticks") and unit_guess(4096.0, -1.0, 1.0, "rad") == ""
    assert unit_guess(0.0, 1.0, 2.0, "rad").startswith("ticks") and unit_guess(-60.0, 1.0, 2.0, "rad") == ""


def test_a_reading_of_which_nothing_more_is_said_is_the_joints_own_value():
    assert Reading("elbow", "elbow_joint").value(0.3) == 0.3
    assert Reading("hand", "finger", offset=0.5, scale=-2.0).value(0.3) == pytest.approx(-0.1)


def test_a_base_changes_its_speed_by_its_acceleration_at_most(small_robot):
    robot = load_robot("mobile_bimanual")
    found = dict(zip(robot.channel_names, readings_of(robot), strict=True))
    assert [found[n].speed for n in ("base_vx", "base_wz", "left_joint1")] == [
        1.0,
        2.0,
        robot.channels[0].limits.velocity,
    ]


def test_a_joint_that_velocities_move_is_measured_beside_them_and_moves_as_fast_as_they_may(small_robot):
    robot = small_robot(
        """
        turret: {kind: velocity, channels: [pan], joints: [j1], command: {topic: turret, type: float64_multi_array},
                 limits: {source: urdf, acceleration: 5.0}}
        """,
        state="state:\n  - {topic: joint_states, type: joint_state, max_age: 0.1, measures: [spool]}\n",
    )
    pan, j1, spool = readings_of(robot)
    assert (pan.joint, pan.rate, pan.needed, pan.speed, pan.axis) == ("j1", True, False, 5.0, None)
    assert (j1.joint, j1.rate, j1.needed, j1.speed) == ("j1", False, True, 2.5)
    assert (spool.joint, spool.needed, spool.speed) == ("spool", True, 10.0)


def test_a_joint_of_which_nothing_else_is_said_is_read_as_it_is_and_believed_whatever_it_reads():
    reading = Reading("head", "head_joint")
    assert reading.measured and reading.needed and not (reading.continuous or reading.rate or reading.commanded)
    assert (reading.lower, reading.upper, reading.value(-7.25)) == (-math.inf, math.inf, -7.25)
    assert not Reading("head").measured


@pytest.mark.parametrize(
    ("other", "positions", "rates"),
    [
        ({}, {"a": 2.0, "b": 3.0}, {"a": 2.0, "b": 3.0}),
        ({"prefix": "left_"}, {"left_a": 2.0, "left_b": 3.0}, {"left_a": 2.0, "left_b": 3.0}),
        ({"joints": (("a", "elbow"),)}, {"elbow": 2.0, "b": 3.0}, {"elbow": 2.0, "b": 3.0}),
        ({"scale": (("b", -5.0),)}, {"a": 2.0, "b": -15.0}, {"a": 2.0, "b": -15.0}),
        ({"offset": (("a", 0.7),)}, {"a": 2.7, "b": 3.0}, {"a": 2.0, "b": 3.0}),
    ],
)
def test_each_key_of_a_source_counts_without_the_others(other, positions, rates):
    said = {"a": 2.0, "b": 3.0}
    assert SourceMap(source(**other)).positions(said) == positions
    assert SourceMap(source(**other)).rates(said) == rates
