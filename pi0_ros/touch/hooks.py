"""What touching coloured blocks adds to training, as one value for the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pi0_ros.model import Pi0, Prefix
from pi0_ros.policy.tokenizer import Tokenizer
from pi0_ros.touch.grounding import PLACES, STEP, grounding_of
from pi0_ros.touch.ordinal import order_embeddings
from pi0_ros.touch.seeing import SeeingLoss
from pi0_ros.touch.symmetry import COLOURS, Symmetry
from pi0_ros.train.hooks import AuxiliaryLoss, CountedBatch, Hooks, Row

NEIGHBOURS = (0.06, 0.24, 0.40, 0.24, 0.06)  # share of the target on the steps around the true one
NEAR = 3 * STEP  # a place counts as right within so many 1024ths


@dataclass(frozen=True)
class TouchSettings:
    """symmetry: rows mirrored and recoloured. patch_weight: of the losses that ground words in image patches; 0: none."""

    symmetry: bool = False
    patch_weight: float = 1.0


def touch_hooks(tokenizer: Tokenizer, settings: TouchSettings) -> Hooks:
    """The hooks for one tokenizer, which has to have PaliGemma's location tokens and a token for each colour."""
    places = Places(int(tokenizer.encode("<loc0000>")[0]), int(tokenizer.encode("Action: ")[0]), tokenizer.eos)

    def token_of(word: str) -> int:
        return int(tokenizer.encode(f" {word}")[0])

    def loss(model: Pi0) -> AuxiliaryLoss:
        return SeeingLoss(model, tuple(COLOURS), token_of, settings.patch_weight)

    return Hooks(
        augmentations=(Symmetry(),) if settings.symmetry else (),
        answer=places,
        token_loss=places.token_loss,
        loss=loss if settings.patch_weight else None,
        prepare=order_embeddings,
        measure=places.measure,
    )


@dataclass(frozen=True)
class Places:
    """Where things are, as location tokens behind the prompt. first: id of <loc0000>; the next 1023 ids follow it.

    Action tokens (FAST, bins) have the same ids (openpi src/openpi/models/tokenizer.py), between `action`, the first id of
    "Action: ", and `end`: neighbours of a place are near it, neighbours of an action token are other motions.
    """

    first: int
    action: int = -1
    end: int = -1

    def __call__(self, row: Row) -> NDArray[np.int64]:
        """Location tokens of a row's grounding; -1 if a place cannot be said."""
        known = grounding_of(row.facts)
        if known is None:
            return np.zeros(0, np.int64)
        labels = known.said().astype(np.int64)
        return np.where(labels >= 0, labels + self.first, -1)

    def token_loss(self, logs: Tensor, wanted: Tensor) -> Tensor:
        """Cross-entropy; a place shares its target with its neighbours. logs [N, V], wanted [N] -> [N]."""
        place = self.named(wanted)
        plain = -logs.gather(1, wanted[:, None])[:, 0]
        offsets = torch.arange(-2, 3, device=wanted.device) * STEP
        around = (wanted[:, None] + offsets).clamp(self.first, self.first + PLACES - 1)
        soft = -(logs.gather(1, around) * logs.new_tensor(NEIGHBOURS)).sum(dim=1)
        return torch.where(place, soft, plain)

    def named(self, wanted: Tensor) -> Tensor:
        """Which of the learned tokens of rows one after the other [N] are places [N], and not tokens of an action."""
        at = torch.arange(len(wanted), device=wanted.device)
        begun, ended = (
            torch.where(wanted == mark, at, -1).cummax(0).values if len(at) else at for mark in (self.action, self.end)
        )
        return (wanted >= self.first) & (wanted < self.first + PLACES) & (begun <= ended)

    def measure(self, model: Pi0, prefix: Prefix, examples: CountedBatch) -> Mapping[str, float]:
        """Share of named places that are right within 3/128 of the picture, `placed`."""
        tokens, counts = examples.inputs.tokens, examples.counts
        logits = model.text_logits(prefix, tokens.shape[1])[..., self.first : self.first + PLACES]
        off = (logits.argmax(-1) + self.first - tokens).abs()[counts][self.named(tokens[counts])]
        return {"placed": float((off <= NEAR).float().mean()) if len(off) else float("nan")}
