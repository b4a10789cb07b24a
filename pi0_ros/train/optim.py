"""AdamW, one optimiser step, and gradients shared between processes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pi0_ros.train.recipe import OURS, Recipe
from pi0_ros.train.settings import TrainSettings


def make_optimizer(model: nn.Module, settings: TrainSettings, recipe: Recipe = OURS) -> torch.optim.AdamW:
    """AdamW (0.9, 0.95) on the trainable weights; decay on all of them, or on matrices but embeddings, as the recipe says."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    decays = {n: recipe.decay_all or (p.dim() > 1 and "embed" not in n) for n, p in named}
    groups = [
        {"params": [p for n, p in named if decays[n]], "weight_decay": settings.weight_decay},
        {"params": [p for n, p in named if not decays[n]], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.peak_rate, betas=(0.9, 0.95), eps=1e-8, fused=True)


def advance(loss: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer, clip: float) -> tuple[Tensor, bool]:
    """One step down the gradient of `loss`, clipped to the norm `clip` (0: it is not).

    Weights without a gradient stay as they are, decay included. Returns the norm before clipping, and whether it was
    finite: the step is left out where not.
    """
    loss.backward()
    parameters = [p for p in model.parameters() if p.requires_grad]
    share_gradients(parameters)
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip or math.inf)
    finite = bool(torch.isfinite(norm))
    if finite:
        optimizer.step()
    optimizer.zero_grad()
    return norm, finite


def share_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients of all processes in place; nothing to do in one process.

    A weight that had a gradient in some processes alone (a batch without words) counts as 0 in the others.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    wanted = list(parameters)
    for p in wanted:
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    grads = [p.grad for p in wanted if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        grad.copy_(part.view_as(grad))


def rounded(parameters: Iterable[tuple[str, nn.Parameter]], prefix: str = "") -> dict[str, Tensor]:
    """The weights in bfloat16, with gradients flowing back to the float32 ones."""
    return {prefix + name: p.to(torch.bfloat16) for name, p in parameters}
