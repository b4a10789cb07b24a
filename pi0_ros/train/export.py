"""A trained network as a checkpoint folder that `pi0_ros.policy.load_policy` reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from pi0_ros.model import Pi0, save
from pi0_ros.policy import tiny_tokenizer
from pi0_ros.policy.adapter import Adapter, adapter_to_dict
from pi0_ros.policy.normalize import Statistics, write_norm_stats

_README = """# {name}

A small π0.5 policy ({parameters:.1f} million parameters) trained from random weights by `pi0 train`.
{note}
Files: model.safetensors (weights, bfloat16), config.json (sizes, and how the vectors map to the robot),
norm_stats.json (statistics, openpi's layout), tokenizer.json (`tokenizers` format).
"""


def export(
    model: Pi0,
    folder: Path,
    adapter: Adapter,
    statistics: Mapping[str, Statistics],
    note: str = "",
    tokenizer_file: Path | None = None,
    dtype: torch.dtype | None = torch.bfloat16,
) -> Path:
    """Write weights, configuration, statistics, tokenizer and a README; the folder, ready to load."""
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer_file is None:
        tiny_tokenizer.save(folder / "tokenizer.json")
    else:
        (folder / tokenizer_file.name).write_bytes(tokenizer_file.read_bytes())
    write_norm_stats(folder, statistics)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    text = _README.format(name=folder.name, parameters=count, note=note)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return save(model, folder, policy=adapter_to_dict(adapter), dtype=dtype)
