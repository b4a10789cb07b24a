"""The fused operations in plain PyTorch: computed wide and rounded once, whatever comes in, and each against numpy."""

import numpy as np
import pytest
import torch

from pi0_ros.model.fused import plain

RNG = np.random.default_rng(13)


def numbers(*shape):
    return RNG.normal(size=shape)


def gelu(x):
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


X, DELTA, WEIGHT, BIAS, BOTH = numbers(3, 40), numbers(3, 40), numbers(40), numbers(40), numbers(3, 80)


def rms(x):
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-6)


def layer_norm(x, weight, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-6) * weight + bias


OPERATIONS = {
    "rms": (plain.rms, (X,), rms(X)),
    "layer_norm": (lambda x, w, b: plain.layer_norm(x, None, w, b), (X, WEIGHT, BIAS), layer_norm(X, WEIGHT, BIAS)),
    "geglu": (plain.geglu, (BOTH,), gelu(BOTH[:, :40]) * BOTH[:, 40:]),
    "linear_gelu": (plain.linear_gelu, (X, numbers(5, 40), numbers(5)), None),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_of_doubles_an_operation_is_exact(name):
    operation, given, right = OPERATIONS[name]
    if right is None:
        right = gelu(given[0] @ given[1].T + given[2])
    found = operation(*(torch.tensor(value) for value in given))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["rms", "layer_norm", "geglu"])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_of_halves_it_is_computed_in_float32_and_rounded_once(name, kind):
    operation, given, _ = OPERATIONS[name]
    halves = [torch.tensor(value).to(kind) for value in given]
    found, whole = operation(*halves), operation(*(value.float() for value in halves))
    assert found.dtype == kind and torch.equal(found, whole.to(kind))


def test_what_is_pending_is_added_into_the_stream():
    x = torch.tensor(X)
    np.testing.assert_allclose(plain.rms(x, torch.tensor(DELTA)).numpy(), rms(X + DELTA), rtol=1e-12)
    np.testing.assert_allclose(x.numpy(), X + DELTA, rtol=1e-12)
    x = torch.tensor(X)
    found = plain.layer_norm(x, torch.tensor(BIAS), torch.tensor(WEIGHT), torch.tensor(BIAS))
    np.testing.assert_allclose(found.numpy(), layer_norm(X + BIAS, WEIGHT, BIAS), rtol=1e-11)
    np.testing.assert_allclose(x.numpy(), X + BIAS, rtol=1e-12)
