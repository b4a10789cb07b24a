"""Low-rank adaptation (Hu et al. 2021) of the Gemma stacks: every linear becomes w + a b.

As openpi trains it (src/openpi/models/lora.py): ranks of its presets are 16 with alpha 16 in the trunk, 32 with alpha 32
in the expert; a and b are both drawn from N(0, 0.01); attention is scaled by alpha / rank, the MLP is not. Its attention
has a pair for every head; without `per_head` a layer has one, as PEFT keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pi0_ros.model.config import GemmaConfig
from pi0_ros.model.network import Pi0

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LoraConfig:
    """Ranks per stack; 0 leaves a stack as it is. per_head: a pair for every attention head (openpi)."""

    gemma_rank: int = 16
    gemma_alpha: float = 16.0
    expert_rank: int = 32
    expert_alpha: float = 32.0
    per_head: bool = False


class LoraLinear(nn.Module):
    """A linear layer without bias plus scale * (x a) b. Keys: `weight` (as before), `lora_a`, `lora_b`.

    a [in, rank], b [rank, out]; with heads that come out a [heads, in, rank], b [heads, rank, out / heads]; with heads
    that go in a [heads, in / heads, rank], b [heads, rank, out], where each sums over the heads by itself (openpi).
    """

    def __init__(
        self, linear: nn.Linear, rank: int, scale: float, generator: torch.Generator, out: int = 0, into: int = 0
    ):
        super().__init__()
        self.weight = linear.weight
        self.scale, self.out, self.into = scale, out, into
        heads = (out or into,) if out or into else ()
        shapes = ((*heads, linear.in_features // (into or 1), rank), (*heads, rank, linear.out_features // (out or 1)))
        device = linear.weight.device
        drawn = [torch.randn(shape, generator=generator).mul_(0.01).to(device, torch.float32) for shape in shapes]
        self.lora_a, self.lora_b = (nn.Parameter(value) for value in drawn)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(
            x.device.type
        ):  # which chooses the type of both; the sum keeps it, and nothing is there twice
            whole, low = F.linear(x, self.weight), self._low(x)
        else:
            whole, low = F.linear(x, self.weight.to(x.dtype)), self._low(x.to(self.lora_a.dtype))
        return whole + (self.scale * low).to(whole.dtype)

    def _low(self, x: Tensor) -> Tensor:
        if self.out:
            return (x[..., None, None, :] @ self.lora_a @ self.lora_b).flatten(-3)
        if self.into:
            return x @ self.lora_a.flatten(0, 1) @ self.lora_b.sum(0)
        return x @ self.lora_a @ self.lora_b

    def merged(self) -> nn.Linear:
        """The plain linear layer with the same output."""
        out, into = self.weight.shape
        linear = nn.Linear(into, out, bias=False, device="meta")
        change = self.scale * self._low(torch.eye(into, device=self.lora_a.device)).T
        linear.weight = nn.Parameter((self.weight.float() + change).detach().to(self.weight.dtype))
        return linear


def add_lora(model: Pi0, config: LoraConfig, generator: torch.Generator, frozen: torch.dtype | None = None) -> Pi0:
    """Put adapters into the stacks and freeze what openpi freezes, in place.

    frozen: in which type the adapted matrices are kept, None for as they are. In bfloat16 they take half of the memory, and a step
    that computes in bfloat16 rounds them anyway (openpi scripts/train.py keeps all that is frozen so).

    With adapters in both stacks every other trunk and expert weight is frozen; with the trunk alone the expert keeps
    learning. SigLIP, projector and the action heads always learn.
    """
    stacks = (("gemma", config.gemma_rank, config.gemma_alpha), ("expert", config.expert_rank, config.expert_alpha))
    for name, rank, alpha in stacks:
        if rank and hasattr(model, name):
            stack = getattr(model, name).requires_grad_(False)
            for layer in stack.layers:
                for part in ATTENTION:
                    heads = _heads(stack.config, part) if config.per_head else {}
                    _adapt(layer.self_attn, part, rank, alpha / rank, generator, frozen, **heads)
                for part in MLP:
                    _adapt(layer.mlp, part, rank, 1.0, generator, frozen)
    return model


def _heads(stack: GemmaConfig, name: str) -> dict[str, int]:
    """How many heads come out of an attention layer, or go into it."""
    if name == "o_proj":
        return {"into": stack.heads}
    return {"out": stack.heads if name == "q_proj" else stack.kv_heads}


def merge_lora(model: Pi0) -> Pi0:
    """Fold all adapters into their weights, in place; the state dict is then that of a model without adapters."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoraLinear):
                setattr(module, name, child.merged())
    return model


def _adapt(
    module: nn.Module,
    name: str,
    rank: int,
    scale: float,
    generator: torch.Generator,
    frozen: torch.dtype | None,
    **heads: int,
) -> None:
    linear = getattr(module, name)
    if frozen is not None:
        linear.weight = nn.Parameter(linear.weight.detach().to(frozen), requires_grad=False)
    setattr(module, name, LoraLinear(linear, rank, scale, generator, **heads))
