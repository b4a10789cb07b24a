"""The judge of `bench kill` finds what is wrong, and only that."""

import numpy as np
import pytest

pytest.importorskip("rclpy")

from bench.kill import beyond_limits, moves_again, stops
from pi0_ros.control.limiter import GroupLimiter
from pi0_ros.control.limits import bounds_of
from pi0_ros.robot import load_robot

PERIOD = 0.02
ROBOT = load_robot("mobile_bimanual")


def drive(name, until_brake, total=140):
    """Commands [(time, values)] of a group that goes far and brakes from period `until_brake` on."""
    group = ROBOT.group(name)
    limits = [c.limits for c in group.channels]
    limiter = GroupLimiter(bounds_of(group, PERIOD), PERIOD)
    middle = np.array([0.5 * (m.lower + m.upper) for m in limits])
    far = middle + 0.4 * np.array([m.upper - m.lower for m in limits])
    goal, stop = np.zeros((3, len(limits))), np.zeros((3, len(limits)))
    goal[0] = far
    limiter.reset(middle.tolist())
    seen = []
    for k in range(total):
        if k < until_brake:
            limiter.step(goal)
        elif group.kind.value == "velocity":
            limiter.step(stop)
        else:
            limiter.brake()
        seen.append((100.0 + k * PERIOD, limiter.motion.x))
    return group, seen


@pytest.mark.parametrize("name", ["left_arm", "base", "lift"])
@pytest.mark.parametrize("brake", [4, 10, 20, 30])
def test_a_group_that_brakes_at_the_notice_stops_in_time(name, brake):
    group, seen = drive(name, until_brake=brake)
    assert stops(group, seen, 100.0 + brake * PERIOD, PERIOD) == ""
    assert beyond_limits(group, seen, PERIOD) == ""


@pytest.mark.parametrize("name", ["left_arm", "base", "lift"])
def test_a_group_that_brakes_some_periods_late_is_found(name):
    group, seen = drive(name, until_brake=20)
    assert "were enough" in stops(group, seen, 100.0 + 8 * PERIOD, PERIOD)


def test_a_group_that_goes_on_as_before_is_found():
    group, seen = drive("left_arm", until_brake=140)
    assert "left_arm moved until" in stops(group, seen, 100.0 + 10 * PERIOD, PERIOD)


def test_motion_after_rest_is_found_and_a_new_start_after_a_silence_is_not():
    group, seen = drive("left_arm", until_brake=10)
    rest = seen[60:]
    assert moves_again(group, rest, rest[0][0], PERIOD) == ""
    later = [(at + 2.0, tuple(v + 0.3 for v in values)) for at, values in rest]
    assert moves_again(group, [*rest, *later], rest[0][0], PERIOD) == ""
    later[5] = (later[5][0], tuple(v + 0.01 for v in later[5][1]))
    assert "moved again" in moves_again(group, [*rest, *later], rest[0][0], PERIOD)


def test_a_command_too_far_from_the_one_before_is_found():
    group, seen = drive("left_arm", until_brake=10)
    seen[30] = (seen[30][0], tuple(v + 0.5 for v in seen[30][1]))
    assert "broke a limit" in beyond_limits(group, seen, PERIOD)
