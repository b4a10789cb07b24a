"""Safetensors files, read with distrust: header checked before anything else, data memory-mapped and copied in pieces.

Format: https://github.com/huggingface/safetensors (8-byte little-endian header length, JSON header, data). The file is
mapped read-only and the pages already copied are handed back to the kernel, so that loading needs the memory of the
result and no second copy; the result does not depend on the file afterwards.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pi0_ros.model.checkpoints.errors import CheckpointError
from pi0_ros.robot.files import check_regular
from pi0_ros.robot.quoting import quote, quote_value

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
MAX_HEADER = 8 * 1024 * 1024  # of bytes; the headers of the family have 0.1 MB, and 100 MB take half a minute to read
MAX_AXES = 16
PIECE = 64 * 1024 * 1024

# What people hand over instead, by its first bytes.
FOREIGN = (
    (b"PK\x03\x04", "a zip archive (PyTorch's pickle format or a packed folder)"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"GGUF", "a GGUF file"),
    (b"version https://git-lfs", "a git-lfs pointer, not the weights (run `git lfs pull`)"),
    (b"<!DOCTYPE", "a web page, not weights"),
)


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


def refuse_foreign(path: Path, head: bytes) -> None:
    """Raises CheckpointError where the first bytes say that this is a pickle, an archive or another format."""
    for magic, what in FOREIGN:
        if head.startswith(magic):
            raise CheckpointError(f"{path}: this is {what}; only safetensors is read, nothing is unpickled or unpacked")
    if path.suffix in {".tar"} or head[257:262] == b"ustar":
        raise CheckpointError(f"{path}: this is a tar archive; unpack it yourself and give the folder")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key occurs twice")
    return table


def _parse_header(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its header is not valid JSON ({error}); this is no safetensors file") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: its header is not a JSON object; this is no safetensors file")
    return header


def _entry(path: Path, name: str, entry: Any, base: int) -> TensorInfo:
    try:
        dtype, shape, (begin, end) = DTYPES.get(entry["dtype"]), tuple(entry["shape"]), entry["data_offsets"]
        sane = len(shape) <= MAX_AXES and all(type(n) is int and 0 <= n < 2**63 for n in (*shape, begin, end))
    except (TypeError, KeyError, ValueError):
        sane, dtype = False, None
    if not sane:
        raise CheckpointError(f"{path}: the header entry {quote(name)} is malformed or of an unsupported dtype")
    if dtype is None:
        raise CheckpointError(
            f"{path}: {quote(name)} has dtype {quote_value(entry['dtype'])}; known are {', '.join(DTYPES)}"
        )
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise CheckpointError(
            f"{path}: {quote(name)} of shape {quote_value(list(shape))} does not fill its {end - begin} bytes"
        )
    return TensorInfo(dtype, shape, base + begin, base + end)


def _check_cover(path: Path, infos: Mapping[str, TensorInfo], base: int, size: int) -> None:
    """Tensors must tile the data without overlap or gap, up to the end of the file."""
    at = base
    for name, info in sorted(infos.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.begin != at:
            raise CheckpointError(f"{path}: {quote(name)} overlaps another tensor or leaves a gap; the file is damaged")
        at = info.end
    if at > size:
        raise CheckpointError(f"{path}: truncated, {at} bytes are announced and {size} are there; copy it again")
    if at < size:
        raise CheckpointError(f"{path}: {size - at} bytes follow the last tensor; the file is damaged")


def read_header(path: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Tensor table and metadata of a safetensors file, fully checked against the file's size.

    Raises CheckpointError for anything that is not a whole safetensors file.
    """
    size = check_regular(path, CheckpointError)
    try:
        with path.open("rb") as file:
            head = file.read(512)
            refuse_foreign(path, head)
            if size < 8:
                raise CheckpointError(f"{path}: truncated, only {size} bytes; copy it again")
            (length,) = struct.unpack("<Q", head[:8])
            if length > MAX_HEADER:
                raise CheckpointError(
                    f"{path}: announces a header of {length} bytes, more than {MAX_HEADER}; this is no safetensors file"
                )
            if 8 + length > size:
                raise CheckpointError(f"{path}: truncated inside its header ({size} bytes are there); copy it again")
            file.seek(8)
            header = _parse_header(path, file.read(length))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    metadata = header.pop("__metadata__", {})
    infos = {name: _entry(path, name, entry, 8 + length) for name, entry in header.items()}
    _check_cover(path, infos, 8 + length, size)
    return infos, metadata if isinstance(metadata, dict) else {}


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
    """Writes a safetensors file piece by piece (no second copy), under a temporary name until it is complete."""
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))  # keeps every tensor aligned
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name in order:
        tensor = tensors[name]
        end = at + tensor.numel() * tensor.dtype.itemsize
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            file.writelines(_rows(tensors[name]))
    os.replace(partial, path)
