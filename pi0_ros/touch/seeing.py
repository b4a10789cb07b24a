"""The four losses of `vision` as one auxiliary loss of the trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pi0_ros.model import Pi0
from pi0_ros.model.gemma import Layer, LayerInputs
from pi0_ros.touch.vision import (
    Objects,
    held_patches,
    looking_loss,
    matching_loss,
    objects_of,
    pointing_loss,
    reading_loss,
)
from pi0_ros.train.hooks import AuxiliaryLoss, Row, StepView


class SeeingLoss(AuxiliaryLoss):
    """Reading, matching, looking and pointing. objects: words of the things. token_of: the (first) token of a word."""

    names = ("patches", "matching", "looking", "pointing")

    def __init__(self, model: Pi0, objects: Sequence[str], token_of: Callable[[str], int], weight: float) -> None:
        super().__init__()
        width = model.config.language.width
        self.objects, self.token_of, self.weight = tuple(objects), token_of, weight
        self.words = tuple(token_of(word) for word in objects)
        self.reader = nn.Linear(width, 4)
        self.sharpness = nn.Parameter(torch.tensor(8.0))
        self.pointer = nn.Linear(width, 4)

    def facts(self, rows: Sequence[Row]) -> Objects | None:
        """Labels of the rows."""
        return objects_of(rows, self.objects, self.token_of)

    def watched(self, model: Pi0) -> tuple[nn.Module, ...]:
        """An early and a later layer of the trunk, a later one of the expert."""
        trunk, expert = model.gemma.layers, getattr(model, "expert", None)
        return (_at(trunk, 1 / 3), _at(trunk, 2 / 3), *([] if expert is None else [_at(expert.layers, 2 / 3)]))

    def forward(self, model: Pi0, seen: StepView, facts: object) -> dict[str, Tensor]:
        early, later = seen.layers[:2]
        acts = seen.layers[2] if len(seen.layers) > 2 else ()
        if not isinstance(facts, Objects) or not early or not later:
            raise TypeError(
                "reading a picture needs labels of its objects, and what two layers of the trunk were given"
            )
        facts = facts.to(seen.tokens.device)
        losses = {
            "patches": self.read(model, seen.prefix.embeddings, facts),
            "matching": self.matched(model, early, seen.tokens, facts),
            "looking": self.looked(model, later, acts, seen.counts, facts),
            "pointing": self.pointed(model, later[0], facts),
        }
        return {name: self.weight * loss for name, loss in losses.items()}

    def read(self, model: Pi0, embeddings: Tensor, known: Objects) -> Tensor:
        """What patches say of all objects before the trunk."""
        cameras = known.place.shape[1]
        features = _pictures(model, embeddings, cameras)
        return reading_loss(
            self.reader(features).float(),
            self.alike(model, features).float(),
            known.place.flatten(0, 1),
            known.known.flatten(0, 1),
            known.lit[:, None].expand(-1, cameras, -1).flatten(0, 1),
        )

    def matched(self, model: Pi0, given: LayerInputs, tokens: Tensor, known: Objects) -> Tensor:
        """Attention of an early layer of the trunk from patches to the word of the named object."""
        cameras = known.place.shape[1]
        pictures = given[0].shape[1] - tokens.shape[1]
        shares = _shares(_at(model.gemma.layers, 1 / 3), given, slice(0, pictures))
        named = known.named.long()
        word = (tokens == known.word[:, None]) & (named >= 0)[:, None]
        has_word = word.any(1)
        attended = shares.gather(2, (pictures + word.long().argmax(1))[:, None, None].expand(-1, pictures, 1))[..., 0]
        attended = attended.reshape(len(attended), cameras, -1)[has_word].flatten(0, 1)
        place = known.place[has_word].flatten(0, 1)
        return matching_loss(attended, place, named[has_word].repeat_interleave(cameras))

    def looked(
        self, model: Pi0, given: LayerInputs, acts: LayerInputs | tuple[()], counts: Tensor, known: Objects
    ) -> Tensor:
        """Attention of a later layer from places about to be named, and from actions, to the named object's patches."""
        held = held_patches(known.place, known.named.long(), model.config.vision.tokens)
        loss = held.new_zeros((), dtype=torch.float32)
        if bool(counts.any()):
            first, length = int(counts.any(0).long().argmax()), counts.shape[1]
            asking = slice(given[0].shape[1] - length + first - 1, given[0].shape[1] - 1)
            loss = loss + looking_loss(_shares(_at(model.gemma.layers, 2 / 3), given, asking), held)
        if acts:
            shares = _shares(_at(model.expert.layers, 2 / 3), acts, slice(None))
            loss = loss + looking_loss(shares, held)
        return loss

    def pointed(self, model: Pi0, middle: Tensor, known: Objects) -> Tensor:
        """What the patches of a middle layer say of the named object."""
        named, cameras = known.named.long(), known.place.shape[1]
        at = named.clamp(0)[:, None, None].expand(-1, cameras, 1)
        place = known.place.gather(2, at[..., None].expand(-1, -1, -1, 2))[:, :, 0]
        place = torch.where((named >= 0)[:, None, None], place, torch.nan)
        known_there = known.known.gather(2, at)[:, :, 0]
        pointing = self.pointer(_pictures(model, middle, cameras)).float()
        way = known.way[:, None].expand(-1, cameras, -1).flatten(0, 1)
        return pointing_loss(pointing, place.flatten(0, 1), known_there.flatten(0, 1), way)

    def alike(self, model: Pi0, features: Tensor) -> Tensor:
        """How much patches [N, P, width] are like the words of the objects [N, P, K]: cosines, sharpened."""
        words = F.normalize(model.embed_text(self._tokens(features)), dim=-1)
        return self.sharpness * (F.normalize(features, dim=-1) @ words.to(features.dtype).T)

    def _tokens(self, like: Tensor) -> Tensor:
        return torch.tensor(self.words, device=like.device)


def _pictures(model: Pi0, tokens: Tensor, cameras: int) -> Tensor:
    """The picture tokens of a prefix, normalised, a camera a row: [B * C, P, width]."""
    count = model.config.vision.tokens
    features = tokens[:, : cameras * count].reshape(-1, count, tokens.shape[-1])
    return F.layer_norm(features, features.shape[-1:])


def _at(layers: Sequence[Layer], share: float) -> Layer:
    """The layer that ends this share of a stack."""
    return layers[max(0, round(share * len(layers)) - 1)]


def _shares(layer: Layer, given: LayerInputs, rows: slice) -> Tensor:
    """Log of the shares of attention [B, rows, S] that the first head of a layer gives to what it sees."""
    x, rope, mask, past, cond = given
    queries, keys, _ = layer.self_attn.project(layer.input_layernorm(x, cond)[0], *rope)
    keys = keys if past is None else torch.cat([past[0], keys], 2)
    logits = queries[:, 0, rows].float() @ keys[:, 0].float().transpose(1, 2) * queries.shape[-1] ** -0.5
    return F.log_softmax(logits.masked_fill(~mask[:, rows], -1e9), dim=-1)
