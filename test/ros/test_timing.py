"""The numbers by which a loop says how well it keeps its time."""

import pytest

from pi0_ros.ros.timing import PeriodTimes, Ring, Tally


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
