"""Why no plan is made, whatever is seen."""

import pytest

pytest.importorskip("rclpy")

from pi0_ros.control.planning import Situation
from pi0_ros.ros.prompt_source import PromptSource
from pi0_ros.ros.withheld import PromptRules, Wait, Withheld, withheld

SUBTASK, TASK = PromptRules("subtask", 5.0), PromptRules("task", 5.0)
DRIVING = Situation(received=100.0, mode="autonomy")


def words(text="go", heard=100.0, topic="subtask"):
    said = PromptSource(topic)
    said.hear(text, heard)
    return said


def cause(*given):
    found = withheld(*given)
    return None if found is None else found.wait


def test_nothing_is_in_the_way_of_a_fresh_prompt_and_an_executor_that_is_heard():
    assert withheld(words(), SUBTASK, "", DRIVING, 100.4) is None


@pytest.mark.parametrize(
    ("said", "rules", "executor", "steady", "expected"),
    [
        (words(""), SUBTASK, DRIVING, 100.0, Wait.PROMPT),
        (words(heard=94.9), SUBTASK, DRIVING, 100.0, Wait.FRESH_SUBTASK),
        (words(heard=95.0), SUBTASK, DRIVING, 100.0, None),
        (words(heard=94.9, topic="task"), TASK, DRIVING, 100.0, None),
        (words(heard=9.0), PromptRules("subtask", 0.0), DRIVING, 100.0, None),
        (words(), SUBTASK, DRIVING, 100.6, Wait.EXECUTOR),
        (words(), SUBTASK, Situation(received=100.0, mode="stopped"), 100.0, Wait.RESET),
        (words(), SUBTASK, Situation(received=100.0, mode="teleop"), 100.0, None),
    ],
    ids=["no words", "old subtask", "as old as it may be", "a task does not age", "any age", "executor silent", "stopped", "a person drives"],
)  # fmt: skip
def test_what_is_in_the_way_is_a_cause(said, rules, executor, steady, expected):
    assert cause(said, rules, "", executor, steady) is expected


def test_where_nobody_has_said_anything_the_command_that_does_is_named():
    told = withheld(words(""), SUBTASK, "", DRIVING, 100.0).sentence
    assert told == 'no subtask yet; give a task with pi0 task "WORDS", or publish on subtask'


def test_without_a_subtask_the_reason_that_high_level_gave_is_said_and_without_a_task_it_has_none():
    told = withheld(words(""), SUBTASK, "given up, take over", DRIVING, 100.0)
    assert (told.wait, told.sentence) == (Wait.PROMPT, "no subtask: given up, take over")
    assert "no task yet" in withheld(words("", topic="task"), TASK, "given up", DRIVING, 100.0).sentence


def test_an_old_subtask_is_said_with_the_reason_that_high_level_gave():
    old = words(heard=90.0)
    assert withheld(old, SUBTASK, "no task yet", DRIVING, 100.0).sentence == "the subtask is 10 s old; no task yet"
    assert "is high_level running?" in withheld(old, SUBTASK, "", DRIVING, 100.0).sentence


def test_an_operators_word_does_not_age():
    said = words(heard=9.0)
    said.override("wave")
    assert withheld(said, SUBTASK, "", DRIVING, 100.0) is None


def test_a_reason_is_another_one_by_its_cause_and_cameras_and_not_by_numbers_in_its_sentence():
    blind = Withheld(Wait.OBSERVATION, "camera left: last picture 0.31 s ago", ("left",))
    assert blind.is_as(Withheld(Wait.OBSERVATION, "camera left: last picture 0.36 s ago", ("left",)))
    assert not blind.is_as(Withheld(Wait.OBSERVATION, "camera left: last picture 0.31 s ago", ("right",)))
    assert not blind.is_as(Withheld(Wait.PROMPT, "camera left: last picture 0.31 s ago", ("left",)))
    assert not blind.is_as(None)
