"""What the sampler benchmarks share: the workload, its floating-point operations, and timing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

import torch

from pi0_ros.model import GemmaConfig, Inputs, ModelConfig, Pi0, VisionConfig, initialise
from pi0_ros.model.kernels import Target

MIDDLE = ModelConfig(
    "pi05",
    VisionConfig(width=768, depth=12, heads=12, mlp=3072),
    GemmaConfig(width=1024, depth=12, heads=8, kv_heads=1, head_dim=128, mlp=4096),
    GemmaConfig(width=512, depth=12, heads=8, kv_heads=1, head_dim=128, mlp=2048),
    vocab=2048,
    prompt_length=200,
).with_origin("lerobot")


def report(bench: str, metric: str, value: float, unit: str, **more: object) -> None:
    """One result as a JSON line on stdout."""
    print(
        json.dumps({"bench": bench, "metric": metric, "value": float(f"{value:.5g}"), "unit": unit} | more), flush=True
    )


def random_weights(config: ModelConfig, seed: int = 0) -> Pi0:
    """A model with random weights everywhere, adaRMS modulation included."""
    generator = torch.Generator().manual_seed(seed)
    model = initialise(Pi0(config), generator).eval()
    for name, parameter in model.named_parameters():
        if "norm.dense" in name:
            torch.nn.init.normal_(parameter, std=0.02, generator=generator)
    return model.requires_grad_(False)


def workload(config: ModelConfig, valid: int, cameras: int, seed: int = 1) -> tuple[Inputs, torch.Tensor]:
    """One row with the first `cameras` cameras and `valid` text tokens, and its noise."""
    g = torch.Generator().manual_seed(seed)
    size = config.vision.image_size
    inputs = Inputs(
        [torch.rand(1, 3, size, size, generator=g) * 2 - 1 for _ in config.cameras],
        [torch.tensor([index < cameras]) for index in range(len(config.cameras))],
        torch.randint(3, config.vocab, (1, config.prompt_length), generator=g),
        torch.arange(config.prompt_length)[None] < valid,
        None if config.adarms else torch.randn(1, config.state_dim, generator=g),
    )
    return inputs, torch.randn(1, config.horizon, config.action_dim, generator=g)


def parameters(part: GemmaConfig) -> int:
    """Weights of one layer that a token is multiplied with."""
    attention = part.width * part.head_dim * (2 * part.heads + 2 * part.kv_heads)
    return attention + 3 * part.width * part.mlp


def operations(config: ModelConfig, valid: int, cameras: int, steps: int = 10) -> dict[str, float]:
    """Floating-point operations of one fast call: vision, prefix (without vision) and all steps."""
    vision, language, expert = config.vision, config.language, config.expert
    pictures = cameras * vision.tokens
    prefix, suffix = pictures + valid, config.horizon
    layer = 4 * vision.width**2 + 2 * vision.width * vision.mlp
    seen = 4 * vision.tokens * vision.width
    once = 3 * vision.patch**2 * vision.width + vision.width * language.width
    own = parameters(language)
    keys_values = 2 * language.width * language.kv_heads * language.head_dim
    attention = 4 * language.heads * language.head_dim
    trunk = prefix * ((language.depth - 1) * (2 * own + attention * prefix) + 2 * keys_values)
    step = suffix * expert.depth * (2 * parameters(expert) + attention * (prefix + suffix))
    return {
        "vision": pictures * (vision.depth * (2 * layer + seen) + 2 * once),
        "prefix": float(trunk),
        "steps": float(steps * step),
    }


def matrix_peak(
    device: torch.device,
    dtype: torch.dtype,
    wait: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
    size: int = 2048,
) -> float:
    """Operations per second of the quickest square product here (best of ten)."""
    linear = Target(device, dtype).linear(torch.randn(size, size), rows=size)
    x = torch.randn(size, size, device=device, dtype=dtype)
    return 2 * size**3 / best({"peak": lambda: linear(x)}, 10, wait, clock)["peak"]


def best(
    calls: Mapping[str, Callable[[], object]],
    repeats: int,
    wait: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Shortest seconds of each call, taken in turns so that a busy moment hits all; one warm-up each."""
    for call in calls.values():
        call()
    shortest = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        for name, call in calls.items():
            shortest[name] = min(shortest[name], seconds_of(call, wait, clock))
    return shortest


def seconds_of(call: Callable[[], object], wait: Callable[[], None], clock: Callable[[], float]) -> float:
    """How long one call takes."""
    wait()
    begin = clock()
    call()
    wait()
    return clock() - begin
