"""Recorded cases and random models for the tests of the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pi0_ros.model import GemmaConfig, Inputs, ModelConfig, Pi0, VisionConfig, load

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
RECORDED = GOLDEN.parent / "recorded"  # further runs of the reference projects, recorded for this project's tests
CASES = ("openpi_pi0", "openpi_pi05", "lerobot_pi0", "lerobot_pi05", "orbax_pi0", "orbax_pi05")


@dataclass(frozen=True)
class Case:
    """A model and its recorded tensors."""

    name: str
    model: Pi0
    io: dict[str, Tensor]
    inputs: Inputs


def open_case(name: str) -> Case:
    if name.startswith("orbax"):
        pytest.importorskip("tensorstore", reason="reading JAX folders needs the optional tensorstore package")
    model = load(GOLDEN / name).model.eval()
    io = load_file(GOLDEN / name / "io.safetensors")
    cameras = model.config.cameras
    images, masks = ([io[f"{kind}.{c}"] for c in cameras] for kind in ("image", "image_mask"))
    state = io["state"] if "state" in io and not model.config.adarms else None
    return Case(name, model, io, Inputs(images, masks, io["tokens"], io["token_mask"], state))


def small_config(kind: str, heads: int = 4, kv_heads: int = 2, depth: int = 3, **changes: object) -> ModelConfig:
    """A model small enough to run in a millisecond."""
    language = GemmaConfig(width=48, depth=depth, heads=heads, kv_heads=kv_heads, head_dim=16, mlp=64)
    expert = GemmaConfig(width=32, depth=depth, heads=heads, kv_heads=kv_heads, head_dim=16, mlp=40)
    settings = {"vocab": 97, "action_dim": 5, "horizon": 6, "prompt_length": 12, "cameras": ("a", "b", "c")} | changes
    vision = VisionConfig(width=32, depth=2, heads=2, mlp=56, image_size=28, patch=14)
    return ModelConfig(kind, vision, language, None if kind == "pi0_fast" else expert, **settings)


def random_model(config: ModelConfig, generator: torch.Generator) -> Pi0:
    """Every weight random (norms and modulation too), scaled so that activations stay near one."""
    model = Pi0(config)
    for parameter in model.parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 25
        torch.nn.init.normal_(parameter, std=fan**-0.5, generator=generator)
    return model.eval()


def random_inputs(config: ModelConfig, batch: int, generator: torch.Generator) -> Inputs:
    """Pictures, cameras that come and go per row, text with holes."""
    size, length = config.vision.image_size, config.prompt_length
    masks = [torch.rand(batch, generator=generator) < 0.7 for _ in config.cameras]
    token_mask = torch.rand(batch, length, generator=generator) < 0.6
    token_mask[:, 0] = True
    return Inputs(
        [torch.rand(batch, 3, size, size, generator=generator) * 2 - 1 for _ in masks],
        masks,
        torch.randint(3, config.vocab, (batch, length), generator=generator),
        token_mask,
        None if config.adarms else torch.randn(batch, config.state_dim, generator=generator),
    )
