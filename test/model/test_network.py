"""Who sees whom, what the losses count, and what training switches do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from model_cases import random_inputs, random_model, small_config

from pi0_ros.model import (
    FAST,
    PROMPT,
    TEXT,
    ConfigError,
    Ema,
    FlowTargets,
    InputError,
    Inputs,
    LoraConfig,
    ModelConfig,
    Pi0,
    add_lora,
    flow_mean,
    flow_times,
    gradient_checkpointing,
    initialise,
    merge_lora,
    preset,
)
from pi0_ros.model.config import PRESETS


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def training_inputs(config: ModelConfig, roles: list[int], generator: torch.Generator) -> Inputs:
    """One row with all cameras and text of the given roles."""
    inputs = random_inputs(config, 1, generator)
    tokens = torch.randint(3, config.vocab, (1, len(roles)), generator=generator)
    everything = torch.ones(1, len(roles), dtype=torch.bool)
    here = [torch.ones(1, dtype=torch.bool) for _ in config.cameras]
    return Inputs(inputs.images, here, tokens, everything, inputs.state, torch.tensor([roles]))


def with_token(inputs: Inputs, index: int) -> Inputs:
    """The same inputs with one token replaced by another."""
    tokens = inputs.tokens.clone()
    tokens[0, index] = tokens[0, index] % 50 + 3
    return replace(inputs, tokens=tokens)


ROLES = [PROMPT, PROMPT, TEXT, TEXT, FAST, FAST]


@pytest.mark.parametrize("changed", range(len(ROLES)))
@torch.no_grad()
def test_text_tokens_see_what_the_attention_table_says(changed: int) -> None:
    generator = seeded()
    config = small_config("pi05")
    model = random_model(config, generator)
    inputs = training_inputs(config, ROLES, generator)
    before, after = model.prefix(inputs), model.prefix(with_token(inputs, changed))
    moved = (before.hidden != after.hidden).any(dim=-1)[0]
    pictures, text = moved[: -len(ROLES)], moved[-len(ROLES) :]
    if ROLES[changed] == PROMPT:
        assert moved.all()
    else:
        assert not pictures.any()
        assert text.tolist() == [index >= changed for index in range(len(ROLES))]


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
@torch.no_grad()
def test_flow_tokens_see_prompt_and_text_but_no_fast_tokens(kind: str) -> None:
    generator = seeded(1)
    config = small_config(kind)
    model = random_model(config, generator)
    inputs = training_inputs(config, ROLES, generator)
    x, t = torch.randn(1, 6, 5, generator=generator), torch.tensor([0.4])

    def velocity(own: Inputs) -> torch.Tensor:
        return model.velocity(x, t, model.prefix(own), own.state)

    for index, role in enumerate(ROLES):
        same = torch.equal(velocity(inputs), velocity(with_token(inputs, index)))
        assert same == (role == FAST)


@torch.no_grad()
def test_flow_tokens_stand_where_they_stand_without_fast_tokens() -> None:
    generator = seeded(2)
    config = small_config("pi05")
    model = random_model(config, generator)
    inputs = training_inputs(config, ROLES, generator)
    short = replace(inputs, tokens=inputs.tokens[:, :4], token_mask=inputs.token_mask[:, :4], roles=inputs.roles[:, :4])
    x, t = torch.randn(1, 6, 5, generator=generator), torch.tensor([0.4])
    difference = model.velocity(x, t, model.prefix(inputs)) - model.velocity(x, t, model.prefix(short))
    assert difference.abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
@torch.no_grad()
def test_an_action_depends_on_all_actions_of_its_own_draw_alone(kind: str) -> None:
    generator = seeded(3)
    config = small_config(kind)
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    prefix = model.prefix(inputs)
    x, t = torch.randn(2, 3, 6, 5, generator=generator), torch.rand(2, 3, generator=generator)
    other = x.clone()
    other[:, 1, -1] += 1.0
    moved = (
        (model.velocity(x, t, prefix, inputs.state) - model.velocity(other, t, prefix, inputs.state)).abs().amax((0, 3))
    )
    assert (moved[1] > 0).all()
    assert (moved[[0, 2]] == 0).all()


@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("kind", ["pi0", "pi05"])
def test_draws_that_share_a_prefix_equal_separate_calls(kind: str, per_token: bool) -> None:
    generator = seeded(4)
    config = small_config(kind)
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    prefix = model.prefix(inputs)
    actions, noise = torch.randn(2, 6, 5, generator=generator), torch.randn(2, 3, 6, 5, generator=generator)
    t = torch.rand((2, 3, 6) if per_token else (2, 3), generator=generator)
    together = model.flow_loss(actions, noise, t, prefix, inputs.state)
    for draw in range(3):
        alone = model.flow_loss(actions, noise[:, draw], t[:, draw], prefix, inputs.state)
        assert torch.allclose(together[:, draw], alone, atol=2e-5)


def test_rows_without_weight_do_not_count() -> None:
    loss = torch.tensor([[[1.0, 9.0], [3.0, 9.0]], [[5.0, 9.0], [7.0, 9.0]]])
    weight = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert flow_mean(loss, weight, dims=1).item() == 4.0
    assert flow_mean(loss, torch.zeros(2, 2)).item() == 0.0
    assert flow_mean(loss).item() == pytest.approx(6.5)


def test_times_follow_the_beta_distribution() -> None:
    t = flow_times((torch.arange(100_000) + 0.5) / 100_000)
    assert t.min() >= 0.001 and t.max() <= 1.0
    assert t.mean().item() == pytest.approx(0.001 + 0.999 * 0.6, abs=1e-4)  # the mean of Beta(1.5, 1) is 0.6
    assert (t < 0.5).float().mean().item() == pytest.approx(((0.5 - 0.001) / 0.999) ** 1.5, abs=1e-4)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    generator = seeded(7)
    config = small_config("pi05")
    model = random_model(config, generator).train()
    inputs = training_inputs(config, ROLES, generator)
    flow = FlowTargets(torch.randn(1, 6, 5), torch.randn(1, 6, 5), torch.tensor([0.5]))
    grads = []
    for on in (False, True):
        model.zero_grad()
        prefix = gradient_checkpointing(model, on).prefix(inputs)
        errors = model.flow_loss(flow.actions, flow.noise, flow.t, prefix)
        (flow_mean(errors) + model.text_logits(prefix, len(ROLES)).square().mean()).backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads, strict=True))


def test_training_and_evaluation_agree() -> None:
    generator = seeded(8)
    config = small_config("pi0")
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    actions, noise, t = torch.randn(2, 6, 5), torch.randn(2, 6, 5), torch.rand(2)
    values = []
    for mode in (True, False):
        prefix = model.train(mode).prefix(inputs)
        values.append(model.flow_loss(actions, noise, t, prefix, inputs.state))
    assert torch.allclose(*values, atol=2e-5)


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
@pytest.mark.parametrize("heads_too", [True, False])
@torch.no_grad()
def test_half_precision_weights_run_and_stay_near_float32(kind: str, heads_too: bool) -> None:
    generator = seeded(10)
    config = small_config(kind)
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    x, t = torch.randn(2, 6, 5, generator=generator), torch.rand(2, generator=generator)
    full = model.velocity(x, t, model.prefix(inputs), inputs.state)
    for part in (model,) if heads_too else (model.siglip, model.projector, model.gemma, model.expert):
        part.to(torch.bfloat16)
    half = model.velocity(x, t, model.prefix(inputs), inputs.state)
    assert half.dtype == torch.float32
    assert (half - full).abs().mean() < 0.1 * full.abs().mean()


def test_lora_freezes_the_stacks_and_merges_to_the_same_function() -> None:
    generator = seeded(9)
    config = small_config("pi05")
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    keys = set(model.state_dict())
    add_lora(model, LoraConfig(gemma_rank=2, gemma_alpha=4.0, expert_rank=3, expert_alpha=3.0), generator)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all("lora" in name for name in trainable if name.startswith(("gemma", "expert")))
    assert any(name.startswith("siglip") for name in trainable) and "action_in_proj.weight" in trainable
    for name, parameter in model.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    x, t = torch.randn(2, 6, 5, generator=generator), torch.rand(2, generator=generator)
    adapted = model.velocity(x, t, model.prefix(inputs))
    merged = merge_lora(model)
    assert set(merged.state_dict()) == keys
    assert torch.allclose(adapted, merged.velocity(x, t, merged.prefix(inputs)), atol=1e-4)


def test_lora_in_the_trunk_alone_leaves_the_expert_learning() -> None:
    model = add_lora(random_model(small_config("pi0"), seeded()), LoraConfig(expert_rank=0), seeded())
    assert all(p.requires_grad for p in model.expert.parameters())
    assert not model.gemma.layers[0].mlp.up_proj.weight.requires_grad


def test_the_average_follows_the_weights() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 1.0)
    ema = Ema(layer, decay=0.9)
    torch.nn.init.constant_(layer.weight, 2.0)
    ema.update(layer)
    with ema.in_place(layer):
        assert layer.weight.item() == pytest.approx(1.1) and ema.average["weight"].item() == 2.0
    assert layer.weight.item() == 2.0 and ema.average["weight"].item() == pytest.approx(1.1)
    again = Ema(torch.nn.Linear(1, 1, bias=False))
    again.load_state_dict(ema.state_dict())
    assert again.average["weight"].item() == pytest.approx(1.1)


def test_presets_have_the_published_sizes() -> None:
    published = {"pi0": 3_238_048_528, "pi05": 3_353_433_872, "pi0_fast": 2_923_335_408}
    for name, expected in published.items():
        with torch.device("meta"):
            assert sum(p.numel() for p in Pi0(preset(name)).parameters()) == expected
    with torch.device("meta"):
        small = sum(p.numel() for p in Pi0(preset("pi0_small")).parameters())
    assert small == pytest.approx(470e6, rel=0.01)


@pytest.mark.parametrize("name", PRESETS)
def test_configurations_survive_json(name: str) -> None:
    import json

    config = preset(name).with_origin("openpi_jax")
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_impossible_configurations_are_named() -> None:
    values = preset("tiny").to_dict()
    with pytest.raises(ConfigError, match="unknown field 'colour'"):
        ModelConfig.from_dict(values | {"colour": 1})
    with pytest.raises(ConfigError, match="'horizon'"):
        ModelConfig.from_dict(values | {"horizon": 0})
    with pytest.raises(ConfigError, match="needs an expert"):
        ModelConfig.from_dict(values | {"expert": None})
    with pytest.raises(ConfigError, match="'vision' has to be a mapping"):
        ModelConfig.from_dict(values | {"vision": 3})
    with pytest.raises(ConfigError, match="'heads' has to be equal"):
        ModelConfig.from_dict(values | {"expert": values["expert"] | {"heads": 2}})
    with pytest.raises(ConfigError, match="choose one of"):
        preset("pi7")


def test_a_fresh_model_is_repeatable_and_starts_with_neutral_modulation() -> None:
    config = small_config("pi05")
    one, two = (initialise(Pi0(config), seeded(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert not one.expert.layers[0].input_layernorm.dense.weight.any()
    assert (
        one.action_out_proj.weight.any()
        and not one.gemma.norm.weight.any()
        and not one.gemma.layers[1].input_layernorm.weight.any()
    )


def test_inputs_that_do_not_fit_are_named() -> None:
    config = small_config("pi05")
    model, inputs = random_model(config, seeded()), random_inputs(config, 1, seeded())
    with pytest.raises(InputError, match="a, b, c"):
        model.prefix(replace(inputs, images=inputs.images[:2]))
    with pytest.raises(InputError, match="picture 'a'"):
        model.prefix(replace(inputs, images=[torch.zeros(1, 3, 9, 9), *inputs.images[1:]]))
    with pytest.raises(InputError, match="mask"):
        model.prefix(replace(inputs, token_mask=inputs.token_mask[:, :3]))


def test_what_writes_to_a_residual_stream_starts_smaller_by_the_root_of_twice_the_depth() -> None:
    """GPT-2 (Radford et al. 2019, section 2.3): the sum of 2 * depth contributions keeps its size."""
    config = small_config("pi05")
    model = initialise(Pi0(config), seeded(4))
    sizes = {
        name: float(module.weight.detach().std() * module.weight[0].numel() ** 0.5)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not name.endswith("norm.dense") and module.weight.numel() > 200
    }
    assert len(sizes) > 10
    for name, size in sizes.items():
        depth = config.vision.depth if name.startswith("siglip") else config.language.depth
        writes = name.split(".")[-1] in ("o_proj", "out_proj", "down_proj", "fc2")
        assert size == pytest.approx((2.0 * depth) ** -0.5 if writes else 1.0, rel=0.25), name
    assert float(model.gemma.embed_tokens.weight.detach().std()) == pytest.approx(config.language.width**-0.5, rel=0.1)
