"""One step of the optimiser on a network of a few numbers."""

import math

import pytest

torch = pytest.importorskip("torch")

from pi0_ros.train.optim import advance


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
