"""The fast path against the plain masked forward, over random sizes, masks, lengths and kinds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_cases import random_inputs, random_model, small_config
from torch.utils._python_dispatch import TorchDispatchMode

from pi0_ros.model import (
    FastSampler,
    InputError,
    Inputs,
    ModelConfig,
    Pi0,
    Rtc,
    generate_text,
    kernels,
    packed,
    preset,
    sample_actions,
)
from pi0_ros.model.config import GemmaConfig, VisionConfig
from pi0_ros.model.gemma import rotary, rotate
from pi0_ros.model.inference import modes, network
from pi0_ros.model.inference import sampler as sampler_module
from pi0_ros.model.inference.layouts import Recent, group_rows
from pi0_ros.model.inference.torch_path import TorchPath

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


def close(a: torch.Tensor, b: torch.Tensor, slack: float = 0.0) -> None:
    scale = max(1.0, b.abs().max().item())
    assert (a - b).abs().max().item() <= 1e-5 * scale + slack


def close_samples(
    sampler: FastSampler, model: Pi0, inputs: Inputs, noise: torch.Tensor, steps: int, rtc: Rtc | None
) -> None:
    """The paper's guidance multiplies a gradient through a random network by ten, step upon step, and rounding with it:
    there the answers may differ as the plain path's own does when its noise is a few roundings off."""
    plain, slack = sample_actions(model, inputs, noise, steps, rtc), 0.0
    if rtc is not None and rtc.method == "vjp":
        nearby = sample_actions(model, inputs, noise * (1 + 3e-7), steps, rtc)
        slack = 10 * (plain - nearby).abs().max().item()
    close(sampler(inputs, noise, steps, rtc), plain, slack)


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
    close_samples(FastSampler(model), model, inputs, noise, 3, rtc)


