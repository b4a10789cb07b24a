"""One step of AdamW, its averages, and what is saved of them, against the formulas."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pi0_ros.model import GemmaConfig, LoraConfig, Pi0, VisionConfig, add_lora, initialise
from pi0_ros.model.lora import LoraLinear
from pi0_ros.train import learner as module
from pi0_ros.train.ahead import StepData
from pi0_ros.train.hooks import AuxiliaryLoss, Hooks
from pi0_ros.train.job import Job
from pi0_ros.train.learner import Learner
from pi0_ros.train.network import tiny_model
from pi0_ros.train.objective import StepLoss
from pi0_ros.train.recipe import OURS, RECIPES
from pi0_ros.train.settings import TrainSettings

STACK = GemmaConfig(width=16, depth=2, heads=2, kv_heads=1, head_dim=8, mlp=16)
VISION = VisionConfig(16, 1, 2, 16, image_size=16, patch=8)
CONFIG = replace(tiny_model(), vision=VISION, language=STACK, expert=STACK)
SETTINGS = TrainSettings(steps=3, precision="float32", clip=2.0, weight_decay=0.05, ema=0.9)
NOTHING = StepData(np.zeros(0, np.int64), None, None, None)
MATRIX, VECTOR = "action_in_proj.weight", "action_in_proj.bias"


def learner_of(folder: Path, model: Pi0 | None = None, recipe=OURS, **changes) -> Learner:
    """Of a network without data: what is asked here is what becomes of gradients."""
    model = model or initialise(Pi0(CONFIG), torch.Generator().manual_seed(3))
    settings = replace(SETTINGS, **changes)
    return Learner(Job(model, None, None, {}, folder, settings, recipe=recipe))


def with_gradients(learner: Learner, gradients: dict[str, torch.Tensor]) -> None:
    """From now on a step's gradients are these, and all other weights have none."""
    named = dict(learner.objective.model.named_parameters())

    def loss(*_):
        total = sum((named[name] * gradient).sum() for name, gradient in gradients.items())
        return StepLoss(total, total, total, total)

    learner.loss = loss


def weights(learner: Learner, names=None) -> dict[str, np.ndarray]:
    named = learner.objective.model.named_parameters()
    return {n: p.detach().double().numpy().copy() for n, p in named if names is None or n in names}


