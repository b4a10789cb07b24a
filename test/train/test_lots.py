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


def lots_of(maker, draws=None, share=0.25, still=0.25) -> Lots:
    settings = SimpleNamespace(validation_share=share, still_weight=still)
    job = SimpleNamespace(settings=settings, maker=maker, draws=draws)
    return Lots(job, draws) if draws else Lots.of(job)


def test_of_one_source_rows_are_drawn_evenly_and_held_out_ones_never():
    lots = lots_of(SimpleNamespace(frames=replace(some_frames(), high_target=np.arange(24, dtype=np.int32) % 3 - 1)))
    drawn = np.bincount(lots.draw_actions(np.random.default_rng(1), 6000), minlength=24)
    assert drawn[18:].tolist() == [0] * 6 and drawn[:18].min() > 250 and drawn[:18].max() < 420
    words = np.bincount(lots.draw_words(np.random.default_rng(1), 1200), minlength=24)
    assert np.flatnonzero(words).tolist() == [k for k in range(18) if k % 3] and words.max() < 150
    assert lots.drawn_shares() == {} and lots.draw_actions(np.random.default_rng(1), 5).shape == (5,)


def test_rows_that_stand_still_are_drawn_by_the_settings_share_and_words_are_not():
    frames, lively = some_frames(), np.where(np.arange(24) < 6, 0.0, 1.0)
    draws = Draws(MixedFrames.of([frames]), np.zeros(24, int), ("a",), lively)
    lots = lots_of(SimpleNamespace(frames=frames), draws, still=0.5)
    drawn = np.bincount(lots.draw_actions(np.random.default_rng(1), 15000), minlength=24)
    assert drawn[:6].mean() / drawn[6:18].mean() == pytest.approx(0.5, abs=0.04)
    words = np.bincount(lots.draw_words(np.random.default_rng(1), 9000), minlength=24)
    assert words[:6].mean() / words[6:18].mean() == pytest.approx(1.0, abs=0.06)


def test_about_so_many_rows_are_validated_on_each_once_and_the_same_ones_every_time():
    maker = SimpleNamespace(frames=some_frames(count=40))
    lots = lots_of(maker)
    ((name, own, rows),) = lots.held_out(4)
    assert name == "" and own is maker and len(set(rows.tolist())) == 4 and set(rows) <= set(range(30, 40))
    assert lots.held_out(4)[0][2].tolist() == rows.tolist()
    assert sorted(lots.held_out(99)[0][2].tolist()) == [*range(30, 40)]


def test_of_several_sources_each_has_its_part_of_what_is_validated_on():
    parts = [SimpleNamespace(frames=some_frames(seed, count)) for seed, count in ((0, 24), (1, 16), (2, 8))]
    maker = MixedMaker(tuple(parts))
    draws = Draws(maker.frames, np.repeat([0, 1, 2], [24, 16, 8]), ("a", "b", "c"))
    lots = lots_of(maker, draws)
    found = lots.held_out(11)
    assert [(name, part) for name, part, _ in found] == list(zip("abc", parts, strict=True))
    assert [len(rows) for _, _, rows in found] == [3, 3, 2]
    for (_, _, rows), count in zip(found, (24, 16, 8), strict=True):
        assert len(set(rows.tolist())) == len(rows) and min(rows) >= count * 3 / 4 and max(rows) < count
    assert [len(rows) for _, _, rows in lots.held_out(2)] == [1, 1, 1]
    assert [rows.tolist() for _, _, rows in lots.held_out(11)] == [rows.tolist() for _, _, rows in found]


def test_sources_of_several_robots_come_with_their_draws():
    maker = MixedMaker((SimpleNamespace(frames=some_frames()),))
    with pytest.raises(AssertionError, match="come with their draws"):
        lots_of(maker)


def test_texts_are_drawn_for_words_and_never_for_actions():
    texts = SimpleNamespace(items=("x", "y"))
    maker = MixedMaker((SimpleNamespace(frames=some_frames(0, 8)),), (texts,))
    draws = Draws(maker.frames, np.zeros(8, int), ("a",), given=(1.0,), texts=("web",), text_weights=(3.0,))
    lots = lots_of(maker, draws, share=0.0)
    assert set(lots.draw_actions(np.random.default_rng(1), 200)) == set(range(8))
    words = np.bincount(lots.draw_words(np.random.default_rng(1), 4000), minlength=10)
    assert words[8:].sum() / 4000 == pytest.approx(0.75, abs=0.03) and words.min() > 50
