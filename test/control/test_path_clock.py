"""How fast a path may be run, against speeds, accelerations and jerks of a sine that are known in closed form."""

import numpy as np
import pytest

from pi0_ros.control.path_clock import (
    CATCH_UP,
    PathDemand,
    PathLimits,
    _least_around,
    demand,
    path_times,
    smoother,
    starting_rate,
)
from pi0_ros.control.row_path import make_path
from pi0_ros.robot.spec import Kind

STEP = 0.02


def sine(size, omega, kind=Kind.POSITION, other=0.0):
    """Two channels: a sine over 4 s, and a constant."""
    times = np.arange(0.0, 4.01, 0.05)
    rows = np.stack([size * np.sin(omega * times), np.full(len(times), other)], axis=1)
    return make_path(0.0, 0.05, rows, (kind, kind), np.array([9.0, 9.0]), np.array([9.0, 9.0]))


def limits(speed, acceleration, jerk, driven=False):
    both = [np.array([each, 3.0 * each]) for each in (speed, acceleration, jerk)]
    return PathLimits(*both, np.array([driven, driven]))


def measured(path, bounds):
    return demand(path, 1.0, 100, STEP, 0.03, bounds)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_worst_quantity_is_named_with_how_many_times_its_limit_it_is(sign):
    path = sine(sign * 0.5, 3.0)  # 1.5 rad/s, 4.5 rad/s^2, 13.5 rad/s^3
    for bounds, quantity, excess in (
        (limits(1.0, 40.0, 900.0), "velocity", 1.5),
        (limits(9.0, 2.0, 900.0), "acceleration", 4.5 / 2.0),
        (limits(9.0, 40.0, 5.0), "jerk", 13.5 / 5.0),
    ):
        found = measured(path, bounds)
        assert (found.channel, found.quantity) == (0, quantity)
        assert found.excess == pytest.approx(excess, rel=0.015 if quantity == "velocity" else 0.05)


def test_a_velocity_channel_is_bounded_one_derivative_higher():
    path = sine(0.5, 3.0, Kind.VELOCITY)  # its value is 0.5, its acceleration 1.5, its jerk 4.5
    for bounds, quantity, excess in (
        (limits(0.25, 40.0, 900.0, True), "velocity", 2.0),
        (limits(9.0, 0.5, 900.0, True), "acceleration", 3.0),
        (limits(9.0, 40.0, 1.5, True), "jerk", 3.0),
    ):
        found = measured(path, bounds)
        assert found.quantity == quantity and found.excess == pytest.approx(
            excess, rel=0.025 if quantity == "velocity" else 0.06
        )


def test_at_rate_r_a_velocity_is_r_an_acceleration_r2_and_a_jerk_r3_times_the_rows():
    path = sine(0.5, 3.0)
    assert measured(path, limits(1.0, 40.0, 900.0)).speed.min() == pytest.approx(0.98 / 1.5, rel=0.015)
    assert measured(path, limits(9.0, 2.0, 900.0)).rate.min() == pytest.approx((0.95 * 2.0 / 4.5) ** 0.5, rel=0.05)
    assert measured(path, limits(9.0, 40.0, 5.0)).rate.min() == pytest.approx((0.95 * 5.0 / 13.5) ** (1 / 3), rel=0.05)


def test_the_rate_may_rise_by_six_tenths_of_what_the_acceleration_allows():
    """Along a path at 0.5 rad/s the rate rises at a/v: from standing, the joint then accelerates at a."""
    times = np.arange(0.0, 4.01, 0.05)
    rows = np.stack([-0.5 * times, 0.1 * times], axis=1)
    kinds, ones = (Kind.POSITION, Kind.POSITION), np.ones(2)
    path = make_path(0.0, 0.05, rows, kinds, ones, ones)
    found = demand(path, 1.0, 50, STEP, 0.03, limits(9.0, 2.0, 900.0))
    np.testing.assert_allclose(found.climb, 0.6 * 2.0 / 0.5, rtol=1e-6)
    still = demand(make_path(0.0, 0.05, 0.0 * rows, kinds, ones, ones), 1.0, 50, STEP, 0.03, limits(9.0, 2.0, 900.0))
    np.testing.assert_allclose(still.climb, 0.6 / 0.02)
    np.testing.assert_allclose([still.speed, still.rate], 100.0)
    np.testing.assert_allclose(found.velocity, np.tile([-0.5, 0.1], (50, 1)), atol=1e-9)


