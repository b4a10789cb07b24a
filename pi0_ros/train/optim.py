"""AdamW, its schedule, and gradients shared between processes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pi0_ros.train.settings import TrainSettings


def warmup_steps(settings: TrainSettings) -> int:
    """Steps of warm-up: those asked for, or a tenth of the run where they would be more than half of it."""
    return settings.warmup if 2 * settings.warmup <= settings.steps else settings.steps // 10


def learning_rate(settings: TrainSettings, step: int, progress: float) -> float:
    """Linear warm-up from peak / (warmup + 1), then a cosine from the peak to the final rate over the rest of the run.

    `progress` is how far the whole run is, 0..1. Source: openpi src/openpi/training/optimizer.py, optax's
    warmup_cosine_decay_schedule, whose cosine spans the steps after the warm-up.
    """
    warmup = warmup_steps(settings)
    if step < warmup:
        return settings.peak_rate * (step + 1) / (warmup + 1)
    begun = warmup / settings.steps
    done = min(max((progress - begun) / (1.0 - begun), 0.0), 1.0)
    share = 0.5 * (1.0 + math.cos(math.pi * done))
    return settings.final_rate + (settings.peak_rate - settings.final_rate) * share


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW (0.9, 0.95) on the trainable weights; decay on matrices alone, not on embeddings, norms and biases."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    decayed = [p for n, p in named if p.dim() > 1 and "embed" not in n]
    rest = [p for n, p in named if p.dim() <= 1 or "embed" in n]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.peak_rate, betas=(0.9, 0.95), eps=1e-8, fused=True)


def share_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients of all processes in place; nothing to do in one process."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        grad.copy_(part.view_as(grad))


def ema_decay(decay: float, step: int) -> float:
    """The decay grows from 0.1 so that the average forgets the random start."""
    return min(decay, (1.0 + step) / (10.0 + step))


def rounded(parameters: Iterable[tuple[str, nn.Parameter]], prefix: str = "") -> dict[str, Tensor]:
    """The weights in bfloat16, with gradients flowing back to the float32 ones."""
    return {prefix + name: p.to(torch.bfloat16) for name, p in parameters}
