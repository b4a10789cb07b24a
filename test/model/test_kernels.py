"""Linear layers, attention and rotation as they are laid out for a processor, against numpy; and when which is taken."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from model_cases import random_inputs, random_model, small_config
from torch._subclasses.fake_tensor import FakeTensorMode

from pi0_ros.model import FastSampler, gemma, kernels, siglip
from pi0_ros.model.inference.layouts import group_rows
from pi0_ros.model.inference.network import PackedNetwork
from pi0_ros.model.kernels import GeGLU, Linear, OneDnnLinear, Target, attention, pair_rows, rotate_pairs, unpair

RNG = np.random.default_rng(11)
CPU = torch.device("cpu")
WHOLE = kernels.has_onednn(torch.float32)
needs_onednn = pytest.mark.skipif(not WHOLE, reason="this torch has no oneDNN")


def numbers(*shape):
    return torch.tensor(RNG.normal(size=shape), dtype=torch.float32)


def gelu(x):
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(
    "kind", ["plain", pytest.param("blocked", marks=needs_onednn), pytest.param("operators", marks=needs_onednn)]
)
def test_a_layer_and_what_is_done_behind_it(kind, biased):
    weight, bias, x, other = numbers(7, 5), numbers(7) if biased else None, numbers(4, 3, 5), numbers(4, 3, 7)
    right = x.double().numpy() @ weight.double().numpy().T + (bias.double().numpy() if biased else 0.0)
    layer = Linear(weight, bias) if kind == "plain" else OneDnnLinear(weight, bias, 12)
    if kind == "operators":  # as torch's compiler calls them
        ops, place = torch.ops.pi0_ros, (layer.number, layer.width)
        found = (
            ops.product(x, *place),
            ops.product_gelu(x, *place),
            ops.product_plus(x, other, *place),
            ops.product_times(x, other, *place),
        )
        with FakeTensorMode() as mode:
            like = mode.from_tensor(x)
            shapes = {tuple(ops.product(like, *place).shape), tuple(ops.product_plus(like, like, *place).shape)}
        assert shapes == {(4, 3, 7)}
    else:
        found = (layer(x), layer.gelu(x), layer.plus(x, other), layer.times(x, other))
    added = other.double().numpy()
    for own, expected in zip(found, (right, gelu(right), right + added, right * added), strict=True):
        np.testing.assert_allclose(own.numpy(), expected, atol=2e-5)


@needs_onednn
def test_two_layers_of_the_compilers_operators_are_told_apart():
    one, two, x = OneDnnLinear(numbers(7, 5), None, 4), OneDnnLinear(numbers(3, 5), None, 4), numbers(4, 5)
    assert one.number != two.number and (one.width, two.width) == (7, 3)
    assert torch.equal(torch.ops.pi0_ros.product(x, two.number, two.width), two(x))


@pytest.mark.parametrize(
    ("rows", "size", "blocked", "device", "dtype", "pays"),
    [
        (8, 1_000_000, True, "cpu", torch.float32, WHOLE), (8, 999_999, True, "cpu", torch.float32, False),
        (7, 1_000_000, True, "cpu", torch.float32, False), (9, 1_000_000, False, "cpu", torch.float32, False),
        (9, 1_000_000, True, "meta", torch.float32, False), (9, 1_000_000, True, "cpu", torch.float64, False),
        (9, 1_000_000, True, "cpu", torch.float16, False),
    ],
)  # fmt: skip
def test_blocked_weights_are_for_large_products_on_a_processor_that_has_them(rows, size, blocked, device, dtype, pays):
    assert Target(torch.device(device), dtype, blocked).fuses(torch.empty(size, 1, device="meta"), rows, dtype) is pays


def test_copies_are_of_the_working_type_or_whole():
    to, weight = Target(CPU, torch.bfloat16), torch.nn.Parameter(numbers(2, 3))
    assert (
        to(weight).dtype == torch.bfloat16 and to.full(weight).dtype == torch.float32 and not to(weight).requires_grad
    )
    for full, dtype in ((False, torch.bfloat16), (True, torch.float32)):
        layer = to.linear(weight, weight[:, 0], full=full)
        assert type(layer) is Linear and layer.weight.dtype == layer.bias.dtype == dtype
    assert to.linear(weight).bias is None


@pytest.mark.parametrize("least", [0, 10**12])
def test_a_gated_mlp_is_the_same_in_one_product_and_in_two(least, monkeypatch):
    monkeypatch.setattr(kernels, "WORTH_BLOCKING", least)
    gate, up, x = numbers(6, 5), numbers(6, 5), numbers(2, 3, 5)
    layer = GeGLU(gate, up, Target(CPU, torch.float32), 6)
    assert layer.split is (least == 0 and WHOLE)
    given = x.double().numpy()
    right = gelu(given @ gate.double().numpy().T) * (given @ up.double().numpy().T)
    np.testing.assert_allclose(layer(x).numpy(), right, atol=2e-5)


@needs_onednn
@pytest.mark.parametrize(
    ("queries", "keys", "takes"),
    [
        ((1, 1, 1000, 8), 1000, True), ((1, 1, 999, 8), 1000, False), ((1, 1, 1024, 8), 1024, True), ((1, 1, 1024, 8), 1025, False),
        ((2, 1, 1000, 8), 1000, False), ((1, 2, 1000, 8), 1000, False),
    ],
)  # fmt: skip
def test_attention_is_two_products_where_they_pay_and_the_scores_fit(queries, keys, takes, monkeypatch):
    batch, heads, _, dim = queries
    q, k = torch.zeros(queries), torch.zeros(batch, heads, keys, dim)
    assert kernels._in_products(q, k) is takes
    assert not kernels._in_products(q.double(), k.double()) and not kernels._in_products(q.to("meta"), k.to("meta"))
    monkeypatch.setattr(kernels, "_multiplies", lambda: False)
    assert not kernels._in_products(q, k), "without oneDNN they never pay"


@pytest.mark.parametrize(
    ("rows", "threads", "cut"),
    [(192, 3, True), (192, 2, True), (190, 3, False), (126, 2, False), (128, 2, True), (192, 1, False)],
)
def test_queries_are_cut_for_threads_where_each_has_enough(rows, threads, cut, monkeypatch):
    shapes, whole = [], torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(kernels, "_threads", lambda: threads)
    monkeypatch.setattr(
        kernels.F, "scaled_dot_product_attention", lambda q, *rest: shapes.append(tuple(q.shape)) or whole(q, *rest)
    )
    q, k, v, bias = numbers(2, 1, rows, 8), numbers(2, 1, 31, 8), numbers(2, 1, 31, 4 * 2), torch.zeros(1, 1, 1, 31)
    bias[..., :7] = -torch.inf
    found = attention(q, k, v, bias)
    assert shapes == [(2, threads, rows // threads, 8) if cut else (2, 1, rows, 8)]
    scores = q.double().numpy() @ k.double().numpy().swapaxes(-1, -2) / np.sqrt(8.0)
    scores[..., :7] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    right = weights / weights.sum(-1, keepdims=True) @ v.double().numpy()
    np.testing.assert_allclose(found.numpy(), right, atol=1e-5)
    two = numbers(2, 2, rows, 8)
    shapes.clear()
    attention(two, two, two, None)
    assert shapes == [tuple(two.shape)]  # several key heads are parts already


@pytest.mark.parametrize("compiling", [False, True])
def test_pairs_are_turned_by_their_positions_angle(compiling, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    x, angle = numbers(2, 3, 4, 6), torch.tensor(RNG.uniform(0.0, 6.0, (3, 3)), dtype=torch.float32)
    table = torch.stack([angle.cos(), angle.sin()], dim=-1)
    pairs = x.double().numpy().reshape(2, 3, 4, 3, 2)
    cos, sin = np.cos(angle.double().numpy())[:, None], np.sin(angle.double().numpy())[:, None]
    right = np.stack([pairs[..., 0] * cos - pairs[..., 1] * sin, pairs[..., 0] * sin + pairs[..., 1] * cos], axis=-1)
    np.testing.assert_allclose(rotate_pairs(x, table).numpy(), right.reshape(x.shape), atol=1e-5)
    assert rotate_pairs(x.bfloat16(), table).dtype == torch.bfloat16


def test_rows_of_a_pair_are_put_side_by_side_and_back():
    weight = torch.arange(2 * 6.0)[:, None]  # two heads of six, in one column
    assert pair_rows(weight, 6)[:, 0].tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert unpair(torch.tensor([[0.0, 3, 1, 4, 2, 5]])).tolist() == [[0, 1, 2, 3, 4, 5]]


# ---------------------------------------------------------------- what a call is spared


@pytest.mark.parametrize(
    ("scale", "dtype", "right"),
    [
        ("float32", torch.bfloat16, 48**0.5),
        ("activation", torch.bfloat16, 6.9375),
        ("activation", torch.float32, float(np.float32(48**0.5))),
    ],
)
def test_text_is_scaled_by_the_root_of_the_width_as_the_project_rounds_it(scale, dtype, right):
    config = small_config("pi05")
    model = random_model(
        replace(config, numerics=replace(config.numerics, embedding_scale=scale)), torch.Generator().manual_seed(1)
    )
    network = PackedNetwork(model, Target(CPU, dtype), False)
    assert network.scale == right
    tokens = torch.tensor([[3, 5]])
    np.testing.assert_allclose(
        network.embed_text(tokens).float().numpy(),
        model.gemma.embed_tokens.weight[tokens].detach().numpy() * right,
        rtol=0.02,
    )


def test_without_a_picture_nothing_is_looked_at_and_without_padding_nothing_is_hidden():
    generator = torch.Generator().manual_seed(2)
    config = small_config("pi05")
    model, inputs = random_model(config, generator), random_inputs(config, 1, generator)
    network = PackedNetwork(model, Target(CPU, torch.float32), False)
    looked = []
    found = network.embedded(torch.empty(0, 3, 28, 28), torch.tensor([[3, 5]]), looked.append)
    assert not looked and torch.equal(found, network.embed_text(torch.tensor([[3, 5]])))
    ((_, layout),) = group_rows(inputs)
    for bucket, hides in ((1, False), (4, True)):
        sampler = FastSampler(model, bucket=bucket)
        given = sampler._given(inputs, layout, sampler.rooms.of(layout))
        assert bool(given.length.numel()) is bool(given.present.numel()) is hides


def test_activations_are_computed_twice_only_where_that_is_asked_for(monkeypatch):
    generator = torch.Generator().manual_seed(3)
    config = small_config("pi05")
    model, inputs = random_model(config, generator).train(), random_inputs(config, 1, generator)
    calls, again = [], gemma.checkpoint
    for module in (gemma, siglip):
        monkeypatch.setattr(
            module, "checkpoint", lambda *given, name=module.__name__, **how: calls.append(name) or again(*given, **how)
        )
    for on, grad, wanted in ((False, True, 0), (True, False, 0), (True, True, None)):
        model.gemma.gradient_checkpointing = model.siglip.gradient_checkpointing = on
        calls.clear()
        with torch.set_grad_enabled(grad):
            model.prefix(inputs)
        right = {gemma.__name__: config.language.depth, siglip.__name__: config.vision.depth}
        assert {name: calls.count(name) for name in right} == (right if wanted is None else dict.fromkeys(right, 0))
