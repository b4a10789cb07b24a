"""Frames of several parts: their rows, their episodes, and what tells one recorded moment from another."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from pi0_ros.train.frame_cache import differences
from pi0_ros.train.frames import MixedFrames, StackedArrays, join, moments

sys.path.insert(0, str(Path(__file__).parent))
from test_training import some_frames


def test_arrays_behind_one_another_are_read_by_row_wherever_it_lies():
    first, second, third = (
        start + np.arange(count * 2).reshape(count, 2) for start, count in ((0, 3), (100, 1), (200, 4))
    )
    both = StackedArrays([first, second, third])
    assert len(both) == 8 and both.shape == (8, 2)
    assert both[np.array([7, 0, 3, 2, 4])].tolist() == [[206, 207], [0, 1], [100, 101], [4, 5], [200, 201]]


def test_episodes_of_several_parts_stay_apart_whatever_their_numbers():
    parts = [some_frames(0), some_frames(1), some_frames(2)]  # episodes 0 to 3 each
    parts[0] = replace(parts[0], episode=parts[0].episode + 5)
    mixed = MixedFrames.of(parts)
    expected = [parts[0].episode, parts[1].episode + 9, parts[2].episode + 13]
    assert mixed.episode.tolist() == np.concatenate(expected).tolist() and len(mixed) == 72
    assert join(parts).episode.tolist() == mixed.episode.tolist()


@pytest.mark.parametrize("what", ["state", "first row", "last row"])
def test_a_moment_is_told_by_its_state_and_both_ends_of_its_chunk(what):
    frames = some_frames()
    before = moments(frames)
    assert len(set(before.tolist())) == len(frames) and moments(some_frames()).tolist() == before.tolist()
    changed = {"state": frames.state[4], "first row": frames.chunk[4, 0], "last row": frames.chunk[4, -1]}[what]
    changed[7] += 1e-3
    assert np.flatnonzero(moments(frames) != before).tolist() == [4]


def test_what_frames_were_made_of_differs_in_words_whichever_came_first():
    one = {
        "dataset": "a",
        "files": "1",
        "adapter": {},
        "picture_size": 96,
        "horizon": 16,
        "skip_bad": False,
        "facts": "",
        "way": "x",
    }
    for key, words in (("files", "the dataset's files"), ("horizon", "the horizon"), ("skip_bad", "--skip-bad")):
        other = one | {key: "other"}
        assert differences(one, other) == differences(other, one) == [words]
    assert differences(one, one) == [] and differences(one, one | {"choice": "{}"}) == ["what the mixture takes of it"]
