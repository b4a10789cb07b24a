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
