"""The numbers by which a loop says how well it keeps its time."""

import pytest

from pi0_ros.ros.timing import PeriodTimes, Ring, Tally, Timing


def test_a_ring_sums_up_the_newest_numbers_and_forgets_the_oldest():
    ring = Ring(200)
    assert ring.summary() == (0.0, 0.0, 0.0)
    for value in [1e6, *range(200)]:
        ring.add(float(value))
    assert ring.summary() == (100.0, 198.0, 199.0)
    few = Ring(200)
    few.add(3.0)
    assert few.summary() == (3.0, 3.0, 3.0)


def test_a_tally_knows_quantiles_of_all_there_ever_was_to_ten_microseconds():
    tally = Tally()
    assert tally.quantile(0.99) == 0.0
    for k in range(1000):
        tally.add(k * 1e-6)
    assert tally.quantile(0.5) == pytest.approx(500e-6, abs=1e-5)
    assert tally.quantile(0.99) == pytest.approx(990e-6, abs=1e-5)
    tally.add(3.0)
    assert tally.quantile(1.0) == pytest.approx(0.02, abs=2e-5)


def test_lateness_work_and_preparation_are_not_mixed_up_and_everything_is_counted():
    times = PeriodTimes(0.02)
    for k in range(101):
        times.prepared(0.0001 * k)
        times.worked(0.00001 * k, 0.001 * k / 100)
    times.overruns = 7
    timing = times.timing()
    assert (timing.prepare_p50, timing.prepare_max) == pytest.approx((0.005, 0.01))
    assert (timing.late_p50, timing.late_max) == pytest.approx((0.0005, 0.001))
    assert (timing.work_p50, timing.work_p99, timing.work_max) == pytest.approx((0.0005, 0.00099, 0.001))
    assert (timing.overruns, timing.ticks) == (7, 101) and timing.work_p99_run == pytest.approx(0.00099, abs=2e-5)


def test_a_ring_that_is_not_full_is_about_what_was_added_alone():
    ring = Ring(4)
    for count, value in enumerate((-3.0, -2.0, -4.0), 1):
        ring.add(value)
        assert ring.summary()[2] == (-3.0, -2.0, -2.0)[count - 1]
    assert ring.summary() == (-3.0, -2.0, -2.0)


def test_a_tally_counts_what_is_longer_than_twenty_milliseconds_as_that():
    for seconds, rounded in (
        (0.0, 0.00001),
        (0.019985, 0.01999),
        (0.019995, 0.02),
        (0.020001, 0.02001),
        (0.5, 0.02001),
    ):
        tally = Tally()
        tally.add(seconds)
        assert tally.quantile(0.5) == tally.quantile(1.0) == pytest.approx(rounded, abs=1e-9)


def test_before_the_first_period_nothing_is_late_and_nothing_was_lost():
    times = PeriodTimes(0.02)
    assert times.overruns == 0 and times.timing() == Timing()
    for k in range(3001):  # a minute has 3000 periods: the first is forgotten, but not among all there ever were
        times.worked(9.0 if k == 0 else 0.001, 0.015 if k == 0 else 0.0005)
    timing = times.timing()
    assert (timing.late_max, timing.work_max, timing.ticks) == (0.001, 0.0005, 3001)
