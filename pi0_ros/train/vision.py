"""What lies where: labels of a frame's objects, and four losses that make patches tell and the rest look.

PaliGemma comes with the knowledge of what things look like and which word means them; a network from scratch would
have to find both through the sentences of its text head, which takes an order of magnitude more examples.

* Reading, on the projected picture features: whether a patch holds an object's centre, where in the picture it is,
  whether its lamp is lit, and which object it is. The last is a choice between the embeddings of the objects' words, so
  that words and patches share a space from the start, as contrastive pre-training leaves them. (As a choice, because
  asked one word at a time the words first learn what objects have in common, and become one another's doubles.)
* Matching, on one attention head of an early layer of the trunk: the patch that holds the object which the prompt
  names looks at the object's word, the patches of other objects do not (supervised attention: Liu et al. 2016, arXiv
  1609.04186). Without it the network stays for thousands of steps on the plateau where any object will do.
* Looking, on one attention head of a later layer of trunk and expert: what answers with places, and what moves, looks
  at patches that hold the named object.
* Pointing, on a middle layer of the trunk: which patch holds the object that the prompt names, and the way to it from
  the fingertip. What the action expert needs thereby lies in keys and values that it can look up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pi0_ros.train.frames import Frames

UNKNOWN = -1
PRESENCE_WEIGHT = 20.0  # of a patch that holds an object: most hold none
HEAD = 7  # numbers of `Frames.grounding` before all objects: the target twice, and the way to it
WAY = slice(4, HEAD)


@dataclass(frozen=True)
class Labels:
    """What is known about N frames of C cameras and K objects.

    place: float32 [N, C, K, 2] row and column in 0..1, NaN where the object is not seen there.
    known: bool [N, C, K], whether `place` says all about that camera and object. lit: int8 [N, K]: 1, 0 or UNKNOWN.
    named: int8 [N], the object of the instruction, or UNKNOWN. way: float32 [N, 3] in 0..1 (0.5: none), NaN: unknown.
    """

    place: NDArray[np.float32]
    known: NDArray[np.bool_]
    lit: NDArray[np.int8]
    named: NDArray[np.int8]
    way: NDArray[np.float32]


@dataclass(frozen=True)
class Objects:
    """Labels of a batch as tensors: place [B, C, K, 2], known [B, C, K], lit [B, K], named [B], way [B, 3]."""

    place: Tensor
    known: Tensor
    lit: Tensor
    named: Tensor
    way: Tensor


def labels_of(frames: Frames, objects: Sequence[str]) -> Labels | None:
    """Labels from the frames' own grounding and words; None where the frames have none.

    `grounding` holds the target in the base picture, in the working wrist's, the way to it, all objects in the base
    picture, whether their lamps are lit, and all objects in the other cameras. Where it says nothing of lamps,
    high-level targets do: objects before the next one are lit, the next one is not. Where it says nothing of the other
    cameras, the target alone is known there.
    """
    count, kinds = len(frames), len(objects)
    if not kinds or frames.grounding.shape[1] < HEAD + 2 * kinds:
        return None
    place = np.full((count, len(frames.cameras), kinds, 2), np.nan, np.float32)
    known = np.zeros(place.shape[:3], bool)
    place[:, 0] = _fractions(frames.grounding[:, HEAD : HEAD + 2 * kinds].reshape(count, kinds, 2))
    known[:, 0] = True
    goals = [_goal(text, objects, frames.cameras) for text in frames.texts]
    others = frames.grounding[:, HEAD + 3 * kinds :]
    if others.shape[1] == 2 * kinds * (len(frames.cameras) - 1):
        place[:, 1:] = _fractions(others.reshape(count, -1, kinds, 2))
        known[:] = True
    else:
        wrist = _fractions(frames.grounding[:, 2:4])
        for index, goal in enumerate(goals):
            told = np.flatnonzero(frames.task == index)
            if goal is not None and len(told):
                place[told, goal[1], goal[0]] = wrist[told]
                known[told, goal[1], goal[0]] = True
    named = np.array([UNKNOWN if goal is None else goal[0] for goal in goals], np.int8)[frames.task]
    return Labels(place, known, _lamps(frames, objects), named, _fractions(frames.grounding[:, WAY]))


def _lamps(frames: Frames, objects: Sequence[str]) -> NDArray[np.int8]:
    kinds = len(objects)
    said = frames.grounding[:, HEAD + 2 * kinds : HEAD + 3 * kinds]
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


def reading_loss(said: Tensor, alike: Tensor, place: Tensor, known: Tensor, lit: Tensor) -> Tensor:
    """Presence over all patches; place, lamp and kind at the patches that hold an object.

    Shapes: said [B, P, 4] (presence, row, column, lamp), alike [B, P, K] likeness with each object's word, place
    [B, K, 2] (NaN: unseen), known [B, K], lit [B, K] (UNKNOWN where not known).
    """
    patch, target, seen = _patches(place, said.shape[1])
    told = known.all(-1, keepdim=True)
    presence = _presence(said[..., :1], target.amax(-1, keepdim=True), told)
    at = patch[:, :, None]
    here, kinds = said.gather(1, at.expand(-1, -1, 4)), alike.gather(1, at.expand(-1, -1, alike.shape[2]))
    where = F.smooth_l1_loss(here[..., 1:3], place.nan_to_num(0.0), reduction="none", beta=0.02).sum(-1)
    lamp = F.binary_cross_entropy_with_logits(here[..., 3], lit.clamp(0).float(), reduction="none")
    kind = -F.log_softmax(kinds, -1).diagonal(dim1=1, dim2=2)
    return presence + 5.0 * _mean(where, seen) + _mean(lamp, seen & (lit >= 0)) + _mean(kind, seen)


def held_patches(place: Tensor, named: Tensor, count: int) -> Tensor:
    """Which patches of all cameras hold the named object: bool [B, C * count].

    Shapes: place [B, C, K, 2] (NaN: unseen), named [B] (UNKNOWN: none).
    """
    batch, cameras = place.shape[:2]
    _, target, _ = _patches(place.flatten(0, 1), count)
    at = named.clamp(0)[:, None, None, None].expand(-1, cameras, count, 1)
    held = target.unflatten(0, (batch, cameras)).gather(3, at)[..., 0] > 0
    return (held & (named >= 0)[:, None, None]).flatten(1)


def looking_loss(shares: Tensor, held: Tensor) -> Tensor:
    """Queries look at held patches, in rows that have any.

    Shapes: shares [B, Q, S], log of each query's shares of attention, held bool [B, P], of the first P of S keys.
    """
    rows = held.any(1)
    looked = shares[rows, :, : held.shape[1]].masked_fill(~held[rows][:, None], -torch.inf)
    return -looked.logsumexp(2).sum() / max(1, looked.shape[0] * looked.shape[1])


def matching_loss(looked: Tensor, place: Tensor, named: Tensor) -> Tensor:
    """Patches of the named object look at its word, patches of the others do not.

    Shapes: looked [B, P], log of the share of attention on the word, place [B, K, 2] (NaN: unseen), named [B].
    """
    patch, _, seen = _patches(place, looked.shape[1])
    here = looked.gather(1, patch).clamp(max=-1e-4)
    wanted = F.one_hot(named, place.shape[1]).bool()
    return _mean(-here, seen & wanted) + _mean(-torch.log1p(-here.exp()), seen & ~wanted)


def pointing_loss(said: Tensor, place: Tensor, known: Tensor, way: Tensor) -> Tensor:
    """Presence of the named object over all patches, and the way to it at the patch that holds it.

    Shapes: said [B, P, 4], place [B, 2] (NaN: unseen), known [B], way [B, 3] (NaN: unknown).
    """
    patch, target, seen = _patches(place[:, None], said.shape[1])
    presence = _presence(said[..., :1], target, known[:, None])
    here = said.gather(1, patch[:, :, None].expand(-1, -1, 4))[:, 0, 1:]
    off = F.smooth_l1_loss(here, way.nan_to_num(0.5) - 0.5, reduction="none", beta=0.02).sum(-1)
    return presence + 20.0 * _mean(off, seen[:, 0] & ~way.isnan().any(-1))


def _patches(place: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Patch that holds each place [B, K, 2], presence [B, count, K], and whether it is seen [B, K]."""
    side = int(count**0.5)
    seen = ~place[..., 0].isnan()
    cell = (place.nan_to_num(0.0) * side).long().clamp(0, side - 1)
    patch = cell[..., 0] * side + cell[..., 1]
    return patch, F.one_hot(patch, count).transpose(1, 2).float() * seen[:, None], seen


def _presence(said: Tensor, target: Tensor, known: Tensor) -> Tensor:
    weight = (1.0 + (PRESENCE_WEIGHT - 1.0) * target) * known[:, None]
    return F.binary_cross_entropy_with_logits(said, target, weight)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return torch.where(counted, values, 0.0).sum() / counted.sum().clamp(1)
