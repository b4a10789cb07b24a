"""What a run trains on and what it holds out."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from pi0_ros.train.draw import Draws
from pi0_ros.train.frames import Frames, MixedFrames
from pi0_ros.train.lots import Lots, split_episodes
from pi0_ros.train.mixed import MixedMaker

sys.path.insert(0, str(Path(__file__).parent))
from test_training import some_frames


def rows_of(frames: Frames, rows: np.ndarray) -> Frames:
    """These frames alone, as a source has them that chooses among the episodes of a dataset."""
    names = ("images", "state", "chunk", "task", "high_task", "high_target", "facts", "episode", "valid")
    return replace(frames, **{name: getattr(frames, name)[rows] for name in names})


def test_what_one_source_holds_out_another_one_of_the_same_recording_does_not_train_on():
    """The second source has the first three of four episodes: its last is not the last of the first one."""
    whole = some_frames()
    chosen = rows_of(whole, np.flatnonzero(whole.episode < 3))
    sources = np.repeat([0, 1], [len(whole), len(chosen)])
    trained, held = split_episodes(MixedFrames.of([whole, chosen]), 0.25, sources)
    at = np.concatenate([whole.episode, chosen.episode])
    assert set(at[held]) == {3, 2} and set(at[trained]) == {0, 1}
    assert {0, 1} == set(sources[trained]) and len(trained) == 4 * 6


def test_other_recordings_and_moments_that_repeat_inside_a_source_are_all_trained_on():
    one, other = some_frames(0), some_frames(1)
    one.state[0], one.chunk[0] = (
        one.state[-1],
        one.chunk[-1],
    )  # a robot that stands as it stood in the episode that is held out
    sources = np.repeat([0, 1], [len(one), len(other)])
    trained, held = split_episodes(MixedFrames.of([one, other]), 0.25, sources)
    assert len(trained) == 36 and len(held) == 12 and 0 in trained


@pytest.mark.parametrize("given", [(), (1.0, 3.0)])
def test_high_level_examples_are_drawn_by_the_mixtures_weights_without_text_too(given):
    """20 frames of one source and 4 of another: n^0.43 of each, or one to three as given, and not 20 to 4."""
    frames = MixedFrames.of([some_frames()])
    sources = np.repeat([0, 1], [20, 4])
    draws = Draws(frames, sources, ("large", "small"), given=given)
    chances = draws.word_chances(np.arange(24), [])
    share = 0.75 if given else 4**0.43 / (20**0.43 + 4**0.43)
    assert chances[20:].sum() == pytest.approx(share) and chances.sum() == pytest.approx(1.0)
    assert Draws(frames, np.zeros(24, int), ("alone",)).word_chances(np.arange(24), []) is None


def test_without_a_share_nothing_is_held_out_and_a_source_of_one_episode_is_trained_on_whole():
    frames = some_frames()
    trained, held = split_episodes(frames, 0.0)
    assert len(trained) == 24 and len(held) == 0
    assert [len(part) for part in split_episodes(replace(frames, episode=np.zeros(24, np.int32)), 0.25)] == [24, 0]
    assert [len(part) for part in split_episodes(frames, 1e-6)] == [18, 6] and len(split_episodes(frames, 0.99)[0]) == 6


def test_what_was_drawn_is_counted_by_source_and_text():
    """6 frames of each of two sources, and three texts of a third: rows 0 to 5, 6 to 11, 12 to 14."""
    parts = [rows_of(some_frames(seed), np.arange(6)) for seed in (0, 1)]
    texts = SimpleNamespace(items=("x", "y", "z"))
    maker = MixedMaker(tuple(SimpleNamespace(frames=part) for part in parts), (texts,))
    job = SimpleNamespace(settings=SimpleNamespace(validation_share=0.0, still_weight=1.0), maker=maker)
    lots = Lots(job, Draws(maker.frames, np.repeat([0, 1], 6), ("a", "b"), texts=("web",)))
    assert lots.word_rows.tolist() == [*range(12), 12, 13, 14]
    lots.note(np.array([0, 5, 7, 12, 14, 14]))
    lots.note(np.array([6, 8]))
    assert lots.drawn_shares() == {"a": 2 / 8, "b": 3 / 8, "web": 3 / 8}