@PROPERTY
@given(config=configs(("pi0_fast", "pi05")), seed=st.integers(0, 10**6), temperature=st.sampled_from([0.0, 0.7]))
def test_text_is_that_of_the_plain_path(config: ModelConfig, seed: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    noise = torch.rand(2, 5, generator=generator)
    fast = FastSampler(model).generate_text(inputs, 5, temperature, noise)
    assert fast == generate_text(model, inputs, 5, temperature, noise)


@PROPERTY
@given(
    config=configs(), bucket=st.sampled_from([2, 5, 16]), method=st.sampled_from([None, "identity", "vjp", "prefix"])
)
def test_text_padded_to_a_bucket_changes_nothing(config: ModelConfig, bucket: int, method: str | None) -> None:
    generator = torch.Generator().manual_seed(bucket)
    model, inputs = random_model(config, generator), random_inputs(config, 3, generator)
    noise = torch.randn(3, config.horizon, config.action_dim, generator=generator)
    rtc = method and Rtc(torch.randn(3, config.horizon, config.action_dim, generator=generator), 1, 3, method)
    close_samples(FastSampler(model, bucket=bucket), model, inputs, noise, 2, rtc)


@pytest.mark.parametrize("hidden", [0, 5])
def test_attention_cut_in_parts_for_threads_is_the_whole(hidden: int) -> None:
    generator, before = torch.Generator().manual_seed(5), torch.get_num_threads()
    q, k, v = (torch.randn(2, 1, rows, 8, generator=generator) for rows in (192, 31, 31))
    bias = torch.zeros(1, 1, 1, 31)
    bias[..., :hidden] = -torch.inf
    whole = torch.nn.functional.scaled_dot_product_attention(q, k, v, bias)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            close(kernels.attention(q, k, v, bias), whole)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("tokens", [1, 31, 200])
def test_attention_in_two_products_is_the_whole(hidden: int, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "WORTH_BLOCKING", 0)
    generator = torch.Generator().manual_seed(6)
    q, k, v = (torch.randn(1, 1, rows, 16, generator=generator) for rows in (192, tokens + hidden, tokens + hidden))
    bias = torch.zeros(1, 1, 1, tokens + hidden)
    bias[..., :hidden] = -torch.inf
    assert kernels._in_products(q, k) == kernels.has_onednn(torch.float32)
    for hide in (bias, None):
        whole = torch.nn.functional.scaled_dot_product_attention(q, k, v, hide)
        close(kernels.attention(q, k, v, hide), whole)


@pytest.mark.skipif(not modes.has_compiler(), reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_the_compiled_path_takes_the_blocked_kernels_and_agrees(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "WORTH_BLOCKING", 0)
    generator = torch.Generator().manual_seed(23)
    config = small_config(kind)
    model, inputs = random_model(config, generator), random_inputs(config, 1, generator)
    noise = torch.randn(1, config.horizon, config.action_dim, generator=generator)
    sampler = FastSampler(model, mode="compile")
    assert isinstance(sampler.network.expert.layers[0].o, kernels.OneDnnLinear) == kernels.has_onednn(torch.float32)
    close(sampler(inputs, noise), sample_actions(model, inputs, noise))


def test_prompts_of_one_bucket_share_their_buffers() -> None:
    generator = torch.Generator().manual_seed(13)
    config = small_config("pi05")
    model, inputs = random_model(config, generator), random_inputs(config, 1, generator)
    noise = torch.randn(1, config.horizon, config.action_dim, generator=generator)
    sampler = FastSampler(model, bucket=8)
    for length in (8, 1, 5, 7):
        own = Inputs(inputs.images, inputs.image_masks, inputs.tokens, torch.arange(12)[None] < length)
        close(sampler(own, noise), sample_actions(model, own, noise))
    assert len(sampler.plans.values) == 1


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_large_products_take_the_blocked_kernels_and_agree(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "WORTH_BLOCKING", 0)
    generator = torch.Generator().manual_seed(5)
    config = small_config(kind)
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    noise = torch.randn(2, config.horizon, config.action_dim, generator=generator)
    sampler = FastSampler(model)
    if kernels.has_onednn(torch.float32):
        assert isinstance(sampler.network.trunk.layers[0].qkv, kernels.OneDnnLinear)
    close(sampler(inputs, noise), sample_actions(model, inputs, noise))


def test_bfloat16_stays_near_float32() -> None:
    generator = torch.Generator().manual_seed(6)
    config = small_config("pi05")
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    noise = torch.randn(2, config.horizon, config.action_dim, generator=generator)
    half, full = FastSampler(model, dtype=torch.bfloat16)(inputs, noise), FastSampler(model)(inputs, noise)
    assert half.dtype == torch.float32
    assert (half - full).abs().mean() < 0.05 * full.abs().mean()


def test_rotary_angles_stay_float32_under_bfloat16() -> None:
    """At position 900 a bfloat16 angle would be off by radians; only the product is rounded, to 8 bits."""
    generator = torch.Generator().manual_seed(14)
    x = torch.randn(1, 4, 2, 16, generator=generator).bfloat16()
    cos, sin = rotary(torch.arange(900, 904)[None], 16)
    exact = rotate(x.double().transpose(1, 2), cos.double(), sin.double()).transpose(1, 2)
    paired = kernels.rotate_pairs(x.unflatten(-1, (2, 8)).transpose(-1, -2).flatten(-2), torch.stack([cos, sin], -1)[0])
    assert (kernels.unpair(paired).double() - exact).abs().max() <= 2**-8 * exact.abs().max()


def test_time_tables_of_a_bfloat16_model_are_computed_in_float32() -> None:
    """The fastest time frequency turns by 1571 rad: rounding sines to 8 bits would shift every step's modulation."""
    generator = torch.Generator().manual_seed(15)
    model = random_model(small_config("pi05"), generator).bfloat16()
    exact = random_model(small_config("pi05"), generator)
    exact.load_state_dict({name: value.float() for name, value in model.state_dict().items()})
    grid = [1.0, 0.7, 0.1]
    assert torch.equal(FastSampler(model).network.heads.tables(grid), FastSampler(exact).network.heads.tables(grid))


def tensors_in(thing: object) -> Iterator[torch.Tensor]:
    """The tensors of packed layers, and of lists of them."""
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, (list, tuple)):
        for part in thing:
            yield from tensors_in(part)
    elif type(thing).__module__ in (kernels.__name__, packed.__name__, network.__name__):
        yield from tensors_in(list(vars(thing).values()))


def held(*things: object) -> int:
    """Bytes behind all tensors of the things, those that share memory counted once."""
    found = [tensor.untyped_storage() for tensor in tensors_in(things) if not tensor.is_meta]
    return sum({storage.data_ptr(): storage.nbytes() for storage in found}.values())


def test_a_sampler_that_may_release_the_model_does_not_hold_it_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "WORTH_BLOCKING", float("inf"))  # blocked weights cannot be measured from outside
    generator = torch.Generator().manual_seed(16)
    language, expert = GemmaConfig(64, 3, 4, 1, 16, 640), GemmaConfig(16, 3, 4, 1, 16, 32)
    config = ModelConfig("pi05", VisionConfig(64, 2, 2, 256, 28, 14), language, expert, vocab=97, prompt_length=12)
    model, inputs = random_model(config, generator).bfloat16(), random_inputs(config, 2, generator)
    noise, ids = torch.randn(2, 50, 32, generator=generator), torch.rand(2, 4, generator=generator)
    chunk = Rtc(torch.randn(2, 50, 32, generator=generator), 2, 20, "vjp")
    size = held(list(model.parameters()))
    twice = FastSampler(model)
    expected = [twice(inputs, noise), twice(inputs, noise, 3, chunk), twice.generate_text(inputs, 4, 0.8, ids)]
    assert held(list(model.parameters()), list(vars(twice).values())) > 1.5 * size
    once = FastSampler(model, release=True)
    assert held(list(model.parameters()), list(vars(once).values())) < 1.15 * size
    assert torch.equal(once(inputs, noise), expected[0])
    assert torch.equal(once(inputs, noise, 3, chunk), expected[1])
    assert once.generate_text(inputs, 4, 0.8, ids) == expected[2]


