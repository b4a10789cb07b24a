"""The robots of a run: what belongs to which, and whether it fits into the network."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.train import embodiments as module
from pi0_ros.train.embodiments import (
    Embodiment,
    SourceSpec,
    check_fits,
    check_questions,
    embodiments,
    frame_folders,
    frame_weights,
    frames_below,
    question_slots,
)
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import save_frames

sys.path.insert(0, str(Path(__file__).parent))
from test_training import some_frames

ADAPTER = load_adapter("mobile_bimanual")
FITTING = SimpleNamespace(action_dim=18, state_dim=18, kind="pi0", cameras=tuple(ADAPTER.cameras))


def test_frames_are_found_in_order_below_each_folder_and_half_written_ones_are_not(tmp_path):
    for name in ("b/shard-1", "b/shard-0", "a/deep/er", "b/shard-2.partial"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "frames.json").touch()
    found = frame_folders([str(tmp_path / "b"), str(tmp_path / "a")])
    assert [str(f.relative_to(tmp_path)) for f in found] == ["b/shard-0", "b/shard-1", "a/deep/er"]
    with pytest.raises(TrainError, match=f"no frames below {tmp_path}/b/shard-2.partial, {tmp_path}/none"):
        frame_folders([str(tmp_path / "b/shard-2.partial"), str(tmp_path / "none")])


def test_frames_of_several_folders_are_joined_in_their_order(tmp_path):
    parts = [some_frames(seed, 8) for seed in (0, 1, 2)]
    for name, part in zip(("a/y", "a/x", "b"), parts, strict=True):
        save_frames(part, tmp_path / name)
    found = frames_below([str(tmp_path / "b"), str(tmp_path / "a")])
    np.testing.assert_array_equal(found.state, np.concatenate([parts[2].state, parts[1].state, parts[0].state]))


def test_vectors_are_those_of_all_sources_and_the_rest_is_the_firsts():
    one, other = some_frames(0, 8), some_frames(1, 4)
    both = Embodiment("arm", ADAPTER, (("a", one), ("b", other))).vectors
    for name in ("state", "chunk", "valid"):
        wanted = np.concatenate([getattr(one, name), getattr(other, name)])
        np.testing.assert_array_equal(getattr(both, name), wanted, err_msg=name)
    assert both.images is one.images and Embodiment("arm", ADAPTER, (("a", one),)).vectors is one


def test_the_first_robots_statistics_lie_in_the_runs_folder_and_the_others_by_their_name(tmp_path, monkeypatch):
    robot = Embodiment("left_arm", ADAPTER, ())
    assert robot.place(tmp_path, True) == tmp_path
    assert robot.place(tmp_path, False) == tmp_path / "statistics" / "left_arm"
    monkeypatch.setattr(module, "read_norm_stats", lambda place: f"read {place}")
    assert robot.statistics(tmp_path, False) == f"read {tmp_path}/statistics/left_arm"


@pytest.fixture
def named(monkeypatch):
    """Adapters are called as their files, frames as their folders."""
    monkeypatch.setattr(module, "load_adapter", lambda name: replace(ADAPTER, name=name.split("/")[-1]))
    monkeypatch.setattr(module, "frames_below", lambda roots: f"frames of {','.join(roots)}")


def test_sources_of_one_policy_and_control_mode_are_one_robot_in_the_order_of_their_first(named):
    sources = (
        SourceSpec("web", text="t.jsonl"),
        SourceSpec("a", "fa", "arm", "joint"),
        SourceSpec("b", "fb", "base"),
        SourceSpec("c", "fc", "arm", "end effector"),
        SourceSpec("d", "fd", "arm", "joint"),
    )
    found = embodiments(sources)
    assert [(e.name, e.sources) for e in found] == [
        ("arm-joint", (("a", "frames of fa"), ("d", "frames of fd"))),
        ("base", (("b", "frames of fb"),)),
        ("arm-end_effector", (("c", "frames of fc"),)),
    ]
    assert [(e.adapter.prompt or {}).get("control_mode") for e in found] == ["joint", None, "end effector"]


def test_two_policies_of_one_name_are_refused_by_it(named):
    with pytest.raises(TrainError, match="two policy YAMLs of the mixture are called 'arm'"):
        embodiments((SourceSpec("z", "f", "base"), SourceSpec("a", "f", "one/arm"), SourceSpec("b", "f", "two/arm")))


def test_a_robot_fits_up_to_the_networks_width_and_with_slots_that_it_has():
    check_fits(ADAPTER, FITTING)
    with pytest.raises(TrainError, match="18 action dimensions, and the network has 17"):
        check_fits(ADAPTER, SimpleNamespace(**{**vars(FITTING), "action_dim": 17}))
    narrow = SimpleNamespace(**{**vars(FITTING), "state_dim": 17})
    with pytest.raises(TrainError, match="18 state dimensions, and the network has 17"):
        check_fits(ADAPTER, narrow)
    check_fits(ADAPTER, SimpleNamespace(**{**vars(narrow), "kind": "pi05"}))  # whose state is text
    with pytest.raises(TrainError, match="no picture slot 'right_wrist'; it has base, left_wrist"):
        check_fits(ADAPTER, SimpleNamespace(**{**vars(FITTING), "cameras": ("base", "left_wrist")}))


def test_a_question_shows_the_slots_of_the_actions_that_have_the_same_camera_in_it():
    slots = {"base": "front", "left_wrist": "left", "right_wrist": None}
    adapter = replace(ADAPTER, cameras=slots, high_level_cameras={"base": "front", "right_wrist": None})
    assert question_slots(adapter) == {"base"}
    check_questions(adapter)
    assert question_slots(replace(adapter, high_level_cameras={"base": "left", "left_wrist": "left"})) == {"left_wrist"}
    with pytest.raises(TrainError, match="puts back into right_wrist, where `cameras` has none"):
        check_questions(replace(adapter, high_level_cameras={"base": "front", "right_wrist": "back"}))


def test_frames_without_weights_weigh_one_beside_those_that_have_some():
    plain, heavy = some_frames(0, 4), replace(some_frames(1, 4), weight=np.array([3.0, 1.0, 0.5, 2.0], np.float32))
    assert frame_weights([plain, plain]) is None
    assert frame_weights([plain, heavy]).tolist() == [1.0] * 4 + [3.0, 1.0, 0.5, 2.0]
