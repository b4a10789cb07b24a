"""The loss of one step: cross-entropy on text and places + alpha * flow (pi0.5, arXiv 2504.16054, equation 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pi0_ros.model import Pi0, Prefix
from pi0_ros.model.losses import FlowTargets, flow_mean
from pi0_ros.train.examples import Examples
from pi0_ros.train.vision import reading_loss

PLACES = 1024
STEP = 8  # places are taught in 128 steps
NEIGHBOURS = (0.06, 0.24, 0.40, 0.24, 0.06)  # share of the target on the steps around the true one


@dataclass(frozen=True)
class StepLoss:
    """Scalars of a step."""

    total: Tensor
    flow: Tensor
    places: Tensor
    words: Tensor
    patches: Tensor


class Objective(nn.Module):
    """The network and its loss as one module, so that its weights can be swapped for rounded ones in a step."""

    def __init__(
        self,
        model: Pi0,
        first_place: int,
        alpha: float = 10.0,
        grounding: float = 1.0,
        speaking: float = 1.0,
        insulate: bool = False,
        objects: int = 0,
        looking: float = 1.0,
    ) -> None:
        super().__init__()
        self.model, self.first_place = model, first_place
        self.alpha, self.grounding, self.speaking, self.insulate = alpha, grounding, speaking, insulate

        self.objects, self.looking = objects, looking
        if objects:
            self.reader = nn.Linear(model.config.language.width, objects * 4)

    def forward(self, acting: Examples, words: Examples | None, flow: FlowTargets | None) -> StepLoss:
        """Loss of action examples and high-level examples. flow None (or alpha 0): text only."""
        prefix = self.model.prefix(acting.inputs)
        places = self.text(prefix, acting)
        zero = torch.zeros_like(places)
        moved = zero
        if flow is not None and self.alpha:
            seen = prefix.detached() if self.insulate else prefix
            errors = self.model.flow_loss(flow.actions, flow.noise, flow.t, seen, acting.inputs.state)
            moved = flow_mean(errors, flow.weight, flow.dims)
        said = zero if words is None else self.text(self.model.prefix(words.inputs), words)
        read = self.patches(prefix, acting) if self.objects and acting.objects is not None else zero
        text = self.grounding * places + self.speaking * said
        return StepLoss(text + self.alpha * moved + self.looking * read, moved, places, said, read)

    def patches(self, prefix: Prefix, examples: Examples) -> Tensor:
        """What each patch of each picture says of the objects (`train.vision`), from the features the trunk reads."""
        cameras, count = len(examples.inputs.images), self.model.config.vision.tokens
        features = prefix.embeddings[:, : cameras * count].unflatten(1, (cameras, count)).flatten(0, 1)
        said = self.reader(F.layer_norm(features, features.shape[-1:])).unflatten(-1, (self.objects, 4))
        place, known, lit = examples.objects
        lit = lit[:, None].expand(-1, cameras, -1)
        return reading_loss(said.float(), place.flatten(0, 1), known.flatten(0, 1), lit.flatten(0, 1))

    def text(self, prefix: Prefix, examples: Examples) -> Tensor:
        """Mean cross-entropy of the counted tokens; a place token shares its target with its neighbours."""
        tokens, counts = examples.inputs.tokens, examples.counts
        if not bool(counts.any()):
            return prefix.hidden.float().sum() * 0.0
        hidden = prefix.hidden[:, -tokens.shape[1] - 1 : -1][counts]
        logits = F.log_softmax(self.model.logits(hidden), dim=-1)
        wanted = tokens[counts].long()
        place = (wanted >= self.first_place) & (wanted < self.first_place + PLACES)
        loss = -logits.gather(1, wanted[:, None])[:, 0]
        return torch.where(place, self._soft(logits, wanted), loss).mean()

    def _soft(self, logits: Tensor, wanted: Tensor) -> Tensor:
        offsets = torch.arange(-2, 3, device=wanted.device) * STEP
        around = (wanted[:, None] + offsets).clamp(self.first_place, self.first_place + PLACES - 1)
        return -(logits.gather(1, around) * logits.new_tensor(NEIGHBOURS)).sum(dim=1)
