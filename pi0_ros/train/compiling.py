"""torch.compile in training: every transformer layer becomes one compiled region.

Layers of a stack are alike, so that one compilation serves them all (PyTorch's regional compilation), parameter names
stay, and what surrounds the layers may differ from batch to batch.
"""

from __future__ import annotations

import torch
from torch import nn

from pi0_ros.model import Pi0
from pi0_ros.train.errors import TrainError


def transformer_layers(model: Pi0) -> list[nn.Module]:
    """The layers of vision tower, language trunk and, if there is one, action expert."""
    stacks = [model.siglip.encoder, model.gemma, *([model.expert] if model.config.expert is not None else [])]
    return [layer for stack in stacks for layer in stack.get_submodule("layers").children()]


def compile_layers(model: Pi0, backend: str = "inductor") -> None:
    """Compile all layers in place, each when it first runs."""
    for layer in transformer_layers(model):
        layer.compile(backend=backend)


def check_compile(device: str) -> None:
    """Compile one small product. Raises TrainError if torch.compile does not work on this machine."""
    weights = torch.ones((8, 8), device=device, requires_grad=True)
    try:
        torch.compile(_small)(weights).backward()
    except Exception as problem:  # whatever a missing compiler, header or driver makes the backend raise
        first = next((line.strip() for line in str(problem).splitlines() if line.strip()), type(problem).__name__)
        need = "a C++ compiler (g++) and Python's headers" if device == "cpu" else "Triton and a C compiler"
        raise TrainError(
            f"--compile: torch.compile does not work here on {device} ({first[:160]}); it needs {need}. Leave --compile "
            "away to train without it"
        ) from problem


def _small(weights: torch.Tensor) -> torch.Tensor:
    return torch.tanh(weights @ weights).sum()
