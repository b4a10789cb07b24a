"""Writing checkpoints in our format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pi0_ros.model.checkpoints.load import FORMAT, VERSION
from pi0_ros.model.checkpoints.nearby import INDEX, SINGLE
from pi0_ros.model.checkpoints.tensorfile import write
from pi0_ros.model.config import ModelConfig
from pi0_ros.model.conventions import Conventions
from pi0_ros.model.network import Pi0
from pi0_ros.robot.replacing import write_whole


def write_json(path: Path, value: Any) -> None:
    """Indented JSON, replaced as a whole. Raises OSError, DiskFull with the file's name."""
    write_whole(path, json.dumps(value, indent=2) + "\n")


def cast(model: Pi0, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The state dict, in another dtype if one is given."""
    state = model.state_dict()
    return state if dtype is None else {name: tensor.to(dtype) for name, tensor in state.items()}


def save(
    model: Pi0,
    folder: str | Path,
    policy: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    shard_bytes: int = 0,
    conventions: Conventions | None = None,
) -> Path:
    """Writes our format: model.safetensors and config.json, weights first, so that an interrupted save has no config.

    policy: the "policy" section (channels, cameras, delta mask, ...). dtype: cast on the way, None keeps. shard_bytes:
    above 0, cut into files of at most about that size. conventions: those of the project the weights come from, where
    they are not ours. Returns the folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder, cast(model, dtype), shard_bytes)
    config: dict[str, Any] = {"format": FORMAT, "version": VERSION, "model": model.config.to_dict()}
    if policy:
        config["policy"] = dict(policy)
    if conventions is not None:
        config["conventions"] = asdict(conventions)
    write_json(folder / "config.json", config)
    return folder


def write_weights(folder: Path, tensors: Mapping[str, Tensor], shard_bytes: int = 0) -> None:
    """model.safetensors, or shards with an index. Files of an earlier save under these names are removed."""
    groups = split(tensors, shard_bytes) if shard_bytes else [list(tensors)]
    for stale in [folder / INDEX, *folder.glob("model*.safetensors")]:
        stale.unlink(missing_ok=True)
    if len(groups) == 1:
        write(folder / SINGLE, tensors, {"format": "pt"})
        return
    weight_map = {}
    for i, names in enumerate(groups, start=1):
        file = f"model-{i:05d}-of-{len(groups):05d}.safetensors"
        write(folder / file, {name: tensors[name] for name in names}, {"format": "pt"})
        weight_map.update(dict.fromkeys(names, file))
    total = sum(tensor.numel() * tensor.dtype.itemsize for tensor in tensors.values())
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def split(tensors: Mapping[str, Tensor], limit: int) -> list[list[str]]:
    """Names in order, in groups of at most `limit` bytes (a single larger tensor stands alone)."""
    groups: list[list[str]] = [[]]
    size = 0
    for name, tensor in tensors.items():
        nbytes = tensor.numel() * tensor.dtype.itemsize
        if groups[-1] and size + nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += nbytes
    return groups


def sizes_json(config: ModelConfig) -> dict[str, Any]:
    """The golden folders' sizes.json: what shapes and other projects' config files do not tell."""
    vision = config.vision
    return {
        "model": config.kind,
        "vision": {
            "hidden": vision.width,
            "layers": vision.depth,
            "heads": vision.heads,
            "intermediate": vision.mlp,
            "image_size": vision.image_size,
            "patch": vision.patch,
        },
        "gemma": asdict(config.language),
        **({"expert": asdict(config.expert)} if config.expert else {}),
        "vocab": config.vocab,
        "action_dim": config.action_dim,
        "horizon": config.horizon,
        "prompt_length": config.prompt_length,
        "cameras": list(config.cameras),
    }
