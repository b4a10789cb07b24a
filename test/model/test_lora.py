"""Adapters over frozen weights that are kept in bfloat16."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pi0_ros.model import LoraConfig, Pi0, add_lora, merge_lora
from pi0_ros.model.lora import LoraLinear

sys.path.insert(0, str(Path(__file__).parent))
from model_cases import random_inputs, random_model, small_config

CONFIG = LoraConfig(gemma_rank=2, gemma_alpha=4.0, expert_rank=3, expert_alpha=3.0)


def adapted(frozen: torch.dtype | None) -> Pi0:
    """The same random network and adapters each time."""
    generator = torch.Generator().manual_seed(3)
    model = add_lora(random_model(small_config("pi05"), generator), CONFIG, generator, frozen)
    for name, parameter in model.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.train()


def flow(model: Pi0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    inputs = random_inputs(model.config, 2, generator)
    x, t = torch.randn(2, 6, 5, generator=generator), torch.rand(2, generator=generator)
    return model.velocity(x, t, model.prefix(inputs))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_in_bfloat16_is_the_same_bit_by_bit_with_half_the_bytes(checkpointing):
    found = []
    for frozen in (None, torch.bfloat16):
        model = adapted(frozen)
        model.gemma.gradient_checkpointing = model.expert.gradient_checkpointing = checkpointing
        with torch.autocast("cpu", torch.bfloat16):
            loss = flow(model).square().mean()
        loss.backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
        found[-1]["loss"] = loss.detach()
    assert found[0].keys() == found[1].keys() and any("lora_b" in n for n in found[0])
    for name, gradient in found[0].items():
        other = found[1][name]
        assert (gradient is None and other is None) or torch.equal(gradient, other), name
    whole, narrow = adapted(None), adapted(torch.bfloat16)
    assert narrow.gemma.layers[1].mlp.up_proj.weight.element_size() == 2
    assert narrow.gemma.dtype == torch.float32 and narrow.gemma.layers[1].input_layernorm.weight.element_size() == 4
    assert narrow.siglip.encoder.layers[0].mlp.fc1.weight.element_size() == 4  # what learns stays whole
    assert whole.gemma.layers[1].mlp.up_proj.weight.element_size() == 4


@torch.no_grad()
def test_outside_of_a_step_it_computes_in_float32_with_the_rounded_weights():
    narrow, rounded = adapted(torch.bfloat16), adapted(None)
    for name, parameter in rounded.named_parameters():
        if not parameter.requires_grad and name.split(".")[-2].endswith("_proj"):
            parameter.copy_(parameter.bfloat16().float())
    found, wanted = flow(narrow), flow(rounded)
    assert found.dtype == torch.float32 and torch.equal(found, wanted)
    merged = merge_lora(narrow)
    assert (flow(merged.float()) - wanted).norm() < 0.03 * wanted.norm()


def test_a_layer_with_an_adapter_gives_what_a_plain_one_gives_in_its_type():
    """Under autocast bfloat16, whatever comes in: the gated MLP behind it would else be kept in float32, twice as large."""
    layer = LoraLinear(torch.nn.Linear(6, 4, bias=False), 2, 0.5, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(layer.lora_b, generator=torch.Generator().manual_seed(1))
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(2))
    whole = layer(x)
    assert whole.dtype == torch.float32
    assert torch.allclose(whole, x @ layer.weight.T + 0.5 * x @ layer.lora_a @ layer.lora_b, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(x)
    assert half.dtype == torch.bfloat16 and torch.allclose(half.float(), whole, atol=0.05)


@pytest.mark.parametrize("which", ["plain", "out", "into"])
def test_an_adapter_a_head_is_the_sum_that_openpi_makes(which):
    """As openpi's einsums: heads that come out have a pair each; into heads the first sums over them, and so does the second."""
    heads = {} if which == "plain" else {which: 3}
    layer = LoraLinear(torch.nn.Linear(12, 6, bias=False), 2, 0.5, torch.Generator().manual_seed(0), **heads)
    shapes = {"plain": ((12, 2), (2, 6)), "out": ((3, 12, 2), (3, 2, 2)), "into": ((3, 4, 2), (3, 2, 6))}[which]
    assert (tuple(layer.lora_a.shape), tuple(layer.lora_b.shape)) == shapes
    a, b = (value.detach().double().numpy() for value in (layer.lora_a, layer.lora_b))
    assert 0.005 < a.std() < 0.015 and 0.005 < b.std() < 0.02 and a.std() != b.std()
    x = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(2))
    given = x.double().numpy()
    if which == "plain":
        low = given @ a @ b
    elif which == "out":
        low = np.concatenate([given @ a[h] @ b[h] for h in range(3)], axis=-1)
    else:
        first = sum(given[..., 4 * h : 4 * h + 4] @ a[h] for h in range(3))
        low = sum(first @ b[h] for h in range(3))
    right = given @ layer.weight.detach().double().numpy().T + 0.5 * low
    np.testing.assert_allclose(layer(x).detach().numpy(), right, atol=1e-5)
    np.testing.assert_allclose(layer.merged()(x).detach().numpy(), right, atol=1e-5)
    assert np.abs(low).max() > 1e-4


def test_pairs_a_head_are_for_attention_alone_and_only_attention_is_scaled():
    config = small_config("pi05", heads=4, kv_heads=2)
    own = LoraConfig(gemma_rank=2, gemma_alpha=6.0, expert_rank=5, expert_alpha=5.5, per_head=True)
    model = add_lora(random_model(config, torch.Generator().manual_seed(1)), own, torch.Generator().manual_seed(2))
    for stack, rank, scale in ((model.gemma, 2, 3.0), (model.expert, 5, 1.1)):
        for layer in stack.layers:
            attention, mlp = layer.self_attn, layer.mlp
            for part, (out, into) in {"q_proj": (4, 0), "k_proj": (2, 0), "v_proj": (2, 0), "o_proj": (0, 4)}.items():
                adapter = getattr(attention, part)
                assert (adapter.out, adapter.into, adapter.scale) == (out, into, pytest.approx(scale))
                assert (
                    adapter.lora_a.shape[-1] == rank
                    and adapter.lora_a.requires_grad
                    and not adapter.weight.requires_grad
                )
            for part in (mlp.gate_proj, mlp.up_proj, mlp.down_proj):
                assert (part.out, part.into, part.scale) == (0, 0, 1.0) and part.lora_a.shape[-1] == rank
    assert model.gemma.layers[0].mlp.up_proj.weight.dtype == torch.float32


def test_openpis_ranks_are_the_usual_ones():
    assert LoraConfig() == LoraConfig(16, 16.0, 32, 32.0, False)
