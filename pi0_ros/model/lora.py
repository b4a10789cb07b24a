"""Low-rank adaptation (Hu et al. 2021) as openpi trains it: every linear of the Gemma stacks becomes w + a b.

Ranks of openpi's presets: trunk 16 with alpha 16, expert 32 with alpha 32. a and b are both drawn from N(0, 0.01);
attention is scaled by alpha / rank, the MLP is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pi0_ros.model.network import Pi0

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LoraConfig:
    """Ranks per stack; 0 leaves a stack as it is."""

    gemma_rank: int = 16
    gemma_alpha: float = 16.0
    expert_rank: int = 32
    expert_alpha: float = 32.0


class LoraLinear(nn.Module):
    """A linear layer without bias plus scale * (x a) b. Keys: `weight` (as before), `lora_a`, `lora_b`."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float, generator: torch.Generator):
        super().__init__()
        self.weight = linear.weight
        self.scale = scale
        like = {"device": linear.weight.device, "dtype": torch.float32}
        self.lora_a = nn.Parameter(torch.randn(linear.in_features, rank, generator=generator).mul_(0.01).to(**like))
        self.lora_b = nn.Parameter(torch.randn(rank, linear.out_features, generator=generator).mul_(0.01).to(**like))

    def forward(self, x: Tensor) -> Tensor:
        low = x.to(self.lora_a.dtype) @ self.lora_a @ self.lora_b
        return F.linear(x, self.weight) + (self.scale * low).to(x.dtype)

    def merged(self) -> nn.Linear:
        """The plain linear layer with the same output."""
        linear = nn.Linear(*reversed(self.weight.shape), bias=False, device="meta")
        change = self.scale * (self.lora_a @ self.lora_b).T
        linear.weight = nn.Parameter((self.weight.float() + change).detach().to(self.weight.dtype))
        return linear


def add_lora(model: Pi0, config: LoraConfig, generator: torch.Generator) -> Pi0:
    """Put adapters into the stacks and freeze what openpi freezes, in place.

    With adapters in both stacks every other trunk and expert weight is frozen; with the trunk alone the expert keeps
    learning. SigLIP, projector and the action heads always learn.
    """
    stacks = (("gemma", config.gemma_rank, config.gemma_alpha), ("expert", config.expert_rank, config.expert_alpha))
    for name, rank, alpha in stacks:
        if rank and hasattr(model, name):
            stack = getattr(model, name).requires_grad_(False)
            for layer in stack.layers:
                _adapt(layer.self_attn, ATTENTION, rank, alpha / rank, generator)
                _adapt(layer.mlp, MLP, rank, 1.0, generator)
    return model


def merge_lora(model: Pi0) -> Pi0:
    """Fold all adapters into their weights, in place; the state dict is then that of a model without adapters."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoraLinear):
                setattr(module, name, child.merged())
    return model


def _adapt(module: nn.Module, names: tuple[str, ...], rank: int, scale: float, generator: torch.Generator) -> None:
    for name in names:
        setattr(module, name, LoraLinear(getattr(module, name), rank, scale, generator))
