"""The loss of one step: cross-entropy on text and places + alpha * flow (pi0.5, arXiv 2504.16054, equation 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pi0_ros.model import Pi0, Prefix
from pi0_ros.model.losses import FlowTargets, flow_mean
from pi0_ros.train.examples import Examples
from pi0_ros.train.vision import Objects, matching_loss, pointing_loss, reading_loss

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
    matching: Tensor
    pointing: Tensor


class Objective(nn.Module):
    """The network and its loss as one module, so that its weights can be swapped for rounded ones in a step.

    objects: token of each object's word; without any there is no reading and no pointing (`train.vision`).
    """

    def __init__(
        self,
        model: Pi0,
        first_place: int,
        alpha: float = 10.0,
        grounding: float = 1.0,
        speaking: float = 1.0,
        insulate: bool = False,
        objects: Sequence[int] = (),
        looking: float = 1.0,
    ) -> None:
        super().__init__()
        self.model, self.first_place = model, first_place
        self.alpha, self.grounding, self.speaking, self.insulate = alpha, grounding, speaking, insulate
        self.objects, self.looking = tuple(objects), looking
        if objects:
            width = model.config.language.width
            self.reader = nn.Linear(width, 4)
            self.sharpness = nn.Parameter(torch.tensor(8.0))
            self.pointer = nn.Linear(width, 4)

    def forward(self, acting: Examples, words: Examples | None, flow: FlowTargets | None) -> StepLoss:
        """Loss of action examples and high-level examples. flow None (or alpha 0): text only."""
        prefix, early, middle = self._looked(acting)
        seeing = self.patches(prefix, early, middle, acting)
        places = self.text(prefix, acting)
        moved = torch.zeros_like(places)
        if flow is not None and self.alpha:
            seen = prefix.detached() if self.insulate else prefix
            errors = self.model.flow_loss(flow.actions, flow.noise, flow.t, seen, acting.inputs.state)
            moved = flow_mean(errors, flow.weight, flow.dims)
        said = torch.zeros_like(places) if words is None else self.text(self.model.prefix(words.inputs), words)
        text = self.grounding * places + self.speaking * said
        total = text + self.alpha * moved + self.looking * sum(seeing)
        return StepLoss(total, moved, places, said, *seeing)

    def _looked(self, examples: Examples) -> tuple[Prefix, tuple, Tensor]:
        """The prefix, what an early layer of the trunk was given, and what two thirds of it made [B, P, width]."""
        given: list[tuple] = []
        made: list[Tensor] = []
        hooks = (
            self._layer(1 / 3).register_forward_pre_hook(lambda _layer, inputs: given.append(inputs)),
            self._layer(2 / 3).register_forward_hook(lambda _layer, _inputs, output: made.append(output[0])),
        )
        try:
            return self.model.prefix(examples.inputs), given[0], made[0]
        finally:
            for hook in hooks:
                hook.remove()

    def _layer(self, share: float) -> nn.Module:
        """The layer that ends this share of the trunk."""
        layers = self.model.gemma.layers
        return layers[max(0, round(share * len(layers)) - 1)]

    def patches(self, prefix: Prefix, early: tuple, middle: Tensor, examples: Examples) -> tuple[Tensor, ...]:
        """Reading from what entered the trunk, matching and pointing inside; zeros where nothing is known of objects."""
        known = examples.objects
        if not self.objects or known is None:
            return (prefix.hidden.new_zeros((), dtype=torch.float32),) * 3
        cameras = len(examples.inputs.images)
        features = self._pictures(prefix.embeddings, cameras)
        read = reading_loss(
            self.reader(features).float(),
            self.alike(features).float(),
            known.place.flatten(0, 1),
            known.known.flatten(0, 1),
            known.lit[:, None].expand(-1, cameras, -1).flatten(0, 1),
        )
        return read, self.matched(early, examples, known), self.pointed(middle, known)

    def matched(self, given: tuple, examples: Examples, known: Objects) -> Tensor:
        """How the first head of an early layer looks from patches at the word of the named object."""
        x, rope, mask = given[:3]
        layer, tokens = self._layer(1 / 3), examples.inputs.tokens
        pictures = x.shape[1] - tokens.shape[1]
        normed, _ = layer.input_layernorm(x, None)
        queries, keys, _ = layer.self_attn.project(normed, *rope)
        logits = queries[:, 0, :pictures].float() @ keys[:, 0].float().transpose(1, 2) * queries.shape[-1] ** -0.5
        shares = F.log_softmax(logits.masked_fill(~mask[:, :pictures], -1e9), dim=-1)
        named = known.named.long()
        word = (tokens == torch.tensor(self.objects)[named.clamp(0)][:, None]) & (named >= 0)[:, None]
        said = word.any(1)
        looked = shares.gather(2, (pictures + word.long().argmax(1))[:, None, None].expand(-1, pictures, 1))[..., 0]
        cameras = known.place.shape[1]
        looked = looked.unflatten(1, (cameras, -1))[said].flatten(0, 1)
        place = known.place[said].flatten(0, 1)
        return matching_loss(looked, place, named[said].repeat_interleave(cameras))

    def pointed(self, middle: Tensor, known: Objects) -> Tensor:
        """What the patches of a middle layer say of the named object."""
        named, cameras = known.named.long(), known.place.shape[1]
        at = named.clamp(0)[:, None, None].expand(-1, cameras, 1)
        place = known.place.gather(2, at[..., None].expand(-1, -1, -1, 2))[:, :, 0]
        place = torch.where((named >= 0)[:, None, None], place, torch.nan)
        told = known.known.gather(2, at)[:, :, 0]
        said = self.pointer(self._pictures(middle, cameras)).float()
        way = known.way[:, None].expand(-1, cameras, -1).flatten(0, 1)
        return pointing_loss(said, place.flatten(0, 1), told.flatten(0, 1), way)

    def alike(self, features: Tensor) -> Tensor:
        """How much patches [N, P, width] are like the words of the objects [N, P, K]: cosines, sharpened."""
        words = F.normalize(self.model.embed_text(torch.tensor(self.objects)), dim=-1)
        return self.sharpness * (F.normalize(features, dim=-1) @ words.to(features.dtype).T)

    def _pictures(self, tokens: Tensor, cameras: int) -> Tensor:
        """The picture tokens of a prefix, normalised, a camera a row: [B * C, P, width]."""
        count = self.model.config.vision.tokens
        features = tokens[:, : cameras * count].unflatten(1, (cameras, count)).flatten(0, 1)
        return F.layer_norm(features, features.shape[-1:])

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
