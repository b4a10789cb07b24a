"""Which words a frame is about, by time."""

import pytest

from pi0_ros.ros.spoken_words import Origin, WordHistory, Words, newest, words_of


def test_a_text_is_in_force_from_its_moment_on_and_the_first_one_before_it_too():
    history = WordHistory()
    assert history.at(5.0) == ""
    history.add(1.0, " lift \n it ")
    history.add(2.0, "put it down")
    assert [history.at(t) for t in (0.0, 1.0, 1.99, 2.0, 9.0)] == [
        "lift it",
        "lift it",
        "lift it",
        "put it down",
        "put it down",
    ]
    assert newest([history, WordHistory()], 1.5) == ["lift it", ""]


def test_of_more_than_64_texts_the_oldest_are_forgotten():
    history = WordHistory()
    for k in range(66):
        history.add(float(k), f"text {k}")
    assert history.at(0.0) == history.at(2.5) == "text 2" and history.at(65.0) == "text 65"


@pytest.mark.parametrize(
    ("driver", "task", "subtask", "override", "found"),
    [
        ("autonomy", "tidy", "grasp", "", Words("tidy", "grasp", Origin.NETWORK)),
        ("autonomy", "tidy", "tidy", "", Words("tidy")),
        ("autonomy", "tidy", "", "", Words("tidy")),
        ("teleop", "tidy", "grasp", "", Words("tidy")),
        ("teleop", "tidy", "grasp", "left", Words("tidy", "left", Origin.OPERATOR)),
        ("autonomy", "tidy", "grasp", "tidy", Words("tidy", "tidy", Origin.OPERATOR)),
    ],
)
def test_the_operators_words_count_and_then_the_networks_while_it_drives(driver, task, subtask, override, found):
    assert words_of(driver, task, subtask, override) == found
    assert found.instruction == (found.subtask or task)
