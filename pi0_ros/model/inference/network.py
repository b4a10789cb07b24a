"""A model's weights rearranged for inference, and what its two ends do with tokens."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.model.gemma import RMSNorm, normalised
from pi0_ros.model.kernels import Target
from pi0_ros.model.network import Pi0
from pi0_ros.model.packed import Heads, Stack, Style, Vision, give_up, keep


class PackedNetwork:
    """Vision, trunk and (in a policy with a flow) expert and heads of a model, packed.

    release: give up the model's own vision and language weights while rearranging them, so that they are never held twice.
    """

    def __init__(self, model: Pi0, to: Target, release: bool) -> None:
        weight, config = model.gemma.embed_tokens.weight, model.config
        self.config, self.to = config, to
        pictures, done = config.vision.tokens * len(config.cameras), give_up if release else keep
        self.embedding, head = to(weight), model.vocabulary
        self.vocabulary = self.embedding if head is weight or torch.equal(head, weight) else to(head)
        norm = model.gemma.norm
        assert isinstance(norm, RMSNorm), "the trunk's norms do not depend on time"
        self.norm = to.full(norm.weight) + 1.0
        self.vision = Vision(model, to, pictures, done)
        self.trunk = Stack(model.gemma, to, pictures + config.prompt_length // 2, done)
        done(model.gemma)
        if config.untied:
            done(model.lm_head)
        self.scale = math.sqrt(config.language.width)
        if config.numerics.embedding_scale == "activation":
            self.scale = float(torch.tensor(self.scale, dtype=to.dtype))
        acts = config.expert is not None
        self._flow = (Stack(model.expert, to, config.horizon), Heads(model, to)) if acts else None

    @property
    def expert(self) -> Stack:
        """The action expert of a policy with a flow."""
        assert self._flow is not None, "a policy that acts in tokens has no expert"
        return self._flow[0]

    @property
    def heads(self) -> Heads:
        """What leads into the expert and out of it."""
        assert self._flow is not None, "a policy that acts in tokens has no expert"
        return self._flow[1]

    def embed_text(self, tokens: Tensor) -> Tensor:
        """Token ids [B, T] as what enters the trunk [B, T, width]."""
        return F.embedding(tokens, self.embedding) * self.scale

    def embedded(self, pictures: Tensor, tokens: Tensor, look: Callable[[Tensor], Tensor]) -> Tensor:
        """What enters the trunk: pictures, seen by `look`, and text [B, P, width]."""
        x = self.embed_text(tokens)
        if not len(pictures):
            return x
        features = look(pictures).unflatten(0, (-1, len(tokens))).transpose(0, 1).flatten(1, 2)
        return torch.cat([features, x], dim=1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Of trunk output [B, width] before its final norm: float32 [B, vocabulary]."""
        return F.linear((normalised(hidden) * self.norm).to(self.embedding.dtype), self.vocabulary).float()


def plain_norms(stack: Stack) -> list[Style]:
    """The styles of a stack whose norms do not depend on time."""
    return [None] * (2 * len(stack.layers))
