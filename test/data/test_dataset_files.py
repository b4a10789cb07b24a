"""A dataset that goes on: what is put behind it counts on where it ended."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pi0_ros.data.dataset_files import DatasetFiles, EpisodeContent, FileLimits, Place, table_of
from pi0_ros.data.episode_log import EpisodeLog, checked_label
from pi0_ros.data.errors import DataError
from pi0_ros.data.features import checked_features, with_standard
from pi0_ros.data.video import Part, VideoWriter

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
    for wrong in ('{"1": 2}', '{"1": {}, "2": 3}', "[]"):
        (tmp_path / "meta/pi0_episodes.json").write_text(wrong)
        with pytest.raises(DataError, match="holds no notes of episodes"):
            log.read()


def test_what_a_save_that_broke_off_left_is_taken_away_when_the_dataset_is_opened(tmp_path):
    DatasetFiles(tmp_path, 10, FEATURES).append(episode(2))
    whole = {f for f in tmp_path.rglob("*") if f.is_file()}
    (tmp_path / "meta" / ".info.json.new.123").write_text("half")
    (tmp_path / "data" / "chunk-000" / ".file-000.parquet.new.9").write_text("half")
    DatasetFiles(tmp_path, 10, FEATURES)
    assert {f for f in tmp_path.rglob("*") if f.is_file()} == whole


def test_a_dataset_that_was_begun_and_has_nothing_yet_goes_on_from_0(tmp_path):
    DatasetFiles(tmp_path, 10, FEATURES)
    again = DatasetFiles(tmp_path, 10, FEATURES)
    assert (again.episodes, again.frames) == (0, 0)
    again.append(episode(2))
    assert rows(tmp_path, "index") == [0, 1] and rows(tmp_path, "task_index") == [0, 0]


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"pose": {"dtype": "float32", "shape": (3,), "names": ["x", "y", "z"]}}, r"shape of pose is \[?\(?3,?\]?\)?, and \[2\] in"),
        ({"pose": {"dtype": "float64", "shape": (2,), "names": ["x", "y"]}}, "dtype of pose is float64, and float32 in"),
        ({"lift": {"dtype": "float32", "shape": (1,), "names": None}}, "lift is only in the new frames"),
        ({}, "pose is only in the dataset"),
    ],
)  # fmt: skip
def test_what_differs_from_a_dataset_is_said_with_which_is_which(tmp_path, own, said):
    DatasetFiles(tmp_path, 10, FEATURES)
    with pytest.raises(DataError, match=rf"holds a dataset of another kind \({said}.*give a new folder"):
        DatasetFiles(tmp_path, 10, with_standard(checked_features(own)))


def info_with(folder, **changes):
    file = folder / "meta/info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_dataset_of_an_older_version_does_not_go_on(tmp_path):
    DatasetFiles(tmp_path, 10, FEATURES)
    info_with(tmp_path, codebase_version="v2.1")
    with pytest.raises(DataError, match=r"info\.json: version 'v2\.1' cannot go on; give a new folder"):
        DatasetFiles(tmp_path, 10, FEATURES)


@pytest.mark.parametrize("each", [False, True])
def test_episodes_that_info_json_does_not_count_are_taken_away(tmp_path, each):
    """As a save leaves them that broke off before its last step. each: every episode has files of its own."""
    limits = FileLimits(data=0) if each else FileLimits()
    files = DatasetFiles(tmp_path, 10, FEATURES, limits=limits)
    for count, start, note in ((3, 0, {"by": "me"}), (2, 3, {"by": "you"}), (4, 5, {"by": "her"})):
        files.append(episode(count, start, note=note))
    info_with(tmp_path, total_episodes=1, total_frames=3)
    again = DatasetFiles(tmp_path, 10, FEATURES, limits=limits)
    assert rows(tmp_path, "index") == [0, 1, 2] and [r["episode_index"] for r in meta(tmp_path)] == [0]
    assert again.log.read() == {0: {"by": "me"}}
    assert again.append(episode(2, 7)) == 1
    assert rows(tmp_path, "index") == [0, 1, 2, 3, 4] and [pose[0] for pose in rows(tmp_path, "pose")] == [
        0,
        1,
        2,
        7,
        8,
    ]
    assert json.loads((tmp_path / "meta/info.json").read_text())["total_frames"] == 5


def test_an_episode_that_info_json_counts_and_no_table_has_is_named(tmp_path):
    files = DatasetFiles(tmp_path, 10, FEATURES, limits=FileLimits(episodes=1))
    for start in (0, 2, 4):
        files.append(episode(2, start))
    (tmp_path / "meta/episodes/chunk-000/file-001.parquet").unlink()
    with pytest.raises(DataError, match=r"counts 3 episodes, and number 1 is not among them.*pi0 data keep"):
        DatasetFiles(tmp_path, 10, FEATURES)


def test_instructions_are_known_again_also_from_pandas_index(tmp_path):
    """LeRobot has named the column "task" or left it as the index without a name."""
    files = DatasetFiles(tmp_path, 10, FEATURES)
    files.append(episode(2, tasks=("wave", "nod")))
    table = pq.read_table(tmp_path / "meta/tasks.parquet")
    pq.write_table(
        pa.table({"task_index": table["task_index"], "__index_level_0__": table["task"]}),
        tmp_path / "meta/tasks.parquet",
    )
    DatasetFiles(tmp_path, 10, FEATURES).append(episode(3, tasks=("nod", "bow", "wave")))
    assert rows(tmp_path, "task_index") == [0, 1, 1, 2, 0]


def test_videos_of_no_episode_are_taken_away_and_the_others_stay(tmp_path):
    features = with_standard(checked_features({"eye": {"dtype": "video", "shape": (16, 16, 3), "names": None}}))
    writer = VideoWriter(tmp_path / "v.mp4", 10, (16, 16, 3))
    for _ in range(2):
        writer.add(np.full((16, 16, 3), 90, np.uint8))
    writer.close()
    files = DatasetFiles(tmp_path / "set", 10, features)
    shown = {"eye": {"count": np.array([2]), **{k: np.full((3, 1, 1), 0.5) for k in ("min", "max", "mean", "std")}}}
    files.append(EpisodeContent(table_of({}, features), ["go", "go"], {"eye": Part(tmp_path / "v.mp4", 2)}, shown))
    films = tmp_path / "set/videos/eye/chunk-000"
    (films / "file-007.mp4").write_bytes(b"orphan")
    DatasetFiles(tmp_path / "set", 10, features)
    assert [f.name for f in films.iterdir()] == ["file-000.mp4"]
    (row,) = meta(tmp_path / "set")
    assert (row["videos/eye/from_timestamp"], row["videos/eye/to_timestamp"]) == (0.0, 0.2)
    stats = json.loads((tmp_path / "set/meta/stats.json").read_text())
    assert stats["eye"]["count"] == [2] and stats["timestamp"]["max"] == [pytest.approx(0.1)]


@pytest.mark.parametrize(
    ("limits", "data", "video"), [(None, 100, 200), (FileLimits(data=0, video=0), 100, 200), (FileLimits(7, 9), 7, 9)]
)
def test_info_json_says_lerobots_sizes_of_files_where_none_is_asked_for(tmp_path, limits, data, video):
    """Its DEFAULT_DATA_FILE_SIZE_IN_MB, DEFAULT_VIDEO_FILE_SIZE_IN_MB and DEFAULT_CHUNK_SIZE; it reads none of 0."""
    DatasetFiles(tmp_path, 10, FEATURES, limits=limits)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    assert (info["data_files_size_in_mb"], info["video_files_size_in_mb"], info["chunks_size"]) == (data, video, 1000)


def test_another_file_is_begun_before_one_holds_too_many_rows_or_episodes_or_bytes(tmp_path):
    """Episodes of 2, 3, 1 and 4 rows, of which five fit into a file of data and three episodes into one of meta."""
    files = DatasetFiles(tmp_path / "rows", 10, FEATURES, limits=FileLimits(rows=5, episodes=3))
    for count in (2, 3, 1, 4):
        files.append(episode(count))
    held = {
        kind: [len(pq.read_table(f)) for f in sorted((tmp_path / "rows" / kind).rglob("*.parquet"))]
        for kind in ("data", "meta/episodes")
    }
    assert held == {"data": [5, 5], "meta/episodes": [3, 1]}
    assert [r["data/file_index"] for r in meta(tmp_path / "rows")] == [0, 0, 1, 1]
    assert [r["meta/episodes/file_index"] for r in meta(tmp_path / "rows")] == [0, 0, 0, 1]
    each = DatasetFiles(tmp_path / "each", 10, FEATURES, limits=FileLimits(data=0))
    for count in (2, 3):
        each.append(episode(count))
    assert [r["data/file_index"] for r in meta(tmp_path / "each")] == [0, 1]
