"""Frames made from the simulator are those that a recorded dataset of the same rows gives."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("mujoco")

from pi0_ros.chores import frames as chore_frames
from pi0_ros.chores.collect import ChoreCollector
from pi0_ros.chores.frames import ChoreFrameSettings, frames_of_rows, write_chore_frames
from pi0_ros.chores.room_collect import RoomCollector
from pi0_ros.data.dataset import Dataset, DatasetWriter
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.resize import pil_bilinear
from pi0_ros.robot import load_robot
from pi0_ros.sim.world import COLOURS
from pi0_ros.touch.localised import SPOT, WAY, localised
from pi0_ros.touch.record import base_features, named_numbers
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import load_frames
from pi0_ros.train.from_dataset import frames_of

CAMERAS, ROWS, HORIZON = ("base", "left_wrist", "right_wrist"), 30, 4
HIGH = ("high_level_task", "high_level_target")
PUSHED = (9, 10, 21)  # rows before which something was disturbed


@pytest.fixture(scope="module")
def robot():
    return load_robot("mobile_bimanual")


@pytest.fixture(scope="module")
def features(robot):
    goal = [*(f"{camera}.{n}" for camera in CAMERAS for n in SPOT), *WAY]
    text = {"dtype": "string", "shape": (1,), "names": None}
    own = {"goal": named_numbers(goal), "held": named_numbers(COLOURS)} | dict.fromkeys(HIGH, text)
    return base_features(robot, CAMERAS, 24) | own


@pytest.fixture(scope="module")
def rows(features):
    """Numbers that all differ; every third row has pictures, from the second on."""
    rng = np.random.default_rng(3)
    numbers = {k: len(f["names"]) for k, f in features.items() if f["dtype"] == "float32"}
    found = []
    for k in range(ROWS):
        row = {name: rng.uniform(0.05, 0.95, size).astype(np.float32) for name, size in numbers.items()}
        row["held"] = np.eye(len(COLOURS), dtype=np.float32)[k % len(COLOURS)]
        row |= {"perturbed": np.array([int(k in PUSHED)], np.int64), "aim": COLOURS[k // 8 % len(COLOURS)]}
        row["task"] = "put the red block into the left bin" if k < 17 else "place the blue one on the right"
        row |= {
            "high_level_task": "tidy up" if k < 20 else "",
            "high_level_target": "done" if k in (4, 28) else row["task"],
        }
        if k % 3 == 1:
            row |= {f"observation.images.{c}": rng.integers(0, 256, (24, 24, 3), np.uint8) for c in CAMERAS}
        found.append(row)
    return found


@pytest.fixture(scope="module")
def settings():
    return ChoreFrameSettings(load_adapter("mobile_bimanual_chores"), horizon=HORIZON, size=12, seen=24, every=3)


@pytest.fixture(scope="module")
def made(rows, features, settings):
    return frames_of_rows(rows, features, settings)


def test_every_pictured_row_whose_chunk_meets_no_disturbance_is_a_frame(rows, made, robot, settings):
    reaching = {k for k in range(ROWS) for pushed in PUSHED if k < pushed < k + HORIZON}
    wanted = [k for k in range(1, ROWS, 3) if k not in reaching]
    order = [robot.index[c] for c in settings.adapter.state_channels]
    assert np.allclose(made.state, [rows[k]["observation.state"][order] for k in wanted])
    assert made.valid.tolist() == [min(HORIZON, ROWS - k) for k in wanted] and made.valid[-1] == 2
    small = pil_bilinear(rows[wanted[2]]["observation.images.right_wrist"], (12, 12))
    assert np.array_equal(made.images[2, 2], small)
    assert [made.texts[t] for t in made.task] == [rows[k]["task"] for k in wanted]


def test_they_are_the_frames_of_a_dataset_of_the_same_rows(rows, features, made, settings, tmp_path):
    kept = {k: f for k, f in features.items() if f["dtype"] != "video"}
    with DatasetWriter(tmp_path / "d", 10, kept, robot_type="mobile_bimanual") as writer:
        for row in rows:
            writer.add_frame({k: v for k, v in row.items() if not k.startswith("observation.images")})
        writer.save_episode({})
    read = frames_of(Dataset(tmp_path / "d"), settings.adapter, 12, HORIZON, [0], facts=localised, see=False)
    states = {state.tobytes(): k for k, state in enumerate(read.state)}
    same = [states[state.tobytes()] for state in made.state]
    assert len(same) == 8 and len(read) > 20
    for name in ("chunk", "facts", "valid"):
        assert np.array_equal(getattr(made, name), getattr(read, name)[same]), name
    for name in ("task", "high_task", "high_target"):
        said = [[part.texts[t] if t >= 0 else None for t in getattr(part, name)] for part in (made, read)]
        assert said[0] == [said[1][k] for k in same] and len(set(said[0])) > 1, name


def test_seeds_are_shards_that_are_kept_and_each_has_another_first_picture(
    monkeypatch, robot, rows, settings, tmp_path
):
    asked = []

    class Recorded:
        def __init__(self, found):
            self.rows = found

    def episode(self, seed, seen=(0, 1)):
        asked.append((seed, seen))
        return Recorded(rows)

    monkeypatch.setattr(ChoreCollector, "episode", episode)
    for _ in range(2):  # the second time they are there
        write_chore_frames(robot, settings, tmp_path, first=70, episodes=27)
    assert asked == [(seed, (seed % 3, 3)) for seed in range(70, 97)]
    first, second = load_frames(tmp_path / "seeds-0000070"), load_frames(tmp_path / "seeds-0000095")
    assert len(first) == 25 * 8 and len(second) == 2 * 8 and first.episode.max() == 24


@pytest.mark.parametrize("task", ["drive_to", "tidy"])
def test_rooms_are_made_into_frames_too(monkeypatch, robot, rows, settings, tmp_path, task):
    asked = []

    def episode(self, seed, seen):
        asked.append((self.task.name, seed))
        return SimpleNamespace(rows=[row | {"localisation": wide, "held": wide[:8]} for row in rows])

    wide = np.zeros(len(CAMERAS) * 8 * len(SPOT), np.float32)
    monkeypatch.setattr(RoomCollector, "episode", episode)
    write_chore_frames(robot, replace(settings, task=task), tmp_path, first=7, episodes=1)
    made = load_frames(tmp_path / "seeds-0000007")
    assert asked == [(task, 7)] and len(made) == 8
    assert {made.texts[t] for t in made.high_target} > {"done"}


def test_a_policy_yaml_that_the_robot_or_the_recording_cannot_serve_is_named(robot, settings, tmp_path):
    odd = replace(settings, adapter=replace(settings.adapter, period=0.15))
    with pytest.raises(TrainError, match="period 0.15 s is no whole number of rows a second"):
        write_chore_frames(robot, odd, tmp_path, 0, 1)
    strange = load_adapter("aloha")
    with pytest.raises(TrainError, match="the robot mobile_bimanual has no channel"):
        write_chore_frames(robot, replace(settings, adapter=replace(strange, period=0.1)), tmp_path, 0, 1)
    assert not list(tmp_path.iterdir())
    assert chore_frames.ChoreFrameSettings(settings.adapter).every == 4
