"""Where canonical tensors come from: safetensors shards or an orbax folder, behind one small interface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from pi0_ros.model.checkpoints.names import EMBEDDING, LM_HEAD, Names, canonical
from pi0_ros.model.checkpoints.shards import Shards


class Source(Protocol):
    """Canonical tensors by name. `shapes` and `dtype_of` cost nothing; `copy_into` reads one tensor."""

    kind: str

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]: ...
    @property
    def nbytes(self) -> int: ...
    def key(self, name: str) -> str: ...
    def dtype_of(self, name: str) -> torch.dtype: ...
    def order(self, names: list[str]) -> list[str]: ...
    def copy_into(self, name: str, out: Tensor, check: Callable[[Tensor], bool]) -> bool: ...


class ShardSource:
    """PyTorch-layout safetensors with canonical names. `embed_tokens` wins over `lm_head` where both are there.

    Only pi0-FAST keeps both: LeRobot does not tie them, training moves them apart, and its answer comes from `lm_head`.
    """

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self.kind, self.names = canonical(shards.infos)
        self._keys = dict(self.names.sources)
        self.untied = EMBEDDING in self._keys and LM_HEAD in self._keys
        if self.untied and self.kind == "pi0_fast":
            return
        head = self._keys.pop(LM_HEAD, None)
        if head is not None:
            self._keys.setdefault(EMBEDDING, head)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: self.shards.infos[key].shape for name, key in self._keys.items()}

    @property
    def nbytes(self) -> int:
        return sum(self.shards.infos[key].end - self.shards.infos[key].begin for key in self._keys.values())

    def key(self, name: str) -> str:
        """The tensor's key in the file, for messages."""
        return self._keys.get(name, name)

    def dtype_of(self, name: str) -> torch.dtype:
        return self.shards.infos[self._keys[name]].dtype

    def order(self, names: list[str]) -> list[str]:
        """The names in file order."""
        infos = self.shards.infos
        return sorted(names, key=lambda name: (str(self._file(name)), infos[self._keys[name]].begin))

    def _file(self, name: str) -> Path:
        return self.shards.file(self._keys[name]).path

    def copy_into(self, name: str, out: Tensor, check: Callable[[Tensor], bool]) -> bool:
        key = self._keys[name]
        return self.shards.file(key).copy_into(key, out, check)


class OwnSource:
    """Our own model.safetensors: keys are the network's parameter names."""

    def __init__(self, shards: Shards, kind: str) -> None:
        self.shards, self.kind = shards, kind
        self.names = Names({name: name for name in shards.infos}, (), wrapped=False, legacy=False)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: info.shape for name, info in self.shards.infos.items()}

    @property
    def nbytes(self) -> int:
        return self.shards.nbytes

    def key(self, name: str) -> str:
        return name

    def dtype_of(self, name: str) -> torch.dtype:
        return self.shards.infos[name].dtype

    def order(self, names: list[str]) -> list[str]:
        return sorted(names, key=lambda name: (str(self.shards.file(name).path), self.shards.infos[name].begin))

    def copy_into(self, name: str, out: Tensor, check: Callable[[Tensor], bool]) -> bool:
        return self.shards.file(name).copy_into(name, out, check)
