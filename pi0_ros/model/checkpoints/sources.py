"""Where canonical tensors come from: safetensors shards or an orbax folder, behind one small interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from pi0_ros.model.checkpoints.names import EMBEDDING, LM_HEAD, canonical
from pi0_ros.model.checkpoints.shards import Shards
from pi0_ros.model.kinds import Kind, traits


class Source(Protocol):
    """Canonical tensors by name. `shapes` and `dtype_of` cost nothing; `copy_into` reads one tensor."""

    kind: Kind

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]: ...
    @property
    def nbytes(self) -> int: ...
    def key(self, name: str) -> str: ...
    def dtype_of(self, name: str) -> torch.dtype: ...
    def order(self, names: list[str]) -> list[str]: ...
    def copy_into(self, name: str, out: Tensor, check: Callable[[Tensor], bool]) -> bool: ...


class ShardSource:
    """PyTorch-layout safetensors with canonical names. `embed_tokens` wins over `lm_head` if both are there.

    Only pi0-FAST keeps both: LeRobot does not tie them, training moves them apart, and its answer comes from `lm_head`.
    """

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self.kind, self.names = canonical(shards.infos)
        self._keys = dict(self.names.sources)
        self.untied = EMBEDDING in self._keys and LM_HEAD in self._keys
        if self.untied and traits(self.kind).acts_in_tokens:
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

    def __init__(self, shards: Shards, kind: Kind) -> None:
        self.shards, self.kind = shards, kind

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


class SourceOver:
    """A file's tensors changed while they are read: everything but `copy_into` is the file's own."""

    def __init__(self, base: ShardSource) -> None:
        self.base, self.kind, self.names = base, base.kind, base.names

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.base.shapes

    @property
    def nbytes(self) -> int:
        return self.base.nbytes

    def key(self, name: str) -> str:
        """The tensor's key in the base's files, for messages."""
        return self.base.key(name)

    def dtype_of(self, name: str) -> torch.dtype:
        return self.base.dtype_of(name)

    def order(self, names: list[str]) -> list[str]:
        return self.base.order(names)


IMAGE_TOKEN = ("image_token_index", "image_token_id")  # of Hugging Face's config.json: old and new name
PALIGEMMA_ROWS = 257152  # PaliGemma's vocabulary; Hugging Face's `<image>` and its padding rows come behind it


class TrunkSource(SourceOver):
    """A PaliGemma of Hugging Face: the embedding without the rows behind the vocabulary, which no token of text has.

    Sources: transformers src/transformers/models/paligemma/convert_paligemma_weights_to_hf.py (64 rows are appended);
    openpi src/openpi/models/gemma.py (PALIGEMMA_VOCAB_SIZE).
    """

    def __init__(self, base: ShardSource, settings: Mapping[str, Any]) -> None:
        super().__init__(base)
        marked = next((settings[key] for key in IMAGE_TOKEN if isinstance(settings.get(key), int)), PALIGEMMA_ROWS)
        stored = base.shapes.get(EMBEDDING, (0,))[0]
        self.rows = min(stored, marked) if marked > 0 else stored
        self.sizes = _paligemma_sizes(settings)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = {name: shape for name, shape in self.base.shapes.items() if name != LM_HEAD}
        if EMBEDDING in shapes:
            shapes[EMBEDDING] = (self.rows, *shapes[EMBEDDING][1:])
        return shapes

    def copy_into(self, name: str, out: Tensor, check: Callable[[Tensor], bool]) -> bool:
        stored = self.base.shapes[name]
        if tuple(out.shape) == stored:
            return self.base.copy_into(name, out, check)
        whole = torch.empty(stored, dtype=out.dtype)
        sound = self.base.copy_into(name, whole, check)
        out.copy_(whole[: len(out)])
        return sound


def _paligemma_sizes(settings: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Head counts that Hugging Face's config.json records, in the form of a sizes.json."""
    text, vision = (settings.get(key) for key in ("text_config", "vision_config"))
    text, vision = (part if isinstance(part, Mapping) else {} for part in (text, vision))
    names = {"heads": "num_attention_heads", "kv_heads": "num_key_value_heads", "head_dim": "head_dim"}
    gemma = {ours: text[theirs] for ours, theirs in names.items() if theirs in text}
    return {
        "gemma": gemma,
        "vision": {"heads": vision["num_attention_heads"]} if "num_attention_heads" in vision else {},
    }
