"""How many requests a server may have before it answers the first."""

import pytest

from pi0_ros.control.in_flight import InFlight
from pi0_ros.control.plan_cover import standing_time


def told(in_flight, *times, beside=False):
    return [in_flight.note(took, beside) for took in times]


@pytest.mark.parametrize(
    ("took", "lasts", "requests"), [(0.6, 0.96, 3), (0.33, 0.96, 3), (0.3, 0.96, 1), (0.6, 2.5, 1)]
)
def test_answers_that_take_more_than_a_third_of_a_plan_allow_several_requests_at_once(took, lasts, requests):
    in_flight = InFlight(3)
    told(in_flight, took, took, took)
    assert in_flight.allowed(lasts) == requests


def test_nothing_is_concluded_from_the_first_two_answers():
    in_flight = InFlight(3)
    told(in_flight, 5.0, 5.0)
    assert in_flight.allowed(0.96) == 1


def test_who_asks_for_one_at_a_time_gets_one_at_a_time():
    in_flight = InFlight(1)
    told(in_flight, 0.6, 0.6, 0.6, 0.6)
    assert in_flight.allowed(0.96) == 1


def test_a_server_whose_answers_take_as_long_beside_others_keeps_its_three():
    in_flight = InFlight(3)
    told(in_flight, 0.6, 0.62, 0.58)
    assert not any(told(in_flight, 0.61, 0.66, 0.6, 0.7, 0.6, beside=True))
    assert in_flight.allowed(0.96) == 3


def test_a_server_that_infers_for_one_after_another_is_asked_by_one_less_until_it_is_one():
    in_flight = InFlight(3)
    told(in_flight, 0.6, 0.6, 0.6)
    assert told(in_flight, 1.8, 1.8, 1.8, beside=True) == [False, False, True] and in_flight.allowed(0.96) == 2
    assert told(in_flight, 1.2, 1.2, 1.2, beside=True) == [False, False, True] and in_flight.allowed(0.96) == 1
    told(in_flight, 0.6, 0.6, 0.6)
    assert in_flight.allowed(0.96) == 1


def test_a_server_that_became_quick_is_asked_one_at_a_time_again():
    in_flight = InFlight(3)
    told(in_flight, 0.6, 0.6, 0.6)
    told(in_flight, 0.1, 0.1, 0.1, beside=True)
    assert in_flight.allowed(0.96) == 1


@pytest.mark.parametrize(
    ("latency", "interval", "stands"), [(0.6, None, 0.24), (0.6, 0.4, 0.04), (0.6, 0.3, 0.0), (0.9, 0.3, 0.24)]
)
def test_requests_that_are_closer_together_than_answers_shorten_the_stand(latency, interval, stands):
    assert standing_time(latency, 0.96, interval) == pytest.approx(stands)


def test_who_asks_for_one_at_a_time_is_never_told_that_one_less_is_allowed():
    in_flight = InFlight(1)
    told(in_flight, 0.6, 0.6, 0.6)
    assert not any(told(in_flight, 1.8, 1.8, 1.8, 1.8, beside=True)) and in_flight.most == 1


def test_before_three_answers_came_alone_nothing_is_said_of_those_beside_others():
    in_flight = InFlight(3)
    told(in_flight, 0.1, 0.1)
    assert not any(told(in_flight, 1.8, 1.8, 1.8, 1.8, beside=True))
    assert told(in_flight, 0.6) == [True] and in_flight.most == 2


def test_the_newest_five_answers_of_each_kind_count():
    in_flight = InFlight(3)
    told(in_flight, *[0.1] * 9, *[0.6] * 3)  # the middle one of the newest five
    assert in_flight.allowed(0.96) == 3
    in_flight = InFlight(3)
    told(in_flight, *[1.2] * 5)
    assert told(in_flight, *[0.1] * 9, *[1.8] * 3, beside=True) == [False] * 11 + [True]
