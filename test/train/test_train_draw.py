"""How often a frame is drawn, by hand."""

import numpy as np
import pytest

pytest.importorskip("torch")

from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.train.draw import Draws, draw_chances, shares
from pi0_ros.train.embodiments import SourceSpec, adapter_of, task_numbers


def test_small_weights_count_against_one_another_as_large_ones_do():
    """Two sources of 2 and 3 frames; whose weights are small in the first, and large in the second."""
    sources = np.array([0, 0, 1, 1, 1])
    weight = np.array([0.1, 0.3, 5.0, 0.0, 15.0])
    found = draw_chances(sources, None, 1.0, weight=weight)
    whole = np.array([2.0, 3.0]) ** 0.43
    first, second = whole / whole.sum()
    np.testing.assert_allclose(found, [first / 4, first * 3 / 4, second / 4, 0.0, second * 3 / 4])
    assert shares(sources, found, 2) == pytest.approx([first, second])


def test_a_source_whose_weights_are_all_zero_is_drawn_evenly():
    found = draw_chances(np.array([0, 0, 1]), None, 1.0, weight=np.array([0.0, 0.0, 2.0]))
    first = 2**0.43 / (2**0.43 + 1)
    np.testing.assert_allclose(found, [first / 2, first / 2, 1 - first])


def test_what_stands_still_is_drawn_less_by_its_liveliness():
    found = draw_chances(np.zeros(3, int), np.array([0.0, 0.5, 1.0]), 0.25)
    np.testing.assert_allclose(found, np.array([0.25, 0.625, 1.0]) / 1.875)


def test_given_shares_are_divided_among_those_that_are_there():
    """Three sources were given shares, and of the second no frame is trained on."""
    found = draw_chances(np.array([0, 2, 2]), None, 1.0, given=(1.0, 5.0, 3.0))
    np.testing.assert_allclose(found, [0.25, 0.375, 0.375])


def test_texts_are_drawn_behind_the_frames_by_their_sources():
    draws = Draws(None, np.array([0, 0, 1]), ("a", "b"), given=(1.0, 1.0), text_weights=(2.0,), texts=("web",))
    found = draws.word_chances(np.array([0, 2]), [4])
    np.testing.assert_allclose(found, [0.25, 0.25, *[0.125] * 4])
    assert draws.word_chances(np.array([0]), []) is not None
    assert draws.word_chances(np.zeros(0, int), []) is None, "several datasets that have no subtasks"
    alone = Draws(None, np.array([0, 0]), ("a",))
    assert alone.word_chances(np.array([0, 1]), []) is None and len(alone.word_chances(np.array([0, 1]), [3])) == 5


def test_a_source_has_no_weight_and_no_control_mode_of_its_own_unless_it_says_so():
    assert SourceSpec("home").weight == 0.0, "by n^0.43 of its frames"
    plain = load_adapter("mobile_bimanual")
    assert adapter_of(SourceSpec("home", adapter="mobile_bimanual")) == plain
    other = adapter_of(SourceSpec("home", adapter="mobile_bimanual", control_mode="joint"))
    assert other.prompt == {**(plain.prompt or {}), "control_mode": "joint"}


def test_the_same_words_have_one_number_in_all_parts():
    class Part:
        def __init__(self, texts, task):
            self.texts, self.task = texts, np.array(task)

    found = task_numbers([Part(("a", "b"), [1, 0, -1]), Part(("c", "b"), [0, 1])])
    assert found.tolist() == [1, 0, -1, 2, 1]
