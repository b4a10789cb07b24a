"""The jerk that the executor tells of is the jerk of its commands."""

import numpy as np
import pytest
from story import make_robot

from pi0_ros.control.jerk import JerkMeter

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