class NeverWaiting(TorchDispatchMode):
    """Fails where an operator's result has to reach Python: on a GPU that waits, and no graph can be recorded."""

    waits = (
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.aten.nonzero.default,
        torch.ops.aten.masked_select.default,
        torch.ops.aten.equal.default,
    )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in self.waits, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


class Replayed:
    """A CUDA graph's rules without one: fixed inputs that calls are copied into, nothing read back while it runs."""

    def __init__(self, run, example, device, pool):
        self.run, self.inputs = run, [tensor.clone() for tensor in example]

    def __call__(self, *tensors: torch.Tensor) -> torch.Tensor:
        for own, given_now in zip(self.inputs, tensors, strict=True):
            own.copy_(given_now)
        with NeverWaiting():
            return self.run(*self.inputs).clone()


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> list[Replayed]:
    """Modes that record graphs, without a GPU; the graphs that were made."""
    made: list[Replayed] = []

    def record(*given: object) -> Replayed:
        made.append(Replayed(*given))
        return made[-1]

    monkeypatch.setattr(sampler_module, "CapturedGraph", record)
    monkeypatch.setattr(sampler_module, "check_mode", lambda mode, device: None)
    monkeypatch.setattr(sampler_module, "records", lambda mode, device: True)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None, raising=False)
    return made


@pytest.mark.parametrize("mode", ["graph", "kernels"])
@pytest.mark.parametrize("method", [None, "identity", "prefix"])
@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_a_whole_call_runs_from_fixed_inputs_without_waiting(kind, method, mode, recorder) -> None:
    generator = torch.Generator().manual_seed(18)
    config = small_config(kind)
    model = random_model(config, generator)
    sampler = FastSampler(model, mode=mode, bucket=4, cache_size=2)
    for length in (3, 9, 4, 12, 6, 1):
        inputs, noise = random_inputs(config, 1, generator), torch.randn(1, 6, 5, generator=generator)
        seen = torch.arange(12)[None] < length
        inputs = Inputs(inputs.images, [torch.tensor([True])] * 3, inputs.tokens, seen, inputs.state)
        rtc = method and Rtc(torch.randn(1, 6, 5, generator=generator), 2, 4, method)
        close(sampler(inputs, noise, 3, rtc), sample_actions(model, inputs, noise, 3, rtc))
        assert len(sampler.graphs.values) <= 2
    assert len(recorder) == 4  # for 4 and 12 tokens, for 8, and again for 4, which was dropped for 8


