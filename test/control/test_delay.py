"""The delay that the next chunk is expected to have, from unequal delays."""

import pytest

from pi0_ros.control.delay import DelayEstimator


def estimator(*delays, every=0.1, cold=0.9):
    found = DelayEstimator()
    for k, delay in enumerate((cold, *delays)):
        found.add(100.0 + every * k, delay)
    return found


def test_it_is_the_95th_percentile_and_not_the_middle_or_the_largest():
    delays = [0.01 * k for k in range(1, 22)]  # 0.01 .. 0.21: 95 % are at most 0.20
    assert estimator(*reversed(delays)).p95 == pytest.approx(0.20)


def test_the_first_delay_after_a_start_is_left_out_every_time():
    found = estimator(0.2, 0.3)
    assert found.p95 == 0.2
    found.cold_start()
    found.add(101.0, 5.0)
    assert found.p95 == 0.2
    found.add(101.1, 0.4)
    assert found.p95 == 0.3


def test_delays_older_than_twenty_seconds_say_nothing_and_no_more_than_thirty_two_are_kept():
    found = estimator(0.8, 0.8, 0.8)
    found.add(120.15, 0.1)  # 20.05 s after the first of them, not after the others
    assert found.p95 == 0.8
    found.add(121.0, 0.1)
    found.add(121.0, 0.1)
    assert found.p95 == 0.1
    assert estimator(*[0.9] * 40, *[0.1] * 32).p95 == 0.1


def test_of_the_newest_thirty_two_delays_the_largest_is_left_out():
    """0.60, 0.59, ... 0.01: 0.32 is the largest of the newest 32, and 0.30 is 95 % of the 31 below it."""
    assert estimator(*[0.01 * k for k in range(60, 0, -1)]).p95 == pytest.approx(0.30)


def test_a_single_delay_is_what_is_expected_and_without_any_none():
    assert DelayEstimator().p95 == estimator().p95 == 0.0
    assert estimator(0.25).p95 == 0.25
