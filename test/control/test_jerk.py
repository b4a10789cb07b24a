"""The jerk that the executor tells of is the jerk of its commands."""

from types import SimpleNamespace

import numpy as np
import pytest
from story import make_robot

from pi0_ros.control.jerk import JerkMeter
from pi0_ros.robot.spec import Kind

PERIOD = 0.02


def test_a_constant_jerk_is_found_on_the_position_channels_alone():
    robot = make_robot()
    meter = JerkMeter(robot, PERIOD)
    time = np.arange(50) * PERIOD
    for t in time:
        rates = np.full(len(robot.channels), 0.5 * 8.0 * t * t)
        rates[robot.index["base_vx"]] = 100.0 * t**3
        meter.see(rates)
    rms, worst = meter.take()
    assert rms == pytest.approx(8.0) and worst == pytest.approx(8.0)


def test_every_report_is_about_what_came_since_the_last_one():
    robot = make_robot()
    meter, still = JerkMeter(robot, PERIOD), np.zeros(len(robot.channels))
    assert meter.take() == (0.0, 0.0)
    for rates in (still, still, still + 0.1, still + 0.1):
        meter.see(rates)
    assert meter.take()[1] == pytest.approx(0.1 / PERIOD**2)
    meter.see(still + 0.1)
    assert meter.take() == (0.0, 0.0)


def test_each_report_has_the_root_mean_square_and_the_worst_of_all_joints_in_either_direction():
    robot, rng = make_robot(), np.random.default_rng(8)
    meter = JerkMeter(robot, PERIOD)
    positions = [i for i, c in enumerate(robot.channels) if c.kind is Kind.POSITION]
    rates = rng.normal(0.0, 0.1, (12, len(robot.channels)))
    rates[4, positions[2]], rates[9, positions[0]] = 3.0, -4.0
    jerks = np.diff(rates[:, positions], 2, axis=0) / PERIOD**2
    for seen, told in ((slice(0, 7), slice(0, 5)), (slice(7, 12), slice(5, 10))):
        for each in rates[seen]:
            meter.see(each)
        rms, worst = meter.take()
        assert rms == pytest.approx(np.sqrt(np.mean(jerks[told] ** 2)))
        assert worst == pytest.approx(np.abs(jerks[told]).max())


def test_a_robot_without_joints_has_no_jerk():
    meter = JerkMeter(SimpleNamespace(channels=[SimpleNamespace(kind=Kind.VELOCITY)] * 2), PERIOD)
    for speed in (0.0, 0.3, 0.1, 0.5):
        meter.see(np.array([speed, -speed]))
    assert meter.take() == (0.0, 0.0)
