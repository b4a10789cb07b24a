"""What this machine's processor computes well, and how much memory it has left."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import nn

_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Names of instructions for products in bfloat16, as Linux has them among an x86's flags and an Arm's features."""


def bfloat16_in(cpuinfo: str) -> bool:
    """Whether the text of /proc/cpuinfo names instructions for bfloat16."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return any(_BFLOAT16 & set(names.split()) for key, _, names in lines if key.strip() in ("flags", "Features"))


@cache
def has_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16; False if nobody can say.

    Without them PyTorch emulates: on an EPYC with AVX2 alone, plans took three times as long as in float32, and training steps eight times.
    """
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and bfloat16_in(cpuinfo.read_text(encoding="utf-8", errors="replace"))


def available_memory() -> int | None:
    """Bytes that the kernel calls available; None if it does not say."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None


def better_in_float32(network: nn.Module, device: str) -> bool:
    """Whether a network whose weights are in bfloat16 should compute in float32 here: on a processor without instructions for
    bfloat16, as far as the wider weights take at most half of the memory that is left."""
    if torch.device(device).type != "cpu" or has_bfloat16():
        return False
    narrow = sum(p.numel() for p in network.parameters() if p.dtype == torch.bfloat16)
    free = available_memory()
    return bool(narrow) and (free is None or 4 * narrow <= free // 2)
