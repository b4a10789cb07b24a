"""Labels of a frame's objects, and four auxiliary losses that ground words in image patches.

PaliGemma comes with the knowledge of what things look like and which word means them; a network from scratch would
have to find both through the sentences of its text head, which takes an order of magnitude more examples.

* Reading, on the projected picture features: whether a patch holds an object's centre, where in the picture it is,
  whether its lamp is lit, and which object it is. The last is a choice between the embeddings of the objects' words, so
  that words and patches share a space from the start, as contrastive pre-training leaves them. (With a yes or no
  for each word, the words first learn what objects have in common, and their embeddings become nearly equal.)
* Matching, on one attention head of an early layer of the trunk: the patch that holds the object which the prompt
  names attends to the object's word, the patches of other objects do not (supervised attention: Liu et al. 2016, arXiv
  1609.04186). Without it the network stays for thousands of steps on the plateau where any object will do.
* Looking, on one attention head of a later layer of trunk and expert: places and actions attend to the patches
  that hold the named object.
* Pointing, on a middle layer of the trunk: which patch holds the object that the prompt names, and the way to it from
  the fingertip. So the keys and values that the expert attends to have what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pi0_ros.touch.grounding import fractions, goal_of, grounding_of, object_at_target
from pi0_ros.touch.symmetry import with_lamps
from pi0_ros.touch.words import thing_asked_for, words_of
from pi0_ros.train.hooks import Row

UNKNOWN = -1
PRESENCE_WEIGHT = 20.0  # of a patch that holds an object: most hold none


@dataclass(frozen=True)
class Labels:
    """What is known about one frame of C cameras and K objects.

    place: float32 [C, K, 2] row and column in 0..1, NaN if the object is not seen there.
    known: bool [C, K], whether `place` says all about that camera and object. lit: int8 [K]: 1, 0 or UNKNOWN.
    named: int8, the object of the instruction, or UNKNOWN. way: float32 [3] in 0..1 (0.5: none), NaN: unknown.
    """

    place: NDArray[np.float32]
    known: NDArray[np.bool_]
    lit: NDArray[np.int8]
    named: np.int8
    way: NDArray[np.float32]


@dataclass(frozen=True)
class Objects:
    """Labels of a batch as tensors: place [B, C, K, 2], known [B, C, K], lit [B, K], named [B], way [B, 3].

    word: [B] token of the word by which the instruction calls the named object, whatever word that is; UNKNOWN for none.
    """

    place: Tensor
    known: Tensor
    lit: Tensor
    named: Tensor
    way: Tensor
    word: Tensor

    def to(self, device: torch.device | str) -> Objects:
        """The same on another device."""
        return Objects(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def labels_of(row: Row, objects: Sequence[str]) -> Labels | None:
    """Labels of a row from its grounding and words; None if it has none.

    Where the grounding says nothing of lamps, the high-level target does: objects before the next one are lit, the next
    one is not. Where it says nothing of the other cameras, the target alone is known there. The object that is meant is the
    one that the words name; where they name none of these, the one that lies where the target does.
    """
    kinds = len(objects)
    grounding = grounding_of(row.facts, kinds)
    if grounding is None:
        return None
    grounding = with_lamps(grounding, row.high_target)
    goal = goal_of(row.task, objects, row.cameras)
    place = np.full((len(row.cameras), kinds, 2), np.nan, np.float32)
    known = np.zeros(place.shape[:2], bool)
    place[0], known[0] = fractions(grounding.blocks), True
    if len(grounding.others) == len(row.cameras) - 1:
        place[1:], known[:] = fractions(grounding.others), True
    elif goal is not None:
        place[goal[1], goal[0]], known[goal[1], goal[0]] = fractions(grounding.wrist), True
    lit = np.where(grounding.lamps < 0, UNKNOWN, grounding.lamps > 512).astype(np.int8)
    there = object_at_target(grounding)
    named = goal[0] if goal is not None else UNKNOWN if there is None else there
    return Labels(place, known, lit, np.int8(named), fractions(grounding.way))


def unknown_labels(cameras: int, kinds: int) -> Labels:
    """Labels of a row of which nothing is known."""
    place = np.full((cameras, kinds, 2), np.nan, np.float32)
    lit, way = np.full(kinds, UNKNOWN, np.int8), np.full(3, np.nan, np.float32)
    return Labels(place, np.zeros((cameras, kinds), bool), lit, np.int8(UNKNOWN), way)


def objects_of(rows: Sequence[Row], objects: Sequence[str], token_of: Callable[[str], int]) -> Objects | None:
    """Labels of a batch; None if nothing is known of any row. token_of: the (first) token of a word in a sentence."""
    labels = [labels_of(row, objects) for row in rows]
    if not any(labels):
        return None
    nothing = unknown_labels(len(rows[0].cameras), len(objects))
    whole = [nothing if one is None else one for one in labels]
    stacked = {f.name: np.stack([getattr(one, f.name) for one in whole]) for f in fields(Labels)}
    words = [_word(row.task, objects, int(one.named)) for row, one in zip(rows, whole, strict=True)]
    word = torch.tensor([UNKNOWN if word is None else token_of(word) for word in words])
    return Objects(**{name: torch.from_numpy(values) for name, values in stacked.items()}, word=word)


def _word(text: str, objects: Sequence[str], named: int) -> str | None:
    """By which word a text calls object `named`: its own, or another that stands there."""
    if named < 0:
        return None
    return objects[named] if objects[named] in words_of(text) else thing_asked_for(text)


def reading_loss(predicted: Tensor, alike: Tensor, place: Tensor, known: Tensor, lit: Tensor) -> Tensor:
    """Presence over all patches; place, lamp and kind at the patches that hold an object.

    Shapes: said [B, P, 4] (presence, row, column, lamp), alike [B, P, K] likeness with each object's word, place
    [B, K, 2] (NaN: unseen), known [B, K], lit [B, K] (UNKNOWN if not known).
    """
    patch, target, seen = _patches(place, predicted.shape[1])
    all_known = known.all(-1, keepdim=True)
    presence = _presence(predicted[..., :1], target.amax(-1, keepdim=True), all_known)
    at = patch[:, :, None]
    here, kinds = predicted.gather(1, at.expand(-1, -1, 4)), alike.gather(1, at.expand(-1, -1, alike.shape[2]))
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
    held: Tensor = target.reshape(batch, cameras, *target.shape[1:]).gather(3, at)[..., 0] > 0
    return (held & (named >= 0)[:, None, None]).flatten(1)


def looking_loss(shares: Tensor, held: Tensor) -> Tensor:
    """Queries attend to held patches, in rows that have any.

    Shapes: shares [B, Q, S], log of each query's shares of attention, held bool [B, P], of the first P of S keys.
    """
    rows = held.any(1)
    attended = shares[rows, :, : held.shape[1]].masked_fill(~held[rows][:, None], -torch.inf)
    return -attended.logsumexp(2).sum() / max(1, attended.shape[0] * attended.shape[1])


def matching_loss(attended: Tensor, place: Tensor, named: Tensor) -> Tensor:
    """Patches of the named object attend to its word, patches of the others do not.

    Shapes: looked [B, P], log of the share of attention on the word, place [B, K, 2] (NaN: unseen), named [B].
    """
    patch, _, seen = _patches(place, attended.shape[1])
    here = attended.gather(1, patch).clamp(max=-1e-4)
    wanted = F.one_hot(named, place.shape[1]).bool()
    return _mean(-here, seen & wanted) + _mean(-torch.log1p(-here.exp()), seen & ~wanted)


def pointing_loss(predicted: Tensor, place: Tensor, known: Tensor, way: Tensor) -> Tensor:
    """Presence of the named object over all patches, and the way to it at the patch that holds it.

    Shapes: said [B, P, 4], place [B, 2] (NaN: unseen), known [B], way [B, 3] (NaN: unknown).
    """
    patch, target, seen = _patches(place[:, None], predicted.shape[1])
    presence = _presence(predicted[..., :1], target, known[:, None])
    here = predicted.gather(1, patch[:, :, None].expand(-1, -1, 4))[:, 0, 1:]
    off = F.smooth_l1_loss(here, way.nan_to_num(0.5) - 0.5, reduction="none", beta=0.02).sum(-1)
    return presence + 20.0 * _mean(off, seen[:, 0] & ~way.isnan().any(-1))


def _patches(place: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Patch that holds each place [B, K, 2], presence [B, count, K], and whether it is seen [B, K]."""
    side = int(count**0.5)
    seen = ~place[..., 0].isnan()
    cell = (place.nan_to_num(0.0) * side).long().clamp(0, side - 1)
    patch = cell[..., 0] * side + cell[..., 1]
    return patch, F.one_hot(patch, count).transpose(1, 2).float() * seen[:, None], seen


def _presence(predicted: Tensor, target: Tensor, known: Tensor) -> Tensor:
    weight = (1.0 + (PRESENCE_WEIGHT - 1.0) * target) * known[:, None]
    return F.binary_cross_entropy_with_logits(predicted, target, weight)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return torch.where(counted, values, 0.0).sum() / counted.sum().clamp(1)
