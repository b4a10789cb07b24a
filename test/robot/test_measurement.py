"""From what drivers report to a robot's channels: names, units, turns, and what is no measurement."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi0_ros.robot import StateSource, load_robot
from pi0_ros.robot.measurement import (
    SourceMap,
    axis_of,
    base_velocity,
    joint_value,
    nearest_turn,
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
