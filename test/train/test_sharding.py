"""Weights shared out over two processes: the steps are those of whole ones, and the state goes on in any number of processes."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pi0_ros.model import Pi0, initialise
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import save_frames
from pi0_ros.train.hooks import no_hooks
from pi0_ros.train.record import read_lines
from pi0_ros.train.session import make_job, run
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.sharding import count_unused
from pi0_ros.train.state import FACTS, FILE, FOLDER, ShardedState, WholeState, has_state, saved_state
from pi0_ros.train.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent))
from test_training import MODEL, SETTINGS, plan, some_frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pair) -> Path:
    """Runs of two processes over the same frames: whole and sharded for four steps, and sharded for two."""
    root = tmp_path_factory.mktemp("sharded")
    save_frames(some_frames(), root / "frames" / "a")
    pair.run(two(root, "whole", steps=4))
    pair.run(two(root, "sharded", steps=4, shard=True))
    pair.run(two(root, "parts", steps=2, shard=True))
    return root


def two(root: Path, name: str, workers: int = 2, **changes):
    settings = {"validate_every": 2, "warmup": 0, "final_rate": SETTINGS.peak_rate, **changes}
    made = plan(root, no_hooks, workers=workers, **settings)
    return replace(made, folder=str(root / name))


def tensors(place: Path) -> dict[str, torch.Tensor]:
    saved = saved_state(place)
    assert saved is not None
    return saved.load(dict.fromkeys(saved.shapes))


def test_sharded_steps_are_those_of_whole_weights(folder):
    """Gradients alike, seen in the moments; and the way that each weight went, but if a gradient is zero up to rounding
    (attention does not depend on a bias of keys), of which AdamW makes whole steps."""
    whole, sharded = tensors(folder / "whole"), tensors(folder / "sharded")
    assert isinstance(saved_state(folder / "sharded"), ShardedState) and whole.keys() == sharded.keys()
    start = initialise(Pi0(MODEL), torch.Generator().manual_seed(0)).state_dict()
    for name in (name for name in whole if name.startswith("exp_avg/")):
        torch.testing.assert_close(sharded[name], whole[name], rtol=1e-3, atol=1e-5, msg=name)
    for name, first in start.items():
        if name.endswith("k_proj.bias"):
            continue
        way, other = (state[f"weight/model.{name}"] - first for state in (whole, sharded))
        assert float((way - other).norm()) <= 0.01 * float(way.norm()), name
    assert any(float((sharded[f"weight/model.{n}"] - t).abs().max()) > 1e-3 for n, t in start.items())


def test_the_checkpoints_of_sharded_runs_are_plain_and_alike(folder):
    one, other = (load_file(folder / name / "checkpoint" / "model.safetensors") for name in ("whole", "sharded"))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(other[name].float(), tensor.float(), rtol=2e-2, atol=2e-3, msg=name)
    assert (folder / "sharded" / "best" / "model.safetensors").is_file()
    assert read_lines(folder / "sharded" / "record.jsonl")[-1]["val_loss"] == pytest.approx(
        read_lines(folder / "whole" / "record.jsonl")[-1]["val_loss"], rel=1e-3
    )


def test_two_sharded_steps_and_two_more_are_four_bit_for_bit(folder, pair):
    pair.run(two(folder, "parts", steps=4, shard=True))
    parts, whole = tensors(folder / "parts"), tensors(folder / "sharded")
    assert read_lines(folder / "parts" / "record.jsonl")[-1]["step"] == 4
    for name, tensor in whole.items():  # weights, moments and averages
        assert torch.equal(parts[name], tensor), name


def test_a_sharded_run_goes_on_whole_in_one_process_and_sharded_again_in_two(folder, pair):
    place = folder / "wandering"
    shutil.copytree(folder / "sharded", place)
    before = tensors(place)
    alone = Trainer(make_job(0, two(folder, "wandering", workers=1, shard=True)))
    assert alone.step == 4 and not alone.learner.sharded
    alone.saver.save(last=True)  # nothing was done: what was saved by two is saved by one, bit for bit
    assert isinstance(saved_state(place), WholeState) and not (place / FOLDER).exists()
    after = tensors(place)
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    run(two(folder, "wandering", workers=1, shard=True, steps=5))
    one_more = tensors(place)
    # Two processes that have nothing left to do: what they load and save again is what one process had.
    pair.run(two(folder, "wandering", steps=5, shard=True))
    assert isinstance(saved_state(place), ShardedState) and not (place / FILE).exists()
    again = tensors(place)
    assert all(torch.equal(again[name], one_more[name]) for name in one_more)
    assert not torch.equal(again["weight/model.action_out_proj.weight"], before["weight/model.action_out_proj.weight"])
    pair.run(two(folder, "wandering", steps=6, shard=True))
    assert read_lines(place / "record.jsonl")[-1]["step"] == 6


def test_the_newer_of_two_states_counts_and_a_half_written_one_does_not(folder, tmp_path):
    assert not has_state(tmp_path) and saved_state(tmp_path) is None
    shutil.copy(folder / "whole" / FILE, tmp_path)
    shutil.copytree(folder / "sharded" / FOLDER, tmp_path / FOLDER)
    facts = tmp_path / FOLDER / FACTS
    known = json.loads(facts.read_text())
    for step, kind in ((3, WholeState), (5, ShardedState)):
        facts.write_text(json.dumps({**known, "step": step}))
        assert isinstance(saved_state(tmp_path), kind)
    facts.unlink()  # the last that is written
    assert isinstance(saved_state(tmp_path), WholeState) and has_state(tmp_path)


def test_settings_that_cannot_be_sharded_are_refused(folder):
    with pytest.raises(TrainError, match="--shard and --moments 8bit do not go together"):
        TrainSettings(shard=True, moments="8bit")
    with pytest.raises(TrainError, match="--shard and --compile are not supported together"):
        TrainSettings(shard=True, compile=True)
    with pytest.raises(TrainError, match="--shard: the losses of --experiment touch need whole layers"):
        run(plan(folder, shard=True, steps=1))


def test_a_pytorch_that_cannot_count_unused_weights_as_nothing_shards_steps_that_need_none_and_refuses_the_others():
    """PyTorch 2.11 has FSDP2 without it: found on a card."""
    older = object()
    count_unused(older, False)
    with pytest.raises(TrainError, match=r"needs PyTorch 2\.13 or newer, and this is .*--word-batch"):
        count_unused(older, True)
