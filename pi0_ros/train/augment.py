"""Picture augmentation, drawn for each picture: light, or as openpi's.

Source of openpi's: src/openpi/models/model.py (preprocess_observation) and models_pytorch/preprocessing_pytorch.py, whose
arithmetic is followed: a crop of 95 % and a turn of up to 5 degrees where the camera is on no wrist, then brightness,
contrast about the picture's mean, and saturation about each pixel's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.train.settings import Augment

CROP = 0.95
TURN = math.radians(5.0)
BRIGHTNESS, CONTRAST, SATURATION = 0.3, 0.4, 0.5


def augment_for(name: str, recipe: str) -> Augment:
    """The one called so; "" for what the recipe's project does."""
    return Augment(name) if name else Augment.OPENPI if recipe == "openpi" else Augment.LIGHT


@dataclass(frozen=True)
class CropAndTurn:
    """Draws for pictures [B]: where the crop begins, 0..1 of what is left over; the turn [rad], clockwise as one looks."""

    across: Tensor
    down: Tensor
    angle: Tensor


def draw_view(rng: np.random.Generator, count: int) -> CropAndTurn:
    """One for each picture."""
    numbers = rng.uniform(0.0, 1.0, (3, count)).astype(np.float32)
    across, down, angle = torch.from_numpy(numbers)
    return CropAndTurn(across, down, (2.0 * angle - 1.0) * TURN)


def seen_from(pictures: Tensor, view: CropAndTurn) -> Tensor:
    """Pictures [B, 3, S, S] in 0..1 cropped, brought back to their size and turned; black if there is nothing."""
    size = pictures.shape[-1]
    cropped = int(CROP * size) / size
    at = (torch.arange(size) + 0.5) * 2.0 / size - 1.0
    y, x = torch.meshgrid(at, at, indexing="ij")
    cos, sin = (f(view.angle)[:, None, None] for f in (torch.cos, torch.sin))
    turned_x, turned_y = x * cos + y * sin, y * cos - x * sin
    outside = (turned_x.abs() > 1.0) | (turned_y.abs() > 1.0)
    free = 1.0 - cropped
    place = [
        cropped * turned + free * (2.0 * start - 1.0)[:, None, None]
        for turned, start in ((turned_x, _whole(view.across, size)), (turned_y, _whole(view.down, size)))
    ]
    sampled = F.grid_sample(
        pictures, torch.stack(place, -1), mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled.masked_fill(outside[:, None], 0.0)


def _whole(start: Tensor, size: int) -> Tensor:
    """A crop begins at a whole pixel: one of the size - crop + 1 there are."""
    left = size - int(CROP * size)
    return (start * (left + 1)).floor().clamp(max=left) / max(left, 1)


def coloured(pictures: Tensor, factors: Tensor) -> Tensor:
    """Pictures [B, 3, S, S] in 0..1 with brightness, contrast and saturation times `factors` [B, 3]."""
    brightness, contrast, saturation = (f[:, None, None, None] for f in factors.unbind(1))
    bright = pictures * brightness
    mean = bright.mean(dim=(1, 2, 3), keepdim=True)
    clear = (bright - mean) * contrast + mean
    grey = clear.mean(dim=1, keepdim=True)
    return (grey + (clear - grey) * saturation).clamp(0.0, 1.0)


def as_openpi(pictures: Tensor, on_wrist: bool, rng: np.random.Generator, placed: Tensor | None = None) -> Tensor:
    """One camera's pictures [B, 3, S, S] in -1..1, disturbed as openpi does it in training.

    placed: bool [B], whose places are named in words, which a crop or a turn would make untrue; None: no one's.
    """
    x = pictures / 2.0 + 0.5
    if not on_wrist:
        moved = seen_from(x, draw_view(rng, len(x)))
        x = moved if placed is None else torch.where(placed[:, None, None, None], x, moved)
    widths = np.array([BRIGHTNESS, CONTRAST, SATURATION], np.float32)
    factors = 1.0 + rng.uniform(-1.0, 1.0, (len(x), 3)).astype(np.float32) * widths
    return coloured(x, torch.from_numpy(factors)) * 2.0 - 1.0
