"""Moments of AdamW in 8 bits: a step goes the same way, a quarter of the memory, a run goes on with them exactly."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import save_frames
from pi0_ros.train.memory import memory_plan
from pi0_ros.train.optim import eight_bit
from pi0_ros.train.session import make_job, run
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent))
from test_training import MODEL, plan, some_frames

THERE = importlib.util.find_spec("bitsandbytes") is not None
needs_it = pytest.mark.skipif(not THERE, reason="needs bitsandbytes (pip install 'pi0_ros[moments]')")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_frames(some_frames(), tmp_path / "frames" / "a")
    return tmp_path


@pytest.mark.skipif(THERE, reason="bitsandbytes is installed: the refusal is for where it is not")
def test_without_the_package_it_is_named():
    with pytest.raises(TrainError, match=r"needs the package bitsandbytes \(pip install 'pi0_ros\[moments\]'\)"):
        eight_bit()


def test_the_plan_counts_a_byte_and_a_share_of_a_scale():
    whole, small = (memory_plan(MODEL, TrainSettings(moments=kind)) for kind in ("float32", "8bit"))
    assert whole.moments == 8 * whole.trainable
    assert small.moments == pytest.approx(2 * (1 + 4 / 256) * small.trainable, abs=1)
    assert any("moments" in line and "8bit" in line for line in small.lines())
    with pytest.raises(TrainError, match="--moments '4bit' is not known"):
        TrainSettings(moments="4bit")


@needs_it
def test_steps_go_the_same_way_as_with_whole_moments():
    ends = []
    for make in (torch.optim.AdamW, eight_bit()):
        torch.manual_seed(0)
        layer, x, y = torch.nn.Linear(128, 64), torch.randn(32, 128), torch.randn(32, 64)
        optimizer = make(layer.parameters(), lr=1e-2, betas=(0.9, 0.95))
        for _ in range(20):
            loss = (layer(x) - y).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        ends.append(float(loss.detach()))
    assert ends[1] == pytest.approx(ends[0], rel=0.02)


@needs_it
def test_two_steps_and_two_more_are_four_steps_with_moments_in_8_bits(folder):
    settings = {"steps": 4, "validation_share": 0.0, "moments": "8bit"}
    run(plan(folder, **settings))
    file = folder / "run" / "state.safetensors"
    whole = load_file(file)
    assert any(t.dtype == torch.uint8 and k.startswith("state1/") for k, t in whole.items())
    file.unlink()
    first = Trainer(make_job(0, plan(folder, **settings)))
    for _ in range(2):
        first._one_step()
        first.so_far = replace(first.so_far, step=first.step + 1)
    first.saver.save(last=True)
    Trainer(make_job(0, plan(folder, **settings))).run()
    for name, tensor in load_file(file).items():
        assert torch.equal(tensor, whole[name]), name


@needs_it
def test_a_run_does_not_go_on_with_moments_of_another_kind(folder):
    run(plan(folder, steps=1, moments="8bit"))
    with pytest.raises(TrainError, match="begun with other --moments"):
        Trainer(make_job(0, plan(folder, steps=2)))
