"""A LeRobot dataset as training frames: chunks, words and places of every frame that can be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pi0_ros.data.dataset import Dataset, DatasetWriter
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.touch.localised import localised
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import join, load_frames, save_frames
from pi0_ros.train.from_dataset import frames_of
from pi0_ros.train.mixture import Choice

ADAPTER = load_adapter("mobile_bimanual")
NAMES = list(ADAPTER.action_channels)
PICTURE = {"dtype": "video", "shape": (32, 32, 3), "names": ["height", "width", "channels"]}
TASK = "touch the red block with the left arm"
PLACES = [f"{c}.red.{n}" for c in ("base", "left_wrist", "right_wrist") for n in ("x", "y", "visible")]


def write(
    folder: Path, cameras: tuple[str, ...] = ("base", "left_wrist", "right_wrist"), silent=(), aim="", task=TASK
) -> Dataset:
    """12 frames; in those that are `silent` the left wrist's camera gave no picture. aim: what is meant, "" untold."""
    features = {f"observation.images.{c}": PICTURE for c in cameras} | {
        "observation.state": {"dtype": "float32", "shape": (18,), "names": NAMES},
        "action": {"dtype": "float32", "shape": (18,), "names": NAMES},
        "localisation": {"dtype": "float32", "shape": (9,), "names": PLACES},
        "perturbed": {"dtype": "int64", "shape": (1,), "names": None},
    }
    if aim:
        features["aim"] = {"dtype": "string", "shape": (1,), "names": None}
    if silent:
        features["camera_present"] = {"dtype": "bool", "shape": (len(cameras),), "names": list(cameras)}
    with DatasetWriter(folder, 10, features) as writer:
        for k in range(12):
            row = {f"observation.images.{c}": np.full((32, 32, 3), 20 * k, np.uint8) for c in cameras}
            state = np.full(18, k, np.float32)
            places = np.array([0.25, 0.5, 1, 0, 0, 0, 0, 0, 0], np.float32)
            numbers = {"observation.state": state, "action": state + 0.5, "localisation": places}
            pushed = np.array([int(k == 4)], np.int64)
            if silent:
                numbers["camera_present"] = np.array([c != "left_wrist" or k not in silent for c in cameras])
            writer.add_frame({**row, **numbers, "perturbed": pushed, "task": task, **({"aim": aim} if aim else {})})
        writer.save_episode()
    return Dataset(folder)


def test_chunks_hold_the_last_action_at_the_end_and_never_run_over_a_push(tmp_path):
    frames = frames_of(write(tmp_path / "d"), ADAPTER, size=16, horizon=4, episodes=[0])
    assert frames.state[:, 0].tolist() == [0, *range(4, 12)]  # frames 1 to 3 would run into the push before frame 4
    assert frames.chunk[0, :, 0].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert frames.chunk[-1, :, 0].tolist() == [11.5] * 4
    assert frames.images.shape == (9, 3, 16, 16, 3) and abs(int(frames.images[1, 0].mean()) - 80) <= 3


def test_one_of_so_many_frames_is_taken_with_its_whole_chunk(tmp_path):
    frames = frames_of(write(tmp_path / "d"), ADAPTER, 16, 4, [0], choice=Choice(every=4))
    assert frames.state[:, 0].tolist() == [0, 7, 11] and len(frames.images) == 3
    assert frames.chunk[1, :, 0].tolist() == [7.5, 8.5, 9.5, 10.5] and frames.valid.tolist() == [4, 4, 1]


def test_places_and_words_come_along(tmp_path):
    frames = frames_of(write(tmp_path / "d"), ADAPTER, size=16, horizon=4, episodes=[0], facts=localised)
    assert frames.texts == ("touch the red block with the left arm",) and (frames.high_task == -1).all()
    assert frames.facts[0].tolist() == [516, 260, -1, -1, -1, -1, -1, 516, 260, -1, -1, -1, -1, -1]


def test_what_is_meant_is_found_by_the_aim_whatever_the_words_call_it(tmp_path):
    renamed = write(tmp_path / "d", aim="red", task="touch the tomato block with the left arm")
    frames = frames_of(renamed, ADAPTER, size=16, horizon=4, episodes=[0], facts=localised)
    assert frames.facts[0][:2].tolist() == [516, 260]  # where the red block lies
    untold = write(tmp_path / "e", task="touch the tomato block with the left arm")
    frames = frames_of(untold, ADAPTER, size=16, horizon=4, episodes=[0], facts=localised)
    assert frames.facts[0][:2].tolist() == [-1, -1]


def test_a_missing_camera_is_named(tmp_path):
    with pytest.raises(TrainError, match="no camera right_wrist"):
        frames_of(write(tmp_path / "d", ("base", "left_wrist")), ADAPTER, size=16, horizon=4, episodes=[0])


def test_a_camera_that_gave_no_picture_is_marked_also_on_disk_and_beside_frames_of_other_datasets(tmp_path):
    all_there = frames_of(write(tmp_path / "whole"), ADAPTER, size=16, horizon=4, episodes=[0])
    some = frames_of(write(tmp_path / "gaps", silent=(0, 6, 7)), ADAPTER, size=16, horizon=4, episodes=[0])
    assert all_there.present is None
    assert some.present[:, 1].tolist() == [False, True, True, False, False, *[True] * 4]  # frames 0, 4, 5, 6 ...
    assert some.present[:, [0, 2]].all()
    save_frames(some, tmp_path / "shard")
    kept = load_frames(tmp_path / "shard")
    assert np.array_equal(kept.present, some.present)
    both = join([all_there, kept])
    assert np.array_equal(both.present, np.concatenate([np.ones((9, 3), bool), some.present]))
    assert join([all_there, all_there]).present is None
