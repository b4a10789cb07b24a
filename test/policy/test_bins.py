"""256 bins a dimension: the ids OpenVLA gives, and what they come back as."""

from __future__ import annotations

import numpy as np
import pytest

from pi0_ros.policy import tiny_tokenizer
from pi0_ros.policy.bins import BinTokenizer
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.fast import FastTokenizer, answer_ids, extract_actions, fit_fast, load_action_tokenizer


def test_a_number_is_the_bin_between_two_edges_and_its_middle_comes_back():
    # OpenVLA: edges -1, -1 + 2/255, ..., 1; the last id stands for exactly 1.
    ids = BinTokenizer().encode([[-1.0, -0.9999, 0.0], [0.5, 1.0, 7.0]])
    assert ids == [0, 0, 127, 191, 255, 255]
    found = BinTokenizer().decode(ids, 2, 3)
    width = 2 / 255
    wanted = [[-1 + width / 2, -1 + width / 2, -1 + 127.5 * width], [-1 + 191.5 * width, 1 - width / 2, 1 - width / 2]]
    assert np.allclose(found, wanted)


def test_every_value_comes_back_within_half_a_bin():
    chunk = np.random.default_rng(0).uniform(-1, 1, (16, 7))
    tokenizer = BinTokenizer()
    assert np.abs(tokenizer.decode(tokenizer.encode(chunk), 16, 7) - chunk).max() <= 1 / 255 + 1e-9


def test_the_answer_is_said_and_read_through_the_same_words_as_fast():
    words, chunk = tiny_tokenizer.build(), np.linspace(-0.9, 0.9, 12).reshape(4, 3)
    said = answer_ids(words, BinTokenizer(), chunk)
    assert np.abs(extract_actions(words, BinTokenizer(), said, 4, 3) - chunk).max() <= 1 / 255 + 1e-9


@pytest.mark.parametrize(("failure", "wanted"), [("zeros", [[0, 0], [0, 0]]), ("truncate", [[1, 1], [1, 0]])])
def test_an_answer_of_another_length_follows_its_habit(failure, wanted):
    assert np.allclose(BinTokenizer(failure=failure).decode([255, 255, 255], 2, 2), wanted, atol=0.01)
    with pytest.raises(PolicyError, match="3 numbers instead of 2 x 2"):
        BinTokenizer(failure="refuse").decode([255, 255, 255], 2, 2)


def test_a_folder_says_which_kind_it_holds(tmp_path):
    BinTokenizer(128).save(tmp_path / "bins")
    fit_fast([np.eye(4)] * 3, vocab_size=256).save(tmp_path / "fast")
    assert load_action_tokenizer(tmp_path / "bins", "refuse") == BinTokenizer(128, "refuse")
    assert isinstance(load_action_tokenizer(tmp_path / "fast"), FastTokenizer)
    (tmp_path / "bins" / "processor_config.json").write_text(
        '{"processor_class": "BinActionProcessor", "bins": "many"}'
    )
    with pytest.raises(PolicyError, match="bins 'many' has to be a whole number"):
        load_action_tokenizer(tmp_path / "bins")


def test_bins_refuse_what_is_no_chunk():
    with pytest.raises(PolicyError, match="one finite"):
        BinTokenizer().encode([[np.nan]])
