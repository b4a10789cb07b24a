"""Which strategy a chunk is followed with."""

import numpy as np
import pytest

from pi0_ros.control import Chunk, ExecutorSettings
from pi0_ros.control.strategy import Strategies


def chunk(rows=11, frozen=0):
    return Chunk(100.0, 0.1, ("a",), np.zeros((rows, 1)), 1, 1, "policy", frozen)


@pytest.mark.parametrize("wanted", ["blend", "ensemble", "replace", "rtc"])
def test_at_rest_there_is_nothing_to_join_to(wanted):
    decide = Strategies(ExecutorSettings(strategy=wanted)).decide
    assert decide(100.1, chunk(frozen=3), False, 0.0) == ("replace", "")
    assert decide(100.1, chunk(frozen=3), True, 0.0) == (wanted, "")


def test_rtc_without_frozen_rows_is_blended():
    assert Strategies(ExecutorSettings(strategy="rtc")).decide(100.1, chunk(), True, 0.0) == ("blend", "")


@pytest.mark.parametrize(("drives", "executed"), [(True, 0.0), (False, 0.02)])
def test_wait_refuses_what_was_observed_while_the_robot_moved(drives, executed):
    strategy, refusal = Strategies(ExecutorSettings(strategy="wait")).decide(100.1, chunk(), drives, executed)
    assert strategy == "wait" and "still executing the chunk before" in refusal


def test_a_new_owner_begins_anew_and_its_first_delay_is_a_cold_start():
    strategies = Strategies(ExecutorSettings())
    assert strategies.decide(101.1, chunk(), True, 0.0) == ("wait", "")
    assert (
        strategies.waits
        == "strategy wait: a chunk of 1.00 s arrives after 1.10 s; the robot stands while the policy thinks"
    )
    strategies.forget()
    assert strategies.waits == ""
    assert strategies.decide(100.7, chunk(), True, 0.0) == ("blend", "")
    strategies.delays.add(1.0, 0.9)
    assert strategies.delays.p95 == 0.0


@pytest.mark.parametrize("wanted", ["replace", "blend", "ensemble", "rtc", "auto"])
def test_only_auto_waits_by_itself_and_says_so(wanted):
    """The chunk comes 1.8 s after its observation, more than 0.9 of what it lasts."""
    strategies = Strategies(ExecutorSettings(strategy=wanted))
    found = strategies.decide(101.8, chunk(20), drives=True, executed=0.0)
    assert found == ({"auto": "wait", "rtc": "blend"}.get(wanted, wanted), "")
    said = "strategy wait: a chunk of 1.90 s arrives after 1.80 s; the robot stands while the policy thinks"
    assert strategies.waits == (said if wanted == "auto" else "")


def test_what_auto_says_of_its_delay_is_the_larger_of_this_one_and_the_usual_one():
    strategies = Strategies(ExecutorSettings())
    for k in range(5):
        strategies.delays.add(50.0 + k, 1.85)
    strategies.decide(100.2, chunk(20), drives=False, executed=0.0)
    assert "arrives after 1.85 s" in strategies.waits
    strategies.forget()
    assert strategies.waits == ""


@pytest.mark.parametrize(
    ("wanted", "drives", "frozen", "expected"),
    [
        ("auto", True, 0, "blend"),
        ("auto", False, 0, "replace"),
        ("blend", False, 3, "replace"),
        ("blend", True, 3, "blend"),
        ("replace", True, 0, "replace"),
        ("ensemble", True, 0, "ensemble"),
        ("rtc", True, 3, "rtc"),
        ("rtc", True, 0, "blend"),
        ("wait", False, 0, "wait"),
    ],
)
def test_a_chunk_that_comes_soon_is_followed_as_was_set_where_there_is_something_to_join_to(
    wanted, drives, frozen, expected
):
    strategies = Strategies(ExecutorSettings(strategy=wanted))
    assert strategies.decide(100.2, chunk(20, frozen=frozen), drives, executed=0.0) == (expected, "")


def test_auto_takes_rtc_up_once_frozen_rows_have_covered_the_delay_three_times_in_a_row():
    strategies, sure = Strategies(ExecutorSettings()), chunk(20, frozen=3)  # 0.3 s of rows are certain
    found = [strategies.decide(at, sure, True, 0.0)[0] for at in (100.2, 100.25, 100.2, 100.2, 100.4, 100.2)]
    assert found == ["blend", "blend", "rtc", "rtc", "blend", "blend"]


def test_a_standing_robot_is_waited_for_too_and_only_where_the_policy_is_slow():
    strategies = Strategies(ExecutorSettings())
    assert strategies.decide(100.2, chunk(), drives=False, executed=0.0) == ("replace", "") and strategies.waits == ""
    assert strategies.decide(100.2, chunk(), drives=True, executed=0.3) == ("blend", "") and strategies.waits == ""
    assert strategies.decide(101.1, chunk(), drives=False, executed=0.0) == ("wait", "") and strategies.waits != ""


def test_the_first_delay_after_a_change_of_owner_is_no_measure_though_earlier_ones_were():
    strategies = Strategies(ExecutorSettings())
    for k in range(3):
        strategies.delays.add(50.0 + k, 0.1)
    assert strategies.delays.p95 == pytest.approx(0.1)
    strategies.forget()
    for at in (60.0, 60.1):  # the largest of those that count is left out, too
        strategies.delays.add(at, 9.0)
    assert strategies.delays.p95 == pytest.approx(0.1)
