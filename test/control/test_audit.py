"""The judge of commands finds every kind of broken promise, and none in commands that keep them."""

import numpy as np
import pytest

from pi0_ros.control.audit import violations
from pi0_ros.robot import load_robot

ROBOT = load_robot("mobile_bimanual")
PERIOD = 1.0 / ROBOT.control_rate


def still() -> np.ndarray:
    """Eight commands in the middle of every range, the base at rest."""
    middle = [0.5 * (c.limits.lower + c.limits.upper) for c in ROBOT.channels]
    return np.tile(middle, (8, 1))


def test_a_robot_that_stands_still_breaks_nothing():
    assert violations(ROBOT, still(), PERIOD) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_found(value):
    commands = still()
    commands[3, 1] = value
    assert violations(ROBOT, commands, PERIOD) == ["a command is not finite"]


def test_a_step_above_the_velocity_limit_is_found_in_its_group():
    commands = still()
    commands[4:, 0] += 1.01 * ROBOT.channels[0].limits.velocity * PERIOD
    assert any(text.startswith("left_arm: velocity") for text in violations(ROBOT, commands, PERIOD))


def test_a_sudden_start_within_the_velocity_limit_breaks_acceleration():
    commands = still()
    commands[:, 0] += np.maximum(np.arange(8) - 3, 0) * 0.5 * ROBOT.channels[0].limits.velocity * PERIOD
    found = violations(ROBOT, commands, PERIOD)
    assert any("acceleration" in text for text in found) and not any("velocity" in text for text in found)


def test_leaving_the_position_limits_is_found_and_coming_back_is_not():
    upper = ROBOT.channels[0].limits.upper
    way = np.linspace(0.0, 0.002, 8)
    out, back = still(), still()
    out[:, 0], back[:, 0] = upper + way, upper + way[::-1]
    assert any("beyond its limit" in text for text in violations(ROBOT, out, PERIOD))
    assert not any("beyond its limit" in text for text in violations(ROBOT, back, PERIOD))
