"""How much of its plans a robot has executed since a moment."""

import pytest

from pi0_ros.control.progress import Progress


def test_what_was_executed_since_a_moment_counts_and_standing_adds_nothing():
    progress = Progress()
    for time, seconds in ((10.0, 0.02), (10.5, 0.3), (11.0, 0.0), (11.5, 0.1)):
        progress.add(time, seconds)
    assert progress.since(9.0) == pytest.approx(0.42)
    assert progress.since(10.0) == pytest.approx(0.40)
    assert progress.since(10.5) == progress.since(11.0) == pytest.approx(0.10)
    assert progress.since(11.5) == 0.0 and progress.since(12.0) == 0.0


def test_between_two_periods_it_is_proportional():
    progress = Progress()
    progress.add(10.0, 0.0)
    progress.add(10.5, 0.4)
    assert progress.since(10.1) == pytest.approx(0.32)
    progress.add(11.0, 0.2)
    progress.add(12.0, 0.3)
    assert progress.since(11.25) == pytest.approx(0.75 * 0.3)


def test_nothing_was_executed_before_the_first_period():
    assert Progress().since(3.0) == 0.0


def test_a_new_owner_has_executed_nothing_yet():
    progress = Progress()
    progress.add(10.0, 0.02)
    progress.add(10.5, 0.3)
    progress.clear()
    assert (progress.since(9.0), progress.total) == (0.0, 0.0)
    progress.add(11.0, 0.1)
    assert progress.since(10.2) == progress.total == 0.1


def test_of_more_than_4096_periods_the_oldest_are_forgotten_and_before_the_others_all_counts():
    progress = Progress()
    for k in range(5000):
        progress.add(100.0 + k, 0.5)
    assert progress.since(100.0 + 5000 - 4096) == pytest.approx(0.5 * 4095)
    assert progress.since(100.0 + 5000 - 4097) == progress.total == 2500.0
