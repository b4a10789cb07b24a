"""What a run leaves on disk, in which order, who writes it, and what becomes of it without room."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pi0_ros.model import LoraConfig, Pi0, add_lora, load
from pi0_ros.model.lora import LoraLinear
from pi0_ros.robot.disk import DiskFull
from pi0_ros.train import saver as module
from pi0_ros.train.errors import TrainError
from pi0_ros.train.job import Job
from pi0_ros.train.learner import Learner
from pi0_ros.train.saver import Saver
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.so_far import SoFar

BASE = Path(__file__).parents[1] / "fixtures" / "golden" / "lerobot_pi05"
NOW = SoFar(step=7, seconds=190.0, examples=42)
SETTINGS = TrainSettings(precision="float32", seed=5, keep=3)
NOTE = "Seed 5, 7 steps, 42 examples, 3 minutes; see docs/training.md.\n"
OTHERS = (("left_robot", None, {}), ("right_robot", None, {}))


class Written:
    """Stands where files are written, and notes what would be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple] = []
        self.models: list[Pi0] = []
        self.problem: Callable[[str], OSError | None] = lambda what: None
        for what in ("save_state", "save_sharded_state", "write_checkpoint", "keep_copy", "write_adapter"):
            monkeypatch.setattr(module, what, self._writer(what))

    def _writer(self, what):
        def write(*given):
            if problem := self.problem(what):
                raise problem
            self.models += [part for part in given if isinstance(part, Pi0)]
            self.calls.append((what, *(part for part in given if isinstance(part, str | int | tuple | SoFar))))

        return write


@pytest.fixture
def written(monkeypatch) -> Written:
    return Written(monkeypatch)


def saver_of(folder: Path, rank: int = 0, lora: bool = False, **changes) -> Saver:
    model = load(BASE).model
    if lora:
        add_lora(model, LoraConfig(2, 6.0, 3, 3.0), torch.Generator().manual_seed(4))
    job = Job(model, None, None, {}, folder, replace(SETTINGS, **changes), rank, others=OTHERS, base=str(BASE))
    return Saver(job, Learner(job), lambda: NOW)


def test_a_save_is_the_state_then_the_checkpoint_then_a_copy_of_it_for_each_robot(tmp_path, written):
    saver_of(tmp_path).save(last=False)
    assert written.calls == [
        ("save_state", NOW),
        ("write_checkpoint", "checkpoint", NOTE),
        ("keep_copy", 7, 3, ("left_robot", "right_robot")),
    ]


def test_of_several_processes_that_hold_everything_the_first_alone_gathers_and_writes(tmp_path, written):
    saver = saver_of(tmp_path, rank=1)
    saver._learner.unfolded = saver._learner.averaged = lambda: pytest.fail("gathered for nothing")
    saver.save(last=True)
    assert not written.calls


def test_of_sharded_weights_each_process_writes_its_part_of_the_state_and_the_first_alone_the_checkpoint(
    tmp_path, written
):
    for rank in (1, 0):
        saver = saver_of(tmp_path, rank)
        saver._learner.sharded = True
        saver.save(last=False)
    assert [call[0] for call in written.calls] == [
        "save_sharded_state",
        "save_sharded_state",
        "write_checkpoint",
        "keep_copy",
    ]


def test_weights_that_are_not_finite_replace_nothing(tmp_path, written):
    saver = saver_of(tmp_path)
    saver._learner.ema.average["action_out_proj.bias"][2] = torch.inf
    with pytest.raises(TrainError, match=rf"{tmp_path}: weights are not finite at step 7; the last checkpoint is kept"):
        saver.save(last=False)
    assert not written.calls


@pytest.mark.parametrize("what", ["save_state", "write_checkpoint", "keep_copy"])
def test_without_room_the_run_goes_on_and_the_next_save_is_whole(tmp_path, written, capsys, what):
    saver = saver_of(tmp_path)
    full = DiskFull("no room")
    full.place = tmp_path / "checkpoint"
    written.problem = lambda now: full if now == what else None
    saver.save(last=False)
    assert capsys.readouterr().out == (
        f"{tmp_path}: state and checkpoint could not be written (the disk is full at {tmp_path / 'checkpoint'}); make room: "
        "the run goes on, and tries again at the next save\n"
    )
    written.problem = lambda now: None
    written.calls.clear()
    saver.save(last=False)
    assert [call[0] for call in written.calls] == ["save_state", "write_checkpoint", "keep_copy"]
    assert not capsys.readouterr().out


def test_at_the_end_a_save_that_fails_is_an_error_with_the_systems_words(tmp_path, written):
    saver = saver_of(tmp_path)
    written.problem = lambda now: OSError(errno.EIO, "Input/output error") if now == "write_checkpoint" else None
    with pytest.raises(TrainError, match=r"could not be written \(Input/output error\); make room and give the same"):
        saver.save(last=True)


def test_the_best_goes_to_its_own_folder_and_says_whether_it_could(tmp_path, written, capsys):
    saver = saver_of(tmp_path)
    best = saver._learner.averaged()
    assert saver.save_best(best) and written.models == [best]
    assert written.calls == [("write_checkpoint", "best", NOTE)]
    written.problem = lambda now: OSError(errno.ENOSPC, "No space left on device")
    assert not saver.save_best(best)
    assert "(No space left on device); make room: the run goes on" in capsys.readouterr().out


def test_adapters_are_gathered_once_and_written_as_they_were_before_they_are_folded_in(tmp_path, written, monkeypatch):
    saver = saver_of(tmp_path, lora=True, lora_trunk=2, lora_expert=3, lora_export="peft")
    learner, gathered = saver._learner, []
    generator = torch.Generator().manual_seed(6)
    for average in learner.ema.average.values():
        average.add_(0.02 * torch.randn(average.shape, generator=generator))
    before, unfolded = {n: a.clone() for n, a in learner.ema.average.items()}, learner.unfolded
    learner.unfolded = lambda: gathered.append(1) or unfolded()
    adapters = []
    monkeypatch.setattr(module, "write_adapter", lambda job, adapter: adapters.append(adapter))
    saver.save(last=False)
    assert gathered == [1]
    (model,) = written.models
    assert not any(isinstance(part, LoraLinear) for part in model.modules())
    adapters[0].save(tmp_path / "adapter")
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    for name, scale in (("gemma.layers.0.self_attn.q_proj", 3.0), ("expert.layers.1.mlp.up_proj", 1.0)):
        a, b = before[f"{name}.lora_a"].numpy(), before[f"{name}.lora_b"].numpy()
        low = next(k for k in tensors if k.endswith(f"{name.split('.', 1)[1]}.lora_A.weight") and _stack(name) in k)
        np.testing.assert_array_equal(tensors[low].numpy(), a.T)
        np.testing.assert_array_equal(tensors[low.replace("lora_A", "lora_B")].numpy(), b.T)
        own = learner.objective.model.get_submodule(name).weight.detach().float().numpy()
        found = model.get_submodule(name).weight.detach().float().numpy()
        np.testing.assert_allclose(found, own + scale * (a @ b).T, rtol=0, atol=2e-6)


def _stack(name: str) -> str:
    """The part of a LeRobot key that says which of the two stacks it is about."""
    return "gemma_expert" if name.startswith("expert") else "language_model"
