"""How the control periods follow one another: too soon, missed, and on a ROS clock that jumps, stands or is set back."""

import math

import pytest

from pi0_ros.control.journal import Now
from pi0_ros.control.pace import Pace
from pi0_ros.control.watchdogs import ClockFault

PERIOD, JUMP = 0.02, 0.4


def begun(steady=10.0, ros=500.0):
    pace = Pace(PERIOD, JUMP)
    assert pace.missed(steady) == 0
    pace.advance(Now(steady, ros))
    return pace


@pytest.mark.parametrize(
    ("later", "refused"), [(-1.0, True), (0.0, True), (0.0099, True), (0.0101, False), (9.0, False)]
)
def test_a_period_less_than_half_a_period_after_the_last_is_refused(later, refused):
    assert begun().too_soon(Now(10.0 + later, 500.0)) is refused


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_the_first_period_is_never_too_soon_and_at_a_time_that_is_none_there_is_none(wrong):
    pace = Pace(PERIOD, JUMP)
    assert not pace.too_soon(Now(-3.0, 500.0)) and not pace.too_soon(Now(10.0, -500.0))
    assert pace.too_soon(Now(wrong, 500.0)) and pace.too_soon(Now(10.0, wrong))


@pytest.mark.parametrize(("gap", "missed"), [(0.011, 0), (0.02, 0), (0.029, 0), (0.031, 1), (0.041, 1), (0.132, 6)])
def test_periods_are_missed_by_whole_ones_and_counted_once(gap, missed):
    pace = begun()
    assert pace.missed(10.0 + gap) == missed
    assert pace.missed(10.0 + gap + PERIOD) == 0


def test_of_a_pause_of_years_a_million_periods_are_counted():
    assert begun().missed(1e9) == 999_999


@pytest.mark.parametrize(("step", "fault"), [(0.02, None), (0.41, None), (0.43, ClockFault.JUMPED), (-0.39, None), (-0.41, ClockFault.JUMPED)])  # fmt: skip
def test_the_ros_clock_may_be_off_by_less_than_a_jump(step, fault):
    """A period after the last: 0.02 s are right, so that it has jumped ahead where it came 0.42 s further."""
    found = begun().fault(Now(10.02, 500.0 + step))
    assert (found and found[0]) is fault


def test_a_clock_that_was_set_is_known_from_where_it_is_now():
    pace = begun()
    assert (pace.ros, pace.plan_time) == (500.0, 500.0)
    pace.restart()
    assert pace.ros == 0.0 and math.isnan(pace.plan_time) and pace.fault(Now(10.02, 20.0)) is None
    pace.advance(Now(10.02, 20.0))
    assert (pace.ros, pace.plan_time) == (20.0, 20.0)
    assert pace.fault(Now(10.04, 20.02)) is None and pace.fault(Now(10.04, 500.04))[0] is ClockFault.JUMPED


def test_the_plan_clock_goes_on_by_a_period_where_the_ros_clock_does():
    pace = begun()
    for k in range(1, 6):
        pace.advance(Now(10.0 + PERIOD * k, 500.0 + PERIOD * k))
    assert pace.plan_time == pytest.approx(500.1) and pace.ros == pytest.approx(500.1)


def test_a_clock_that_was_set_back_by_a_little_is_told_with_the_third_reading():
    pace, told = begun(), []
    for k in range(1, 6):
        ros = 499.9 + 0.01 * k
        told.append(pace.set_back(ros))
        pace.advance(Now(10.0 + PERIOD * k, ros))
    assert told == [False, False, True, False, False]
