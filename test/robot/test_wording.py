"""Numbers and nouns of sentences."""

import pytest

from pi0_ros.robot.wording import counted


@pytest.mark.parametrize(("count", "said"), [(0, "0 episodes"), (1, "1 episode"), (2, "2 episodes")])
def test_only_one_of_a_thing_is_in_the_singular(count, said):
    assert counted(count, "episode") == said
