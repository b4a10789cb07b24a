"""The safetensors files of a checkpoint folder seen as one table: unsharded, or sharded behind an index file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pi0_ros.model.checkpoints.nearby import INDEX, SINGLE, hint
from pi0_ros.model.checkpoints.tensorfile import TensorFile, TensorInfo
from pi0_ros.model.errors import CheckpointError
from pi0_ros.robot import files
from pi0_ros.robot.quoting import quote, quote_value

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; CheckpointError if it is too large, not JSON or not an object."""
    value = files.read_json(path, CheckpointError)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: must hold a JSON object")
    return value


class Shards:
    """All tensors of one checkpoint, whichever file they are in. `infos[name]` describes, `file(name)` reads."""

    def __init__(self, files: Mapping[str, TensorFile]) -> None:
        self.files = dict.fromkeys(files.values())
        self._by_name = dict(files)
        self.infos: dict[str, TensorInfo] = {name: file.infos[name] for name, file in files.items()}

    def file(self, name: str) -> TensorFile:
        return self._by_name[name]

    @property
    def nbytes(self) -> int:
        return sum(info.end - info.begin for info in self.infos.values())


def _check_shard_name(index: Path, file: Any) -> None:
    """The index may only name files beside it."""
    if (
        not isinstance(file, str)
        or len(file.encode(errors="surrogatepass")) > 255
        or file in {"", ".", ".."}
        or "/" in file
        or "\\" in file
        or "\0" in file
    ):
        raise CheckpointError(
            f"{index}: names the shard {quote_value(file)}; shards must be plain file names beside the index"
        )


def _shard(index: Path, file: str) -> Path:
    path = index.parent / file
    if not files.is_file(path):
        raise CheckpointError(f"{index}: the shard {quote(file)} is missing beside it; download it again")
    return path


def _open_index(index: Path) -> Shards:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: has no 'weight_map' object")
    for file in weight_map.values():
        _check_shard_name(index, file)
    files = {file: TensorFile(_shard(index, file)) for file in sorted(set(weight_map.values()))}
    lost = [name for name, file in weight_map.items() if name not in files[file].infos]
    if lost:
        raise CheckpointError(
            f"{index}: {len(lost)} tensors are not in the shard named for them, e.g. {quote(lost[0])}"
        )
    # A tensor that a shard holds beyond the index still counts: it must be known or reported as unexpected.
    owners = {name: file for file in files.values() for name in file.infos}
    owners.update({name: files[file] for name, file in weight_map.items()})
    return Shards(owners)


def _open_file(path: Path) -> Shards:
    file = TensorFile(path)
    return Shards(dict.fromkeys(file.infos, file))


def open_shards(folder: Path) -> Shards:
    """The tensors of a folder: model.safetensors, else the shards of its index, else a lone *.safetensors.

    model.safetensors comes first, as in LeRobot's and transformers' `from_pretrained`. Raises CheckpointError.
    """
    if (folder / SINGLE).exists():
        return _open_file(folder / SINGLE)
    if (folder / INDEX).exists():
        return _open_index(folder / INDEX)
    files = sorted(folder.glob("*.safetensors"))  # a hidden one was being written when its process was killed
    lone = [p for p in files if not p.name.startswith(("policy_", ".")) and p.name not in DATA]
    if len(lone) == 1:
        return _open_file(lone[0])
    if lone:
        raise CheckpointError(f"{folder}: holds {len(lone)} safetensors files and no {INDEX}; give the file to load")
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES)
    if pickles:
        raise CheckpointError(
            f"{folder / pickles[0]}: pickled weights are refused, they can run code; convert them to safetensors first"
        )
    raise CheckpointError(f"{folder}: holds no {SINGLE}, no {INDEX} and no orbax `params` folder{hint(folder)}")


# Recorded inputs and outputs that may lie beside weights.
DATA = {"io.safetensors", "e2e.safetensors", "trained.safetensors", "expected.safetensors"}


def open_weights(path: Path) -> Shards:
    """`open_shards` for a folder, an index file or one safetensors file (its content decides, not its name)."""
    if path.is_dir():
        return open_shards(path)
    if path.name.endswith(".index.json"):
        return _open_index(path)
    return _open_file(path)
