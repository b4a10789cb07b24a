"""The time that plans are evaluated at runs smoothly, whatever the clock that is read does."""

import numpy as np
import pytest

from pi0_ros.control.plan_clock import PlanClock

PERIOD = 0.02


def followed(readings):
    """Plan times while these ROS times are read, one a period."""
    clock, times = PlanClock(), []
    for ros in readings:
        clock = clock.advance(ros, PERIOD)
        times.append(clock.time)
    return np.array(times)


def test_it_begins_where_the_clock_is_and_keeps_to_a_clock_that_runs_evenly():
    readings = 1000.0 + PERIOD * np.arange(500)
    np.testing.assert_allclose(followed(readings), readings, atol=1e-9)


def test_waking_early_or_late_does_not_show():
    rng = np.random.default_rng(0)
    exact = 1000.0 + PERIOD * np.arange(1000)
    times = followed(exact + rng.uniform(-0.004, 0.004, len(exact)))
    assert np.max(np.abs(np.diff(times[200:]) / PERIOD - 1.0)) < 0.03
    assert np.max(np.abs(times - exact)[200:]) < 0.004


def test_a_clock_that_moves_in_steps_of_ten_milliseconds_is_followed_smoothly():
    exact = 1.0 + PERIOD * 1.00007 * np.arange(2000) + 0.003 * np.sin(np.arange(2000))
    times = followed(np.floor(exact / 0.01) * 0.01)
    assert np.max(np.abs(np.diff(times[200:]) / PERIOD - 1.0)) < 0.05
    assert np.max(np.abs(times - exact)[200:]) < 0.015


@pytest.mark.parametrize("rate", [0.9, 0.5, 0.25])
def test_a_simulation_slower_than_the_world_is_followed_at_its_rate(rate):
    exact = 1.0 + rate * PERIOD * np.arange(1500)
    times = followed(np.floor(exact / 0.01) * 0.01)
    settled = np.diff(times[600:]) / PERIOD
    assert np.max(np.abs(settled - rate)) < 0.06
    assert np.max(np.abs(times - exact)[600:]) < 0.02


def test_a_pause_of_the_loop_is_skipped_and_leaves_nothing_behind():
    readings = np.concatenate((1000.0 + PERIOD * np.arange(100), 1002.2 + PERIOD * np.arange(100)))
    np.testing.assert_allclose(followed(readings), readings, atol=1e-9)


@pytest.mark.parametrize("jump", [-900.0, -0.3, 0.3, 30.0])
def test_a_clock_that_was_set_is_followed_at_once(jump):
    before, after = 1000.0 + PERIOD * np.arange(100), 1002.0 + jump + PERIOD * np.arange(400)
    times = followed(np.concatenate((before, after)))
    assert times[100] == after[0]
    assert np.max(np.abs(times[100:] - after)) < 0.01
    assert abs(times[-1] - after[-1]) < 1e-3


def test_it_falls_back_by_less_than_a_period_where_the_clock_hesitates():
    rng = np.random.default_rng(1)
    readings = np.cumsum(rng.choice([0.0, 0.01, 0.02, 0.03, 0.3], 3000))
    times = followed(readings)
    assert np.all(np.isfinite(times)) and np.min(np.diff(times)) > -PERIOD


@pytest.mark.parametrize(("ahead", "rate"), [(-0.8, 0.98), (0.8, 1.0), (-7.0, 0.98), (7.0, 1.0)])
def test_only_a_clock_that_falls_behind_is_taken_to_be_slow(ahead, rate):
    """So many periods off at once: it is followed to where it is."""
    jumped = PlanClock(1000.0, 1.0).advance(1000.0 + PERIOD * (1.0 + ahead), PERIOD)
    assert jumped == (pytest.approx(1000.0 + PERIOD * (1.0 + ahead)), pytest.approx(rate))
