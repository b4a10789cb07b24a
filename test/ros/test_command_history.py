"""What was commanded at a moment: between two commands, and no longer than the newest one counts."""

import math

import pytest

from pi0_ros.ros.command_history import CommandHistory


@pytest.fixture
def history():
    made = CommandHistory()
    made.add(10.0, "autonomy", ("a", "b"), (0.1, -0.5))
    made.add(10.4, "teleop", ("a", "b"), (0.5, -0.3))
    return made


def test_between_two_commands_it_is_linear_and_he_drove_who_drove_before(history):
    found = history.at(10.1)
    assert found.driver == "autonomy" and found.command == pytest.approx({"a": 0.2, "b": -0.45})
    assert history.at(10.0).command == {"a": 0.1, "b": -0.5}
    assert (history.at(10.4).driver, history.at(10.4).command) == ("teleop", {"a": 0.5, "b": -0.3})


def test_the_newest_command_counts_for_a_fifth_of_a_second_and_so_does_the_first_before_it_came(history):
    assert history.at(10.59).command == {"a": 0.5, "b": -0.3} and history.at(10.61) is None
    assert history.at(9.81).command == {"a": 0.1, "b": -0.5} and history.at(9.79) is None
    assert CommandHistory().at(10.0) is None


def test_over_a_silence_of_more_than_a_second_nothing_is_known(history):
    history.add(11.3, "teleop", ("a", "b"), (1.4, 0.6))
    assert history.at(11.0).command == pytest.approx({"a": 1.1, "b": 0.3})
    history.add(12.4, "teleop", ("a", "b"), (0.0, 0.0))
    assert history.at(12.0) is None and history.reached == 12.4


def test_before_a_silence_a_command_counts_as_long_as_it_did_while_it_was_the_newest(history):
    known = {moment: history.at(moment) for moment in (10.4, 10.59, 10.61)}
    history.add(11.8, "teleop", ("a", "b"), (0.0, 0.0))
    assert {moment: history.at(moment) for moment in known} == known
    assert known[10.4].command == known[10.59].command == {"a": 0.5, "b": -0.3} and known[10.61] is None


def test_what_is_not_finite_on_either_side_is_taken_as_it_was_before(history):
    history.add(10.6, "hold", ("a", "b"), (math.nan, 0.1))
    assert history.at(10.5).command == pytest.approx({"a": 0.5, "b": -0.1})


def test_a_clock_that_was_set_back_leaves_nothing_of_before(history):
    history.add(3.0, "hold", ("a", "b"), (0.7, 0.8))
    assert history.at(10.1) is None and history.at(3.1).command == {"a": 0.7, "b": 0.8} and history.reached == 3.0
    history.clear()
    assert history.reached == -math.inf and history.at(3.0) is None


def test_two_commands_of_one_moment_are_in_their_order_and_the_newer_one_counts(history):
    history.add(10.4, "hold", ("a", "b"), (0.9, 0.9))
    assert (history.at(10.4).driver, history.at(10.4).command) == ("hold", {"a": 0.9, "b": 0.9})
    assert history.at(10.2).command == pytest.approx({"a": 0.3, "b": -0.4})


def test_the_oldest_of_more_than_512_commands_are_forgotten():
    made = CommandHistory()
    for k in range(514):
        made.add(k * 0.5, "teleop", ("a",), (float(k),))
    assert made.at(1.0).command == {"a": 2.0} and made.at(0.75) is None and made.at(0.85).command == {"a": 2.0}


def test_a_channel_that_the_next_command_lacks_stays_as_it_was(history):
    history.add(10.6, "hold", ("b",), (0.1,))
    assert history.at(10.5).command == pytest.approx({"a": 0.5, "b": -0.1})


def test_a_command_before_the_newest_though_after_the_first_begins_anew():
    history = CommandHistory()
    for stamp in (10.0, 12.0, 11.0):
        history.add(stamp, "autonomy", ["a"], [stamp])
    assert history.reached == 11.0 and history.at(10.0) is None and history.at(11.0).command == {"a": 11.0}


def test_two_commands_of_one_moment_are_passed_by_the_second():
    history = CommandHistory()
    for stamp, value in ((10.0, 1.0), (10.0, 2.0), (10.04, 4.0)):
        history.add(stamp, "autonomy", ["a"], [value])
    assert history.at(10.0).command == {"a": 2.0} and history.at(10.01).command["a"] == pytest.approx(2.5)
