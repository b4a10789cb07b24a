"""Safetensors files as tensors: memory-mapped, and copied in pieces, after `safetensors_header` has checked them.

The file is mapped read-only and the pages already copied are handed back to the kernel, so that loading needs the memory
of the result and no second copy; the result does not depend on the file afterwards.
"""

from __future__ import annotations

import json
import mmap
import struct
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pi0_ros.model import safetensors_header
from pi0_ros.model.errors import CheckpointError
from pi0_ros.robot.replacing import replacing

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
PIECE = 64 * 1024 * 1024


def dtype_named(name: str) -> torch.dtype:
    """The dtype of weights called "bfloat16" or "float32"."""
    known = {"bfloat16": torch.bfloat16, "float32": torch.float32}
    if name not in known:
        raise CheckpointError(f"dtype {name!r} is not known; choose one of {', '.join(known)}")
    return known[name]


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies: dtype, shape and the byte range [begin, end) in the file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(path: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Tensor table and metadata of a safetensors file, fully checked against the file's size.

    Raises CheckpointError for anything that is not a whole safetensors file.
    """
    entries, metadata = safetensors_header.read_header(path)
    infos = {name: TensorInfo(DTYPES[e.dtype], e.shape, e.begin, e.end) for name, e in entries.items()}
    return infos, metadata


class TensorFile:
    """One safetensors file, memory-mapped. `infos` is its table; `copy_into` copies one tensor piece by piece."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.infos, self.metadata = read_header(path)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _piece(self, dtype: torch.dtype, begin: int, end: int) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # read-only buffer: it is only ever a copy's source
            return torch.frombuffer(self._map, dtype=dtype, count=(end - begin) // dtype.itemsize, offset=begin)

    def pieces(self, name: str) -> Iterable[Tensor]:
        """The tensor as flat pieces of at most 64 MiB, each valid until the next is asked for; pages are given back."""
        info = self.infos[name]
        for begin in range(info.begin, info.end, PIECE):
            end = min(begin + PIECE, info.end)
            yield self._piece(info.dtype, begin, end)
            self._release(begin, end)

    def _release(self, begin: int, end: int) -> None:
        first, last = begin - begin % mmap.PAGESIZE, end - end % mmap.PAGESIZE
        if last > first and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)

    def copy_into(self, name: str, out: Tensor, check: Callable[[Tensor], bool] = lambda piece: True) -> bool:
        """Copies tensor `name` into the contiguous `out` (same element count, any dtype or device).

        `check` sees each piece in its stored dtype; False is returned as soon as it says False.
        """
        flat, at = out.view(-1), 0
        for piece in self.pieces(name):
            if not check(piece):
                return False
            flat[at : at + piece.numel()].copy_(piece)
            at += piece.numel()
        return True

    def read(self, name: str) -> Tensor:
        """A copy of one tensor in its stored dtype."""
        info = self.infos[name]
        out = torch.empty(info.shape, dtype=info.dtype)
        self.copy_into(name, out)
        return out


def read_all(path: Path) -> dict[str, Tensor]:
    """Every tensor of a (small) safetensors file as copies."""
    file = TensorFile(path)
    return {name: file.read(name) for name in file.infos}


def _rows(tensor: Tensor) -> Iterable[memoryview]:
    """The tensor's bytes in pieces of about 64 MiB; an expanded tensor is made real piece by piece."""
    tensor = tensor.detach().reshape(1) if tensor.dim() == 0 else tensor.detach()
    step = max(1, PIECE // max(1, tensor[:1].numel() * tensor.dtype.itemsize))
    for piece in tensor.split(step):
        flat = piece.cpu().contiguous().view(-1)
        yield memoryview(flat.view(torch.uint8).numpy()) if flat.numel() else memoryview(b"")


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file piece by piece (no second copy); `path` is replaced when it is complete.

    Raises OSError, DiskFull with the file's name.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))  # keeps every tensor aligned
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name in order:
        tensor = tensors[name]
        end = at + tensor.numel() * tensor.dtype.itemsize
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as new, new.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            file.writelines(_rows(tensors[name]))