@PROPERTY
@given(
    config=configs(),
    batch=st.integers(1, 3),
    method=st.sampled_from([None, "identity", "prefix"]),
    seed=st.integers(0, 10**6),
)
def test_the_fused_path_is_the_plain_one(config: ModelConfig, batch: int, method: str | None, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    model, inputs = random_model(config, generator), random_inputs(config, batch, generator)
    noise = torch.randn(batch, config.horizon, config.action_dim, generator=generator)
    rtc = method and Rtc(torch.randn(noise.shape, generator=generator), 1, 3, method)
    close_samples(FastSampler(model, mode="kernels", bucket=seed % 5 + 1), model, inputs, noise, 3, rtc)


@pytest.mark.parametrize("mode", ["graph", "kernels"])
@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_nothing_is_recorded_after_prepare(kind: str, mode: str, recorder) -> None:
    """Any length, any cameras there or not, with and without a previous chunk."""
    generator = torch.Generator().manual_seed(24)
    config, told = small_config(kind), []
    model = random_model(config, generator)
    sampler = FastSampler(model, mode=mode, bucket=5, cache_size=1)
    sampler.prepare(3, (0, 2), (None, "identity", "prefix"), lambda *done: told.append(done))
    ways = 2 if mode == "graph" else 1
    count = 3 * ways  # 5, 10 and 12 tokens
    assert told == [(done, count) for done in range(1, count + 1)]
    assert len(recorder) == count
    for length in range(1, 13):
        for here in ((True, True), (True, False), (False, True), (False, False)):
            inputs, noise = random_inputs(config, 1, generator), torch.randn(1, 6, 5, generator=generator)
            masks = [torch.tensor([here[0]]), torch.tensor([False]), torch.tensor([here[1]])]
            inputs = Inputs(inputs.images, masks, inputs.tokens, torch.arange(12)[None] < length, inputs.state)
            method = (None, "identity", "prefix")[length % 3]
            rtc = method and Rtc(torch.randn(1, 6, 5, generator=generator), 2, 4, method)
            close(sampler(inputs, noise, 3, rtc), sample_actions(model, inputs, noise, 3, rtc))
    assert len(recorder) == count


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("mode", ["graph", "compile_graph"])
def test_graphs_give_what_the_eager_path_gives(mode: str) -> None:
    generator = torch.Generator().manual_seed(17)
    config = small_config("pi0")
    model = random_model(config, generator)
    eager, graph = (
        FastSampler(model, device="cuda"),
        FastSampler(model, device="cuda", mode=mode, bucket=4, cache_size=2),
    )
    for length in (3, 9, 5, 12, 3, 4):
        inputs = random_inputs(config, 1, generator)
        inputs = Inputs(inputs.images, inputs.image_masks, inputs.tokens, torch.arange(12)[None] < length, inputs.state)
        noise = torch.randn(1, config.horizon, config.action_dim, generator=generator)
        close(graph(inputs, noise), eager(inputs, noise))
        assert len(graph.graphs.values) <= 2


def unseen(config: ModelConfig, mode: str = "eager") -> FastSampler:
    """A sampler on torch's meta device, which has shapes and types only: what mixes devices or reads back raises."""
    with torch.device("meta"):
        model = Pi0(config).requires_grad_(False)
    return FastSampler(model, torch.bfloat16, "meta", mode, bucket=16)


@pytest.mark.parametrize("method", [None, "identity", "prefix"])
@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_a_call_at_full_size_stays_on_its_device_and_reads_nothing_back(kind: str, method: str | None) -> None:
    config, generator = preset(kind), torch.Generator().manual_seed(19)
    inputs = random_inputs(config, 1, generator)
    noise = torch.randn(1, config.horizon, config.action_dim, generator=generator)
    answer = unseen(config)(inputs, noise, 10, method and Rtc(noise[:, :20], 5, 10, method))
    assert (answer.shape, answer.dtype, answer.device.type) == (noise.shape, torch.float32, "meta")


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_prefix_and_step_are_whole_graphs_on_another_device_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Traced as for a GPU; turning the graphs into its code is what needs one.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    config, generator = small_config(kind), torch.Generator().manual_seed(20)
    noise = torch.randn(1, config.horizon, config.action_dim, generator=generator)
    assert unseen(config, "compile")(random_inputs(config, 1, generator), noise).shape == noise.shape


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


def test_a_network_without_an_expert_runs_by_torch_where_fused_kernels_were_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    for kind, fused in (("pi0_fast", False), ("pi05", True)):
        sampler = FastSampler(random_model(small_config(kind, depth=1), generator), mode="kernels")
        assert isinstance(sampler.path, TorchPath) is not fused


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_the_parts_of_a_call_one_after_another_give_its_actions(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    config = small_config(kind, depth=1)
    sampler = FastSampler(random_model(config, generator))
    inputs = random_inputs(config, 1, generator)
    noise = torch.randn(1, config.horizon, config.action_dim, generator=generator)
    parts = sampler.stages(inputs, noise, 3)
    assert list(parts) == ["vision", "prefix", "steps"]
    found = [part() for part in parts.values()][-1]
    assert isinstance(found, torch.Tensor)
    close(found.reshape(noise.shape), sampler(inputs, noise, steps=3))


def test_the_tiny_preset_runs() -> None:
    generator = torch.Generator().manual_seed(12)
    config = preset("tiny")
    model, inputs = random_model(config, generator), random_inputs(config, 1, generator)
    noise = torch.randn(1, config.horizon, config.action_dim, generator=generator)
    close(FastSampler(model)(inputs, noise), sample_actions(model, inputs, noise))
