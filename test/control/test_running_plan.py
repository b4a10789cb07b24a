"""What is known of the plan that is followed: where on it the robot is, what is left, and whether a limit changed its command."""

from types import SimpleNamespace

import numpy as np
import pytest

from pi0_ros.control.running_plan import AcceptedChunk, Running

TIMES = [50.0, 50.02, 50.05, 50.09, 50.14]  # path seconds of five commands, a late plan that catches up


def running(index, clamped=(False, True, False), limited=(False, False, False, True, False)):
    """A plan on a path of three rows from 50.0 on, 0.06 s apart."""
    path = SimpleNamespace(start=50.0, end=50.12, period=0.06)
    plan = SimpleNamespace(
        path=path,
        path_times=np.array(TIMES),
        states=np.zeros((5, 3, 1)),
        limited=np.array(limited),
        request=SimpleNamespace(times=SimpleNamespace(times=np.array([49.99, 50.01, 50.2]))),
    )
    return Running(AcceptedChunk(1, 2, "policy", 50.0, 0.06, "", "replace", clamped), plan, 0.3, index)


@pytest.mark.parametrize(
    ("index", "time", "left", "over", "ended"),
    [
        (-1, 49.99, 0.13, False, False),
        (0, 50.0, 0.12, False, False),
        (3, 50.09, 0.03, False, False),
        (4, 50.14, 0.0, True, True),
        (9, 50.14, 0.0, True, True),
    ],
)
def test_where_it_is_and_what_is_left(index, time, left, over, ended):
    found = running(index)
    assert (found.path_time, found.left) == (pytest.approx(time), pytest.approx(left))
    assert (found.over, found.ended) == (over, ended)


def test_a_path_that_has_ended_is_over_though_its_stop_goes_on():
    found = running(3)
    found.plan.path.end = 50.09 + 5e-7  # a rounding of ROS time
    assert found.over and not found.ended


def test_a_command_is_limited_where_its_row_was_clamped_or_the_plan_left_its_rows():
    assert [running(index).limited for index in range(-1, 5)] == [False, False, False, False, True, False]
    rows = [running(index, limited=(False,) * 5).limited for index in range(5)]
    assert rows == [False, False, False, True, False]  # 50.09 is in the second row
    last = [running(index, (False, False, True), (False,) * 5).limited for index in range(5)]
    assert last == [False, False, False, False, True]


def test_how_late_the_path_is_at_a_later_command():
    """0.3 s, and what the commands until then take longer than their path: 0.08 s for 0.1 s of path."""
    assert running(0).behind_at(3, 0.02) == pytest.approx(0.3 + 0.08 - 0.1)


@pytest.mark.parametrize(
    ("index", "join", "ahead"), [(1, 3, 0.07), (1, 1, 0.0), (-1, 0, 0.01), (-1, 2, 0.06), (-1, -1, 0.0)]
)
def test_how_much_of_the_path_lies_between_the_last_command_and_a_later_one(index, join, ahead):
    assert running(index).path_until(join) == pytest.approx(ahead)


def test_no_command_was_limited_before_the_first_and_the_first_may_be():
    none, all_of_them = (False,) * 5, (True,) * 3
    assert not running(-1, all_of_them, (True,) * 5).limited
    assert running(0, (False,) * 3, (True, *none[1:])).limited and running(0, (True, False, False), none).limited
    assert running(4, (True,), none).limited  # rows that are not known any more are as the last one


def test_a_plan_that_ends_before_its_path_is_over_with_its_last_command():
    for index, over in ((3, False), (4, True), (5, True)):
        found = running(index)
        found.plan.path.end = 77.0
        assert found.over is over and found.ended is over
