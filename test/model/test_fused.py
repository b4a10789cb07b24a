"""Each Triton kernel, in Triton's interpreter on the CPU, against its plain twin in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_cases import random_inputs, random_model, small_config
from torch import Tensor

from pi0_ros.model import FastSampler, Rtc, sample_actions
from pi0_ros.model.fused import plain
from pi0_ros.model.fused.shapes import Guide, Heads, Place, Style
from pi0_ros.model.inference import fused_path

pytest.importorskip("triton", reason="the kernels need the package triton (pip install triton; Linux)")
from pi0_ros.model.fused import launch

PROPERTY = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SMALL = launch.Launch(
    launch.Tuning(
        qkv=launch.Tiles(16, 16, 16),
        gate_up=launch.Tiles(16, 16, 16),
        out=launch.Tiles(16, 16, 16, splits=2),
        down=launch.Tiles(16, 16, 32, splits=4),
        few=launch.Tiles(16, 16, 0),
        many=launch.Tiles(16, 16, 0),
    )
)


@pytest.mark.parametrize(
    ("capability", "tuning"),
    [
        ((8, 0), launch.Tuning(few=launch.Tiles(32, 64, 0, 4, 2))),
        ((8, 6), launch.SMALLER),
        ((8, 9), launch.SMALLER),
        ((9, 0), launch.Tuning(chained=True)),
        ((10, 0), launch.Tuning(chained=True)),
        ((10, 3), launch.Tuning(chained=True)),
        ((12, 0), launch.SMALLER),
    ],
)
def test_a_card_is_tuned_by_its_compute_capability(capability, tuning):
    assert launch.tuning_for(capability) == tuning
    assert not launch.SMALLER.chained and launch.Tuning().few == launch.Tiles(64, 64, 0, 8, 2)


class Draw:
    """Random tensors from one seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def place(self, heads: Heads, batch: int, tokens: int, start: int, hidden: float = 0.3) -> Place:
        capacity = start + tokens + 3
        bias = torch.where(torch.rand(capacity, generator=self.generator) < hidden, torch.finfo(torch.float32).min, 0.0)
        bias[start + tokens - 1] = 0.0
        angle = self(batch * tokens, heads.dim // 2)
        return Place(tokens, start, torch.stack([angle.cos(), angle.sin()], -1), bias)

    def cache(self, heads: Heads, batch: int, place: Place) -> tuple[Tensor, Tensor]:
        return tuple(self(batch, heads.kv, len(place.bias), heads.dim) for _ in "kv")

    def style(self, width: int) -> Style:
        return Style(*((self(width), self(width)) for _ in range(3)))

    def guide(self, batch: int, tokens: int, steps: int, actions: int, given: int) -> Guide:
        return Guide(
            torch.tensor([given], dtype=torch.int32),
            self(batch * tokens, actions),
            self(tokens).abs(),
            self(steps).abs(),
        )


def exact(thing):
    """The same in float64, copied."""
    if isinstance(thing, Tensor):
        return thing.double() if thing.is_floating_point() else thing
    if isinstance(thing, tuple):
        return tuple(exact(part) for part in thing)
    if isinstance(thing, (Place, Style, Guide)):
        return type(thing)(**{name: exact(value) for name, value in vars(thing).items()})
    return thing


def agree(name: str, *given: object, changed: tuple[int, ...] = ()) -> None:
    """Kernel and twin give the same, and leave the same in the arguments they change."""
    twin_given, own_given = [exact(thing) for thing in given], list(given)
    for index in changed:
        own_given[index] = (
            own_given[index].clone()
            if isinstance(own_given[index], Tensor)
            else tuple(c.clone() for c in own_given[index])
        )
    twin, own = getattr(plain, name)(*twin_given), getattr(SMALL, name)(*own_given)
    pairs = [(own, twin)] if twin is not None else []
    for index in changed:
        a, b = own_given[index], twin_given[index]
        pairs += [(a, b)] if isinstance(a, Tensor) else list(zip(a, b, strict=True))
    for a, b in pairs:
        a = a[:, : b.shape[1]] if name == "qkv" and a.dim() == 2 else a  # the library's product keeps what lies behind
        assert a.shape == b.shape
        assert (a.double() - b).abs().max() <= 2e-5 * max(1.0, b.abs().max().item())


sizes = {
    "seed": st.integers(0, 10**6),
    "batch": st.integers(1, 2),
    "tokens": st.integers(1, 19),
    "start": st.integers(0, 40),
    "kv": st.sampled_from([1, 2]),
    "group": st.sampled_from([1, 3, 4]),
    "dim": st.sampled_from([16, 32]),
    "given_rows": st.integers(0, 5),
}


@PROPERTY
@given(**{name: sizes[name] for name in ("seed", "batch", "tokens", "start", "kv", "group", "dim")})
def test_attention_over_parts_of_the_keys(seed, batch, tokens, start, kv, group, dim):
    draw, heads = Draw(seed), Heads(kv * group, kv, dim)
    place = draw.place(heads, batch, tokens, start)
    wide = draw(batch * tokens, (heads.query + 2) * dim)
    agree("attention", wide, heads, place, draw.cache(heads, batch, place))


def test_a_row_that_may_see_nothing_gives_numbers():
    draw, heads = Draw(1), Heads(4, 1, 16)
    place = draw.place(heads, 1, 3, 20)
    place.bias.fill_(torch.finfo(torch.float32).min)
    agree("attention", draw(3, 64), heads, place, draw.cache(heads, 1, place))


@PROPERTY
@given(**{name: sizes[name] for name in ("seed", "batch", "tokens", "start", "kv", "group", "dim")})
def test_query_key_value(seed, batch, tokens, start, kv, group, dim):
    draw, heads = Draw(seed), Heads(kv * group, kv, dim)
    place, out = draw.place(heads, batch, tokens, start), (heads.query + 2 * kv) * dim
    agree("qkv", draw(batch * tokens, 48), draw(out, 48), heads, place, draw.cache(heads, batch, place), changed=(4,))


@PROPERTY
@given(**{name: sizes[name] for name in ("seed", "batch", "tokens", "given_rows")}, last=st.booleans())
def test_the_norm_gate_up_and_what_a_branch_adds(seed, batch, tokens, given_rows, last):
    draw, heads = Draw(seed), Heads(1, 1, 16)
    place, guide = draw.place(heads, batch, tokens, 7), draw.guide(batch, tokens, 3, 5, given_rows)
    x, style, then = draw(batch * tokens, 48), draw.style(48), None if last else draw.style(48)
    agree("norm", x, style, guide, place)
    agree("gate_up", x, draw(2 * 80, 48))
    for deep in (64, 128):  # out, down
        agree("branch", draw(batch * tokens, deep), draw(48, deep), x, style, then, guide, place, changed=(2,))


def test_of_many_rows_a_product_is_the_librarys(monkeypatch):
    monkeypatch.setattr(launch, "FEW", 0)
    test_query_key_value.hypothesis.inner_test(5, 2, 3, 7, 1, 4, 16)
    test_the_norm_gate_up_and_what_a_branch_adds.hypothesis.inner_test(5, 2, 3, 1, False)


@PROPERTY
@given(**{name: sizes[name] for name in ("seed", "batch", "tokens", "given_rows")}, actions=st.integers(1, 9))
def test_one_euler_step_and_the_tokens_of_the_next(seed, batch, tokens, given_rows, actions):
    draw, heads = Draw(seed), Heads(1, 1, 16)
    place, guide = draw.place(heads, batch, tokens, 7), draw.guide(batch, tokens, 4, actions, given_rows)
    x, hidden = draw(batch * tokens, actions), draw(batch * tokens, 48)
    weight, bias = draw(actions, 48), draw(actions)
    agree("leave", hidden, draw.style(48), weight, bias, x, guide, place, 2, 0.5, changed=(4,))
    for silu in (False, True):
        agree("enter", x, draw(48, actions), (draw(48), draw(48)), guide, place, torch.float32, silu, changed=(0,))


@PROPERTY
@given(**{name: sizes[name] for name in ("seed", "batch", "tokens", "start", "kv", "group", "dim")})
def test_rotation_and_cache_of_the_prefix(seed, batch, tokens, start, kv, group, dim):
    draw = Draw(seed)
    for heads in (Heads(kv * group, kv, dim), Heads(0, kv, dim)):
        place = draw.place(heads, batch, tokens, start)
        wide = draw(batch * tokens, (heads.query + 2 * kv) * dim)
        mixed, expected, cache = wide.clone(), exact(wide), draw.cache(heads, batch, place)
        other = exact(cache)
        SMALL.rotate_store(mixed, heads, place, cache)
        plain.rotate_store(expected, heads, exact(place), other)
        queries = heads.query * dim  # what lies behind the queries is used up
        assert torch.allclose(mixed[:, :queries].double(), expected[:, :queries], atol=1e-5)
        for a, b in zip(cache, other, strict=True):
            assert (a.double() - b).abs().max() <= 1e-5


@PROPERTY
@given(seed=sizes["seed"], rows=st.integers(1, 5), width=st.sampled_from([16, 48, 300]))
def test_norms_and_activation(seed, rows, width):
    draw = Draw(seed)
    x = draw(rows, width)
    agree("rms", x)
    agree("rms", x, draw(rows, width), changed=(0,))
    agree("layer_norm", x, None, draw(width), draw(width))
    agree("layer_norm", x, draw(width), draw(width), draw(width), changed=(0,))
    agree("geglu", draw(rows, 2 * width))
    agree("linear_gelu", x, draw(24, width), draw(24))


def test_all_of_them_take_half_precision():
    """The interpreter's numpy knows float16 and no bfloat16."""
    draw, heads = Draw(3), Heads(4, 1, 16)
    place = draw.place(heads, 1, 5, 20, 0.0)
    x, weight = draw(5, 32).half(), 0.3 * draw(2 * 48, 32).half()
    own, twin = SMALL.gate_up(x, weight), plain.gate_up(x, weight)
    assert own.dtype == torch.float16
    assert (own.float() - twin.float()).abs().max() <= 2**-9 * twin.float().abs().max()
    cache, q = tuple(c.half() for c in draw.cache(heads, 1, place)), draw(5, 64).half()
    own, twin = SMALL.attention(q, heads, place, cache), plain.attention(q, heads, place, cache)
    assert own.dtype == torch.float16
    assert (own.float() - twin.float()).abs().max() <= 2**-9 * twin.float().abs().max()


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_a_whole_call_by_the_kernels(kind, monkeypatch):
    generator = torch.Generator().manual_seed(4)
    config = small_config(kind, depth=2)
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    noise = torch.randn(2, config.horizon, config.action_dim, generator=generator)
    rtc = Rtc(torch.randn(noise.shape, generator=generator), 2, 4, "prefix")
    monkeypatch.setattr(fused_path, "fused_operations", lambda device: SMALL)
    own, twin = (
        FastSampler(model, mode="kernels", bucket=8)(inputs, noise, 2, rtc),
        sample_actions(model, inputs, noise, 2, rtc),
    )
    assert (own - twin).abs().max() <= 2e-5 * twin.abs().max()
