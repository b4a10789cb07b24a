"""Two steps of each way to train, on random weights and data: does it run on this device, in what time, in the memory planned?

For whoever has a card: `pi0 train --self-test gpu` takes a π0.5 of full size. `--self-test cpu` runs the same dry, tiny.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pi0_ros.model import Inputs, ModelConfig, Pi0, initialise, preset
from pi0_ros.model.ema import Ema
from pi0_ros.model.losses import FlowTargets, flow_times
from pi0_ros.train import optim
from pi0_ros.train.adapters import with_adapters
from pi0_ros.train.errors import TrainError
from pi0_ros.train.examples import Examples
from pi0_ros.train.memory import GB, memory_plan
from pi0_ros.train.objective import Objective
from pi0_ros.train.precision import in_precision, precision_of
from pi0_ros.train.settings import TrainSettings

STEPS = 2
WAYS: dict[str, dict[str, Any]] = {
    "LoRA": {"lora_trunk": 16, "lora_expert": 32, "ema": 0.0, "batch": 8},
    "LoRA, compiled": {"lora_trunk": 16, "lora_expert": 32, "ema": 0.0, "batch": 8},
    "everything": {"ema": 0.99, "ema_device": "cpu", "batch": 32},
}


@dataclass(frozen=True)
class Measurement:
    """One way to train. planned, used: bytes on the device, used: the most there were beyond what was used before, 0 if nobody counts. seconds: of the last step."""

    way: str
    batch: int
    losses: tuple[float, ...]
    seconds: float
    planned: int
    used: int

    def line(self) -> str:
        """For a person."""
        used = f"{self.used / GB:.1f} GB used, " if self.used else ""
        losses = " -> ".join(f"{loss:.4g}" for loss in self.losses)
        return (
            f"{self.way}: batch {self.batch}, loss {losses}, {self.batch / self.seconds:.2f} examples/s, {used}"
            f"{self.planned / GB:.1f} GB by the plan"
        )


def self_test(where: str, say: Callable[[str], None] = print) -> list[Measurement]:
    """Run every way. where: "gpu" or "cpu". Raises TrainError if there is no GPU, or a loss is not finite."""
    if where == "gpu" and not torch.cuda.is_available():
        raise TrainError(
            "--self-test gpu: PyTorch sees no GPU here (torch.cuda.is_available() is false); install a build for your "
            "CUDA, or try --self-test cpu, which runs the same at a tiny size"
        )
    config = preset("pi05") if where == "gpu" else small()
    device = "cuda" if where == "gpu" else "cpu"
    if where == "gpu":
        say(f"{torch.cuda.get_device_name()}, {torch.cuda.get_device_properties(0).total_memory / GB:.0f} GB")
    found = []
    for way, changes in WAYS.items():
        batch = int(changes["batch"]) if where == "gpu" else 2
        settings = TrainSettings(
            **{**changes, "batch": batch}, draws=1, word_batch=0, device=device, gradient_checkpointing=True
        )
        found.append(measure(way, config, settings, compiled="compiled" in way and where == "gpu"))
        say(found[-1].line())
    return found


def small() -> ModelConfig:
    """A π0.5 that a processor trains in a moment."""
    stack = replace(preset("tiny").language, width=32, depth=2, heads=2, kv_heads=1, head_dim=16, mlp=64)
    vision = replace(preset("tiny").vision, width=32, depth=1, heads=2, mlp=64, image_size=32, patch=16)
    return preset("tiny", vision=vision, language=stack, expert=stack, vocab=300, prompt_length=12, horizon=4)


def measure(way: str, config: ModelConfig, settings: TrainSettings, compiled: bool = False) -> Measurement:
    """`STEPS` steps of one way."""
    plan = memory_plan(config, settings)
    gpu = settings.device == "cuda"
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    before = 0 if gpu else reset_peak()
    objective, ema = _network(config, settings)
    optimizer = optim.make_optimizer(objective, settings)
    run: nn.Module | Callable[..., Any] = torch.compile(objective) if compiled else objective
    losses, seconds = [], 0.0
    for examples, flow in _batches(config, settings):
        began = time.monotonic()
        loss = in_precision(precision_of(settings), run, (examples, None, flow), settings.device)
        _, finite = optim.advance(loss.total, objective, optimizer, settings.clip)
        ema.update(objective.model)
        losses.append(float(loss.total.detach()))
        if not finite:
            raise TrainError(f"--self-test: {way}: the gradient is not finite (loss {losses[-1]:.4g})")
        seconds = time.monotonic() - began
    used = torch.cuda.max_memory_allocated() if gpu else max(0, status_bytes("VmHWM") - before) if before else 0
    return Measurement(way, settings.batch, tuple(losses), seconds, plan.device, used)


def reset_peak() -> int:
    """Let the kernel count this process's peak anew from its present size, which is returned [byte]; 0 if it cannot."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return 0
    return status_bytes("VmRSS")


def status_bytes(key: str) -> int:
    """Of this process, as the kernel counts: VmRSS what it holds now, VmHWM the most it held."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def _network(config: ModelConfig, settings: TrainSettings) -> tuple[Objective, Ema]:
    generator = torch.Generator().manual_seed(0)
    model = initialise(Pi0(config), generator)
    for stack in (model.siglip, model.gemma, model.expert):
        stack.gradient_checkpointing = settings.gradient_checkpointing
    objective = Objective(with_adapters(model, settings, generator)).to(settings.device)
    return objective, Ema(model, settings.ema, settings.ema_device or None) if settings.ema else Ema(nn.Module())


def _batches(config: ModelConfig, settings: TrainSettings) -> Iterator[tuple[Examples, FlowTargets]]:
    """Random ones, the longest there are; each once."""
    generator, count, size = torch.Generator().manual_seed(1), settings.batch, config.vision.image_size
    for _ in range(STEPS):
        images = [torch.rand(count, 3, size, size, generator=generator) * 2 - 1 for _ in config.cameras]
        tokens = torch.randint(4, config.vocab, (count, config.prompt_length), generator=generator)
        there, everywhere = torch.ones_like(tokens).bool(), [torch.ones(count).bool()] * len(config.cameras)
        inputs = Inputs(images, everywhere, tokens, there)
        actions = torch.randn(count, config.horizon, config.action_dim, generator=generator)
        noise = torch.randn(count, 1, config.horizon, config.action_dim, generator=generator)
        times = flow_times(torch.rand(count, 1, generator=generator))
        learned = torch.zeros_like(there)
        learned[:, -1] = True  # a word a row, so that all weights have a gradient
        examples = Examples(inputs, learned, actions)
        yield examples.to(settings.device), FlowTargets(actions, noise, times).to(settings.device)