def test_noise_asks_for_nothing_and_slow_motion_is_kept():
    low_pass = smoother(80, STEP, 0.043)
    slow = np.sin(2.0 * np.pi * 0.5 * STEP * np.arange(80))
    np.testing.assert_allclose((low_pass @ slow)[10:-10], slow[10:-10], atol=2e-3)
    noise = 0.01 * (-1.0) ** np.arange(80)
    assert np.abs(low_pass @ noise)[20:-20].max() < 1e-4
    line = 0.3 + 0.02 * np.arange(80)
    np.testing.assert_allclose(low_pass @ line, line, atol=1e-8)


def asked(speed=9.0, rate=9.0, climb=9.0, count=200, start=10.0):
    each = [np.full(count, float(v)) for v in (speed, rate, climb)]
    return PathDemand(start, STEP, *each, np.zeros((count, 1)), 0, "velocity", 1.0)


def test_a_path_that_asks_for_little_runs_with_the_clock():
    found = path_times(asked(), 10.0, 0.0, 1.0, 1.0, np.ones(50))
    np.testing.assert_allclose(found.times, 10.0 + STEP * np.arange(51))
    np.testing.assert_allclose(path_times(asked(), 10.0, 0.0, 1.0, 0.5, np.ones(50)).rates, 0.5)
    assert found.factor == pytest.approx(1.0)


def test_a_path_that_is_late_runs_up_to_1_3_times_as_fast_until_it_is_in_time_and_an_early_one_slower():
    late = path_times(asked(), 10.0, 0.2, 1.0, 1.0, np.ones(150))
    assert late.rates.max() == pytest.approx(CATCH_UP) and late.rates[0] > 1.1
    assert late.times[-1] == pytest.approx(10.0 + 150 * STEP + 0.2, abs=0.01)
    early = path_times(asked(), 10.0, -0.2, 1.0, 1.0, np.ones(150))
    assert early.rates.min() == pytest.approx(2.0 - CATCH_UP)
    assert early.times[-1] == pytest.approx(10.0 + 150 * STEP - 0.2, abs=0.01)


def test_the_rate_keeps_limits_and_scales_and_rises_no_faster_than_it_may():
    slowed = path_times(asked(speed=0.8), 10.0, 0.0, 1.0, 1.0, np.full(40, 0.25))
    np.testing.assert_allclose(slowed.rates, 0.2)
    np.testing.assert_allclose(path_times(asked(rate=0.4), 10.0, 0.0, 0.4, 1.0, np.full(40, 0.9)).rates, 0.4)
    rising = path_times(asked(climb=2.0), 10.0, 0.0, 0.0, 1.0, np.ones(60)).rates
    np.testing.assert_allclose(rising[:5], 2.0 * STEP * np.arange(1, 6))
    assert path_times(asked(rate=0.5), 10.0, 0.0, 0.5, 1.0, np.ones(9)).factor == pytest.approx(2.0)


def test_a_narrow_place_is_slow_where_it_is_and_not_where_the_clock_is():
    place = asked()
    place.speed[100:110] = 0.5
    found = path_times(place, 11.0, 0.0, 1.0, 1.0, np.ones(100))  # starts 50 samples before it
    slow = found.times[:-1][found.rates < 0.75]
    assert slow.min() == pytest.approx(10.0 + 100 * STEP, abs=1.5 * STEP)
    assert slow.max() == pytest.approx(10.0 + 110 * STEP, abs=1.5 * STEP)


