"""Which of the texts that a network decodes becomes the subtask."""

import math

import pytest

from pi0_ros.policy.subtask_choice import Decision, refusal


def test_a_subtask_is_replaced_only_after_it_was_decoded_twice_running():
    decision = Decision(2)
    assert decision.decoded("a") and decision.subtask == "a"
    assert not decision.decoded("b") and decision.subtask == "a"
    assert decision.decoded("a")
    assert not decision.decoded("b") and decision.decoded("b") and decision.subtask == "b"
    decision.restart()
    assert decision.decoded("c") and decision.subtask == "c"


@pytest.mark.parametrize("text", ["", "  ", "x" * 121, "a\x00b"])
def test_text_that_is_no_subtask_is_refused(text):
    assert refusal(text)
    assert not refusal("touch the red block with the left arm")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("touch the red block with the left arm", True),
        ("done", True),
        ("touch the red block with the left arm and run", False),
        ("I think done", False),
        ("touch the red block with the third arm", False),
        ("", False),
    ],
)
def test_an_answer_has_to_have_the_form_that_the_text_head_was_trained_on_as_a_whole(text, good):
    assert (refusal(text, r"done|touch the \w+ block with the (left|right) arm") == "") is good


@pytest.mark.parametrize(("log_probability", "good"), [(-0.5, True), (-0.51, False), (0.0, True), (math.nan, False)])
def test_an_answer_has_to_be_sure_enough(log_probability, good):
    assert (refusal("go", log_probability=log_probability, least=-0.5) == "") is good
