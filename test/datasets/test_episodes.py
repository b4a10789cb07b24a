"""Episodes while they are recorded: nothing is lost, and nothing gets into another episode."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("av")

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.episodes import EpisodeRecording, next_folder
from pi0_ros.data.errors import DataError

FPS = 5


def describe(shapes):
    video = {"dtype": "video", "names": ["height", "width", "channels"]}
    return {
        **{f"observation.images.{camera}": {**video, "shape": shape} for camera, shape in shapes.items()},
        "action": {"dtype": "float32", "shape": (2,), "names": ["a", "b"]},
    }


def frame(k, cameras=("base", "back"), size=32, task="touch"):
    pictures = {f"observation.images.{c}": np.full((size, size, 3), 40 + k % 100, np.uint8) for c in cameras}
    return {**pictures, "action": np.array([k, -2.0 * k], np.float32), "task": task}


@pytest.fixture
def episodes(tmp_path):
    made = EpisodeRecording(tmp_path / "set", FPS, describe, "robot")
    yield made
    made.close()


def record(episodes, frames):
    episodes.start()
    told = [episodes.take(one) for one in frames]
    return told


def actions(folder, episode):
    read = Dataset(folder)
    rows = np.asarray(read.column("episode_index")) == episode
    return read.column("action")[rows][:, 0].tolist()


def test_a_camera_that_goes_and_comes_costs_the_frames_without_it_and_not_the_episode(episodes):
    told = record(episodes, [frame(k, ("base",) if k in (2, 3) else ("base", "back")) for k in range(6)])
    assert [bool(why) for why in told] == [False, False, True, True, False, False] and "camera back" in told[2]
    episodes.keep()
    assert actions(episodes.folder, 0) == [0, 1, 4, 5]


def test_a_camera_that_comes_later_does_not_get_into_the_dataset(episodes):
    told = record(episodes, [frame(k, ("base",) if k < 2 else ("base", "back")) for k in range(4)])
    assert not any(told)
    episodes.keep()
    assert actions(episodes.folder, 0) == [0, 1, 2, 3] and list(Dataset(episodes.folder).cameras) == ["base"]


def test_pictures_of_another_size_are_not_taken(episodes):
    told = record(episodes, [frame(0), frame(1, size=48), frame(2)])
    assert "(48, 48, 3)" in told[1]
    episodes.keep()
    assert actions(episodes.folder, 0) == [0, 2]


def test_frames_of_an_episode_that_could_not_be_saved_are_kept_and_open_no_other_episode(episodes, monkeypatch):
    record(episodes, [frame(k) for k in range(3)])
    episodes.keep()
    record(episodes, [frame(k) for k in range(10, 14)])
    writer = episodes._writer
    save = writer.save_episode

    def full():
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(writer, "save_episode", full)
    with pytest.raises(DataError, match="No space left on device; 4 frames are kept: stop again"):
        episodes.keep()
    with pytest.raises(DataError, match="is not on disk yet"):
        episodes.start()
    monkeypatch.setattr(writer, "save_episode", save)
    assert episodes.keep().startswith("episode 1: 4 frames")
    assert actions(episodes.folder, 0) == [0, 1, 2] and actions(episodes.folder, 1) == [10, 11, 12, 13]
    assert len(Dataset(episodes.folder)) == 7


def test_a_discarded_episode_leaves_nothing_behind(episodes):
    record(episodes, [frame(k) for k in range(3)])
    assert episodes.discard() == "3 frames dropped"
    record(episodes, [frame(k, ("base",)) for k in range(20, 22)])
    episodes.keep()
    assert actions(episodes.folder, 0) == [20, 21]


def test_without_frames_nothing_is_kept_and_the_reason_is_told(episodes):
    with pytest.raises(DataError, match="nothing is being recorded"):
        episodes.keep()
    episodes.start()
    with pytest.raises(DataError, match="already"):
        episodes.start()
    with pytest.raises(DataError, match="no frame was taken: no words"):
        episodes.keep("no words")
    assert not episodes.begun


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, where not even root makes folders")
def test_a_folder_that_cannot_be_written_is_named():
    with pytest.raises(DataError, match="parameter folder: /proc.* cannot be written"):
        EpisodeRecording(Path("/proc/none/set"), FPS, describe, "robot").check_writable()


def test_the_next_folder_is_the_first_that_is_free(tmp_path):
    assert next_folder(tmp_path / "set").name == "set_2"
    (tmp_path / "set_2").mkdir()
    assert next_folder(tmp_path / "set") == tmp_path / "set_3"
