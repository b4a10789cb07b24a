"""Slow at first: after a change of owner, and when a person's input begins or jumps."""

import numpy as np
import pytest

from pi0_ros.control import ExecutorSettings
from pi0_ros.control.acceptance import Lead
from pi0_ros.control.engage import SHARP, Engage
from pi0_ros.robot import load_robot

SETTINGS = ExecutorSettings(
    engage_time=0.4, engage_scale=0.2, engage_ramp=0.5, start_gap=0.1, reach_time=0.05, reach_speed=1.5
)
ARM = load_robot("mobile_bimanual").group("left_arm").channels[:3]


@pytest.mark.parametrize("begin", [Engage.change_owner, Engage.begin])
def test_the_share_is_small_for_a_while_and_then_rises_evenly_to_all(begin):
    engage = Engage(SETTINGS, 0.02)
    begin(engage, 50.0)
    assert [engage.scale(50.0 + t) for t in (0.0, 0.39, 0.65, 0.9, 5.0)] == pytest.approx([0.2, 0.2, 0.6, 1.0, 1.0])
    begin(engage, 60.0)  # and the next one begins anew
    assert [engage.scale(60.0 + t) for t in (0.1, 0.65)] == pytest.approx([0.2, 0.6])


def test_before_anybody_drives_nothing_is_slow():
    assert Engage(SETTINGS, 0.02).scale(0.0) == 1.0


def test_ahead_the_slow_time_is_kept_a_little_longer():
    engage = Engage(SETTINGS, 0.02)
    engage.change_owner(50.0)
    shares = engage.scale_ahead(50.3, 1000.0, True)  # 0.3 s of it are over now
    later = np.array([0.0, 0.1, 0.35, 9.0]) + SHARP
    np.testing.assert_allclose(shares(1000.0 + later), [0.2, 0.2, 0.6, 1.0])
    before = engage.scale_ahead(58.0, 1000.0, False)  # nothing moves yet: it begins in the next period
    np.testing.assert_allclose(before(1000.02 + SHARP + np.array([0.0, 0.4, 0.65])), [0.2, 0.2, 0.6])


def gaps():
    return np.array([SETTINGS.start_gap + 0.05 * c.limits.velocity for c in ARM])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("column", [0, 2])
def test_an_input_jumps_where_it_is_faster_than_a_person_could_be(sign, column):
    speed = 1.5 * ARM[column].limits.velocity
    for seconds, far in ((0.0, gaps()[column]), (0.2, gaps()[column] + 0.2 * speed), (-1.0, gaps()[column])):
        for share, jumps in ((0.99, False), (1.01, True)):
            lead = Lead(ARM, SETTINGS)
            before = np.array([0.3, -0.4, 0.5])
            after = before.copy()
            after[column] += sign * share * far
            assert lead.jumped(before, after, seconds) is jumps and lead.approaching is jumps


def test_after_a_jump_the_input_is_followed_slowly_until_every_channel_has_reached_it():
    lead, goal = Lead(ARM, SETTINGS), np.array([1.0, -0.9, 0.8])
    lead.restart(10.0)
    assert [lead.scale(10.0 + t) for t in (0.1, 0.65, 2.0)] == pytest.approx([0.2, 0.6, 1.0])
    assert lead.jumped([0.0, 0.0, 0.0], goal, 0.02) and lead.scale(20.0) == 0.2
    far, near = 1.01 * gaps(), 0.99 * gaps()
    for side in (1.0, -1.0):
        lead.reached(goal, goal + side * np.array([near[0], far[1], near[2]]))
        assert lead.approaching and lead.scale(20.0) == 0.2
    lead.reached(goal, goal + near * [1.0, -1.0, 1.0])
    assert not lead.approaching and lead.scale(20.0) == 1.0
    assert lead.jumped([0.0, 0.0, 0.0], goal, 0.02)
    lead.restart(30.0)
    assert not lead.approaching


@pytest.mark.parametrize(("value", "side"), [(9.0, "upper"), (-9.0, "lower")])
def test_an_input_far_beyond_a_limit_is_told_with_the_limit(value, side):
    lead = Lead(ARM, SETTINGS)
    assert lead.objection([0.1, 0.2, 0.3]) == ""
    limit = getattr(ARM[1].limits, side)
    assert lead.objection([0.1, value, 0.3]) == f"{ARM[1].name} is {value:.4g}, far beyond its limit {limit:.4g}"


def test_what_is_kept_longer_ahead_is_a_tenth_of_a_second():
    """A motion is smoothed over the end of the slow time: it must not be faster before it."""
    engage = Engage(SETTINGS, 0.02)
    engage.change_owner(50.0)
    np.testing.assert_allclose(
        engage.scale_ahead(50.0, 1000.0, True)(1000.0 + np.array([0.49, 0.75, 1.0])), [0.2, 0.6, 1.0]
    )


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize(("group", "spans"), [("left_arm", 0.1), ("left_gripper", 10.0), ("base", 10.0)])
def test_a_person_may_mean_a_tenth_of_the_range_more_and_with_a_joystick_ten_times_the_range(side, group, spans):
    channels = load_robot("mobile_bimanual").group(group).channels
    lead, limits = Lead(channels, ExecutorSettings(limit_margin=0.1)), channels[-1].limits
    values = [0.5 * (c.limits.lower + c.limits.upper) for c in channels]
    end, span = limits.upper if side > 0.0 else limits.lower, limits.upper - limits.lower
    values[-1] = end + side * 0.999 * spans * span
    assert lead.objection(values) == ""
    values[-1] = end + side * 1.001 * spans * span
    assert lead.objection(values) == f"{channels[-1].name} is {values[-1]:.4g}, far beyond its limit {end:.4g}"
