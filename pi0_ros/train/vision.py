"""Stage 0: the vision tower learns what lies where, before a sentence is asked about it.

PaliGemma's SigLIP comes with that knowledge; a tower from scratch would have to find it through the language model,
which takes an order of magnitude more examples. Each patch says, through one linear layer on the projected feature,
which objects' centres it holds, where in the picture they are, and whether their lamp is lit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pi0_ros.model import Pi0
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


class Reader(nn.Module):
    """Tower, projector and the linear layer that is thrown away afterwards."""

    def __init__(self, model: Pi0, kinds: int) -> None:
        super().__init__()
        self.model, self.kinds = model, kinds
        self.head = nn.Linear(model.config.language.width, kinds * 4)

    def forward(self, images: Tensor) -> Tensor:
        """[B, patches, kinds, (presence, row, column, lit)] of pictures [B, 3, S, S]."""
        features = self.model.embed_images([images])[0]
        return self.head(F.layer_norm(features, features.shape[-1:])).unflatten(-1, (self.kinds, 4))


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


def teach_vision(
    model: Pi0,
    frames: Frames,
    labels: Labels,
    steps: int,
    batch: int = 48,
    rate: float = 2e-3,
    seed: int = 0,
    minutes: float = 0.0,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Train the tower and the projector of `model` in place: AdamW, one cycle of the rate, bfloat16 products.

    `minutes` (0: none) ends it earlier. `progress(step, loss)` is called every 50 steps.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    reader = Reader(model, labels.lit.shape[1])
    weights = [*model.siglip.parameters(), *model.projector.parameters(), *reader.head.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
    began, mean = time.monotonic(), 0.0
    for step in range(steps):
        spent = (time.monotonic() - began) / (60.0 * minutes) if minutes else 0.0
        share = max(step / steps, spent)
        if share >= 1.0:
            return
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100, 1.0 - share + 0.02)
        loss = _loss(reader, frames, labels, rng.integers(len(frames), size=batch), rng)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        mean = 0.95 * mean + 0.05 * float(loss) if step else float(loss)
        if step % 50 == 0:
            progress(step, mean)


def _loss(
    reader: Reader, frames: Frames, labels: Labels, rows: NDArray[np.integer], rng: np.random.Generator
) -> Tensor:
    """Loss of one camera of each frame: the base camera, of which most is known, half of the time."""
    cameras = len(frames.cameras)
    camera = np.where(rng.random(len(rows)) < 0.5, 0, rng.integers(1, cameras, len(rows)))
    pictures = frames.images[rows][np.arange(len(rows)), camera]
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    gain = torch.from_numpy(rng.uniform(0.92, 1.08, (len(rows), 1, 1, 1)).astype(np.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        said = reader(images * gain + 0.02 * torch.randn(images.shape))
    chosen = (torch.from_numpy(a[rows, camera]) for a in (labels.place, labels.known))
    return reading_loss(said.float(), *chosen, torch.from_numpy(labels.lit[rows]))
