"""An operator's word wins until it is taken back."""

import pytest

pytest.importorskip("rclpy")

from pi0_ros.ros.prompt_source import PromptSource


def test_the_override_wins_over_later_subtasks_does_not_age_and_gives_the_newest_back():
    words = PromptSource("subtask")
    words.hear("touch the red block", 10.0)
    assert (words.text, words.topic, words.age(13.0)) == ("touch the red block", "subtask", 3.0)
    words.override("  hold\n the cup ")
    words.hear("touch the blue block", 12.0)
    assert (words.text, words.topic, words.age(500.0)) == ("hold the cup", "subtask_override", 0.0)
    words.override("")
    assert (words.text, words.topic, words.age(13.0)) == ("touch the blue block", "subtask", 1.0)


def test_words_are_withdrawn_by_an_empty_text_and_by_every_change_of_the_operators_word():
    words = PromptSource("subtask")
    counts = []
    for say in (
        lambda: words.hear("", 0.0),  # there was nothing to withdraw
        lambda: words.hear("touch the red block", 1.0),
        lambda: words.hear("touch the blue block", 2.0),  # the next one follows by itself
        lambda: words.hear("", 3.0),
        lambda: words.hear("", 4.0),
        lambda: words.override("wave"),
        lambda: words.override(" wave\n"),
        lambda: words.hear("touch the red block", 5.0),
        lambda: words.hear("", 6.0),  # nobody follows it now
        lambda: words.override("bow"),
        lambda: words.override(""),
    ):
        say()
        counts.append(words.withdrawn)
    assert counts == [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4]


def test_before_any_word_nothing_is_followed_and_nothing_is_withdrawn():
    words = PromptSource("subtask")
    assert (words.text, words.topic, words.overridden, words.withdrawn, words.age(3.0)) == (
        "",
        "subtask",
        False,
        0,
        3.0,
    )
