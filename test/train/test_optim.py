"""One step of the optimiser on a network of a few numbers."""

import math
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from pi0_ros.model import Pi0
from pi0_ros.train.optim import advance, idle_parameters, make_optimizer
from pi0_ros.train.recipe import RECIPES
from pi0_ros.train.settings import TrainSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "model"))
from model_cases import small_config


class Two(torch.nn.Module):
    """A weight that the loss depends on, and one that it does not."""

    def __init__(self):
        super().__init__()
        self.used = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
        self.idle = torch.nn.Parameter(torch.tensor([4.0]))
        self.fixed = torch.nn.Parameter(torch.tensor([7.0]), requires_grad=False)


def step(clip, scale=1.0, idle=False, decay=0.0):
    model = Two()
    optimizer = torch.optim.SGD([model.used, model.idle], lr=0.1, weight_decay=decay)
    loss = scale * (model.used * torch.tensor([3.0, 0.0, 4.0])).sum()
    norm, finite = advance(loss, model, optimizer, clip, [model.idle] if idle else ())
    return model, float(norm), finite


def test_a_gradient_longer_than_the_clip_is_shortened_to_it_and_its_own_length_is_told():
    model, norm, finite = step(clip=2.0)
    assert norm == pytest.approx(5.0) and finite
    assert model.used.tolist() == pytest.approx([1.0 - 0.1 * 1.2, -2.0, 0.5 - 0.1 * 1.6], abs=1e-6)


@pytest.mark.parametrize("clip", [0.0, 9.0])
def test_a_shorter_one_and_one_without_a_clip_is_taken_as_it_is(clip):
    model, norm, _ = step(clip)
    assert norm == pytest.approx(5.0) and model.used.tolist() == pytest.approx([0.7, -2.0, 0.1], abs=1e-6)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_moves_nothing_and_is_gone_afterwards(wrong):
    model, _, finite = step(1.0, scale=wrong)
    assert not finite and model.used.tolist() == [1.0, -2.0, 0.5] and model.used.grad is None


def test_a_weight_without_a_gradient_stays_and_one_that_is_idle_decays():
    assert step(1.0, decay=0.5)[0].idle.item() == 4.0
    assert step(1.0, idle=True, decay=0.5)[0].idle.item() == pytest.approx(4.0 * (1 - 0.1 * 0.5))


def test_gradients_do_not_add_up_from_step_to_step():
    model = Two()
    optimizer = torch.optim.SGD([model.used, model.idle], lr=0.1)
    for _ in range(2):
        advance((model.used * torch.tensor([3.0, 0.0, 4.0])).sum(), model, optimizer, 0.0)
    assert model.used.tolist() == pytest.approx([0.4, -2.0, -0.3], abs=1e-6)


class Parts(torch.nn.Module):
    """A matrix, a vector, an embedding and something frozen."""

    def __init__(self):
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.tensor([[2.0, -1.0]]))
        self.bias = torch.nn.Parameter(torch.tensor([3.0]))
        self.embed_tokens = torch.nn.Parameter(torch.tensor([[-4.0]]))
        self.fixed = torch.nn.Parameter(torch.tensor([[5.0]]), requires_grad=False)


@pytest.mark.parametrize(
    ("recipe", "decaying"), [("pi0_ros", {"matrix"}), ("lerobot", {"matrix", "bias", "embed_tokens"})]
)
def test_two_steps_are_adamws_with_openpis_moments_and_the_decay_of_the_recipe(recipe, decaying):
    """Loshchilov and Hutter 2019, algorithm 2, with beta 0.9 and 0.95 and unequal gradients, written out."""
    model, rate, decay = Parts(), 0.01, 0.2
    optimizer = make_optimizer(model, TrainSettings(peak_rate=rate, weight_decay=decay), RECIPES[recipe])
    expected = {n: p.detach().clone() for n, p in model.named_parameters()}
    gradients = (1.5, -0.25)
    for given in gradients:
        for p in model.parameters():
            p.grad = torch.full_like(p, given) if p.requires_grad else None
        optimizer.step()
    first, second = 0.0, 0.0
    for number, g in enumerate(gradients, 1):
        first, second = 0.9 * first + 0.1 * g, 0.95 * second + 0.05 * g * g
        way = first / (1 - 0.9**number) / (math.sqrt(second / (1 - 0.95**number)) + 1e-8)
        for name in ("matrix", "bias", "embed_tokens"):
            shrunk = expected[name] * (1 - rate * decay * (name in decaying))
            expected[name] = shrunk - rate * way
    for name, p in model.named_parameters():
        assert torch.allclose(p, expected[name], atol=1e-6), name


def test_what_is_idle_are_the_last_trunk_layers_queries_where_lerobot_trains_an_expert():
    acting, saying = (Pi0(small_config(kind, depth=3)) for kind in ("pi05", "pi0_fast"))
    assert [
        p is acting.gemma.layers[2].self_attn.q_proj.weight for p in idle_parameters(acting, RECIPES["lerobot"])
    ] == [True]
    assert idle_parameters(acting, RECIPES["openpi"]) == idle_parameters(saying, RECIPES["lerobot"]) == ()
