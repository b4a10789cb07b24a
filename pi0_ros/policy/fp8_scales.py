"""`fp8_scales.json` beside a checkpoint: fixed scales for its trunk in 8 bits, as `pi0 quantise` measured them.

They belong to the weights that they were measured with: trained on, or exchanged, these need others.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pi0_ros.policy.errors import PolicyError
from pi0_ros.robot import files

FILE = "fp8_scales.json"
VERSION = 1
STRIDE, BLOCK = 16 << 20, 64 << 10
"""Bytes of a weight file from one block that is looked at to the next, and of a block: every large tensor has some."""
OTHERS = {".json", ".yaml", ".yml", ".md", ".txt", ".model", ".jinja", ".py", ".onnx", ".data", ".lock"}
ELSEWHERE = {"onnx", "assets", "fast_tokenizer", "optimizer"}


@dataclass(frozen=True)
class Fp8Scales:
    """Scales of what goes into gate and up, and into down, for each layer of the trunk but the last.

    weights: `weights_mark` of the checkpoint. dataset, observations: what they were measured on.
    """

    layers: tuple[tuple[float, float], ...]
    weights: str
    dataset: str
    observations: int


def weights_mark(folder: Path) -> str:
    """A mark of a checkpoint's weights: names, sizes and a block of every 16 MB of its weight files, hashed (SHA-256).

    It is made in a second from any layout and size; training on changes every block. Raises PolicyError without weights.
    """
    mark, found = hashlib.sha256(), 0
    for file in _weight_files(folder):
        found += 1
        size = file.stat().st_size
        mark.update(f"{file.relative_to(folder).as_posix()}\0{size}\0".encode())
        with file.open("rb") as stream:
            for start in range(0, size, STRIDE):
                stream.seek(start)
                mark.update(stream.read(BLOCK))
            stream.seek(max(0, size - BLOCK))
            mark.update(stream.read(BLOCK))
    if not found:
        raise PolicyError(f"{folder}: no weight file is in this folder")
    return mark.hexdigest()


def save_scales(folder: Path, scales: Fp8Scales) -> Path:
    """Write the scales beside a checkpoint; the file. Raises PolicyError if it cannot be written."""
    file = folder / FILE
    try:
        file.write_text(json.dumps({"version": VERSION, **asdict(scales)}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"{file}: cannot be written: {error.strerror}") from error
    return file


def load_scales(folder: Path, layers: int) -> Fp8Scales | None:
    """The scales beside a checkpoint whose trunk has this many layers in 8 bits; None if there are none.

    Raises PolicyError if they cannot be read, or belong to other weights.
    """
    file = folder / FILE
    if not file.exists():
        return None
    stored = files.read_json(file, PolicyError)
    scales = _checked(file, stored)
    way_out = "measure them again with `pi0 quantise`, or delete the file"
    if len(scales.layers) != layers:
        raise PolicyError(f"{file}: has scales of {len(scales.layers)} layers and the network has {layers}; {way_out}")
    if scales.weights != weights_mark(folder):
        raise PolicyError(f"{file}: was measured with other weights than those in this folder; {way_out}")
    return scales


def _weight_files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if not ELSEWHERE.intersection(inside.parts[:-1]) and file.suffix not in OTHERS and file.is_file():
            yield file


def _checked(file: Path, stored: object) -> Fp8Scales:
    if not isinstance(stored, dict) or stored.get("version") != VERSION:
        raise PolicyError(f"{file}: is no file of `pi0 quantise` that this version reads (version {VERSION})")
    layers = stored.get("layers")
    if not isinstance(layers, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(_is_scale(value) for value in pair) for pair in layers
    ):
        raise PolicyError(f"{file}: key layers must be a list of pairs of positive numbers")
    if not isinstance(stored.get("weights"), str):
        raise PolicyError(f"{file}: key weights is missing")
    pairs = tuple((float(first), float(second)) for first, second in layers)
    return Fp8Scales(pairs, stored["weights"], str(stored.get("dataset", "")), int(stored.get("observations") or 0))


def _is_scale(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0.0
