"""LeRobot datasets: what LeRobot wrote is read alike, what is written here reads back."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import load_file

from pi0_ros.data.dataset import Dataset, DatasetWriter
from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import datasets_below
from pi0_ros.data.mixture import mixture_weights
from pi0_ros.data.statistics import PictureStatistics, aggregate, vector_stats
from pi0_ros.data.video import VideoWriter

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden" / "dataset"
NUMBERS = ("observation.state", "action", "timestamp", "frame_index", "episode_index", "index", "task_index")
FEATURES = {
    "observation.images.base": {"dtype": "video", "shape": (32, 48, 3), "names": ["height", "width", "channels"]},
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
    "action": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
    "high_level_task": {"dtype": "string", "shape": (1,), "names": None},
}


@pytest.fixture(scope="module")
def golden() -> Dataset:
    return Dataset(GOLDEN / "data_v3")


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return load_file(GOLDEN / "expected.safetensors")


def test_numbers_of_a_recorded_dataset_are_equal_to_what_lerobot_reads(golden, expected):
    for name in NUMBERS:
        assert np.array_equal(golden.column(name).reshape(expected[name].shape), expected[name]), name


def test_task_words_of_every_frame_are_those_lerobot_gives(golden):
    wanted = json.loads((GOLDEN / "expected.json").read_text())
    assert [golden.task_of(i) for i in range(len(golden))] == wanted["task_per_frame"]
    assert golden.tasks == wanted["tasks"]


def test_pictures_of_a_recorded_dataset_decode_to_within_two_levels(golden, expected):
    for camera in golden.cameras:
        pictures = [p for e in golden.episodes for p in golden.pictures(camera, e.index)]
        difference = (
            np.stack(pictures).transpose(0, 3, 1, 2).astype(int) - expected[f"decoded.observation.images.{camera}"]
        )
        assert np.abs(difference).max() <= 2


def test_chunks_are_padded_with_the_last_action_at_the_end_of_an_episode(golden, expected):
    for k, frame in enumerate(expected["chunk.index"].reshape(-1)):
        values, padded = golden.chunk(int(frame), expected["chunk.action"].shape[1])
        assert np.array_equal(values, expected["chunk.action"][k])
        assert np.array_equal(padded, expected["chunk.action_is_pad"][k])


def test_statistics_computed_here_equal_the_recorded_ones(golden):
    for name in ("observation.state", "action", "timestamp", "frame_index", "index"):
        column = golden.column(name).astype(np.float64)
        if name == "timestamp":  # lerobot computes it from unrounded times
            column = golden.column("frame_index") / golden.fps
        parts = [{name: vector_stats(column[e.start : e.stop])} for e in golden.episodes]
        weights = np.array([e.length for e in golden.episodes]) / len(golden)
        for kind, value in aggregate(parts)[name].items():
            if kind in ("q01", "q10", "q90", "q99"):  # the version that recorded it took their means
                value = np.tensordot(weights, np.stack([part[name][kind] for part in parts]), axes=1)
            assert np.allclose(value, golden.stats[name][kind], rtol=0, atol=1e-6), (name, kind)


def test_windows_of_time_hold_lerobots_chunks_and_mark_what_is_outside(expected):
    read = Dataset(GOLDEN / "data_v3", {"action": [k / 30 for k in range(10)], "observation.state": [-1 / 30, 0.0]})
    for k, frame in enumerate(expected["chunk.index"].reshape(-1)):
        row = read[int(frame)]
        assert np.array_equal(row["action"], expected["chunk.action"][k])
        assert np.array_equal(row["action_is_pad"], expected["chunk.action_is_pad"][k])
        assert row["observation.state_is_pad"].tolist() == [frame in (0, 20), False]
    assert np.array_equal(read[20]["observation.state"][0], read[20]["observation.state"][1])
    assert np.array_equal(read[21]["observation.state"][0], expected["observation.state"][20])


def test_windows_between_frames_or_of_unknown_features_are_refused():
    with pytest.raises(DataError, match="multiples of 1/30"):
        Dataset(GOLDEN / "data_v3", {"action": [0.01]})
    with pytest.raises(DataError, match="no feature 'effort'"):
        Dataset(GOLDEN / "data_v3", {"effort": [0.0]})


def test_pictures_at_any_place_are_those_at_their_timestamp(golden, expected):
    wanted = expected["decoded.observation.images.top"].transpose(0, 2, 3, 1).astype(int)
    for i in (39, 0, 21, 20, 19, 5, 6, 4):
        assert np.abs(golden.picture("top", i) - wanted[i]).max() <= 2
    window = Dataset(GOLDEN / "data_v3", {"observation.images.top": [-1 / 30, 0.0, 1 / 30]})[19]
    assert np.abs(window["observation.images.top"] - wanted[[18, 19, 19]]).max() <= 2
    assert window["observation.images.top_is_pad"].tolist() == [False, False, True]


def test_a_frame_is_told_with_all_its_features(golden, expected):
    row = golden[-1]
    assert row["task"] == "fold the towel" and row["index"] == 39 and row["frame_index"] == 19
    assert np.array_equal(row["observation.state"], expected["observation.state"][39])
    assert row["observation.images.left_wrist"].shape == (48, 64, 3)
    with pytest.raises(IndexError):
        golden[40]


def _write(folder: Path, episodes: int = 2, frames: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    levels = []
    with DatasetWriter(folder, 10, FEATURES, robot_type="tiny") as writer:
        for episode in range(episodes):
            for k in range(frames):
                level = 30 + 100 * episode + 10 * k
                picture = np.full((32, 48, 3), level, np.uint8)
                levels.append(level)
                state = rng.normal(size=3).astype(np.float32)
                row = {"observation.images.base": picture, "observation.state": state, "action": state + 1}
                writer.add_frame({**row, "high_level_task": "tidy up", "task": f"part {episode}"})
            writer.save_episode()
    return np.array(levels)


def test_what_is_written_reads_back_frame_by_frame(tmp_path):
    levels = _write(tmp_path / "d")
    read = Dataset(tmp_path / "d")
    assert len(read) == 12 and [e.length for e in read.episodes] == [6, 6]
    assert np.allclose(read.column("action"), read.column("observation.state") + 1)
    assert read.task_of(3) == "part 0" and read.task_of(9) == "part 1"
    assert set(read.column("high_level_task")) == {"tidy up"}
    pictures = np.stack([p for e in read.episodes for p in read.pictures("base", e.index)])
    assert np.abs(pictures.astype(int) - levels[:, None, None, None]).max() <= 3


def test_an_episode_that_was_not_saved_is_dropped_and_the_rest_is_complete(tmp_path):
    with pytest.raises(RuntimeError), DatasetWriter(tmp_path / "d", 10, {"action": FEATURES["action"]}) as writer:
        for k in range(3):
            writer.add_frame({"action": np.full(3, k, np.float32), "task": "x"})
        writer.save_episode()
        writer.add_frame({"action": np.zeros(3, np.float32), "task": "x"})
        raise RuntimeError("the recording broke off")
    assert len(Dataset(tmp_path / "d")) == 3


def test_a_frame_that_does_not_fit_is_refused_with_its_name(tmp_path):
    writer = DatasetWriter(tmp_path / "d", 10, {"action": FEATURES["action"]})
    with pytest.raises(DataError, match="'action' has shape"):
        writer.add_frame({"action": np.zeros(4, np.float32), "task": "x"})
    with pytest.raises(DataError, match="lacks"):
        writer.add_frame({"action": np.zeros(3, np.float32)})


def test_a_folder_in_use_is_not_overwritten(tmp_path):
    _write(tmp_path / "d", episodes=1)
    with pytest.raises(DataError, match="is there already"):
        DatasetWriter(tmp_path / "d", 10, FEATURES)


def test_a_folder_that_is_no_dataset_is_named(tmp_path):
    with pytest.raises(DataError, match="info.json: not there"):
        Dataset(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("meta/tasks.parquet", "tasks.parquet: this file of the dataset is missing"),
        ("data/*/*.parquet", "file-000.parquet: this file of the dataset is missing"),
        ("meta/episodes/*/*.parquet", "lists 0 episodes"),
        ("videos/*/*/*.mp4", "file-000.mp4: this video of the dataset is missing"),
    ],
)
def test_a_missing_file_is_named_with_the_way_out(tmp_path, pattern, message):
    shutil.copytree(GOLDEN / "data_v3", tmp_path / "d")
    for file in (tmp_path / "d").glob(pattern):
        file.unlink()
    with pytest.raises(DataError, match=message) as told:
        Dataset(tmp_path / "d")[0]
    assert "again" in str(told.value)


def test_a_damaged_table_and_another_version_are_named(tmp_path):
    shutil.copytree(GOLDEN / "data_v3", tmp_path / "d")
    table = tmp_path / "d/data/chunk-000/file-000.parquet"
    table.write_bytes(table.read_bytes()[:500])
    with pytest.raises(DataError, match=r"file-000.parquet: is damaged"):
        Dataset(tmp_path / "d").column("action")
    info = tmp_path / "d/meta/info.json"
    info.write_text(info.read_text().replace("v3.0", "v9.0"))
    with pytest.raises(DataError, match="version 'v9.0' is not read"):
        Dataset(tmp_path / "d")


def test_a_video_that_is_cut_off_is_one_clear_error(tmp_path):
    _write(tmp_path / "d")
    video = next((tmp_path / "d").rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be decoded"):
        list(Dataset(tmp_path / "d").pictures("base", 1))


def test_a_v21_dataset_is_read_too(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "data/chunk-000").mkdir(parents=True)
    info = {"codebase_version": "v2.1", "fps": 10, "total_frames": 5, "chunks_size": 1000, "video_path": None}
    (tmp_path / "meta/info.json").write_text(json.dumps(info | {"features": {"action": {"dtype": "float32"}}}))
    (tmp_path / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "wave"}\n')
    lines = [{"episode_index": e, "tasks": ["wave"], "length": n} for e, n in ((0, 2), (1, 3))]
    (tmp_path / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for e, n in ((0, 2), (1, 3)):
        rows = {"action": [[float(e), float(k)] for k in range(n)], "episode_index": [e] * n, "task_index": [0] * n}
        pq.write_table(pa.table(rows), tmp_path / f"data/chunk-000/episode_{e:06d}.parquet")
    read = Dataset(tmp_path)
    assert [e.length for e in read.episodes] == [2, 3] and read.task_of(4) == "wave"
    values, padded = read.chunk(3, 3)
    assert values.tolist() == [[1, 1], [1, 2], [1, 2]] and padded.tolist() == [False, False, True]


def test_videos_of_a_v21_dataset_are_one_an_episode(tmp_path):
    _write(tmp_path / "new", frames=4)
    new, old = Dataset(tmp_path / "new"), tmp_path / "old"
    (old / "meta").mkdir(parents=True)
    for episode in new.episodes:
        file = old / f"videos/chunk-000/observation.images.base/episode_{episode.index:06d}.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        writer = VideoWriter(file, 10, (32, 48, 3))
        for picture in new.pictures("base", episode.index):
            writer.add(picture)
        writer.close()
        rows = {k: new.column(k)[episode.start : episode.stop] for k in ("index", "episode_index", "task_index")}
        table = old / f"data/chunk-000/episode_{episode.index:06d}.parquet"
        table.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(rows), table)
    feature = {"dtype": "video", "shape": [32, 48, 3], "names": None}
    paths = {"video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"}
    info = {"codebase_version": "v2.1", "fps": 10, "total_frames": 8, "chunks_size": 1000, **paths}
    (old / "meta/info.json").write_text(json.dumps(info | {"features": {"observation.images.base": feature}}))
    tasks = [{"task_index": index, "task": task} for task, index in new.tasks.items()]
    lines = [{"episode_index": e.index, "tasks": list(e.tasks), "length": e.length} for e in new.episodes]
    (old / "meta/tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)))
    (old / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    read = Dataset(old)
    assert read.cameras == ("base",) and [e.length for e in read.episodes] == [4, 4]
    for i in (6, 1, 4, 3):
        assert np.abs(read.picture("base", i).astype(int) - new.picture("base", i)).max() <= 4
        assert read.task_of(i) == new.task_of(i)


@pytest.mark.parametrize("version", ["v3.0", "v2.0"])
def test_pictures_that_lie_in_the_tables_are_read_from_there(tmp_path, version):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (5, 6, 8, 3), np.uint8)
    folder = _with_stills(tmp_path, version, pictures)
    read = Dataset(folder)
    assert set(read.cameras) == {"image", "wrist"} and "image" not in read._rows.columns
    for i in (4, 0, 3, 2, 1):
        np.testing.assert_array_equal(read.picture("image", i), pictures[i])
        np.testing.assert_array_equal(read[i]["observation.images.wrist"], 255 - pictures[i])
    np.testing.assert_array_equal(list(read.pictures("image", 1)), pictures[2:])
    assert read[3]["action"].tolist() == [1.0, 1.0] and read.task_of(3) == "wave"


def test_a_picture_in_a_table_that_is_none_is_named(tmp_path):
    folder = _with_stills(tmp_path, "v2.0", np.zeros((5, 6, 8, 3), np.uint8), spoiled=3)
    with pytest.raises(DataError, match="episode_000001.parquet: 'image' of row 1 is no picture"):
        Dataset(folder).picture("image", 3)


def _with_stills(folder, version, pictures, spoiled=-1):
    """A dataset of 2 and 3 frames whose pictures are PNGs in its tables, as `datasets` writes them."""

    def png(picture):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        return {"bytes": file.getvalue(), "path": None}

    features = {k: {"dtype": "image", "shape": [6, 8, 3]} for k in ("image", "observation.images.wrist")}
    features["action"] = {"dtype": "float32", "shape": [2]}
    info = {"codebase_version": version, "fps": 10, "total_episodes": 2, "video_path": None, "features": features}
    rows = {
        "image": [png(p) for p in pictures],
        "observation.images.wrist": [png(255 - p) for p in pictures],
        "action": [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [1.0, 2.0]],
        "episode_index": [0, 0, 1, 1, 1],
        "task_index": [0] * 5,
    }
    if spoiled >= 0:
        rows["image"][spoiled] = {"bytes": b"nonsense", "path": None}
    (folder / "meta/episodes/chunk-000").mkdir(parents=True)
    (folder / "data/chunk-000").mkdir(parents=True)
    table = pa.table(rows)
    if version == "v3.0":
        info["data_path"] = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        pq.write_table(table, folder / "data/chunk-000/file-000.parquet")
        pq.write_table(pa.table({"task": ["wave"], "task_index": [0]}), folder / "meta/tasks.parquet")
        episodes = {"episode_index": [0, 1], "tasks": [["wave"]] * 2, "length": [2, 3], "dataset_from_index": [0, 2]}
        places = {"data/chunk_index": [0, 0], "data/file_index": [0, 0]}
        pq.write_table(pa.table(episodes | places), folder / "meta/episodes/chunk-000/file-000.parquet")
    else:
        for episode, (first, count) in enumerate(((0, 2), (2, 3))):
            pq.write_table(table.slice(first, count), folder / f"data/chunk-000/episode_{episode:06d}.parquet")
        (folder / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "wave"}\n')
        lines = [{"episode_index": e, "tasks": ["wave"], "length": n} for e, n in ((0, 2), (1, 3))]
        (folder / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "meta/info.json").write_text(json.dumps(info))
    return folder


def test_statistics_of_pictures_are_those_of_their_pixels():
    pictures = np.random.default_rng(1).integers(3, 250, (5, 12, 14, 3), dtype=np.uint8)
    collected = PictureStatistics()
    for picture in pictures:
        collected.add(picture)
    found, pixels = collected.result(), vector_stats(pictures.reshape(-1, 3).astype(np.float32))
    assert found["count"].tolist() == [5] and found["mean"].shape == (3, 1, 1)
    for name in ("min", "max", "mean", "std", "q01", "q10", "q50", "q90", "q99"):
        np.testing.assert_allclose(found[name].reshape(3) * 255, pixels[name], atol=1e-6, err_msg=name)


def test_mixture_weights_damp_large_datasets():
    weights = mixture_weights([1000, 100])
    assert np.isclose(weights.sum(), 1) and np.isclose(weights[0] / weights[1], 10**0.43)
    with pytest.raises(DataError):
        mixture_weights([10, 0])


def test_a_folder_of_datasets_stands_for_all_that_are_whole(tmp_path):
    for name in ("seeds-2", "seeds-1", "seeds-3.partial", "empty"):
        (tmp_path / name / "meta").mkdir(parents=True)
        if name != "empty":
            (tmp_path / name / "meta" / "info.json").write_text("{}")
    assert [part.name for part in datasets_below(tmp_path)] == ["seeds-1", "seeds-2"]
    assert datasets_below(tmp_path / "seeds-1") == [tmp_path / "seeds-1"]
    assert datasets_below(tmp_path / "empty") == [tmp_path / "empty"], "reading it says what is missing"
    assert datasets_below(tmp_path / "nowhere") == [tmp_path / "nowhere"]
