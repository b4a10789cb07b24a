"""openpi's JAX checkpoints: orbax folders, read with `tensorstore` alone (zarr arrays, usually inside an OCDBT store).

`_METADATA` lists the tree. Two layouts occur: a saved train state, whose key paths end in `value`, and a plain dict.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pi0_ros.model.checkpoints.jax_names import lora_leaves, map_tree, merge_lora
from pi0_ros.model.checkpoints.names import detect_kind
from pi0_ros.model.checkpoints.shards import read_json
from pi0_ros.model.errors import CheckpointError

METADATA = "_METADATA"
KEY = re.compile(r"[A-Za-z0-9_]+")
QUERY = "PaliGemma/img/Transformer/encoderblock/MultiHeadDotProductAttention_0/query/kernel"
ATTN = "PaliGemma/llm/layers/attn/"
MAX_LEAF = 1 << 36  # 64 GiB: more than any leaf of the family, less than a hostile shape


def find_orbax(path: Path) -> Path | None:
    """The folder that holds `_METADATA`: the path itself or its `params`; None if this is no orbax checkpoint."""
    for folder in (path, path / "params"):
        if (folder / METADATA).is_file():
            return folder
    return None


def _tensorstore() -> Any:
    try:
        import tensorstore
    except ImportError:
        raise CheckpointError(
            "openpi JAX checkpoints need the optional extra `jax`: pip install 'pi0_ros[jax]' (it installs tensorstore)"
        ) from None
    return tensorstore


def _tree(folder: Path) -> tuple[dict[str, str], bool]:
    """Leaf name ('/'-joined, without `params` and `value`) -> array name in the store; and whether it is zarr v3."""
    metadata = read_json(folder / METADATA)
    leaves = {}
    try:
        for entry in metadata["tree_metadata"].values():
            keys = [item["key"] for item in entry["key_metadata"]]
            if not all(isinstance(key, str) and KEY.fullmatch(key) for key in keys):
                raise CheckpointError(f"{folder / METADATA}: the key path {keys!r} is not made of plain names")
            names = keys[1:] if keys[0] == "params" else keys
            leaves["/".join(names[:-1] if names[-1] == "value" else names)] = ".".join(keys)
    except (KeyError, TypeError, IndexError, AttributeError):
        raise CheckpointError(f"{folder / METADATA}: has no readable 'tree_metadata'") from None
    return leaves, bool(metadata.get("use_zarr3", False))


def _to_torch(array: Any) -> Tensor:
    array = np.ascontiguousarray(array)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    if array.dtype not in (np.float32, np.float16, np.float64):
        raise CheckpointError(f"a JAX parameter has dtype {array.dtype}; floating point is expected")
    return torch.from_numpy(array)


class OrbaxSource:
    """One orbax checkpoint as canonical tensors; `copy_into` slices and turns leaves and merges LoRA."""

    def __init__(self, folder: Path) -> None:
        self._ts, self.folder = _tensorstore(), folder
        self._arrays, self._zarr3 = _tree(folder)
        self._open = {leaf: self._open_array(name) for leaf, name in self._arrays.items()}
        self.leaf_shapes = {leaf: tuple(array.shape) for leaf, array in self._open.items()}
        self._parts = map_tree(self.leaf_shapes)
        self.kind = detect_kind(self._parts)
        self.shapes = self._canonical_shapes()
        self._kept: tuple[str, Tensor] | None = None
        self.lora = sum(lora_leaves(leaf, self._arrays) is not None for leaf in self._arrays)

    def _open_array(self, name: str) -> Any:
        base = f"file://{self.folder.resolve()}/"
        ocdbt = (self.folder / "manifest.ocdbt").exists()
        store = {"driver": "ocdbt", "base": base, "path": name + "/"} if ocdbt else base + name + "/"
        spec = {"driver": "zarr3" if self._zarr3 else "zarr", "kvstore": store}
        try:
            array = self._ts.open(spec, open=True, read=True).result()
        except (ValueError, OSError) as error:
            raise CheckpointError(f"{self.folder}: the array {name!r} cannot be opened ({_short(error)})") from None
        if array.size * array.dtype.numpy_dtype.itemsize > MAX_LEAF:
            raise CheckpointError(f"{self.folder}: the array {name!r} announces the shape {array.shape}")
        return array

    def _read(self, leaf: str) -> Tensor:
        try:
            return _to_torch(self._open[leaf].read().result())
        except (ValueError, OSError) as error:
            raise CheckpointError(f"{self.folder}: {leaf!r} cannot be read ({_short(error)})") from None

    def leaf(self, leaf: str) -> Tensor:
        """One leaf, LoRA merged. The last one is kept, as its layers are asked for one after the other."""
        if self._kept is None or self._kept[0] != leaf:
            self._kept = None
            value, pair = self._read(leaf), lora_leaves(leaf, self._arrays)
            if pair is not None:
                value = merge_lora(leaf, value, self._read(pair[0]), self._read(pair[1]))
            self._kept = (leaf, value)
        return self._kept[1]

    def _canonical_shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name -> shape, worked out on meta tensors."""
        metas = {leaf: torch.empty(shape, device="meta") for leaf, shape in self.leaf_shapes.items()}
        try:
            return {name: tuple(part.turn(metas[part.leaf][part.index]).shape) for name, part in self._parts.items()}
        except (IndexError, RuntimeError):
            raise CheckpointError(f"{self.folder}: a parameter has too few axes for its name") from None

    def head_sizes(self) -> dict[str, dict[str, int]]:
        """The head counts that JAX shapes tell and PyTorch's do not, as in sizes.json."""
        sizes: dict[str, dict[str, int]] = {"vision": {"heads": (*self.leaf_shapes.get(QUERY, ()), 0, 0, 0)[2]}}
        for key, suffix in (("gemma", ""), ("expert", "_1")):
            shape = self.leaf_shapes.get(f"{ATTN}q_einsum{suffix}/w")
            fused = self.leaf_shapes.get(f"{ATTN}qkv_einsum{suffix}/w")
            if shape is not None and len(shape) == 4:
                sizes[key] = {"heads": shape[1], "head_dim": shape[3]}
            elif fused is not None and len(fused) == 5:
                sizes[key] = {"heads": fused[2], "kv_heads": fused[2], "head_dim": fused[4]}
        return {key: value for key, value in sizes.items() if all(value.values())}

    @property
    def nbytes(self) -> int:
        return sum(array.size * array.dtype.numpy_dtype.itemsize for array in self._open.values())

    def key(self, name: str) -> str:
        """The leaf's name, for messages."""
        return self._parts[name].leaf if name in self._parts else name

    def dtype_of(self, name: str) -> torch.dtype:
        array = self._open[self._parts[name].leaf]
        return torch.bfloat16 if array.dtype.name == "bfloat16" else torch.float32

    def order(self, names: list[str]) -> list[str]:
        """The names grouped by leaf, so that each leaf is read once."""
        return sorted(names, key=lambda name: (self._parts[name].leaf, self._parts[name].index))

    def copy_into(self, name: str, out: Tensor, check: Callable[[Tensor], bool]) -> bool:
        part = self._parts[name]
        value = part.turn(self.leaf(part.leaf)[part.index])
        out.copy_(value)
        return check(value)


def _short(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return json.dumps(text[:160])
