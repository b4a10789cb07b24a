"""Frames of several parts: their rows, their episodes, and what tells one recorded moment from another."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frame_cache import cache_folder, differences, made_of, refreshed
from pi0_ros.train.frames import Frames, MixedFrames, StackedArrays, join, load_frames, moments, save_frames

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


def few(seed: int, count: int, **changes) -> Frames:
    return replace(some_frames(seed, count), **changes)


def test_every_list_of_joined_frames_is_that_of_the_parts_behind_one_another_and_words_stay_words():
    one = few(0, 8, texts=("go", "stop"), task=np.array([1, 0, 0, 1, 0, 1, 1, 0], np.int32))
    one = replace(one, high_task=one.task - 1, high_target=np.full(8, -1, np.int32))
    other = few(1, 4, texts=("stop", "rest"), task=np.array([0, 1, 1, 0], np.int32))
    other = replace(other, high_task=other.task, high_target=np.array([-1, 0, 1, -1], np.int32))
    found = join([one, other])
    for name in ("state", "chunk", "facts", "valid"):
        np.testing.assert_array_equal(getattr(found, name), np.concatenate([getattr(p, name) for p in (one, other)]))
    assert found.texts == ("go", "stop", "rest")
    assert found.task.tolist() == [1, 0, 0, 1, 0, 1, 1, 0, 1, 2, 2, 1]
    assert found.high_task.tolist() == [0, -1, -1, 0, -1, 0, 0, -1, 1, 2, 2, 1]
    assert found.high_target.tolist() == [-1] * 8 + [-1, 1, 2, -1]
    assert found.has_subtask.tolist() == [False] * 9 + [True, True, False]


def test_weights_and_presence_of_some_parts_are_one_and_all_in_the_others():
    heavy = few(0, 4, weight=np.array([3.0, 1.0, 0.5, 2.0], np.float32), present=np.zeros((4, 3), bool))
    plain = few(1, 8)
    for parts, weights in (([plain, heavy], [*[1.0] * 8, 3.0, 1.0, 0.5, 2.0]), ([heavy, plain], None)):
        found = join(parts)
        assert weights is None or found.weight.tolist() == weights
        assert found.present.any(1).tolist() == [p is plain for p in parts for _ in range(len(p))]
    assert join([plain, plain]).weight is None is join([plain, plain]).present


def test_a_part_without_frames_counts_nowhere_unless_there_is_no_other():
    def nothing(seed: int) -> Frames:
        whole = some_frames(seed)
        names = ("images", "state", "chunk", "task", "high_task", "high_target", "facts", "episode", "valid")
        return replace(whole, cameras=("elsewhere",), **{n: getattr(whole, n)[:0] for n in names})

    found = join([nothing(0), few(1, 8), nothing(2), few(3, 4)])
    assert len(found) == 12 and found.cameras == some_frames().cameras
    assert found.episode.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7]
    assert len(join([nothing(0), nothing(1)])) == 0
    assert MixedFrames.of([nothing(0), few(1, 4), few(2, 4)]).episode.tolist() == [*range(8)]
    with pytest.raises(TrainError, match="not one frame"):
        join([])


@pytest.mark.parametrize("change", [{"cameras": ("a", "b", "c")}, {"channels": ("x",)}, {"period": 0.2}])
def test_frames_of_another_robot_or_rate_do_not_mix(change):
    with pytest.raises(TrainError, match="do not mix"):
        join([few(0, 4), few(1, 4), few(2, 4, **change)])


def test_frames_come_back_whole_and_without_a_file_of_theirs_they_are_refused(tmp_path):
    frames = few(0, 4, weight=np.array([3.0, 1.0, 0.5, 2.0], np.float32), period=0.05)
    save_frames(frames, tmp_path / "f")
    found = load_frames(tmp_path / "f")
    assert (found.cameras, found.channels, found.texts) == (frames.cameras, frames.channels, frames.texts)
    assert found.period == 0.05 and found.weight.tolist() == [3.0, 1.0, 0.5, 2.0] and found.present is None
    for name in ("images", "state", "chunk", "task", "high_task", "high_target", "facts", "episode", "valid"):
        np.testing.assert_array_equal(getattr(found, name), getattr(frames, name), err_msg=name)
    (tmp_path / "f" / "chunk.npy").unlink()
    with pytest.raises(TrainError, match=r"chunk\.npy is missing"):
        load_frames(tmp_path / "f")
    with pytest.raises(TrainError, match=r"no frames\.json there"):
        load_frames(tmp_path)


def of(place: Path, **changes) -> dict:
    given = {"size": 96, "horizon": 16, "skip_bad": False, "facts": "", "choice": ""} | changes
    return made_of(place, changes.pop("adapter", None) or load_adapter("mobile_bimanual"), **given)


def test_frames_are_of_the_datasets_files_and_of_how_they_are_read(tmp_path):
    place = tmp_path / "d"
    for name in ("meta/info.json", "data/chunk-000/file-000.parquet", "videos/a.mp4", "notes.txt"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("x")
    before = of(place)
    (place / "notes.txt").write_text("something else")
    assert of(place) == before, "what lies beside the data is no part of them"
    for number, name in enumerate(("meta/info.json", "data/chunk-000/file-000.parquet", "videos/a.mp4")):
        (place / name).write_text("x" * (number + 2))
        now = of(place)
        assert differences(before, now) == ["the dataset's files"]
        before = now
    (place / "data/chunk-000/file-000.parquet").rename(place / "data/chunk-000/file-001.parquet")
    assert differences(before, of(place)) == ["the dataset's files"]
    words = {"size": "the picture size", "horizon": "the horizon", "skip_bad": "--skip-bad", "facts": "--experiment"}
    for key, value in (("size", 32), ("horizon", 9), ("skip_bad", True), ("facts", "touch"), ("choice", "every: 2")):
        assert differences(of(place), of(place, **{key: value})) == [
            words.get(key, "what the mixture takes of it"),
        ]


def test_a_cache_is_kept_while_it_is_of_the_same_and_emptied_when_it_is_not(tmp_path):
    said: list[str] = []
    folder = refreshed(tmp_path / "c", {"horizon": 4, "files": "a"}, said.append)
    (folder / "shard-00000").mkdir()
    assert refreshed(folder, {"horizon": 4, "files": "a"}, said.append) == folder == tmp_path / "c"
    assert (folder / "shard-00000").is_dir() and not said
    refreshed(folder, {"horizon": 8, "files": "b"}, said.append)
    assert not (folder / "shard-00000").exists()
    assert said == [f"{folder}: made anew, because the dataset's files and the horizon changed since"]
    refreshed(folder, {"horizon": 8, "files": "b"}, said.append)
    assert len(said) == 1
    (tmp_path / "empty").mkdir()
    refreshed(tmp_path / "empty", {"horizon": 4}, said.append)
    assert (tmp_path / "empty" / "made_of.json").is_file() and len(said) == 1


def test_a_cache_is_called_as_its_dataset_and_told_apart_by_its_path(tmp_path):
    one, other = (cache_folder(tmp_path / "frames", tmp_path / name / "pick") for name in ("a", "b"))
    assert one != other and one.parent == tmp_path / "frames"
    assert one.name.startswith("pick-") and len(one.name) == len("pick-") + 8
    assert one == cache_folder(tmp_path / "frames", tmp_path / "b" / ".." / "a" / "pick")
