"""What a policy needs to know of a checkpoint besides its weights, and the file that keeps it beside exported graphs.

Reading it needs neither torch nor the weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TypeGuard

from pi0_ros.model.config import ConfigError, ModelConfig
from pi0_ros.model.conventions import Conventions, recorded_conventions
from pi0_ros.model.errors import CheckpointError
from pi0_ros.robot.files import read_json

NAME = "network.json"
FORMAT, VERSION = "pi0_ros_graphs", 1


@dataclass(frozen=True)
class Description:
    """A checkpoint without its weights: fields as in `checkpoints.LoadedCheckpoint`."""

    origin: str
    config: ModelConfig
    folder: Path
    conventions: Conventions
    settings: Mapping[str, object]
    assumed: tuple[str, ...] = ()


class DescribedCheckpoint(Protocol):
    """What a description is written from: a checkpoint that is open."""

    @property
    def origin(self) -> str: ...
    @property
    def config(self) -> ModelConfig: ...
    @property
    def conventions(self) -> Conventions: ...
    @property
    def assumed(self) -> tuple[str, ...]: ...


def write_description(checkpoint: DescribedCheckpoint, folder: Path) -> Path:
    """Write what a checkpoint is into `folder`. Returns the file."""
    values = {
        "format": FORMAT,
        "version": VERSION,
        "origin": checkpoint.origin,
        "model": checkpoint.config.to_dict(),
        "conventions": asdict(checkpoint.conventions),
        "assumed": list(checkpoint.assumed),
    }
    file = folder / NAME
    file.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return file


def read_description(file: Path, folder: Path) -> Description:
    """The checkpoint in `folder` as `write_description` wrote it down; its own config.json is read again.

    Raises: CheckpointError naming the file and what is wrong in it.
    """
    values, own = _mapping(file), folder / "config.json"
    if values.get("format") != FORMAT or values.get("version") != VERSION:
        raise CheckpointError(
            f"{file}: not a description of graphs of this version; write them again with `pi0 export {folder}`"
        )
    origin, model, assumed = values.get("origin"), values.get("model"), values.get("assumed")
    if not isinstance(origin, str) or not isinstance(model, Mapping) or not _names(assumed):
        raise CheckpointError(f"{file}: origin, model or assumed is missing; write it again with `pi0 export {folder}`")
    try:
        config = ModelConfig.from_dict(model)
        conventions = recorded_conventions(values.get("conventions"), config.kind)
    except (ConfigError, CheckpointError) as error:
        raise CheckpointError(f"{file}: {error}") from None
    return Description(origin, config, folder, conventions, _mapping(own) if own.is_file() else {}, tuple(assumed))


def _mapping(file: Path) -> Mapping[str, object]:
    found = read_json(file, CheckpointError)
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{file}: has to be a mapping")
    return found


def _names(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
