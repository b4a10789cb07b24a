"""Without the control core every channel comes to rest at its own limit and stays inside its bounds."""

import numpy as np
import pytest
from story import make_robot

from pi0_ros.control import Command
from pi0_ros.control.fallback_stop import FallbackStop
from pi0_ros.robot.spec import Kind

ROBOT, PERIOD = make_robot(), 0.02


def stopped(values, velocities, seconds=2.0):
    """Commands [N, D] of the stop that follows a command."""
    last, commands, brake = Command(0.0, ROBOT.channel_names, values, velocities), [values], FallbackStop(ROBOT)
    for k in range(round(seconds / PERIOD)):
        last = brake.step(last, PERIOD * (k + 1), PERIOD)
        commands.append(last.values)
    return np.array(commands), last


def test_an_arm_decelerates_at_its_limit_over_its_braking_distance_and_a_base_ramps_to_zero():
    values, velocities = np.zeros(len(ROBOT.channels)), np.zeros(len(ROBOT.channels))
    arm, base = ROBOT.index["left_joint1"], ROBOT.index["base_vx"]
    velocities[arm], values[base], velocities[base] = 1.5, -0.4, -0.4
    commands, last = stopped(values, velocities)
    assert not last.velocities.any()
    assert commands[-1, arm] == pytest.approx(1.5**2 / (2 * 10.0), abs=1.5 * PERIOD)
    assert np.abs(np.diff(commands[:, arm], 2)).max() <= 10.0 * PERIOD**2 * (1 + 1e-9)
    np.testing.assert_allclose(commands[:5, base], [-0.4, -0.38, -0.36, -0.34, -0.32])
    assert commands[-1, base] == 0.0
    still = [i for i in range(len(values)) if i not in (arm, base)]
    assert not commands[:, still].any() or np.ptp(commands[1:, still], axis=0).max() == 0.0


def test_the_stop_ends_at_a_limit_and_not_beyond_it():
    lift = ROBOT.index["lift"]
    limits = ROBOT.channels[lift].limits
    values, velocities = np.array([0.5 * (c.limits.lower + c.limits.upper) for c in ROBOT.channels]), np.zeros(18)
    values[lift], velocities[lift] = limits.upper - 0.001, 0.15
    commands, _ = stopped(values, velocities)
    assert commands[:, lift].max() == pytest.approx(limits.upper) and commands[:, lift].max() <= limits.upper


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_step_takes_one_period_of_deceleration_off_whatever_moves_in_either_direction(sign):
    """Three joints with speeds of their own, a turning base: v - a dt, x + (v - a dt) dt; at rest where less is left."""
    values = np.array([0.5 * (c.limits.lower + c.limits.upper) for c in ROBOT.channels])
    driven = np.array([c.kind is Kind.VELOCITY for c in ROBOT.channels])
    values[driven] = 0.0
    velocities, middle = np.zeros(len(values)), values.copy()
    speeds = {"left_joint2": 1.1, "right_joint5": 0.7, "lift": 0.11, "base_vx": 0.31, "base_wz": 0.83}
    for name, speed in speeds.items():
        i = ROBOT.index[name]
        velocities[i] = sign * speed
        if driven[i]:
            values[i] = sign * speed
    period = 0.011
    after = FallbackStop(ROBOT).step(Command(7.0, ROBOT.channel_names, values, velocities), 12.5, period)
    assert after.stamp == 12.5 and after.names == ROBOT.channel_names
    for name, speed in speeds.items():
        i = ROBOT.index[name]
        slower = speed - ROBOT.channels[i].limits.acceleration * period
        assert after.velocities[i] == pytest.approx(sign * slower)
        assert after.values[i] == pytest.approx(sign * slower if driven[i] else middle[i] + sign * slower * period)
    others = [i for i, name in enumerate(ROBOT.channel_names) if name not in speeds]
    np.testing.assert_array_equal(after.values[others], middle[others])
    assert not after.velocities[others].any()
    i = ROBOT.index["left_joint2"]
    velocities[i] = sign * 0.5 * ROBOT.channels[i].limits.acceleration * period
    after = FallbackStop(ROBOT).step(Command(7.0, ROBOT.channel_names, values, velocities), 12.5, period)
    assert after.velocities[i] == 0.0 and after.values[i] == middle[i]


def test_the_stop_ends_at_a_lower_limit_too():
    i = ROBOT.index["left_joint2"]
    low = ROBOT.channels[i].limits.lower
    values = np.array([0.5 * (c.limits.lower + c.limits.upper) for c in ROBOT.channels])
    velocities = np.zeros(len(values))
    values[i], velocities[i] = low + 0.001, -1.0
    commands, last = stopped(values, velocities)
    assert commands[:, i].min() == pytest.approx(low) and not last.velocities.any()
