"""A trained network as a checkpoint folder that `pi0_ros.policy.load_policy` reads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from pi0_ros.model import Pi0, save
from pi0_ros.model.checkpoints import Conventions
from pi0_ros.model.checkpoints.save import write_json
from pi0_ros.model.kinds import traits
from pi0_ros.policy import tiny_tokenizer
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.adapter_writing import adapter_to_dict
from pi0_ros.policy.normalize import Statistics, write_norm_stats
from pi0_ros.robot.replacing import replacing_folder

FAST_FOLDER = "fast_tokenizer"  # where `load_policy` looks for it
_README = """# {name}

A {kind} policy ({parameters:.1f} million parameters) trained from {origin} by `pi0 train`.
{note}
Files: model.safetensors (weights, bfloat16), config.json (sizes, and how the vectors map to the robot),
norm_stats.json (statistics, openpi's layout), tokenizer.json (`tokenizers` format).
"""


def export(
    model: Pi0,
    target: Path,
    adapter: Adapter,
    statistics: Mapping[str, Statistics],
    note: str = "",
    tokenizer_file: Path | None = None,
    dtype: torch.dtype | None = torch.bfloat16,
    origin: str = "random weights",
    fast_folder: Path | None = None,
    conventions: Conventions | None = None,
) -> Path:
    """Write weights, configuration, statistics, tokenizer and a README beside `target` and put them in its place.

    origin: what the weights were before training. fast_folder: of the action tokenizer. conventions: habits of the project
    that the start came from, None for ours. Returns the folder, ready to load. Raises OSError, and leaves what was
    there.
    """
    with replacing_folder(target) as folder:
        folder.mkdir(parents=True)
        if tokenizer_file is None:
            tiny_tokenizer.save(folder / "tokenizer.json")
        else:
            (folder / tokenizer_file.name).write_bytes(tokenizer_file.read_bytes())
        write_norm_stats(folder, statistics)
        count = sum(p.numel() for p in model.parameters()) / 1e6
        kind = traits(model.config.kind).label
        text = _README.format(name=target.name, parameters=count, note=note, origin=origin, kind=kind)
        (folder / "README.md").write_text(text, encoding="utf-8")
        if fast_folder is not None:
            shutil.copytree(fast_folder, folder / FAST_FOLDER)
        save(model, folder, policy=adapter_to_dict(adapter), dtype=dtype, conventions=conventions)
    return target


def export_beside(first: Path, target: Path, adapter: Adapter, statistics: Mapping[str, Statistics]) -> Path:
    """The checkpoint `first` for another robot: the same weights (one file on disk), its own adapter and statistics.

    Raises OSError, and leaves what was there.
    """
    with replacing_folder(target) as folder:
        shutil.copytree(first, folder, copy_function=linked)
        for name in ("config.json", "norm_stats.json"):
            (folder / name).unlink()
        write_norm_stats(folder, statistics)
        config = json.loads((first / "config.json").read_text(encoding="utf-8"))
        write_json(folder / "config.json", {**config, "policy": adapter_to_dict(adapter)})
    return target


def linked(source: str, target: str) -> str:
    """A second name for a file of weights, which is never changed in place; a copy of any other."""
    if source.endswith(".safetensors"):
        try:
            os.link(source, target)
            return target
        except OSError:  # a disk without hard links
            pass
    return str(shutil.copy2(source, target))
