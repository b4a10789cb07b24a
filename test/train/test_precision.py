"""In what numbers a step computes."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from pi0_ros.train import precision as precisions
from pi0_ros.train.precision import Float32Attention, Precision, in_precision, precision_of
from pi0_ros.train.settings import TrainSettings


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"precision": "float32"}, Precision.FLOAT32),
        ({"precision": "float32", "device": "cuda", "compile": True}, Precision.FLOAT32),
        ({"precision": "bfloat16"}, Precision.ROUNDED),
        ({"precision": "bfloat16", "gradient_checkpointing": True}, Precision.AUTOCAST),
        ({"precision": "bfloat16", "compile": True}, Precision.AUTOCAST),
        ({"precision": "bfloat16", "shard": True}, Precision.AUTOCAST),
        ({"device": "cuda"}, Precision.AUTOCAST),
    ],
)
def test_weights_are_rounded_on_a_processor_where_every_layer_sees_them_and_else_autocast_is_taken(changes, found):
    assert precision_of(TrainSettings(**changes)) is found


@pytest.mark.parametrize(
    ("native", "changes", "found"),
    [
        (True, {}, Precision.ROUNDED),
        (True, {"compile": True}, Precision.AUTOCAST),
        (False, {}, Precision.FLOAT32),
        (False, {"compile": True}, Precision.FLOAT32),
        (False, {"precision": "bfloat16"}, Precision.ROUNDED),
        (False, {"device": "cuda"}, Precision.AUTOCAST),
    ],
)
def test_unless_it_is_said_a_processor_without_bfloat16_computes_in_float32(monkeypatch, native, changes, found):
    monkeypatch.setattr(precisions, "has_bfloat16", lambda: native)
    assert TrainSettings().precision == "auto" and precision_of(TrainSettings(**changes)) is found


def attention(query, key, value, **more):
    """Softmax of the scaled products, written out."""
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return (scores + more["attn_mask"] if "attn_mask" in more else scores).softmax(-1) @ value


def test_attention_is_computed_in_float32_and_answers_in_the_type_that_it_was_given():
    """By the inputs as they were rounded: to the last bit of bfloat16, with a mask and without."""
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 3, 5, 8, generator=generator).bfloat16() for _ in range(3))
    mask = torch.randn(5, 5, generator=generator).bfloat16()
    keep = torch.rand(5, 5, generator=generator) > 0.3
    with Float32Attention():
        plain = F.scaled_dot_product_attention(q, k, v)
        masked = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        hidden = F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
        product = q @ k.transpose(-1, -2)
    wide = [part.float() for part in (q, k, v)]
    away = torch.zeros(5, 5).masked_fill(~keep, -torch.inf)
    assert plain.dtype == masked.dtype == product.dtype == torch.bfloat16
    assert torch.equal(plain, attention(*wide).bfloat16())
    assert torch.equal(masked, attention(*wide, attn_mask=mask.float()).bfloat16())
    assert torch.equal(hidden, attention(*wide, attn_mask=away).bfloat16())
    assert torch.equal(product, q @ k.transpose(-1, -2)), "other functions are as they are"


class Seen(torch.nn.Module):
    """Answers with what it computes in: the type of its weight, and of a product."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((2, 2), 1.001))

    def forward(self, x, y):
        self.seen = self.weight.dtype, (x @ y).dtype
        return (x * self.weight).sum() + y.sum() * 0


@pytest.mark.parametrize(
    ("precision", "weight", "product", "sum_of_weights"),
    [
        (Precision.FLOAT32, torch.float32, torch.float32, 4.004),
        (Precision.AUTOCAST, torch.float32, torch.bfloat16, 4.004),
        (Precision.ROUNDED, torch.bfloat16, torch.float32, 4.0),
    ],
)
def test_a_step_computes_in_its_precision_and_gradients_reach_the_float32_weights(
    precision, weight, product, sum_of_weights
):
    module, x, y = Seen(), torch.ones(2, 2), torch.ones(2, 2)
    loss = in_precision(precision, module, (x, y), "cpu")
    loss.backward()
    assert module.seen == (weight, product)
    assert loss.item() == pytest.approx(sum_of_weights, abs=1e-5)
    assert module.weight.grad.dtype == torch.float32 and module.weight.grad.tolist() == [[1.0, 1.0]] * 2
