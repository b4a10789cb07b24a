import pytest

from pi0_ros.control.plan_making import MakingTimes


def made(*milliseconds):
    times = MakingTimes()
    for value in milliseconds:
        times.add(1e-3 * value)
    return times


@pytest.mark.parametrize(("spare", "periods"), [(0.0081, 0), (0.0079, 1), (0.003, 1), (0.0, 1), (-0.015, 2)])
def test_a_plan_that_takes_8_ms_begins_with_the_first_command_that_is_due_later_than_that(spare, periods):
    assert made(*[8.0] * 20).periods(spare, 0.02) == periods


def test_one_slow_plan_among_many_makes_no_other_wait_but_one_in_five_does():
    assert made(*[3.0] * 19, 50.0).periods(0.01, 0.02) == 0
    assert made(*[3.0] * 16, *[50.0] * 4).periods(0.01, 0.02) == 2


def test_what_was_slow_long_ago_is_forgotten():
    assert made(*[50.0] * 40, *[3.0] * 32).periods(0.01, 0.02) == 0


def test_nine_of_ten_among_the_newest_thirty_two_count():
    """0.9 of 32 are 28.8: the 29th."""
    assert made(*[50.0] * 40, *[3.0] * 29).periods(0.01, 0.02) == 0
    assert made(*[50.0] * 40, *[3.0] * 28).periods(0.01, 0.02) == 2
