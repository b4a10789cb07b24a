"""What a high_level node says of itself: the worst first."""

from types import SimpleNamespace

import pytest

from pi0_ros.ros.diagnostics import ERROR, OK, WARN
from pi0_ros.ros.subtask_health import subtask_health

ORDER = [
    ({"failure": "out of memory"}, 1, ERROR, "decoding failed: out of memory"),
    ({"given_up": True}, 1, ERROR, "not deciding: in circles"),
    ({"reason": "no picture"}, 1, WARN, "not deciding: no picture"),
    ({"unfit": "no text head"}, 1, WARN, "no text head"),
    ({"repeated": "in circles"}, 1, WARN, "in circles"),
    ({}, 2, WARN, "another node publishes on subtask and is overwritten: use subtask_override"),
    ({}, 1, OK, "subtask: lift it"),
]


def loop(gives=True, given_up=False, repeated="", subtask="lift it", **status):
    usual = {
        "failure": "", "reason": "", "unfit": "", "answers": 3, "log_probability": -0.5, "refused": 4,
        "last_refused": "odd", "failures": 5, "seconds": 0.25,
    }  # fmt: skip
    return SimpleNamespace(
        status=SimpleNamespace(**(usual | status)), desk=SimpleNamespace(task="tidy up"),
        decision=SimpleNamespace(subtask=subtask),
        watch=SimpleNamespace(given_up=given_up, reason=lambda: repeated, progress=SimpleNamespace(retries=6)),
        policy=SimpleNamespace(contract=SimpleNamespace(gives_subtasks=gives, finished=("rest",))),
    )  # fmt: skip


@pytest.mark.parametrize("place", range(len(ORDER)))
def test_the_worst_is_said_before_all_that_is_less_bad(place):
    """Everything further down the list is the case as well."""
    case = {}
    for changes, *_ in ORDER[place:]:
        case |= changes
    found = subtask_health(loop(**case), max(publishers for _, publishers, *_ in ORDER[place:]))
    assert (found.level, found.message) == ORDER[place][2:]
    assert found.values == {
        "task": "tidy up", "subtask": "lift it", "answers": 3, "log_probability": -0.5, "refused": 4, "last_refused": "odd",
        "failures": 5, "seconds": 0.25, "retries": 6,
    }  # fmt: skip


def test_a_subtask_that_says_that_nothing_is_left_is_said_to_do_so():
    found = subtask_health(loop(subtask="rest"), 1)
    assert found.level == OK and found.message.startswith("subtask: rest, ") and "nothing is left" in found.message


def test_a_network_that_gives_no_subtasks_passes_the_task_on():
    found = subtask_health(loop(gives=False), 1)
    assert (found.level, found.message) == (OK, "the task as it is: tidy up")
