"""Frames for training from a LeRobot dataset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.data.dataset import Dataset, DatasetWriter
from pi0_ros.model import GemmaConfig, VisionConfig
from pi0_ros.policy import load_policy
from pi0_ros.policy.adapter import load_adapter
from pi0_ros.robot import load_robot
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import join, load_frames
from pi0_ros.train.from_dataset import frames_of, write_dataset_frames
from pi0_ros.train.session import Plan, run, tiny_model
from pi0_ros.train.settings import TrainSettings

ADAPTER = load_adapter("mobile_bimanual")
CAMERAS = ("base", "left_wrist", "right_wrist")
NAMES = list(ADAPTER.action_channels)
HORIZON, SIZE, LENGTH = 4, 16, 8
WORDS = ("touch the red block with the left arm", "touch the blue block with the right arm")


def record(folder, fps=10, names=NAMES, cameras=CAMERAS, pushed=()):
    """Two episodes: frame k of all has k in every action, k - 0.5 in every state, and grey 10 + 10 k."""
    vector = {"dtype": "float32", "shape": (len(names),), "names": names}
    features = {
        **{f"observation.images.{c}": {"dtype": "video", "shape": (32, 32, 3), "names": None} for c in cameras},
        "observation.state": vector,
        "action": vector,
        "perturbed": {"dtype": "int64", "shape": (1,), "names": None},
        "high_level_task": {"dtype": "string", "shape": (1,), "names": None},
        "high_level_target": {"dtype": "string", "shape": (1,), "names": None},
    }
    with DatasetWriter(folder, fps, features) as writer:
        for k in range(2 * LENGTH):
            pictures = {f"observation.images.{c}": np.full((32, 32, 3), 10 + 10 * k, np.uint8) for c in cameras}
            values = np.full(len(names), k, np.float32)
            words = {"task": WORDS[k // LENGTH], "high_level_task": "touch every block", "high_level_target": "done"}
            row = {"observation.state": values - 0.5, "action": values, "perturbed": int(k in pushed)}
            writer.add_frame({**pictures, **row, **words})
            if k % LENGTH == LENGTH - 1:
                writer.save_episode()
    return folder


def test_frames_hold_pictures_words_states_and_padded_chunks(tmp_path):
    frames = frames_of(Dataset(record(tmp_path / "d")), ADAPTER, SIZE, HORIZON, [0, 1])
    assert len(frames) == 2 * LENGTH and frames.channels == ADAPTER.action_channels and frames.period == 0.1
    assert frames.images.shape == (16, 3, SIZE, SIZE, 3)
    assert np.abs(frames.images.mean((1, 2, 3, 4)) - (10 + 10 * np.arange(16))).max() <= 3
    assert np.allclose(frames.state[:, 0], np.arange(16) - 0.5)
    assert frames.chunk[5, :, 0].tolist() == [5, 6, 7, 7] and frames.chunk[8, :, 0].tolist() == [8, 9, 10, 11]
    assert [frames.texts[t] for t in frames.task] == [WORDS[0]] * LENGTH + [WORDS[1]] * LENGTH
    assert {frames.texts[t] for t in frames.high_task} == {"touch every block"}
    assert frames.episode.tolist() == [0] * LENGTH + [1] * LENGTH


def test_rows_are_the_models_period_apart_where_the_dataset_is_faster(tmp_path):
    frames = frames_of(Dataset(record(tmp_path / "d", fps=20)), ADAPTER, SIZE, HORIZON, [0])
    assert frames.chunk[0, :, 0].tolist() == [0, 2, 4, 6] and frames.chunk[3, :, 0].tolist() == [3, 5, 7, 7]


def test_no_chunk_runs_over_a_push(tmp_path):
    frames = frames_of(Dataset(record(tmp_path / "d", pushed=(5,))), ADAPTER, SIZE, HORIZON, [0])
    assert frames.chunk[:, 0, 0].tolist() == [0, 1, 5, 6, 7]


def test_frames_written_once_are_read_from_disk(tmp_path):
    source, out = record(tmp_path / "d"), tmp_path / "frames"
    assert write_dataset_frames(source, out, ADAPTER, SIZE, HORIZON) == 2 * LENGTH
    before = {f: f.stat().st_mtime_ns for f in out.rglob("*.npy")}
    write_dataset_frames(source, out, ADAPTER, SIZE, HORIZON)
    assert before and {f: f.stat().st_mtime_ns for f in out.rglob("*.npy")} == before
    assert len(join([load_frames(f.parent) for f in out.rglob("frames.json")])) == 2 * LENGTH


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": 15}, "15 fps gives no rows"),
        ({"cameras": CAMERAS[:2]}, "no camera right_wrist"),
        ({"names": [*NAMES[:-1], "mast"]}, "no channel lift"),
    ],
)
def test_a_dataset_of_another_robot_is_refused_with_what_it_lacks(tmp_path, changes, message):
    with pytest.raises(TrainError, match=message):
        frames_of(Dataset(record(tmp_path / "d", **changes)), ADAPTER, SIZE, HORIZON, [0])


def test_a_policy_is_trained_from_a_dataset_and_loads(tmp_path):
    stack = GemmaConfig(width=32, depth=2, heads=2, kv_heads=1, head_dim=16, mlp=32)
    vision = VisionConfig(32, 1, 2, 32, image_size=32, patch=16)
    model = replace(tiny_model(), vision=vision, language=stack, expert=stack)
    write_dataset_frames(record(tmp_path / "d"), tmp_path / "frames", ADAPTER, 32, model.horizon)
    settings = TrainSettings(
        steps=2, batch=2, word_batch=1, draws=2, warmup=1, validate_every=2, validation_share=0.5, precision="float32"
    )
    run(Plan((str(tmp_path / "frames"),), "mobile_bimanual", model, settings, str(tmp_path / "run")))
    policy = load_policy(tmp_path / "run" / "checkpoint", load_robot("mobile_bimanual"))
    assert policy.contract.horizon == model.horizon
