"""Numbers and nouns of sentences."""

import pytest

from pi0_ros.robot.wording import counted, leave_one, listed


@pytest.mark.parametrize(("count", "said"), [(0, "0 episodes"), (1, "1 episode"), (2, "2 episodes")])
def test_only_one_of_a_thing_is_in_the_singular(count, said):
    assert counted(count, "episode") == said


def test_names_in_a_row_have_an_and_before_the_last():
    assert listed(["a", "b"]) == "a and b" and listed(("a", "b", "c", "d")) == "a, b, c and d"


@pytest.mark.parametrize(("count", "said"), [(2, "end one of the two"), (3, "end all but one"), (9, "end all but one")])
def test_of_two_one_is_ended_and_of_more_all_but_one(count, said):
    assert leave_one(count) == said
