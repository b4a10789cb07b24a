"""The fast path against the plain masked forward, over random sizes, masks, lengths and kinds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_cases import random_inputs, random_model, small_config

from pi0_ros.model import (
    FastSampler,
    InputError,
    Inputs,
    ModelConfig,
    Rtc,
    generate_text,
    kernels,
    preset,
    sample_actions,
)
from pi0_ros.model.config import GemmaConfig, VisionConfig
from pi0_ros.model.fast import Recent, group_rows

PROPERTY = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def configs(draw: st.DrawFn, kinds: tuple[str, ...] = ("pi0", "pi05")) -> ModelConfig:
    kv_heads = draw(st.sampled_from([1, 2, 3]))
    shared = {
        "depth": draw(st.integers(1, 3)),
        "heads": kv_heads * draw(st.sampled_from([1, 2, 4])),
        "kv_heads": kv_heads,
        "head_dim": draw(st.sampled_from([4, 8, 16])),
    }
    kind = draw(st.sampled_from(kinds))
    widths = st.sampled_from([16, 24, 40])
    language = GemmaConfig(width=draw(widths), mlp=draw(widths), **shared)
    expert = None if kind == "pi0_fast" else GemmaConfig(width=draw(widths), mlp=draw(widths), **shared)
    patch = draw(st.sampled_from([4, 7]))
    vision = VisionConfig(16, draw(st.integers(1, 2)), 2, 24, patch * draw(st.integers(1, 3)), patch)
    return ModelConfig(
        kind,
        vision,
        language,
        expert,
        vocab=53,
        action_dim=draw(st.integers(1, 9)),
        horizon=draw(st.integers(1, 9)),
        prompt_length=draw(st.integers(1, 14)),
        cameras=tuple("abcd"[: draw(st.integers(1, 4))]),
        state_dim=draw(st.integers(1, 9)),
    ).with_origin(draw(st.sampled_from(["openpi", "lerobot", "openpi_jax"])))


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    scale = max(1.0, b.abs().max().item())
    assert (a - b).abs().max().item() <= 1e-5 * scale


@PROPERTY
@given(config=configs(), batch=st.integers(1, 3), steps=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_actions_are_those_of_the_plain_path(config: ModelConfig, batch: int, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    model, inputs = random_model(config, generator), random_inputs(config, batch, generator)
    noise = torch.randn(batch, config.horizon, config.action_dim, generator=generator)
    close(FastSampler(model)(inputs, noise, steps), sample_actions(model, inputs, noise, steps))


@PROPERTY
@given(
    config=configs(),
    method=st.sampled_from(["identity", "vjp", "prefix"]),
    schedule=st.sampled_from(["LINEAR", "EXP", "ONES", "ZEROS"]),
    seed=st.integers(0, 10**6),
)
def test_real_time_chunking_is_that_of_the_plain_path(
    config: ModelConfig, method: str, schedule: str, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    noise = torch.randn(2, config.horizon, config.action_dim, generator=generator)
    left = int(torch.randint(0, config.horizon + 1, (1,), generator=generator))
    previous = torch.randn(2, left, config.action_dim, generator=generator)
    rtc = Rtc(previous, delay=left // 2, execution_horizon=left, method=method, schedule=schedule)
    close(FastSampler(model)(inputs, noise, 3, rtc), sample_actions(model, inputs, noise, 3, rtc))


@PROPERTY
@given(config=configs(("pi0_fast", "pi05")), seed=st.integers(0, 10**6), temperature=st.sampled_from([0.0, 0.7]))
def test_text_is_that_of_the_plain_path(config: ModelConfig, seed: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    noise = torch.rand(2, 5, generator=generator)
    fast = FastSampler(model).generate_text(inputs, 5, temperature, noise)
    assert fast == generate_text(model, inputs, 5, temperature, noise)


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_large_products_take_the_blocked_kernels_and_agree(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "WORTH_BLOCKING", 0)
    generator = torch.Generator().manual_seed(5)
    config = small_config(kind)
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    noise = torch.randn(2, config.horizon, config.action_dim, generator=generator)
    sampler = FastSampler(model)
    if kernels.has_onednn(torch.float32):
        assert isinstance(sampler.trunk.layers[0].qkv, kernels.OneDnnLinear)
    close(sampler(inputs, noise), sample_actions(model, inputs, noise))


def test_bfloat16_stays_near_float32() -> None:
    generator = torch.Generator().manual_seed(6)
    config = small_config("pi05")
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    noise = torch.randn(2, config.horizon, config.action_dim, generator=generator)
    half, full = FastSampler(model, dtype=torch.bfloat16)(inputs, noise), FastSampler(model)(inputs, noise)
    assert half.dtype == torch.float32
    assert (half - full).abs().mean() < 0.05 * full.abs().mean()


def test_an_absent_camera_in_the_middle_is_the_same_as_no_picture() -> None:
    generator = torch.Generator().manual_seed(7)
    config = small_config("pi05")
    model, inputs = random_model(config, generator), random_inputs(config, 1, generator)
    noise = torch.randn(1, config.horizon, config.action_dim, generator=generator)
    here, gone = torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.bool)
    masked = Inputs(inputs.images, [here, gone, here], inputs.tokens, inputs.token_mask)
    missing = Inputs([inputs.images[0], None, inputs.images[2]], [here, here, here], inputs.tokens, inputs.token_mask)
    sampler = FastSampler(model)
    assert torch.equal(sampler(masked, noise), sampler(missing, noise))
    close(sampler(missing, noise), sample_actions(model, missing, noise))


def test_rows_are_grouped_by_cameras_and_prompt_length() -> None:
    generator = torch.Generator().manual_seed(8)
    inputs = random_inputs(small_config("pi05"), 5, generator)
    found = list(group_rows(inputs))
    assert sorted(row for rows, _ in found for row in rows) == [0, 1, 2, 3, 4]
    for rows, layout in found:
        assert layout.batch == len(rows)
        for row in rows:
            assert int(inputs.token_mask[row].sum()) == layout.text
            assert [bool(m[row]) for m in inputs.image_masks] == [c in layout.cameras for c in range(3)]


def test_buffers_stay_bounded_over_many_prompt_lengths() -> None:
    generator = torch.Generator().manual_seed(9)
    config = small_config("pi05")
    model = random_model(config, generator)
    sampler = FastSampler(model, cache_size=2)
    noise = torch.randn(1, config.horizon, config.action_dim, generator=generator)
    inputs = random_inputs(config, 1, generator)
    for length in (3, 5, 7, 3):
        inputs = Inputs(inputs.images, inputs.image_masks, inputs.tokens, torch.arange(12)[None] < length)
        close(sampler(inputs, noise), sample_actions(model, inputs, noise))
    assert len(sampler.plans.values) == 2


def test_the_least_recently_used_value_goes_first() -> None:
    recent = Recent(2)
    for key in ("a", "b", "a", "c"):
        recent.get(key, lambda key=key: key.upper())
    assert list(recent.values) == ["a", "c"]


def test_answers_do_not_change_when_the_sampler_is_used_again() -> None:
    generator = torch.Generator().manual_seed(10)
    config = small_config("pi0")
    sampler = FastSampler(random_model(config, generator))
    inputs, noise = random_inputs(config, 1, generator), torch.randn(1, 6, 5, generator=generator)
    first = sampler(inputs, noise)
    kept = first.clone()
    sampler(random_inputs(config, 1, generator), noise)
    assert torch.equal(first, kept)


def test_what_the_fast_path_cannot_do_is_said() -> None:
    generator = torch.Generator().manual_seed(11)
    config = small_config("pi0")
    sampler = FastSampler(random_model(config, generator))
    inputs, noise = random_inputs(config, 1, generator), torch.randn(1, 6, 5, generator=generator)
    with pytest.raises(InputError, match="needs the state"):
        sampler(Inputs(inputs.images, inputs.image_masks, inputs.tokens, inputs.token_mask), noise)
    with pytest.raises(InputError, match="noise is"):
        sampler(inputs, noise[:, :2])
    with pytest.raises(InputError, match="prompts only"):
        roles = torch.ones_like(inputs.tokens)
        sampler(Inputs(inputs.images, inputs.image_masks, inputs.tokens, inputs.token_mask, inputs.state, roles), noise)
    with pytest.raises(InputError, match="CUDA"):
        FastSampler(sampler.model, mode="graph")
    with pytest.raises(InputError, match="no expert"):
        fast = small_config("pi0_fast")
        FastSampler(random_model(fast, generator))(random_inputs(fast, 1, generator), noise)


def test_the_tiny_preset_runs() -> None:
    generator = torch.Generator().manual_seed(12)
    config = preset("tiny")
    model, inputs = random_model(config, generator), random_inputs(config, 1, generator)
    noise = torch.randn(1, config.horizon, config.action_dim, generator=generator)
    close(FastSampler(model)(inputs, noise), sample_actions(model, inputs, noise))
