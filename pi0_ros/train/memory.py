"""The memory that a run needs, computed before it begins: weights, gradients, moments, average, activations."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pi0_ros.model import GemmaConfig, ModelConfig, Pi0, VisionConfig
from pi0_ros.model.kinds import traits
from pi0_ros.model.processor import available_memory
from pi0_ros.train.adapters import with_adapters
from pi0_ros.train.compiling import transformer_layers
from pi0_ros.train.errors import TrainError
from pi0_ros.train.precision import Precision, precision_of
from pi0_ros.train.settings import TrainSettings

GB = 1e9
FLOAT, HALF = 4, 2  # bytes
BYTE = 1 + 4 / 256  # of a moment in 8 bits: a block of 256 has a scale
WORDS = 16  # tokens of a subtask, as validation lets them be
SPARE = 1.1  # what allocators and libraries take beyond the parts


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes a process needs on the device, and the average if it is kept on the host. parameters, trainable: counts.

    copies: what a step keeps of the weights in bfloat16. passing: what is there for a moment only, at its most.
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
    passing: int = 0

    @property
    def device(self) -> int:
        """Bytes on the device, all together."""
        parts = self.weights + self.gradients + self.moments + self.copies + self.activations + self.passing
        return int(SPARE * (parts + (0 if self.on_host else self.average)))

    def lines(self) -> list[str]:
        """A table for a person."""
        share = 100 * self.trainable / max(self.parameters, 1)
        where = "on the host" if self.on_host else "on the device"
        rows = [
            ("weights", self.weights, "float32; frozen ones below adapters in bfloat16"),
            ("gradients", self.gradients, "of the trainable ones"),
            ("moments", self.moments, f"two of AdamW, {self.moment_kind}"),
            ("average", self.average, where),
            ("copies", self.copies, "of weights in bfloat16, for a step"),
            ("activations", self.activations, "kept for the backward pass"),
            ("in passing", self.passing, "gradients between layers, logits, a layer or the vocabulary in bfloat16"),
            ("on the device", self.device, f"all together, and {round(100 * (SPARE - 1))} % to spare"),
        ]
        head = f"{self.parameters / 1e6:,.1f} million parameters, {self.trainable / 1e6:,.1f} million trained ({share:.1f} %)"
        return [head, *(f"  {name:<14} {size / GB:8.2f} GB  {what}" for name, size, what in rows)]


def memory_plan(config: ModelConfig, settings: TrainSettings, tokens: int = 0, fast: bool = False) -> MemoryPlan:
    """What training this network with these settings needs. tokens: of text a row, 0 for the longest prompt. fast: whether
    actions are learned as text too.

    Activations are what the layers keep for the backward pass; attention weights are not among them (the kernels compute
    them again). With gradient checkpointing the layers' inputs are kept, and one layer at a time is whole.
    """
    with torch.device("meta"):
        model = with_adapters(Pi0(config), settings, torch.Generator())
    count = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    narrow = sum(p.numel() for p in model.parameters() if p.dtype != torch.float32)
    tokens = tokens or config.prompt_length
    layer = max((sum(p.numel() for p in layer.parameters()) for layer in transformer_layers(model)), default=0)
    shares = settings.workers if settings.shard else 1
    # Sharded: a share of everything, and the layer that runs, whole, with its gradients.

    def share(size: int) -> int:
        return -(-size // shares) + (FLOAT * layer if shares > 1 else 0)

    return MemoryPlan(
        count,
        trained,
        share(FLOAT * (count - narrow) + HALF * narrow),
        share(FLOAT * trained),
        int(2 * (BYTE if settings.moments == "8bit" else FLOAT) * trained) // shares,
        FLOAT * trained // shares if settings.ema else 0,
        activation_bytes(config, settings, tokens),
        bool(settings.ema_device) and settings.ema_device != settings.device,
        copied_bytes(count - narrow, trained, settings),
        settings.moments,
        passing_bytes(config, settings, tokens, 0 if narrow else layer, fast),
    )


def copied_bytes(count: int, trained: int, settings: TrainSettings) -> int:
    """Bytes of the `count` float32 weights, `trained` of them, in bfloat16, that a step on a CPU keeps beside them when it needs most.

    Rounded weights are all kept to the end of the backward pass; autocast's copies of trained ones were measured there too. Those of a GPU are counted as
    gone by the time that all gradients are there.
    """
    how = precision_of(settings)
    if how is Precision.FLOAT32 or settings.device != "cpu":
        return 0
    return HALF * (count if how is Precision.ROUNDED else trained)


def activation_bytes(config: ModelConfig, settings: TrainSettings, tokens: int) -> int:
    """Bytes that one step keeps for its backward pass.

    With gradient checkpointing: what goes from layer to layer, the keys and values that the expert sees, and one layer whole.
    """
    how, adapted = precision_of(settings), bool(settings.lora_trunk)
    wide = HALF if how is Precision.ROUNDED else FLOAT  # of what goes from layer to layer
    prompt = len(config.cameras) * config.vision.tokens + tokens
    batches = (settings.batch, settings.word_batch)
    vision, trunk = vision_bytes(config.vision, how), gemma_bytes(config.language, how, adapted)
    parts = []  # tokens, bytes of a token in a layer, width, depth
    for batch in batches:
        parts.append(
            (batch * len(config.cameras) * config.vision.tokens, vision, config.vision.width, config.vision.depth)
        )
        parts.append((batch * prompt, trunk, config.language.width, config.language.depth))
    seen = 0
    if config.expert is not None:
        stack = config.expert
        rows = settings.batch * settings.draws * config.horizon
        parts.append((rows, gemma_bytes(stack, how, bool(settings.lora_expert)), stack.width, stack.depth))
        seen = settings.batch * prompt * 2 * stack.kv_heads * stack.head_dim * stack.depth * number_size(how)
    if settings.gradient_checkpointing:
        stored = sum(count * width * depth * wide for count, _, width, depth in parts)
        return stored + seen + max(count * size for count, size, _, _ in parts)
    return sum(count * size * depth for count, size, _, depth in parts)


def passing_bytes(config: ModelConfig, settings: TrainSettings, tokens: int, layer: int, fast: bool = False) -> int:
    """Bytes that are there for a moment of the backward pass: in a layer, or at the text's loss, whichever is more.

    layer: float32 weights of the largest layer. In a layer three gradients of the MLP's width are on their way, and autocast has
    its weights in bfloat16. The loss has log probabilities, their gradient and that of the logits, in float32, of every token
    that is learned, and the vocabulary's matrix in bfloat16 from the forward pass on.
    """
    how = precision_of(settings)
    cast = HALF if how is Precision.AUTOCAST else 0
    patches = len(config.cameras) * config.vision.tokens
    rows = max(settings.batch, settings.word_batch)
    widest = max(rows * patches * config.vision.mlp, rows * (patches + tokens) * config.language.mlp)
    said = learned_tokens(config, settings, fast)
    vocabulary = config.vocab * config.language.width if said else 0
    return max(3 * widest * number_size(how) + cast * layer, 3 * FLOAT * said * config.vocab + cast * vocabulary)


def learned_tokens(config: ModelConfig, settings: TrainSettings, fast: bool) -> int:
    """Tokens of text that a step learns at most: actions as text (`fast`, and what knows no others) fill a prompt, a subtask has
    `WORDS`."""
    spoken = fast or traits(config.kind).acts_in_tokens
    return (settings.batch * config.prompt_length if spoken else 0) + settings.word_batch * WORDS


def number_size(how: Precision) -> int:
    """Bytes of a number that a product gives."""
    return FLOAT if how is Precision.FLOAT32 else HALF


def inputs_of(how: Precision, products: int) -> int:
    """How often what `products` matrices are given is kept: once; autocast makes one of its own for each."""
    return products if how is Precision.AUTOCAST else 1


def gemma_bytes(stack: GemmaConfig, how: Precision, adapted: bool = False) -> int:
    """Bytes that a Gemma layer keeps for each of its tokens: both norms (computed in float32), attention, the gated MLP.

    adapted: each matrix has a second one beside it, which autocast gives an input of its own.
    """
    size = number_size(how)
    norms = 2 * (FLOAT + FLOAT + (HALF if how is Precision.ROUNDED else 0))
    given = inputs_of(how, 6 if adapted else 3) + inputs_of(how, 4 if adapted else 2)
    attention = 3 * stack.heads * stack.head_dim + 2 * stack.kv_heads * stack.head_dim
    return stack.width * (norms + given * size) + size * (attention + 4 * stack.mlp)


def vision_bytes(tower: VisionConfig, how: Precision) -> int:
    """Bytes that a SigLIP layer keeps for each patch."""
    size = number_size(how)
    norms = 2 * (HALF if how is Precision.ROUNDED else FLOAT)
    given = inputs_of(how, 3) + 1
    return tower.width * (norms + (given + 6) * size) + 2 * tower.mlp * size


def check_memory(plan: MemoryPlan, device: str) -> None:
    """Raises TrainError if the device has less memory than the run needs."""
    have = free_bytes(device)
    if have is not None and plan.device > have:
        raise TrainError(
            f"the run needs about {plan.device / GB:.1f} GB and {device} has {have / GB:.1f} GB free; a smaller --batch, "
            "--gradient-checkpointing, --lora-trunk 16 --lora-expert 32, or --ema-device cpu need less (pi0 train --plan)"
        )


def free_bytes(device: str) -> int | None:
    """Free memory of a device; None if nobody can say."""
    if device.startswith("cuda") and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    return available_memory() if device == "cpu" else None