def test_a_path_is_joined_at_the_rate_at_which_the_robot_moves_along_it():
    bounds = limits(2.0, 9.0, 90.0)
    moving = np.array([[0.0, 0.0], [0.3, 0.0], [0.0, 0.0]])
    assert starting_rate(np.array([0.6, 0.0]), moving, bounds) == pytest.approx(0.5)
    assert starting_rate(np.array([-0.6, 0.0]), moving, bounds) == 0.0
    assert starting_rate(np.array([0.1, 0.0]), moving, bounds) == CATCH_UP
    assert starting_rate(np.array([0.0, 0.001]), moving, bounds) == 1.0
    assert starting_rate(np.array([0.6, 0.0]), 0.0 * moving, bounds) == 0.0
    # A velocity channel says nothing: the other one alone counts.
    mixed = PathLimits(bounds.speed, bounds.acceleration, bounds.jerk, np.array([False, True]))
    assert starting_rate(np.array([0.6, 5.0]), np.array([[0, 0], [0.3, -4.0], [0, 0]]), mixed) == pytest.approx(0.5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("power", "size", "quantity", "excess"),
    [(1, 1.5, "velocity", 1.5), (2, 2.25, "acceleration", 4.5 / 2.0), (3, 2.25, "jerk", 13.5 / 5.0)],
)
def test_a_quantity_that_has_one_sign_all_the_way_counts_as_much(sign, power, size, quantity, excess):
    """A line, a parabola and a cubic: 1.5 rad/s, 4.5 rad/s^2, 13.5 rad/s^3 throughout."""
    times = np.arange(0.0, 4.01, 0.05)
    rows = np.stack([sign * size * times**power, np.zeros(len(times))], axis=1)
    path = make_path(0.0, 0.05, rows, (Kind.POSITION,) * 2, np.full(2, 999.0), np.full(2, 999.0))
    own = {"velocity": (1.0, 1e4, 1e6), "acceleration": (1e4, 2.0, 1e6), "jerk": (1e4, 1e4, 5.0)}[quantity]
    found = measured(path, limits(*own))
    assert (found.channel, found.quantity) == (0, quantity) and found.excess == pytest.approx(
        excess, rel=0.06 if quantity == "jerk" else 0.01
    )


@pytest.mark.parametrize("share", [0.5, 1.0, 1.5])
@pytest.mark.parametrize(("smoothing", "step"), [(0.043, 0.02), (0.06, 0.025)])
def test_what_is_kept_of_a_sine_is_that_of_a_low_pass_of_third_order(share, smoothing, step):
    """1 / (1 + (w T)^6); of samples h apart, (2 / h) sin(w h / 2) stands for w."""
    omega, at = share / smoothing, step * np.arange(160)
    kept = 1.0 / (1.0 + (smoothing * 2.0 / step * np.sin(0.5 * omega * step)) ** 6)
    found = smoother(160, step, smoothing) @ np.sin(omega * at)
    np.testing.assert_allclose(found[50:-50], kept * np.sin(omega * at)[50:-50], atol=1e-4)


def test_a_matrix_that_many_plans_share_cannot_be_written_into():
    with pytest.raises(ValueError, match="read-only"):
        smoother(9, 0.02, 0.043)[0, 0] = 1.0


def least_around(values, reach):
    """The least within so many samples, and the mean of that over as many; beyond its ends a row goes on as it ended."""
    ends = len(values) - 1
    around = lambda i: range(i - reach, i + reach + 1)
    least = lambda i: min(values[min(max(j, 0), ends)] for j in around(i))
    return [np.mean([least(j) for j in around(i)]) for i in range(len(values))]


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_a_slow_place_slows_what_is_beside_it_smoothly_and_beyond_the_ends_goes_on_as_it_ended(reach):
    for values in np.random.default_rng(reach).uniform(0.2, 1.5, (8, 14)):
        found = _least_around(values, reach)
        np.testing.assert_allclose(found, least_around(values, reach))
        assert (found <= values + 1e-12).all()


