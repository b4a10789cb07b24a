"""`pi0 collect`: episodes of the scripted operator on disk, read back as a LeRobot dataset."""

from __future__ import annotations

import signal
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mujoco")

from pi0_ros.chores.collect import ChoreCollector
from pi0_ros.chores.conditions import draw_conditions
from pi0_ros.chores.recording import ChoreSettings, Recorded
from pi0_ros.chores.room_collect import RoomCollector
from pi0_ros.chores.room_words import parse_wish
from pi0_ros.chores.words import parse_put
from pi0_ros.cli import main
from pi0_ros.data.dataset import Dataset
from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.robot import load_robot
from pi0_ros.touch.tasks import parse_subtask

ARGS = ("--task", "reach", "--episodes", "2", "--size", "32", "--fps", "5", "--cameras", "base,back", "--seed", "3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("collect") / "set"
    assert main(["collect", "--out", str(out), *ARGS]) == 0
    return out


def test_collected_episodes_read_back_whole(folder):
    read = Dataset(folder)
    assert len(read.episodes) == 2 and read.fps == 5 and read.cameras == ("base", "back")
    assert read.layout.robot_type == "mobile_bimanual"
    assert all(parse_subtask(text) for text in read.tasks)
    assert read.features["action"]["names"][:2] == ["left_joint1", "left_joint2"]
    for episode in read.episodes:
        pictures = list(read.pictures("base", episode.index))
        assert len(pictures) == episode.length > 3 and pictures[0].std() > 5


def test_actions_lead_the_state(folder):
    read = Dataset(folder)
    state, action = read.column("observation.state"), read.column("action")
    names = read.features["action"]["names"]
    arms = [i for i, name in enumerate(names) if "_joint" in name]
    first = read.episodes[0]
    moved = np.abs(state[first.stop - 1] - state[first.start])[arms]
    assert moved.max() > 0.1
    assert np.abs(action - state)[:, arms].max() < 0.5


def test_words_of_the_high_level_are_columns(folder):
    read = Dataset(folder)
    assert set(read.column("high_level_task")) == {"touch every block"}
    assert all(text == "done" or parse_subtask(text) for text in read.column("high_level_target"))


def test_a_folder_that_is_there_is_kept_and_named(folder, capsys):
    before = sorted(folder.rglob("*"))
    assert main(["collect", "--out", str(folder), *ARGS]) == 1
    assert "is there already" in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_a_camera_that_the_robot_lacks_is_named(tmp_path, capsys):
    assert main(["collect", "--out", str(tmp_path / "x"), "--cameras", "base,nose"]) == 1
    assert "'nose'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


SMALL = ("--size", "32", "--fps", "5", "--cameras", "base", "--push-rate", "0", "--task", "pick_place")


@pytest.fixture(scope="module")
def chore():
    return ChoreCollector(load_robot("mobile_bimanual"), ChoreSettings(("base",), 32, 5, 0.0)).episode(4)


def test_blocks_and_bins_are_collected_in_shards_and_the_same_command_goes_on(tmp_path, capsys, monkeypatch, chore):
    """It is interrupted in the second of three shards, after one of its two episodes."""
    out = tmp_path / "blocks"
    command = ["collect", "--out", str(out), *SMALL, "--episodes", "5", "--seed", "4", "--shard", "2"]
    made = []

    def episode(self, seed):
        made.append(seed)
        if len(made) == 3:
            signal.raise_signal(signal.SIGINT)
        return replace(chore, failed_starts=2 if seed == 4 else 0)

    monkeypatch.setattr(ChoreCollector, "episode", episode)
    assert main(command) == 130
    assert "ended early with 3 episodes" in (said := capsys.readouterr().out) and made == [4, 5, 6]
    assert "1 of them in a shard that is not whole, which is removed" in said
    assert [folder.name for folder in out.iterdir()] == ["seeds-000000004"]
    assert main(command) == 0
    assert made == [4, 5, 6, 6, 7, 8] and "2 episodes more were there" in capsys.readouterr().out
    read = [Dataset(folder) for folder in sorted(out.iterdir())]
    assert [len(part.episodes) for part in read] == [2, 2, 1]
    assert all(parse_put(text) for text in read[0].tasks) and read[0].column("progress")[-1] == 5
    notes = EpisodeLog(read[0].folder).read()
    assert [notes[k]["failed_starts"] for k in (0, 1)] == [2, 0] and notes[0]["outcome"] == "success"


@pytest.mark.parametrize(("task", "parse"), [("drive_to", str), ("tidy", parse_wish)])
def test_what_both_levels_learn_in_a_room_reads_back(tmp_path, monkeypatch, task, parse):
    """One frame of each of two starts."""

    def episode(self, seed):
        text = self.task.reset(self.sim, seed)
        row = self._look((self.task.subtask(self.sim), text, "done"))
        row |= {f"observation.images.{c}": self.sim.render(c, self.settings.size) for c in self.settings.cameras}
        row |= {"action": row["observation.state"], "perturbed": np.array([0], np.int64)}
        return Recorded((row, row), 0, draw_conditions(np.random.default_rng(seed), self.sim.robot, ("base",)))

    monkeypatch.setattr(RoomCollector, "episode", episode)
    out = tmp_path / "room"
    assert main(["collect", "--out", str(out), *SMALL[:-1], task, "--episodes", "2", "--seed", "1"]) == 0
    read = Dataset(out)
    assert len(read.episodes) == 2 and set(read.column("high_level_target")) == {"done"}
    assert all(parse(text) for text in read.column("high_level_task"))
    assert all(text.startswith(("drive to the ", "pick up the ")) for text in read.tasks)


def test_starts_that_failed_are_counted(tmp_path, capsys, monkeypatch, chore):
    monkeypatch.setattr(ChoreCollector, "episode", lambda self, seed: replace(chore, failed_starts=seed))
    assert main(["collect", "--out", str(tmp_path / "b"), *SMALL, "--episodes", "3", "--seed", "1"]) == 0
    assert "6 of 9 starts failed and were drawn anew" in capsys.readouterr().out
