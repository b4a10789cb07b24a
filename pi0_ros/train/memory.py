"""What a run needs of memory, told before it begins: weights, gradients, moments, average, activations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from pi0_ros.model import GemmaConfig, LoraConfig, ModelConfig, Pi0, VisionConfig, add_lora
from pi0_ros.train.compiling import transformer_layers
from pi0_ros.train.errors import TrainError
from pi0_ros.train.precision import Precision, precision_of
from pi0_ros.train.settings import TrainSettings

GB = 1e9
FLOAT, HALF = 4, 2  # bytes
BYTE = 1 + 4 / 256  # of a moment in 8 bits: a block of 256 has a scale
SPARE = 1.1  # what allocators and libraries take beyond the parts


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes a process needs on the device, and the average where it is kept on the host. parameters, trainable: counts.

    copies: what a step keeps of the weights in bfloat16.
    """

    parameters: int
    trainable: int
    weights: int
    gradients: int
    moments: int
    average: int
    activations: int
    on_host: bool
    copies: int = 0
    moment_kind: str = "float32"

    @property
    def device(self) -> int:
        """Bytes on the device, all together."""
        parts = self.weights + self.gradients + self.moments + self.copies + self.activations
        return int(SPARE * (parts + (0 if self.on_host else self.average)))

    def lines(self) -> list[str]:
        """A table for a person."""
        share = 100 * self.trainable / max(self.parameters, 1)
        where = "on the host" if self.on_host else "on the device"
        rows = [
            ("weights", self.weights, "float32"),
            ("gradients", self.gradients, "of the trainable ones"),
            ("moments", self.moments, f"two of AdamW, {self.moment_kind}"),
            ("average", self.average, where),
            ("copies", self.copies, "of weights in bfloat16, for a step"),
            ("activations", self.activations, "kept for the backward pass"),
            ("on the device", self.device, f"all together, and {round(100 * (SPARE - 1))} % to spare"),
        ]
        head = f"{self.parameters / 1e6:,.1f} million parameters, {self.trainable / 1e6:,.1f} million trained ({share:.1f} %)"
        return [head, *(f"  {name:<14} {size / GB:8.2f} GB  {what}" for name, size, what in rows)]


def memory_plan(config: ModelConfig, settings: TrainSettings, tokens: int = 0) -> MemoryPlan:
    """What training this network with these settings needs. tokens: of text a row, 0 for the longest prompt.

    Activations are what the layers keep for the backward pass; attention weights are not among them (the kernels compute
    them again). With gradient checkpointing the layers' inputs are kept, and one layer at a time is whole.
    """
    with torch.device("meta"):
        model = Pi0(config)
        if settings.lora_trunk or settings.lora_expert:
            trunk, expert = settings.lora_trunk, settings.lora_expert
            add_lora(model, LoraConfig(trunk, float(trunk), expert, float(expert)), torch.Generator())
    count = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    layer = max((sum(p.numel() for p in layer.parameters()) for layer in transformer_layers(model)), default=0)
    shares = settings.workers if settings.shard else 1
    # Sharded: a share of everything, and the layer that runs, whole, with its gradients.

    def share(size: int) -> int:
        return -(-size // shares) + (FLOAT * layer if shares > 1 else 0)

    return MemoryPlan(
        count,
        trained,
        share(FLOAT * count),
        share(FLOAT * trained),
        int(2 * (BYTE if settings.moments == "8bit" else FLOAT) * trained) // shares,
        FLOAT * trained // shares if settings.ema else 0,
        activation_bytes(config, settings, tokens or config.prompt_length),
        bool(settings.ema_device) and settings.ema_device != settings.device,
        copied_bytes(count, trained, settings),
        settings.moments,
    )


def copied_bytes(count: int, trained: int, settings: TrainSettings) -> int:
    """Bytes of the weights in bfloat16 that a step on a CPU keeps beside the float32 ones when it needs most.

    Rounded weights are all kept to the end of the backward pass; autocast's copies of trained ones were measured there too. Those of a GPU are counted as
    gone by the time that all gradients are there.
    """
    how = precision_of(settings)
    if how is Precision.FLOAT32 or settings.device != "cpu":
        return 0
    return HALF * (count if how is Precision.ROUNDED else trained)


def activation_bytes(config: ModelConfig, settings: TrainSettings, tokens: int) -> int:
    """Bytes that one step keeps for its backward pass."""
    size = FLOAT if settings.precision == "float32" else HALF
    cameras, patches = len(config.cameras), config.vision.tokens
    prefix = settings.batch * (cameras * patches + tokens)
    parts = [
        (settings.batch * cameras * patches, vision_numbers(config.vision), config.vision.width, config.vision.depth),
        (prefix, gemma_numbers(config.language), config.language.width, config.language.depth),
    ]
    if config.expert is not None:
        rows = settings.batch * settings.draws * config.horizon
        parts.append((rows, gemma_numbers(config.expert), config.expert.width, config.expert.depth))
    if settings.gradient_checkpointing:
        stored = sum(count * width * depth for count, _, width, depth in parts)
        return size * (stored + max(count * numbers for count, numbers, _, _ in parts))
    return size * sum(count * numbers * depth for count, numbers, _, depth in parts)


def gemma_numbers(stack: GemmaConfig) -> int:
    """Numbers that a Gemma layer keeps for each of its tokens: both norms, attention, the gated MLP."""
    attention = 2 * stack.heads * stack.head_dim + 2 * stack.kv_heads * stack.head_dim
    return 6 * stack.width + attention + stack.heads * stack.head_dim + 4 * stack.mlp


def vision_numbers(tower: VisionConfig) -> int:
    """Numbers that a SigLIP layer keeps for each patch."""
    return 10 * tower.width + 2 * tower.mlp


def check_memory(plan: MemoryPlan, device: str) -> None:
    """Raises TrainError where the device has less memory than the run needs."""
    have = free_bytes(device)
    if have is not None and plan.device > have:
        raise TrainError(
            f"the run needs about {plan.device / GB:.1f} GB and {device} has {have / GB:.1f} GB free; a smaller --batch, "
            "--gradient-checkpointing, --lora-trunk 16 --lora-expert 32, or --ema-device cpu need less (pi0 train --plan)"
        )


def free_bytes(device: str) -> int | None:
    """Free memory of a device; None where nobody can say."""
    if device.startswith("cuda") and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    meminfo = Path("/proc/meminfo")
    if device != "cpu" or not meminfo.is_file():
        return None
    lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None
