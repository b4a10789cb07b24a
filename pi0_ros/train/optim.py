"""AdamW and one optimiser step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from pi0_ros.model import Pi0
from pi0_ros.train.errors import TrainError
from pi0_ros.train.recipe import OURS, Recipe
from pi0_ros.train.settings import TrainSettings


def make_optimizer(model: nn.Module, settings: TrainSettings, recipe: Recipe = OURS) -> torch.optim.Optimizer:
    """AdamW (0.9, 0.95) on the trainable weights; decay on all of them, or on matrices but embeddings, as the recipe says."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    decays = {n: recipe.decay_all or (p.dim() > 1 and "embed" not in n) for n, p in named}
    groups = [
        {"params": [p for n, p in named if decays[n]], "weight_decay": settings.weight_decay},
        {"params": [p for n, p in named if not decays[n]], "weight_decay": 0.0},
    ]
    usual: dict[str, Any] = {"lr": settings.peak_rate, "betas": (0.9, 0.95), "eps": 1e-8}
    if settings.moments == "8bit":
        return eight_bit()(groups, **usual)
    return torch.optim.AdamW(groups, **usual, fused=True)


def eight_bit() -> type[torch.optim.Optimizer]:
    """AdamW whose moments are kept in 8 bits, in blocks with a scale each (Dettmers et al. 2021, arXiv 2110.02861).

    Raises: TrainError if bitsandbytes is not installed.
    """
    try:
        import bitsandbytes
    except ImportError as missing:
        raise TrainError(
            "--moments 8bit needs the package bitsandbytes (pip install 'pi0_ros[moments]'); train with --moments float32 "
            "if it cannot be installed"
        ) from missing
    kind: type[torch.optim.Optimizer] = bitsandbytes.optim.AdamW8bit
    return kind


def idle_parameters(model: Pi0, recipe: Recipe) -> tuple[nn.Parameter, ...]:
    """What decays although nothing depends on it (`Recipe.idle_decays`)."""
    acts = model.config.expert is not None
    if not (recipe.idle_decays and acts):
        return ()
    return (model.gemma.layers[-1].get_submodule("self_attn.q_proj").get_parameter("weight"),)


def advance(
    loss: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer, clip: float, idle: Iterable[nn.Parameter] = ()
) -> tuple[Tensor, bool]:
    """One step down the gradient of `loss`, clipped to the norm `clip` (0: it is not).

    Weights without a gradient are neither changed nor decayed, except those of `idle`, whose gradient counts as zero.
    Returns the norm before clipping, and whether it was finite: the step is left out if not.
    """
    loss.backward()
    parameters = [p for p in model.parameters() if p.requires_grad]
    for p in idle:
        p.grad = torch.zeros_like(p) if p.grad is None and p.requires_grad else p.grad
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip or math.inf)
    if isinstance(norm, DTensor):  # sharded weights: a part of the norm in each process
        norm = norm.full_tensor()
    finite = bool(torch.isfinite(norm))
    if finite:
        optimizer.step()
    optimizer.zero_grad()
    return norm, finite
