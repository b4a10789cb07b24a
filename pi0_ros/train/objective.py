"""The loss of one step: cross-entropy on text and places + alpha * flow (pi0.5, arXiv 2504.16054, equation 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pi0_ros.model import Pi0, Prefix
from pi0_ros.model.losses import FlowTargets, flow_mean
from pi0_ros.train.examples import Examples
from pi0_ros.train.frames import PLACES, STEP
from pi0_ros.train.vision import (
    Objects,
    held_patches,
    looking_loss,
    matching_loss,
    pointing_loss,
    reading_loss,
)

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
    looking: Tensor
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
        trunk, expert = self.model.gemma.layers, getattr(self.model, "expert", None)
        with Watch(_at(trunk, 1 / 3), _at(trunk, 2 / 3)) as watched:
            prefix = self.model.prefix(acting.inputs)
        early, later = watched.given
        places = self.text(prefix, acting)
        moved, acts = torch.zeros_like(places), None
        if flow is not None and self.alpha and expert is not None:
            seen = prefix.detached() if self.insulate else prefix
            with Watch(_at(expert.layers, 2 / 3)) as watched:
                errors = self.model.flow_loss(flow.actions, flow.noise, flow.t, seen, acting.inputs.state)
            moved, acts = flow_mean(errors, flow.weight, flow.dims), watched.given[0]
        said = torch.zeros_like(places) if words is None else self.text(self.model.prefix(words.inputs), words)
        seeing = (torch.zeros_like(places),) * 4
        if self.objects and acting.objects is not None:
            known = acting.objects
            seeing = (
                self.read(prefix, known),
                self.matched(early, acting, known),
                self.looked(later, acts, acting, known),
                self.pointed(later[0], known),
            )
        text = self.grounding * places + self.speaking * said
        return StepLoss(text + self.alpha * moved + self.looking * sum(seeing), moved, places, said, *seeing)

    def read(self, prefix: Prefix, known: Objects) -> Tensor:
        """What patches say of all objects before the trunk."""
        cameras = known.place.shape[1]
        features = self._pictures(prefix.embeddings, cameras)
        return reading_loss(
            self.reader(features).float(),
            self.alike(features).float(),
            known.place.flatten(0, 1),
            known.known.flatten(0, 1),
            known.lit[:, None].expand(-1, cameras, -1).flatten(0, 1),
        )

    def matched(self, given: tuple, examples: Examples, known: Objects) -> Tensor:
        """How an early layer of the trunk looks from patches at the word of the named object."""
        tokens, cameras = examples.inputs.tokens, known.place.shape[1]
        pictures = given[0].shape[1] - tokens.shape[1]
        shares = _shares(_at(self.model.gemma.layers, 1 / 3), given, slice(0, pictures))
        named = known.named.long()
        word = (tokens == torch.tensor(self.objects)[named.clamp(0)][:, None]) & (named >= 0)[:, None]
        said = word.any(1)
        looked = shares.gather(2, (pictures + word.long().argmax(1))[:, None, None].expand(-1, pictures, 1))[..., 0]
        looked = looked.unflatten(1, (cameras, -1))[said].flatten(0, 1)
        place = known.place[said].flatten(0, 1)
        return matching_loss(looked, place, named[said].repeat_interleave(cameras))

    def looked(self, given: tuple, acts: tuple | None, examples: Examples, known: Objects) -> Tensor:
        """How a later layer looks from places about to be named, and from actions, at the named object's patches."""
        counts = examples.counts
        held = held_patches(known.place, known.named.long(), self.model.config.vision.tokens)
        loss = held.new_zeros((), dtype=torch.float32)
        if bool(counts.any()):
            first, length = int(counts.any(0).long().argmax()), counts.shape[1]
            asking = slice(given[0].shape[1] - length + first - 1, given[0].shape[1] - 1)
            loss = loss + looking_loss(_shares(_at(self.model.gemma.layers, 2 / 3), given, asking), held)
        if acts is not None:
            shares = _shares(_at(self.model.expert.layers, 2 / 3), acts, slice(None))
            loss = loss + looking_loss(shares, held)
        return loss

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


class Watch:
    """Keeps what layers are given while it is open: `given`, a layer's positional inputs each."""

    def __init__(self, *layers: nn.Module) -> None:
        self.layers, self.given = layers, []

    def __enter__(self) -> Self:
        self._hooks = [layer.register_forward_pre_hook(self._keep) for layer in self.layers]
        return self

    def _keep(self, layer: nn.Module, inputs: tuple) -> None:
        self.given.append(inputs)

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()


def _at(layers: nn.ModuleList, share: float) -> nn.Module:
    """The layer that ends this share of a stack."""
    return layers[max(0, round(share * len(layers)) - 1)]


def _shares(layer: nn.Module, given: tuple, rows: slice) -> Tensor:
    """Log of the shares of attention [B, rows, S] that the first head of a layer gives to what it sees."""
    x, rope, mask, past, cond = given
    queries, keys, _ = layer.self_attn.project(layer.input_layernorm(x, cond)[0], *rope)
    keys = keys if past is None else torch.cat([past[0], keys], 2)
    logits = queries[:, 0, rows].float() @ keys[:, 0].float().transpose(1, 2) * queries.shape[-1] ** -0.5
    return F.log_softmax(logits.masked_fill(~mask[:, rows], -1e9), dim=-1)
