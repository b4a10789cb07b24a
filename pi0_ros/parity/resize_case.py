"""Recorded pictures through the three resamplers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pi0_ros.model.checkpoints.tensorfile import read_all
from pi0_ros.parity.report import ParityError, Row, close, equal
from pi0_ros.policy.resize import jax_linear, pil_bilinear, torch_bilinear


def resize_rows(folder: Path) -> Iterator[Row]:
    """One row for every recorded picture <resampler>.HxW.N of image.HxW."""
    io = {name: tensor.numpy() for name, tensor in read_all(folder / "io.safetensors").items()}
    for name in sorted(io):
        stem, _, rest = name.partition(".")
        if stem in ("pil_uint8", "torch_float", "jax_uint8"):
            source, _, side = rest.rpartition(".")
            if f"image.{source}" not in io:
                raise ParityError(f"{folder / 'io.safetensors'}: {name!r} has no 'image.{source}'")
            yield _row(name, stem, io[f"image.{source}"], (int(side), int(side)), io[name])


def _row(name: str, stem: str, image: np.ndarray, size: tuple[int, int], recorded: np.ndarray) -> Row:
    if stem == "pil_uint8":
        return equal(name, pil_bilinear(image, size), recorded)
    if stem == "jax_uint8":
        # Sums that end on .5 round by the order in which XLA adds; the case records this resampler for information.
        steps = np.abs(jax_linear(image, size).astype(int) - recorded.astype(int))
        return equal(name, steps > 1, np.zeros_like(steps, bool), f"{np.count_nonzero(steps)} pixels one level off")
    scaled = image.astype(np.float32) / np.float32(255) * np.float32(2) - np.float32(1)
    return close(name, torch_bilinear(scaled, size, black=-1.0), recorded)
