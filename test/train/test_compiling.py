"""torch.compile: the check before a run, and which backend each layer gets, without compiling anything."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from pi0_ros.train import compiling
from pi0_ros.train.compiling import check_compile, compile_layers
from pi0_ros.train.errors import TrainError


def test_every_layer_is_compiled_by_the_backend_that_is_asked_for(monkeypatch):
    asked = []
    layers = [SimpleNamespace(compile=lambda name=name, **how: asked.append((name, how))) for name in "abc"]
    monkeypatch.setattr(compiling, "transformer_layers", lambda model: layers)
    compile_layers(None, backend="eager")
    compile_layers(None)
    assert asked == [(n, {"backend": b}) for b in ("eager", "inductor") for n in "abc"]


def test_the_check_runs_a_product_and_its_gradient(monkeypatch):
    """With a compiler that does nothing it passes; what the backward pass raises is a sentence."""
    seen = []
    monkeypatch.setattr(torch, "compile", lambda function: lambda x: seen.append(x) or function(x))
    check_compile("cpu")
    (weights,) = seen
    # tanh(W W) of ones [8, 8]: d sum / dW = 2 * 8 * (1 - tanh(8)^2) each
    expected = 16 * (1 - torch.tanh(torch.tensor(8.0)).item() ** 2)
    assert weights.shape == (8, 8) and torch.allclose(weights.grad, torch.full((8, 8), expected), rtol=1e-2)

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, gradient):
            raise RuntimeError("\n  no compiler here  \nmore")

    monkeypatch.setattr(torch, "compile", lambda function: Broken.apply)
    with pytest.raises(TrainError, match=r"does not work here on cpu \(no compiler here\); it needs a C\+\+ compiler"):
        check_compile("cpu")
