"""What the trainer holds at a validation and at a save: the network once, and no average that nobody asked for."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pi0_ros.train.ahead import StepExamples
from pi0_ros.train.frames import save_frames
from pi0_ros.train.hooks import no_hooks
from pi0_ros.train.lots import Lots
from pi0_ros.train.session import make_job, run
from pi0_ros.train.state import load_state, save_state
from pi0_ros.train.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent))
from test_training import plan, some_frames


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A run of one step, for its statistics."""
    folder = tmp_path_factory.mktemp("begun")
    save_frames(some_frames(), folder / "frames" / "a")
    run(plan(folder, no_hooks, steps=1, validation_share=0.0))
    (folder / "run" / "state.safetensors").unlink()
    return folder


def stepped(folder: Path, **changes: Any) -> Trainer:
    trainer = Trainer(make_job(0, plan(folder, no_hooks, **changes)))
    trainer._one_step()
    return trainer


class Made(TorchDispatchMode):
    """Counts the numbers that operations put into new memory while it is open."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        given = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        if isinstance(found, torch.Tensor) and found.untyped_storage().data_ptr() not in given:
            self.numbers += found.numel()
        return found


def test_a_validation_sees_the_averages_in_the_network_itself_and_gives_the_weights_back(begun, monkeypatch):
    trainer = stepped(begun, ema=0.5)
    model = trainer.job.model
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    averages = {n: a.clone() for n, a in trainer.learner.ema.average.items()}
    assert any(not torch.equal(averages[n], p) for n, p in before.items())
    shown = []

    def loss(network, *_):
        shown.append((network is model, all(torch.equal(p, averages[n]) for n, p in network.named_parameters())))
        return 1.0

    monkeypatch.setattr("pi0_ros.train.reporter.held_out_loss", loss)
    monkeypatch.setattr("pi0_ros.train.reporter.measured", lambda *_: {})
    monkeypatch.setattr("pi0_ros.train.reporter.subtask_accuracy", lambda *_: 1.0)
    trainer.reporter.sums = {"total": 1.0, "count": 1.0}
    with trainer.learner.with_averages() as network:
        assert network is model
    trainer._report()
    assert shown == [(True, True)]
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert all(torch.equal(a, averages[n]) for n, a in trainer.learner.ema.average.items())
    saved = trainer.learner.averaged()
    assert saved is not model and all(torch.equal(p, averages[n]) for n, p in saved.named_parameters())


def test_without_an_average_none_is_kept_and_the_weights_are_saved(begun):
    trainer = stepped(begun, ema=0.0)
    assert not trainer.learner.ema.average
    weights = dict(trainer.job.model.named_parameters())
    assert all(torch.equal(p, weights[n]) for n, p in trainer.learner.averaged().named_parameters())


def test_a_state_is_saved_without_a_second_copy_of_it(begun, tmp_path):
    trainer = stepped(begun)
    with Made() as made:
        save_state(tmp_path, trainer.learner.objective, trainer.learner.optimizer, trainer.learner.ema, trainer.now())
    assert made.numbers < 100 and (tmp_path / "state.safetensors").stat().st_size > 100_000


def test_steps_have_the_rates_of_the_recipe_and_the_average_follows_the_new_weights(begun):
    """By openpi's formula, a warm-up of 2 of 4 steps: a third and two thirds of the peak, the peak, half of the cosine."""
    trainer = Trainer(make_job(0, plan(begun, no_hooks, steps=4, warmup=2, ema=0.5, peak_rate=8e-4, final_rate=2e-4)))
    weight = trainer.job.model.action_out_proj.weight
    average, rates = weight.detach().clone(), []
    for number, decay in enumerate((1 / 10, 2 / 11, 3 / 12, 4 / 13)):  # (1 + step) / (10 + step), at most 0.5
        trainer._one_step()
        rates.append({group["lr"] for group in trainer.learner.optimizer.param_groups})
        average = decay * average + (1 - decay) * weight.detach()
        assert torch.allclose(trainer.learner.ema.average["action_out_proj.weight"], average, atol=1e-6), number
        trainer.so_far = replace(trainer.so_far, step=number + 1)
    assert [pytest.approx(next(iter(r))) for r in rates] == [8e-4 / 3, 16e-4 / 3, 8e-4, 5e-4]
    assert all(len(r) == 1 for r in rates)


def test_every_process_and_every_step_draws_its_own_rows_noise_and_times(begun):
    made = []
    for rank in (0, 1):
        job = make_job(rank, plan(begun, no_hooks, batch=6, draws=3))
        made += [StepExamples(job, Lots.of(job))[step] for step in (0, 1)]
    for what in (
        lambda one: one.drawn,
        lambda one: one.flow.noise,
        lambda one: one.flow.t,
        lambda one: one.acting.inputs.images[1],
    ):
        found = [np.asarray(what(one)) for one in made]
        assert not any(np.array_equal(a, b) for k, a in enumerate(found) for b in found[:k])
    assert made[0].words.inputs.batch == 1 and len(made[0].drawn) == 7


def test_a_run_with_adapters_goes_on_with_frozen_weights_and_adapters_as_they_were(begun, tmp_path):
    """Nothing is folded in twice, and what is kept in bfloat16 stays so."""
    changes = {"lora_trunk": 2, "lora_expert": 3, "precision": "bfloat16", "gradient_checkpointing": True, "ema": 0.5}
    first = stepped(begun, **changes)
    save_state(tmp_path, first.learner.objective, first.learner.optimizer, first.learner.ema, first.now())
    again = Trainer(make_job(0, plan(begun, no_hooks, **changes)))
    load_state(tmp_path, again.learner.objective, again.learner.optimizer, again.learner.ema)
    kept, found = (dict(trainer.job.model.named_parameters()) for trainer in (first, again))
    assert all(torch.equal(p, found[n]) and p.dtype == found[n].dtype for n, p in kept.items())
    assert kept["gemma.layers.1.mlp.up_proj.weight"].dtype == torch.bfloat16
    assert first.learner.ema.average.keys() == {n for n, p in kept.items() if p.requires_grad}
    assert all(torch.equal(a, again.learner.ema.average[n]) for n, a in first.learner.ema.average.items())
    moments = [[s["exp_avg"] for s in trainer.learner.optimizer.state.values()] for trainer in (first, again)]
    assert len(moments[0]) > 20 and all(any(torch.equal(m, o) for o in moments[1]) for m in moments[0])
