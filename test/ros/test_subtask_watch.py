"""What is said of subtasks without progress, and what makes them count anew."""

from dataclasses import replace

import pytest

pytest.importorskip("rclpy")

from pi0_ros.policy.subtask_progress import Progress, ProgressLimits, Repetition, Verdict
from pi0_ros.ros.subtask_watch import SubtaskWatch

LIMITS = ProgressLimits(timeout=10.0, repeats=3, retries=2)


@pytest.fixture
def watch():
    return SubtaskWatch(lambda: LIMITS)


def test_subtasks_are_followed_only_while_the_policy_drives(watch):
    assert watch.look("grasp", 0.0) is Verdict.GOING_ON and watch.look("grasp", 50.0) is Verdict.GOING_ON
    assert watch.progress == Progress() and not watch.given_up
    assert watch.update_mode("autonomy")
    assert watch.look("", 60.0) is Verdict.GOING_ON and watch.progress == Progress()
    assert watch.look("grasp", 60.0) is Verdict.GOING_ON and watch.look("grasp", 69.0) is Verdict.GOING_ON
    assert watch.look("grasp", 71.0) is Verdict.RETRY
    watch.update_mode("hold")
    assert watch.look("grasp", 99.0) is Verdict.GOING_ON
    watch.restart()
    assert watch.progress == Progress() and watch.reason() == ""


@pytest.mark.parametrize(
    ("given_up", "mode", "anew"),
    [(False, "hold", True), (False, "autonomy", True), (True, "hold", False), (True, "stopped", False),
     (True, "autonomy", True), (True, "teleop", True)],
)  # fmt: skip
def test_what_is_given_up_stays_so_until_a_person_drives_or_asks_for_autonomy(watch, given_up, mode, anew):
    if given_up:
        watch.progress = Progress(verdict=Verdict.GIVEN_UP)
    assert watch.given_up is given_up and watch.update_mode(mode) is anew


@pytest.mark.parametrize(
    ("subtasks", "times", "told"),
    [
        (("a",), 1, 'no progress: "a" for 42 s'),
        (("a", "b"), 3, 'no progress: "a", "b", 3 times in a row in 42 s'),
        (("a", "b", "c"), 4, 'no progress: "a", "b", "c", 4 times in a row in 42 s'),
        (("a", "b", "c", "d", "e"), 3, 'no progress: "a", "b", "c" and 2 more, 3 times in a row in 42 s'),
    ],
)
def test_what_made_no_progress_is_named_with_how_often_it_was_tried_and_the_way_out(watch, subtasks, times, told):
    watch.progress = Progress(retries=1, repetition=Repetition(subtasks, times, 42.2), verdict=Verdict.RETRY)
    assert watch.reason() == f"{told}; tried again, 1 of 2"
    watch.progress = replace(watch.progress, retries=2, verdict=Verdict.GIVEN_UP)
    assert watch.reason().startswith(f"{told}; given up after 2 retries: say the task again with pi0 task")
