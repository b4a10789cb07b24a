"""How long and how far a stop within the limits is."""

from dataclasses import replace

import numpy as np
import pytest
from story import Story, make_robot

from pi0_ros.control.limits import stop_reach, stop_time
from pi0_ros.robot.spec import Kind

PERIOD = 0.02


def with_base_acceleration(acceleration):
    robot = make_robot()
    groups = []
    for group in robot.groups:
        if group.kind is Kind.VELOCITY:
            channels = [
                replace(c, limits=replace(c.limits, acceleration=acceleration, jerk=10 * acceleration))
                for c in group.channels
            ]
            group = replace(group, channels=tuple(channels))
        groups.append(group)
    return replace(robot, groups=tuple(groups))


@pytest.mark.parametrize("acceleration", [0.05, 0.3, 2.0])
def test_everything_rests_within_the_time_that_the_limits_say(acceleration):
    robot = with_base_acceleration(acceleration)
    story = Story(robot).run(0.1)
    assert story.ask("autonomy").ok
    story.tick()
    plan = np.tile(story.chunk(rows=1).values, (200, 1))
    plan[:, robot.index["base_vx"]] = 0.5
    plan[:, robot.index["base_wz"]] = -1.0
    for _ in range(20):
        story.send(story.chunk(rows=200, values=plan))
        story.run(1.0)
    fast = story.at("base_vx")
    assert fast > min(0.3, acceleration)
    assert story.ask("hold").ok
    began = story.steady
    while np.abs(story.values[story.velocity]).max() > 0.0:
        story.tick()
    took, promised = story.steady - began, stop_time(robot.groups, PERIOD)
    # At least v/A, whatever the jerk; not so much more than the fastest needs that nobody would wait for it.
    assert (
        fast / acceleration - 2 * PERIOD <= took <= promised <= 3.0 * (1.0 / acceleration + 0.3)
    )  # the turn rate is 1 rad/s


def integrated_stop(v, a, deceleration, jerk, step=1e-4):
    """How far [units] a stop from velocity `v` and acceleration `a` goes: full jerk down, hold, ease off to arrive at rest."""
    x = farthest = 0.0
    while v > 0.0 or a > 0.0:
        # Easing off from -d to 0 at full jerk takes d^2 / (2 jerk) off the velocity.
        brake = a > 0.0 or v > a * a / (2.0 * jerk)
        a = max(a - jerk * step, -deceleration) if brake else min(a + jerk * step, -1e-6)
        v += a * step
        x += v * step
        farthest = max(farthest, x)
    return farthest


@pytest.mark.parametrize(("v", "a"), [(0.4, 0.0), (1.0, 2.0), (0.3, 1.0), (0.02, 0.0), (3.0, 9.0)])
@pytest.mark.parametrize(("limit", "jerk"), [(10.0, 100.0), (1.5, 10.0), (9.5, 5.0)])
def test_the_reach_of_a_stop_is_at_least_what_an_integrated_stop_takes(v, a, limit, jerk):
    assert stop_reach(v, a, limit, jerk) >= 0.999 * integrated_stop(v, a, limit, jerk)


@pytest.mark.parametrize(
    ("v", "a", "limit", "jerk"),
    [(1.0, 2.0, 1.5, 10.0), (0.2, 2.0, 1.5, 10.0), (3.0, 9.0, 2.0, 30.0), (0.9, 0.0, 1.5, 10.0)],
)
def test_where_the_deceleration_is_reached_the_reach_of_a_stop_is_exact(v, a, limit, jerk):
    """An estimate that is far too long keeps a robot from places that it may go to."""
    assert stop_reach(v, a, limit, jerk) == pytest.approx(integrated_stop(v, a, limit, jerk), rel=0.01)


def test_a_motion_downwards_reaches_nothing_upwards_unless_it_turns():
    assert (
        stop_reach(-1.0, 0.0, 1.5, 10.0) == stop_reach(0.0, 0.0, 1.5, 10.0) == stop_reach(-1.0, -2.0, 1.5, 10.0) == 0.0
    )
    assert stop_reach(-0.1, 4.0, 1.5, 10.0) >= 0.999 * integrated_stop(-0.1, 4.0, 1.5, 10.0) > 0.0
    # The way down does not count: 4^3 / (3 10^2) until the acceleration is over, and the stop from the 0.7 that are reached.
    assert stop_reach(-0.1, 4.0, 1.5, 10.0) == pytest.approx(64.0 / 300.0 + 0.35 * (0.7 / 1.5 + 1.5 / 10.0))


def test_the_longest_stop_is_from_the_faster_side_of_a_velocity():
    """A base that may go back at 2 m/s and ahead at 0.5: twice 2 / 0.5 + 0.5 / 5."""
    group = make_robot().group("base")
    limits = replace(group.channels[0].limits, lower=-2.0, upper=0.5, acceleration=0.5, jerk=5.0)
    slow = replace(group, channels=(replace(group.channels[0], limits=limits),))
    assert stop_time([slow], PERIOD) == pytest.approx(2.0 * (2.0 / 0.5 + 0.5 / 5.0))
    other = replace(group.channels[0], limits=replace(limits, lower=-0.5, upper=2.0))
    assert stop_time([replace(group, channels=(other,))], PERIOD) == stop_time([slow], PERIOD)


def test_the_longest_stop_of_quick_joints_is_twice_that_of_the_slowest_of_all_groups():
    """0.6 / 6 + 6 / 60 is more than 0.5 / 10 + 10 / 200 and 0.2 / 4 + 4 / 80, and less than half a second."""
    group = make_robot().group("left_arm")

    def quick(*limits):
        channels = (
            replace(c, limits=replace(c.limits, velocity=v, acceleration=a, jerk=j))
            for c, (v, a, j) in zip(group.channels, limits, strict=False)
        )
        return replace(group, channels=tuple(channels))

    groups = [quick((0.5, 10.0, 200.0), (0.6, 6.0, 60.0)), quick((0.2, 4.0, 80.0))]
    assert stop_time(groups, PERIOD) == stop_time(groups[::-1], PERIOD) == pytest.approx(2.0 * (0.1 + 0.1))
