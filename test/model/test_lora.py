"""Adapters over frozen weights that are kept in bfloat16."""

from __future__ import annotations

import sys
from pathlib import Path

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
