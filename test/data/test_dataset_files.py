"""A dataset that goes on: what is put behind it counts on where it ended."""

import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from pi0_ros.data.dataset_files import DatasetFiles, EpisodeContent, Place, table_of
from pi0_ros.data.episode_log import EpisodeLog, checked_label
from pi0_ros.data.errors import DataError
from pi0_ros.data.features import checked_features, with_standard

FEATURES = with_standard(checked_features({"pose": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]}}))


def episode(count, start=0, tasks=("wave",), note=None):
    pose = np.arange(start, start + count)[:, None] * np.array([1.0, -2.0])
    table = table_of({"pose": pose.astype(np.float32)}, FEATURES)
    return EpisodeContent(table, [tasks[k % len(tasks)] for k in range(count)], note=note or {})


def rows(folder, name):
    return [v for f in sorted((folder / "data").rglob("*.parquet")) for v in pq.read_table(f)[name].to_pylist()]


def meta(folder):
    return [r for f in sorted((folder / "meta/episodes").rglob("*.parquet")) for r in pq.read_table(f).to_pylist()]


def test_episodes_of_a_second_life_count_on(tmp_path):
    first = DatasetFiles(tmp_path, 10, FEATURES, "arm")
    assert [first.append(episode(3, tasks=("wave", "nod"))), first.append(episode(2, 3))] == [0, 1]
    second = DatasetFiles(tmp_path, 10, FEATURES, "arm")
    assert (second.episodes, second.frames) == (2, 5)
    assert second.append(episode(4, 5, tasks=("clap", "nod"))) == 2
    assert rows(tmp_path, "index") == list(range(9)) and rows(tmp_path, "frame_index") == [0, 1, 2, 0, 1, 0, 1, 2, 3]
    assert rows(tmp_path, "task_index") == [0, 1, 0, 0, 0, 2, 1, 2, 1]
    assert [pose[1] for pose in rows(tmp_path, "pose")] == [-2.0 * k for k in range(9)]
    np.testing.assert_allclose(rows(tmp_path, "timestamp"), [0, 0.1, 0.2, 0, 0.1, 0, 0.1, 0.2, 0.3], atol=1e-7)
    assert [(r["dataset_from_index"], r["dataset_to_index"], r["length"]) for r in meta(tmp_path)] == [
        (0, 3, 3), (3, 5, 2), (5, 9, 4),
    ]  # fmt: skip
    info = json.loads((tmp_path / "meta/info.json").read_text())
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 9, 3)
    assert info["splits"] == {"train": "0:3"} and info["robot_type"] == "arm" and info["fps"] == 10
    stats = json.loads((tmp_path / "meta/stats.json").read_text())["pose"]
    assert stats["count"] == [9] and stats["max"] == [8.0, 0.0] and stats["mean"] == [4.0, -8.0]


def test_a_robot_that_nobody_named_goes_on_as_the_one_that_was_named(tmp_path):
    DatasetFiles(tmp_path, 10, FEATURES, "arm").append(episode(1))
    DatasetFiles(tmp_path, 10, FEATURES).append(episode(1))
    assert json.loads((tmp_path / "meta/info.json").read_text())["robot_type"] == "arm"
    with pytest.raises(DataError, match="the robot is leg, and arm in the dataset"):
        DatasetFiles(tmp_path, 10, FEATURES, "leg")
    with pytest.raises(DataError, match="fps is 15, and 10 in the dataset"):
        DatasetFiles(tmp_path, 15, FEATURES, "arm")


def test_an_episode_without_a_frame_is_refused_and_counts_nowhere(tmp_path):
    files = DatasetFiles(tmp_path, 10, FEATURES)
    with pytest.raises(DataError, match="an episode without a frame cannot be saved"):
        files.append(episode(0))
    assert files.append(episode(1)) == 0 and files.frames == 1


@pytest.mark.parametrize(
    ("size", "more", "limit", "frames", "turns"),
    [
        (900_000, 100_000, 1.0, 1, False),
        (900_000, 100_001, 1.0, 1, True),
        (10, 10, 1.0, 5, False),
        (10, 10, 1.0, 6, True),
        (None, 10**9, 1.0, 10**6, False),  # a file that is not there has room for anything
    ],
)
def test_a_file_is_full_beyond_its_bytes_or_its_frames(tmp_path, size, more, limit, frames, turns):
    file = tmp_path / "file"
    if size is not None:
        file.write_bytes(bytes(size))
    place = Place(7, frames=15)
    place.turn(file, more, limit, frames, most=20)
    assert (place.number, place.frames) == ((8, 0) if turns else (7, 15))


def test_the_thousandth_file_lies_in_the_next_folder(tmp_path):
    assert Place(999).path == {"chunk_index": 0, "file_index": 999}
    assert Place(1000).path == {"chunk_index": 1, "file_index": 0}
    assert Place.behind(tmp_path, "chunk-*/file-*").number == 0
    for name in ("chunk-000/file-017.mp4", "chunk-002/file-003.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert Place.behind(tmp_path, "chunk-*/file-*.mp4").number == 2004


def test_notes_of_episodes_are_replaced_labelled_and_checked(tmp_path):
    log = EpisodeLog(tmp_path)
    assert log.read() == {}
    log.set(4, {})  # nothing is known of it: no file
    assert not (tmp_path / "meta").exists()
    log.set(4, {"robot": "arm"})
    log.label(4, {"outcome": "success"})
    log.label(2, {"score": 0.5})
    assert log.read() == {2: {"score": 0.5}, 4: {"robot": "arm", "outcome": "success"}}
    log.set(2, {})
    assert log.read() == {4: {"robot": "arm", "outcome": "success"}}
    assert checked_label("failure", 0.0, None) == {"outcome": "failure", "score": 0.0} and checked_label() == {}
    assert checked_label(outcome="") == {"outcome": ""}, "which takes a label away"
    with pytest.raises(DataError, match="outcome 'fine' is none; choose from success, failure, discarded"):
        checked_label("fine")
    for score in (math.nan, math.inf, -math.inf):
        with pytest.raises(DataError, match="score .* is no number"):
            checked_label(score=score)
    (tmp_path / "meta/pi0_episodes.json").write_text('{"1": 2}')
    with pytest.raises(DataError, match="holds no notes of episodes"):
        log.read()


def test_what_a_save_that_broke_off_left_is_taken_away_when_the_dataset_is_opened(tmp_path):
    DatasetFiles(tmp_path, 10, FEATURES).append(episode(2))
    whole = {f for f in tmp_path.rglob("*") if f.is_file()}
    (tmp_path / "meta" / ".info.json.new.123").write_text("half")
    (tmp_path / "data" / "chunk-000" / ".file-000.parquet.new.9").write_text("half")
    DatasetFiles(tmp_path, 10, FEATURES)
    assert {f for f in tmp_path.rglob("*") if f.is_file()} == whole
