"""Ways of running the network, and whether a machine has what they need."""

from __future__ import annotations

import importlib.util
import shutil
from typing import TYPE_CHECKING

import torch

from pi0_ros.model.config import ModelConfig
from pi0_ros.model.errors import InputError

if TYPE_CHECKING:
    from pi0_ros.model.fused.path import Operations

MODES = ("eager", "compile", "graph", "compile_graph", "kernels")
COMPILERS = ("g++", "clang++")


def has_compiler() -> bool:
    """Whether torch.compile finds what it needs for a CPU."""
    return any(map(shutil.which, COMPILERS))


def records(mode: str, device: torch.device) -> bool:
    """Whether a call is one CUDA graph."""
    return "graph" in mode or (mode == "kernels" and device.type == "cuda")


def has_triton() -> bool:
    """Whether the package is there that our kernels are written in."""
    return importlib.util.find_spec("triton") is not None


def suits_kernels(config: ModelConfig, dtype: torch.dtype) -> bool:
    """Whether the fused kernels run a network, and well: 16-bit weights, heads of a power of two, rows of whole tiles."""
    if config.expert is None or dtype not in (torch.bfloat16, torch.float16):
        return False
    dim, expert = config.language.head_dim, config.expert
    whole = all(size % 64 == 0 for size in (expert.width, expert.mlp, expert.heads * dim))
    return whole and dim >= 32 and dim & (dim - 1) == 0


def fused_operations(device: torch.device) -> Operations:
    """The fused operations as they run on a device: Triton's kernels on CUDA, elsewhere plain ones."""
    if device.type != "cuda":
        from pi0_ros.model.fused import plain

        return plain
    from pi0_ros.model.fused.launch import Launch, tuning_for

    return Launch(tuning_for(torch.cuda.get_device_capability(device)))


def check_mode(mode: str, device: torch.device) -> None:
    """Refuse a way of running the network that cannot be had on `device`. Raises InputError."""
    if mode not in MODES:
        raise InputError(f"mode {mode!r} is unknown; there are {', '.join(MODES)}")
    if "graph" in mode and device.type != "cuda":
        raise InputError(f"mode {mode} records CUDA graphs and the device is {device}; use eager or compile")
    if mode == "kernels" and device.type == "cuda" and not has_triton():
        raise InputError("mode kernels needs the package triton (pip install triton); install it, or use graph")
    if mode == "compile" and device.type == "cpu" and not has_compiler():
        raise InputError(f"mode compile needs a C++ compiler ({' or '.join(COMPILERS)}); install one, or use eager")
