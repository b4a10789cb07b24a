"""The patch loss: the vision tower learns what lies where without a sentence being asked about it.

PaliGemma's SigLIP comes with that knowledge; a tower from scratch would have to find it through the language model,
which takes an order of magnitude more examples. Each patch says, through one linear layer on the projected feature,
which objects' centres it holds, where in the picture they are, and whether their lamp is lit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pi0_ros.train.frames import Frames

UNKNOWN = -1
PRESENCE_WEIGHT = 20.0  # of a patch that holds an object: most hold none


@dataclass(frozen=True)
class Labels:
    """What is known about N pictures of C cameras and K objects.

    place: float32 [N, C, K, 2] row and column in 0..1, NaN where the object is not seen there.
    known: bool [N, C, K], whether `place` says all about that camera and object. lit: int8 [N, K]: 1, 0 or UNKNOWN.
    """

    place: NDArray[np.float32]
    known: NDArray[np.bool_]
    lit: NDArray[np.int8]


def labels_of(frames: Frames, objects: Sequence[str]) -> Labels | None:
    """Labels from the frames' own grounding and words; None where the frames have none.

    `grounding` holds the target in the base picture, in the working wrist's, the way to it, all objects in the base
    picture, and whether their lamps are lit. Where it says nothing of lamps, high-level targets do: objects before the
    next one are lit, the next one is not.
    """
    count, kinds = len(frames), len(objects)
    if not kinds or frames.grounding.shape[1] < 7 + 2 * kinds:
        return None
    place = np.full((count, len(frames.cameras), kinds, 2), np.nan, np.float32)
    known = np.zeros(place.shape[:3], bool)
    place[:, 0] = _fractions(frames.grounding[:, 7 : 7 + 2 * kinds].reshape(count, kinds, 2))
    known[:, 0] = True
    wrist = _fractions(frames.grounding[:, 2:4])
    for index, text in enumerate(frames.texts):
        goal = _goal(text, objects, frames.cameras)
        told = np.flatnonzero(frames.task == index)
        if goal is not None and len(told):
            place[told, goal[1], goal[0]] = wrist[told]
            known[told, goal[1], goal[0]] = True
    return Labels(place, known, _lamps(frames, objects))


def _lamps(frames: Frames, objects: Sequence[str]) -> NDArray[np.int8]:
    kinds = len(objects)
    said = frames.grounding[:, 7 + 2 * kinds : 7 + 3 * kinds]
    if said.shape[1] == kinds:
        return np.where(said < 0, UNKNOWN, said > 512).astype(np.int8)
    lit = np.full((len(frames), kinds), UNKNOWN, np.int8)
    for index, text in enumerate(frames.texts):
        asked = np.flatnonzero(frames.high_target == index)
        next_one = next((k for k, name in enumerate(objects) if name in text.split()), kinds)
        lit[np.ix_(asked, range(next_one))] = 1
        lit[asked, next_one : next_one + 1] = 0
    return lit


def _goal(text: str, objects: Sequence[str], cameras: Sequence[str]) -> tuple[int, int] | None:
    """Object and wrist camera that an instruction names, as indices."""
    words = text.split()
    named = [k for k, name in enumerate(objects) if name in words]
    wrists = [c for c, name in enumerate(cameras) if name.endswith("_wrist") and name.split("_")[0] in words]
    return (named[0], wrists[0]) if named and wrists else None


def _fractions(places: NDArray[np.int16]) -> NDArray[np.float32]:
    return np.where(places < 0, np.nan, places / 1024.0).astype(np.float32)


def reading_loss(said: Tensor, place: Tensor, known: Tensor, lit: Tensor) -> Tensor:
    """Presence over all patches, and place and lamp at the patch that holds the object.

    Shapes: said [B, P, K, 4], place [B, K, 2] (NaN: unseen), known [B, K], lit [B, K] (UNKNOWN where not known).
    """
    side = int(said.shape[1] ** 0.5)
    seen = ~place[..., 0].isnan()
    cell = (place.nan_to_num(0.0) * side).long().clamp(0, side - 1)
    patch = cell[..., 0] * side + cell[..., 1]
    target = F.one_hot(patch, side * side).transpose(1, 2).float() * seen[:, None]
    weight = (1.0 + (PRESENCE_WEIGHT - 1.0) * target) * known[:, None]
    presence = F.binary_cross_entropy_with_logits(said[..., 0], target, weight)
    here = said.gather(1, patch[:, None, :, None].expand(-1, 1, -1, 4))[:, 0]
    where = F.smooth_l1_loss(here[..., 1:3], place.nan_to_num(0.0), reduction="none", beta=0.02).sum(-1)
    lamp = F.binary_cross_entropy_with_logits(here[..., 3], lit.clamp(0).float(), reduction="none")
    told = seen & (lit >= 0)
    return presence + 5.0 * where[seen].mean() + lamp[told].sum() / told.sum().clamp(1)
