"""Datasets written here: the files LeRobot writes, whole after every episode, whatever happens after."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pi0_ros.data.dataset import Dataset, DatasetWriter, FileLimits
from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import STANDARD

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden" / "dataset" / "data_v3"
SIDE = 32
NUMBERS = {
    "action": {"dtype": "float32", "shape": (2,), "names": ["a", "b"]},
    "count": {"dtype": "int64", "shape": (1,), "names": None},
    "words": {"dtype": "string", "shape": (1,), "names": None},
}
PICTURE = {"dtype": "video", "shape": (SIDE, SIDE, 3), "names": ["height", "width", "channels"]}


def level(frame: int) -> int:
    """A grey that tells frames apart."""
    return 20 + 7 * (frame % 30)


def row(frame: int, task: str = "wave") -> dict:
    return {"action": [frame, -frame], "count": frame, "words": f"w{frame}", "task": task}


def seen(frame: int, task: str = "wave") -> dict:
    return {**row(frame, task), "observation.images.eye": np.full((SIDE, SIDE, 3), level(frame), np.uint8)}


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    """The recorded dataset written once more from what is read of it."""
    source, folder = Dataset(GOLDEN), tmp_path_factory.mktemp("copied") / "set"
    features = {k: {n: f[n] for n in ("dtype", "shape", "names")} for k, f in source.features.items()}
    own = {k: f for k, f in features.items() if k not in STANDARD}
    with DatasetWriter(folder, source.fps, own, "tiny") as writer:
        for episode in source.episodes:
            for i in range(episode.start, episode.stop):
                frame = source[i]
                writer.add_frame({k: frame[k] for k in (*own, "task")})
            writer.save_episode()
    return folder


def test_the_same_files_with_the_same_columns_as_lerobots_are_written(copied):
    names = sorted(p.relative_to(GOLDEN) for p in GOLDEN.rglob("*") if p.is_file())
    assert sorted(p.relative_to(copied) for p in copied.rglob("*") if p.is_file()) == names
    for name in (n for n in names if n.suffix == ".parquet"):
        found, recorded = (pq.read_schema(folder / name) for folder in (copied, GOLDEN))
        assert found.equals(recorded), name


def test_info_has_the_keys_and_features_that_lerobot_writes(copied):
    found, recorded = (json.loads((folder / "meta/info.json").read_text()) for folder in (copied, GOLDEN))
    assert list(found) == list(recorded)
    for key, feature in recorded["features"].items():
        ours = found["features"][key]
        assert {n: ours[n] for n in ("dtype", "shape", "names")} == {n: feature[n] for n in ("dtype", "shape", "names")}
        assert set(ours.get("info", {})) == set(feature.get("info", {}))
    plain = [k for k in recorded if k not in ("features",)]
    assert {k: found[k] for k in plain} == {k: recorded[k] for k in plain}


def test_the_tables_carry_the_notes_by_which_datasets_and_pandas_know_them(copied):
    name = "data/chunk-000/file-000.parquet"
    found, recorded = (json.loads(pq.read_schema(f / name).metadata[b"huggingface"]) for f in (copied, GOLDEN))
    assert found["info"] == recorded["info"]
    found, recorded = (
        json.loads(pq.read_schema(f / "meta/tasks.parquet").metadata[b"pandas"]) for f in (copied, GOLDEN)
    )
    assert {k: found[k] for k in ("index_columns", "columns", "column_indexes")} == {
        k: recorded[k] for k in ("index_columns", "columns", "column_indexes")
    }


def test_statistics_of_the_same_numbers_are_lerobots(copied):
    """Outer quantiles bound those of the episodes; the version that wrote the recorded ones took their means."""
    found, recorded = Dataset(copied).stats, Dataset(GOLDEN).stats
    episodes = pq.read_table(GOLDEN / "meta/episodes/chunk-000/file-000.parquet")
    assert set(found) == set(recorded)
    for key, named in recorded.items():
        for name, outermost in (("q01", np.min), ("q10", np.min), ("q90", np.max), ("q99", np.max)):
            each = np.array(episodes.column(f"stats/{key}/{name}").to_pylist())
            named = {**named, name: outermost(each, axis=0)}
        # Pictures went through a lossy video in between; lone pixels move the extremes.
        close = {"atol": 0.02} if key.startswith("observation.images") else {"atol": 1e-6, "rtol": 0}
        for name, value in named.items():
            assert found[key][name].shape == value.shape
            if not (key.startswith("observation.images") and name in ("min", "max")):
                np.testing.assert_allclose(found[key][name], value, **close, err_msg=f"{key} {name}")


def test_statistics_of_each_episode_are_lerobots_too(copied):
    name = "meta/episodes/chunk-000/file-000.parquet"
    found, recorded = (pq.read_table(folder / name).to_pylist() for folder in (copied, GOLDEN))
    for ours, theirs in zip(found, recorded, strict=True):
        for key, value in theirs.items():
            if not key.startswith("stats/observation.images"):
                if isinstance(value, list) and not isinstance(value[0], str):
                    np.testing.assert_allclose(ours[key], value, atol=1e-6, rtol=0, err_msg=key)
                else:
                    assert ours[key] == value, key


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), tasks=st.lists(st.text("abc ", min_size=1), max_size=3)
)
def test_episodes_of_any_length_read_back_as_they_were(tmp_path_factory, lengths, tasks):
    folder = tmp_path_factory.mktemp("any") / "set"
    words = [t for t in tasks if t.strip()] or ["wave"]
    wanted = [words[i % len(words)] for i in range(sum(lengths))]
    with DatasetWriter(folder, 7, NUMBERS) as writer:
        frames = iter(range(sum(lengths)))
        for length in lengths:
            for _ in range(length):
                i = next(frames)
                writer.add_frame(row(i, wanted[i]))
            writer.save_episode()
    read = Dataset(folder)
    assert [e.length for e in read.episodes] == lengths
    assert [read.task_of(i) for i in range(len(read))] == wanted
    assert read.column("action")[:, 0].tolist() == read.column("count").tolist() == list(range(sum(lengths)))
    assert read.column("words").tolist() == [f"w{i}" for i in range(sum(lengths))]
    places = [k for n in lengths for k in range(n)]
    np.testing.assert_allclose(read.column("timestamp"), np.array(places) / 7, atol=1e-6)


def test_files_are_ended_at_their_limits_and_every_picture_is_still_found(tmp_path):
    limits = FileLimits(data=0.002, video=0.002)
    features = {**NUMBERS, "observation.images.eye": PICTURE}
    with DatasetWriter(tmp_path / "set", 10, features, limits=limits) as writer:
        for episode in range(5):
            for k in range(4):
                writer.add_frame(seen(4 * episode + k))
            writer.save_episode()
    assert len(list((tmp_path / "set/videos").rglob("*.mp4"))) > 1
    assert len(list((tmp_path / "set/data").rglob("*.parquet"))) > 1
    read = Dataset(tmp_path / "set")
    for i in (19, 0, 7, 8, 3, 12):  # neither in order nor in one file
        assert abs(int(read.picture("eye", i).mean()) - level(i)) <= 3
        assert read[i]["count"] == i


def test_files_are_ended_before_they_hold_more_than_may_be_written_once_more(tmp_path):
    """Episodes of 4 frames: at most 9 pictures, 13 rows or 2 episodes a file, whatever their bytes; the fourth has 11."""
    limits, lengths = FileLimits(pictures=9, rows=13, episodes=2), (4, 4, 4, 11, 4, 4)
    features = {**NUMBERS, "observation.images.eye": PICTURE}
    with DatasetWriter(tmp_path / "set", 10, features, limits=limits) as writer:
        for episode, length in enumerate(lengths):
            for k in range(length):
                writer.add_frame(seen(sum(lengths[:episode]) + k))
            writer.save_episode()
    held = {
        kind: [len(pq.read_table(f)) for f in sorted((tmp_path / "set" / kind).rglob("*.parquet"))]
        for kind in ("data", "meta/episodes")
    }
    assert held == {"data": [12, 11, 8], "meta/episodes": [2, 2, 2]}
    assert len(list((tmp_path / "set/videos").rglob("*.mp4"))) == 4  # 8, 4, 11 and 8 pictures
    read = Dataset(tmp_path / "set")
    assert [e.length for e in read.episodes] == list(lengths)
    for i in (30, 0, 7, 8, 22, 12, 23):
        assert abs(int(read.picture("eye", i).mean()) - level(i)) <= 3
        assert read[i]["count"] == i


def test_a_writer_that_vanishes_leaves_its_episodes_readable(tmp_path):
    features = {**NUMBERS, "observation.images.eye": PICTURE}
    writer = DatasetWriter(tmp_path / "set", 10, features)
    for i in range(6):
        writer.add_frame(seen(i))
    writer.save_episode()
    writer.add_frame(seen(6))  # and never a close
    read = Dataset(tmp_path / "set")
    assert len(read) == 6 and len(list(read.pictures("eye", 0))) == 6
    writer.close()
    assert not list((tmp_path / "set").glob(".*"))


@pytest.mark.parametrize("broken", ["_save_video", "_save_data", "_save_meta", "_write_info"])
def test_an_episode_that_cannot_be_written_whole_does_not_count_and_can_be_saved_later(tmp_path, monkeypatch, broken):
    features = {**NUMBERS, "observation.images.eye": PICTURE}
    writer = DatasetWriter(tmp_path / "set", 10, features)
    for i in range(3):
        writer.add_frame(seen(i))
    writer.save_episode()
    whole = getattr(writer.files, broken)

    def full(*args):
        if broken != "_write_info":
            whole(*args)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.files, broken, full)
    for i in (3, 4):
        writer.add_frame(seen(i))
    with pytest.raises(OSError, match="No space"):
        writer.save_episode()
    read = Dataset(tmp_path / "set")
    assert len(read) == 3 and read.column("count").tolist() == [0, 1, 2]
    assert abs(int(read.picture("eye", 2).mean()) - level(2)) <= 3
    monkeypatch.setattr(writer.files, broken, whole)
    assert writer.save_episode() == 1
    read = Dataset(tmp_path / "set")
    assert read.column("count").tolist() == [0, 1, 2, 3, 4]
    assert [abs(int(read.picture("eye", i).mean()) - level(i)) <= 3 for i in range(5)] == [True] * 5
    rows = [n for f in (tmp_path / "set/data").rglob("*.parquet") for n in pq.read_table(f)["count"].to_pylist()]
    assert sorted(rows) == [0, 1, 2, 3, 4]  # LeRobot reads every row of every file


def test_joined_videos_keep_an_even_rate_and_frequent_key_frames(copied):
    with av.open(str(next(copied.rglob("*.mp4")))) as video:
        frames = list(video.decode(video=0))
    assert [f.time for f in frames] == pytest.approx([k / 30 for k in range(40)])
    assert all(frames[k].key_frame for k in range(0, 40, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": [1.0, float("nan")]}, "'action' has a value that is no finite number"),
        ({"action": ["a", "b"]}, "'action' has a value that is no finite number"),
        ({"words": 3}, "'words' is int; give text"),
        ({"task": " "}, "instruction in words"),
        ({"extra": 1}, "unknown 'extra'"),
        ({"observation.images.eye": np.zeros((SIDE, SIDE, 3))}, "give a uint8 picture"),
    ],
)
def test_a_frame_that_does_not_fit_leaves_the_episode_as_it_was(tmp_path, change, message):
    features = {**NUMBERS, "observation.images.eye": PICTURE}
    with DatasetWriter(tmp_path / "set", 10, features) as writer:
        writer.add_frame(seen(0))
        with pytest.raises(DataError, match=message):
            writer.add_frame({**seen(1), **change})
        writer.add_frame(seen(1))
        writer.save_episode()
    assert Dataset(tmp_path / "set").column("count").tolist() == [0, 1]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"index": NUMBERS["count"]}, "name is taken"),
        ({"a/b": NUMBERS["count"]}, "has a '/'"),
        ({"x": {"dtype": "complex64", "shape": (1,)}}, "not one of"),
        ({"x": {"dtype": "float32", "shape": (2, 2)}}, "does not fit"),
    ],
)
def test_features_that_cannot_be_written_are_refused_by_name(tmp_path, features, message):
    with pytest.raises(DataError, match=message):
        DatasetWriter(tmp_path / "set", 10, features)
    assert not (tmp_path / "set").exists()


def test_pictures_of_odd_size_are_refused_with_the_way_out(tmp_path):
    features = {"observation.images.eye": {**PICTURE, "shape": (33, 32, 3)}}
    with DatasetWriter(tmp_path / "set", 10, features) as writer, pytest.raises(DataError, match="even height"):
        writer.add_frame({"observation.images.eye": np.zeros((33, 32, 3), np.uint8), "task": "x"})


def test_an_episode_without_frames_is_refused_and_an_empty_dataset_says_so(tmp_path):
    with DatasetWriter(tmp_path / "set", 10, NUMBERS) as writer:
        with pytest.raises(DataError, match="without a frame"):
            writer.save_episode()
        writer.add_frame(row(0))
        writer.drop_episode()
    with pytest.raises(DataError, match="no episode yet"):
        Dataset(tmp_path / "set")


@pytest.mark.parametrize("fps", [0, -3, 12.5, 0.5])
def test_a_rate_is_a_whole_number_of_frames_a_second(tmp_path, fps):
    with pytest.raises(DataError, match=f"{fps} frames a second; give a whole number of at least 1"):
        DatasetWriter(tmp_path / "set", fps, NUMBERS)
    assert not (tmp_path / "set").exists()


def test_a_dataset_is_begun_in_a_folder_that_is_new_or_empty(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").touch()
    for name in ("new", "empty"):
        DatasetWriter(tmp_path / name, 1, NUMBERS)
        assert (tmp_path / name / "meta/info.json").is_file()
    for name in ("file", "full"):
        with pytest.raises(DataError, match=f"{name}: is there already; give a new folder"):
            DatasetWriter(tmp_path / name, 1, NUMBERS)


@pytest.mark.parametrize("how", ["drop_episode", "close"])
def test_what_is_dropped_is_in_no_later_episode_and_its_video_is_let_go(tmp_path, how):
    features = {"count": NUMBERS["count"], "observation.images.eye": PICTURE}
    eye = np.full((SIDE, SIDE, 3), 90, np.uint8)
    writer = DatasetWriter(tmp_path / "set", 10, features)
    for k in (7, 8):
        writer.add_frame({"count": k, "observation.images.eye": eye, "task": "go"})
    (encoder,) = writer._encoders.values()
    getattr(writer, how)()
    assert encoder._stream is None and not list((tmp_path / "set").glob(".*")), "it is finished, and gone"
    writer.add_frame({"count": 9, "observation.images.eye": eye, "task": "go"})
    assert writer.save_episode({"outcome": "success"}) == 0
    read = Dataset(tmp_path / "set")
    assert read.column("count").tolist() == [9] and read.stats["observation.images.eye"]["count"].tolist() == [1]
    assert json.loads((tmp_path / "set/meta/pi0_episodes.json").read_text()) == {"0": {"outcome": "success"}}
    read.close()
    with pytest.raises(DataError, match="an episode without a frame cannot be saved"):
        writer.save_episode()  # what was saved is no part of the next one