@pytest.mark.parametrize(("step", "reach"), [(0.02, 4), (0.04, 2), (0.2, 1)])
def test_what_a_path_asks_for_is_measured_place_by_place_and_slowed_80_ms_around(step, reach):
    """A joint moves from 4 to 5 s of 9, another one half as far; elsewhere both stand, where nothing is asked for."""
    times = np.arange(0.0, 9.01, 0.05)
    s = np.clip(times - 4.0, 0.0, 1.0)
    way = s**3 * (10.0 - 15.0 * s + 6.0 * s * s)
    kinds, wide = (Kind.POSITION, Kind.POSITION), np.full(2, 999.0)
    path = make_path(0.0, 0.05, np.stack([0.4 * way, -0.2 * way], axis=1), kinds, wide, wide)
    bounds = PathLimits(np.array([1.0, 0.2]), np.array([5.0, 2.0]), np.array([90.0, 80.0]), np.array([False, False]))
    count = round(4.0 / step)
    found = demand(path, 2.5, count, step, 0.03, bounds)
    assert (found.start, found.step) == (2.5, step) and found.velocity.shape == (count, 2)
    share = (np.abs(found.velocity) / (0.98 * bounds.speed)).max(axis=1)
    np.testing.assert_allclose(found.speed, least_around(1.0 / np.maximum(share, 0.01), reach))
    climbs = 0.6 / np.maximum((np.abs(found.velocity) / bounds.acceleration).max(axis=1), 0.02)
    np.testing.assert_allclose(found.climb, climbs)
    places = 2.5 + step * np.arange(count)
    still = (places < 3.0) | (places > 6.0)
    np.testing.assert_allclose(found.speed[still], 100.0)
    assert found.rate.shape == (count,) and (found.rate[still] > 5.0).all()
    assert 4.0 <= places[int(np.argmin(found.rate))] <= 5.0 and found.rate.min() < 2.0


@pytest.mark.parametrize("bound", ["speed", "rate"])
def test_the_rate_is_that_of_the_place_between_two_samples_and_before_and_after_all_of_them_that_of_the_nearest(bound):
    rng, step = np.random.default_rng(6), 0.05
    most, climb, wide = rng.uniform(0.3, 0.9, 12), rng.uniform(2.0, 6.0, 12), np.full(12, 9.0)
    both = (most, wide) if bound == "speed" else (wide, most)
    found = path_times(
        PathDemand(10.0, step, *both, climb, np.zeros((12, 1)), 0, "jerk", 2.5), 9.93, 0.0, 0.1, 1.0, np.ones(40)
    )
    time, rate = 9.93, 0.1
    for k in range(40):
        place = np.clip((time - 10.0) / step, 0.0, 11.0)
        rate = min(np.interp(place, np.arange(12), most), rate + step * climb[int(place)])
        assert (found.times[k], found.rates[k]) == (pytest.approx(time), pytest.approx(rate))
        time += step * rate
    assert time > 10.0 + 12 * step
    assert (found.channel, found.quantity, found.excess) == (0, "jerk", 2.5)
    assert found.factor == pytest.approx(np.mean(1.0 / most))


def test_a_delay_is_made_up_for_in_three_tenths_of_a_second_if_that_is_no_faster_than_1_3_times():
    for behind, rate in ((0.03, 1.1), (0.06, 1.2), (0.2, 1.3), (-0.03, 0.9), (-0.2, 0.7), (0.0, 1.0)):
        assert path_times(asked(climb=99.0), 10.0, behind, 1.0, 1.0, np.ones(1)).rates[0] == pytest.approx(rate)


def test_a_path_stands_never_quite_and_one_that_it_is_no_use_to_slow_takes_fifty_times_as_long():
    found = path_times(asked(rate=0.001), 10.0, 0.0, 0.0, 1.0, np.ones(9))
    np.testing.assert_allclose(found.rates, 0.02)
    assert found.factor == pytest.approx(50.0)


@pytest.mark.parametrize(("share", "rate"), [(0.019, 1.0), (0.021, 0.5)])
def test_a_path_slower_than_a_fiftieth_of_the_velocity_limits_says_nothing_about_how_fast_it_is_being_run(share, rate):
    path = np.array([0.6, -0.8]) * share * np.array([2.0, 6.0])  # of 2 and 6 rad/s, together `share` of them
    command = np.array([[0.0, 0.0], 0.5 * path, [0.0, 0.0]])
    assert starting_rate(path, command, limits(2.0, 9.0, 90.0)) == pytest.approx(rate)
