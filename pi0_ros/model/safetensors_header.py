"""The header of a safetensors file, checked before anything else is read; small files as arrays. Needs no torch.

Format: https://github.com/huggingface/safetensors (8-byte little-endian header length, JSON header, data).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pi0_ros.model.errors import CheckpointError
from pi0_ros.robot.files import check_regular
from pi0_ros.robot.quoting import quote, quote_value

ITEM_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of a number of each type that is read."""
MAX_HEADER = 8 * 1024 * 1024  # of bytes; the headers of the family have 0.1 MB, and 100 MB take half a minute to read
MAX_AXES = 16

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


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies: its type by the format's name, its shape and the byte range [begin, end) in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def refuse_foreign(path: Path, head: bytes) -> None:
    """Raises CheckpointError if the first bytes say that this is a pickle, an archive or another format."""
    for magic, what in FOREIGN:
        if head.startswith(magic):
            raise CheckpointError(f"{path}: this is {what}; only safetensors is read, nothing is unpickled or unpacked")
    if path.suffix in {".tar"} or head[257:262] == b"ustar":
        raise CheckpointError(f"{path}: this is a tar archive; unpack it yourself and give the folder")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key occurs twice")
    return table


def _parse_header(path: Path, text: bytes) -> dict[str, object]:
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its header is not valid JSON ({error}); this is no safetensors file") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: its header is not a JSON object; this is no safetensors file")
    return header


def _entry(path: Path, name: str, entry: object, base: int) -> Entry:
    fields = entry if isinstance(entry, dict) else {}
    dtype, axes, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    shape, span = _sizes(axes), _sizes(offsets)
    if not isinstance(dtype, str) or shape is None or len(shape) > MAX_AXES or span is None or len(span) != 2:
        raise CheckpointError(f"{path}: the header entry {quote(name)} is malformed or of an unsupported dtype")
    if dtype not in ITEM_SIZES:
        raise CheckpointError(
            f"{path}: {quote(name)} has dtype {quote_value(dtype)}; known are {', '.join(ITEM_SIZES)}"
        )
    begin, end = span
    if end - begin != math.prod(shape) * ITEM_SIZES[dtype]:
        raise CheckpointError(
            f"{path}: {quote(name)} of shape {quote_value(list(shape))} does not fill its {end - begin} bytes"
        )
    return Entry(dtype, shape, base + begin, base + end)


def _sizes(value: object) -> tuple[int, ...] | None:
    """A list of numbers of bytes or axes; None for anything else."""
    if not isinstance(value, list) or not all(type(n) is int and 0 <= n < 2**63 for n in value):
        return None
    return tuple(value)


def _check_cover(path: Path, infos: Mapping[str, Entry], base: int, size: int) -> None:
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


def read_header(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
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


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Every tensor of a small safetensors file; numbers of 16 bits become float32. Raises CheckpointError as `read_header`."""
    entries, _ = read_header(path)
    data = path.read_bytes()
    return {name: _array(entry, data[entry.begin : entry.end]) for name, entry in entries.items()}


def _array(entry: Entry, data: bytes) -> NDArray[np.generic]:
    if entry.dtype == "BF16":  # the upper half of a float32
        wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(entry.shape)
    kinds = {"F": "f", "I": "i", "U": "u"}
    kind = np.dtype(np.bool_ if entry.dtype == "BOOL" else f"<{kinds[entry.dtype[0]]}{ITEM_SIZES[entry.dtype]}")
    found = np.frombuffer(data, kind).reshape(entry.shape)
    return found.astype(np.float32 if kind == np.float16 else kind)