def random(shape, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gradients(learner: Learner, seed: int) -> dict[str, torch.Tensor]:
    named = dict(learner.objective.model.named_parameters())
    return {MATRIX: random(named[MATRIX].shape, seed), VECTOR: random(named[VECTOR].shape, seed + 1)}


def test_two_steps_are_adamw_with_clipped_gradients_at_the_rate_of_each_and_what_has_no_gradient_stays(tmp_path):
    """Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, with the betas 0.9 and 0.95; decay on matrices alone."""
    learner = learner_of(tmp_path)
    before = weights(learner)
    given = [gradients(learner, 10), gradients(learner, 20)]
    wanted = {n: before[n] for n in (MATRIX, VECTOR)}
    first, second = ({n: np.zeros_like(w) for n, w in wanted.items()} for _ in range(2))
    for step, (each, rate) in enumerate(zip(given, (0.02, 0.003), strict=True)):
        with_gradients(learner, each)
        _, finite = learner.advance(NOTHING, step, rate)
        assert finite
        norm = np.sqrt(sum(float((g.double() ** 2).sum()) for g in each.values()))
        assert norm > SETTINGS.clip
        for n, w in wanted.items():
            g = each[n].double().numpy() * SETTINGS.clip / norm
            first[n] = 0.9 * first[n] + 0.1 * g
            second[n] = 0.95 * second[n] + 0.05 * g**2
            mean, square = first[n] / (1 - 0.9 ** (step + 1)), second[n] / (1 - 0.95 ** (step + 1))
            decay = SETTINGS.weight_decay if n == MATRIX else 0.0
            wanted[n] = w - rate * decay * w - rate * mean / (np.sqrt(square) + 1e-8)
    after = weights(learner)
    for n in before:
        np.testing.assert_allclose(after[n], wanted.get(n, before[n]), rtol=0, atol=2e-6, err_msg=n)


def test_the_average_forgets_random_weights_soon_and_later_keeps_the_share_that_was_asked_for(tmp_path):
    """Decay min(ema, (1 + step) / (10 + step)): 0.1 in the first step, 5/14 in the fifth, 0.9 in the thousandth."""
    learner = learner_of(tmp_path)
    average = weights(learner)
    for seed, (step, decay) in enumerate(((0, 0.1), (4, 5 / 14), (1000, 0.9))):
        with_gradients(learner, gradients(learner, 30 + seed))
        learner.advance(NOTHING, step, 0.05)
        average = {n: decay * average[n] + (1 - decay) * w for n, w in weights(learner).items()}
        for n, value in average.items():
            np.testing.assert_allclose(learner.ema.average[n].numpy(), value, rtol=0, atol=2e-6, err_msg=n)
    assert np.abs(average[MATRIX] - weights(learner)[MATRIX]).max() > 0.01
    saved = learner.averaged()
    assert saved is not learner.objective.model
    for n, p in saved.named_parameters():
        np.testing.assert_allclose(p.detach().numpy(), average[n], rtol=0, atol=2e-6, err_msg=n)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_of_a_gradient_that_is_not_finite_nothing_is_learned_and_the_next_step_is_as_if_it_had_not_been(
    tmp_path, wrong
):
    learner, other = learner_of(tmp_path), learner_of(tmp_path)
    before, good = weights(learner), gradients(learner, 40)
    bad = {n: g.clone() for n, g in gradients(learner, 50).items()}
    bad[VECTOR][3] = wrong
    with_gradients(learner, bad)
    _, finite = learner.advance(NOTHING, 0, 0.02)
    assert not finite
    for n, w in weights(learner).items():
        np.testing.assert_array_equal(w, before[n], err_msg=n)
    for each in (learner, other):
        with_gradients(each, good)
        assert each.advance(NOTHING, 1, 0.02)[1]
    for n, w in weights(other).items():
        np.testing.assert_array_equal(weights(learner, [n])[n], w, err_msg=n)


@pytest.mark.parametrize(("recipe", "share"), [("lerobot", 1 - 0.02 * 0.05), ("pi0_ros", 1.0)])
def test_the_queries_of_the_last_trunk_layer_decay_without_a_gradient_where_the_recipe_says_so(tmp_path, recipe, share):
    learner = learner_of(tmp_path, recipe=RECIPES[recipe])
    last, earlier = (f"gemma.layers.{i}.self_attn.q_proj.weight" for i in (1, 0))
    before = weights(learner, [last, earlier])
    with_gradients(learner, gradients(learner, 60))
    learner.advance(NOTHING, 0, 0.02)
    after = weights(learner, [last, earlier])
    np.testing.assert_allclose(after[last], before[last] * share, rtol=1e-6)
    np.testing.assert_array_equal(after[earlier], before[earlier])


def test_what_is_saved_has_the_averaged_adapters_folded_in_and_before_that_they_stand_beside_the_weights(tmp_path):
    model = add_lora(
        initialise(Pi0(CONFIG), torch.Generator().manual_seed(3)),
        LoraConfig(2, 6.0, 3, 12.0),
        torch.Generator().manual_seed(4),
    )
    name = "expert.layers.1.self_attn.v_proj"
    weight = weights(learner_of(tmp_path, model))[f"{name}.weight"]
    learner = learner_of(tmp_path, model)
    low = {part: random(learner.ema.average[f"{name}.{part}"].shape, k) for k, part in enumerate(("lora_a", "lora_b"))}
    for part, value in low.items():
        learner.ema.average[f"{name}.{part}"].copy_(value)
    apart = learner.unfolded()
    layer = apart.get_submodule(name)
    assert isinstance(layer, LoraLinear) and torch.equal(layer.lora_a, low["lora_a"])
    assert isinstance(model.get_submodule(name), LoraLinear)
    folded = learner.folded(apart)
    assert not any(isinstance(m, LoraLinear) for m in folded.modules()) and not folded.training
    change = 12.0 / 3 * (low["lora_a"].double() @ low["lora_b"].double()).T.numpy()
    found = folded.get_submodule(name).weight.detach().numpy()
    np.testing.assert_allclose(found, weight + change, rtol=0, atol=1e-5)
    again = learner.averaged().get_submodule(name).weight.detach().numpy()
    np.testing.assert_array_equal(again, found)


def test_without_averages_the_weights_themselves_are_saved_and_shown(tmp_path):
    learner = learner_of(tmp_path, ema=0.0)
    with_gradients(learner, gradients(learner, 70))
    learner.advance(NOTHING, 0, 0.05)
    now = weights(learner)
    assert not learner.ema.average
    with learner.with_averages() as shown:
        assert shown is learner.objective.model and np.array_equal(weights(learner)[MATRIX], now[MATRIX])
    for n, p in learner.averaged().named_parameters():
        np.testing.assert_array_equal(p.detach().double().numpy(), now[n], err_msg=n)


@pytest.mark.parametrize("compiled", [True, False])
def test_nothing_is_compiled_for_a_validation_of_a_run_that_compiles(tmp_path, monkeypatch, compiled):
    stances = []

    @contextmanager
    def stance(name):
        stances.append(name)
        yield
        stances.append("over")

    monkeypatch.setattr(torch.compiler, "set_stance", stance)
    monkeypatch.setattr(module, "compile_layers", lambda model: stances.append("compiled"))
    learner = learner_of(tmp_path, compile=compiled)
    with learner.with_averages():
        stances.append("shown")
    assert stances == (["compiled", "force_eager", "shown", "over"] if compiled else ["shown"])


@pytest.mark.parametrize(("world", "shard", "sharded"), [(1, True, False), (2, True, True), (2, False, False)])
def test_weights_are_sharded_over_several_processes_if_it_is_asked_for(tmp_path, monkeypatch, world, shard, sharded):
    monkeypatch.setattr(module, "world", lambda: world)
    monkeypatch.setattr(module, "ShardedObjective", lambda objective, device: ("shards", objective, device))
    monkeypatch.setattr(module, "in_parallel", lambda objective: ("parallel", objective))
    learner = learner_of(tmp_path, shard=shard)
    assert learner.sharded is sharded and learner._parallel[0] == ("shards" if sharded else "parallel")
    assert learner._parallel[1] is learner.objective
    if sharded:
        assert learner._parallel[2] == torch.device("cpu")


def test_an_experiments_loss_is_made_for_the_network_by_the_runs_seed(tmp_path):
    class Own(AuxiliaryLoss):
        names = ("own",)

        def __init__(self, model):
            super().__init__()
            self.model_of, self.weight = [model], torch.nn.Parameter(torch.randn(3))

        def facts(self, rows):
            return None

        def forward(self, model, seen, facts):
            return {}

    def made(seed):
        model = initialise(Pi0(CONFIG), torch.Generator().manual_seed(3))
        settings = replace(SETTINGS, seed=seed)
        job = Job(model, None, None, {}, tmp_path, settings, recipe=OURS, hooks=Hooks(loss=Own, token_loss=min))
        return Learner(job).objective

    one, other, another = made(4), made(4), made(5)
    assert one.auxiliary.model_of == [one.model] and one.token_loss is min
    assert torch.equal(one.auxiliary.weight, other.auxiliary.weight)
    assert not torch.equal(one.auxiliary.weight, another.auxiliary.weight)
