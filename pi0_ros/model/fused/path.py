"""Pictures, prefix and steps over the packed weights of `model.packed`, by the fused operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.model.config import GemmaConfig, ModelConfig
from pi0_ros.model.fused.shapes import Guide, Heads, Place, Style
from pi0_ros.model.gemma import KeyValue
from pi0_ros.model.packed import Heads as Ends
from pi0_ros.model.packed import Layer, Stack, Vision


class Operations(Protocol):
    """The operations of `plain`, or of `launch.Launch`."""

    rms: Any
    layer_norm: Any
    linear_gelu: Any
    geglu: Any
    rotate_store: Any
    attention: Any
    norm: Any
    qkv: Any
    gate_up: Any
    branch: Any
    leave: Any
    enter: Any


@dataclass(frozen=True)
class StepStyles:
    """What the expert needs at one step: two styles a layer, the final norm's, and the bias of the first
    layer [W] now and at time zero."""

    layers: Sequence[tuple[Style, Style]]
    final: Style
    bias: tuple[Tensor, Tensor]


class Fused:
    """The whole call on packed weights.

    Rows are [batch * tokens, width] throughout. dim of a head: a power of two, at least 16.
    """

    def __init__(
        self, config: ModelConfig, operations: Operations, vision: Vision, trunk: Stack, expert: Stack, ends: Ends
    ) -> None:
        self.config, self.do = config, operations
        self._vision, self._trunk, self._expert, self._ends = vision, trunk, expert, ends
        self.heads = heads_of(config.language)

    def pictures(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] to [N, tokens, language width]."""
        v = self._vision
        n, count = len(images), self.config.vision.tokens
        x, pending = v.patches(images).flatten(0, 1), None
        for layer in v.layers:
            y = self.do.layer_norm(x, pending, *layer.norms[0])
            parts = layer.qkv(y).view(n, count, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
            seen = F.scaled_dot_product_attention(*parts.unbind(0)).transpose(1, 2).reshape(n * count, -1)
            x.addmm_(seen, layer.out.weight.T)
            y = self.do.layer_norm(x, layer.out.bias, *layer.norms[1])
            x.addmm_(self.do.linear_gelu(y, layer.fc1.weight, layer.fc1.bias), layer.fc2.weight.T)
            pending = layer.fc2.bias
        return v.project(self.do.layer_norm(x, pending, *v.norm)).unflatten(0, (n, count))

    def prefix(self, x: Tensor, place: Place, cache: Sequence[KeyValue]) -> None:
        """Embeddings [B * P, width] through the trunk; the cache is all that stays. x is used up."""
        keys_alone, last = Heads(0, self.heads.kv, self.heads.dim), self._trunk.layers[-1]
        delta = None
        for layer, own in zip(self._trunk.layers[:-1], cache, strict=False):
            wide = layer.qkv(self.do.rms(x, delta))
            self.do.rotate_store(wide, self.heads, place, own)
            x.addmm_(self.do.attention(wide, self.heads, place, own), layer.o.weight.T)
            delta = self._mlp(layer, x)
        self.do.rotate_store(last.kv(self.do.rms(x, delta)), keys_alone, place, cache[-1])

    def _mlp(self, layer: Layer, x: Tensor) -> Tensor | None:
        """The MLP's branch into x, or where it was made in 8 bits what is to be added to x."""
        if layer.narrow is not None:
            return layer.narrow(self.do, x)
        x.addmm_(self.do.geglu(layer.mlp.both(self.do.rms(x))), layer.down.weight.T)
        return None

    def state(self, state: Tensor, styles: StepStyles, place: Place, cache: Sequence[KeyValue]) -> None:
        """π0's state [B, state_dim] into the cache."""
        none = torch.zeros(1, dtype=torch.int32, device=state.device)
        x = self._ends.embed_state(state).flatten(0, 1)
        self._layers(x, styles, place, Guide(none, x, x, x), cache)

    def steps(
        self,
        noise: Tensor,
        grid: Sequence[float],
        styles: Sequence[StepStyles],
        place: Place,
        guide: Guide,
        cache: Sequence[KeyValue],
    ) -> Tensor:
        """Actions [B, H, A] from noise."""
        x, ends = noise.flatten(0, 1).clone(), self._ends
        for index, (t, own) in enumerate(zip(grid, styles, strict=True)):
            adarms = self.config.adarms
            tokens = self.do.enter(
                x, ends.into.weight, own.bias, guide, place, ends.to.dtype if adarms else torch.float32, not adarms
            )
            if not adarms:
                tokens = ends.second(tokens).to(ends.to.dtype)
            hidden = self._layers(tokens, own, place, guide, cache)
            self.do.leave(hidden, own.final, ends.out.weight, ends.out.bias, x, guide, place, index, t)
        return x.view(noise.shape)

    def _layers(self, x: Tensor, styles: StepStyles, place: Place, guide: Guide, cache: Sequence[KeyValue]) -> Tensor:
        y = self.do.norm(x, styles.layers[0][0], guide, place)
        behind = [first for first, _ in styles.layers[1:]] + [None]
        for layer, (first, second), then, own in zip(self._expert.layers, styles.layers, behind, cache, strict=True):
            seen = self.do.attention(self.do.qkv(y, layer.qkv.weight, self.heads, place, own), self.heads, place, own)
            y = self.do.branch(seen, layer.o.weight, x, first, second, guide, place)
            y = self.do.branch(
                self.do.gate_up(y, layer.mlp.both.weight), layer.down.weight, x, second, then, guide, place
            )
        return x

    @torch.no_grad()
    def styles(self, grid: Sequence[float]) -> list[StepStyles]:
        """What depends on time alone, at the times of `grid`."""
        table = self._ends.tables(grid)
        if self.config.adarms:
            return self._adarms_styles(table)
        width = self.config.expert.width
        one, zero = torch.ones(width, device=table.device), torch.zeros(width, device=table.device)
        neutral = Style((one, one), (zero, zero), (one, one))
        layers = [(neutral, neutral)] * len(self._expert.layers)
        return [StepStyles(layers, neutral, (row, table[-1])) for row in table[:-1]]

    def _adarms_styles(self, table: Tensor) -> list[StepStyles]:
        """Of a table [steps + 1, norms, 3, width]: scale, shift and gate."""
        bias, rows = (self._ends.into.bias,) * 2, []
        for step in table[:-1]:
            norms = [
                Style(*((now, zero) for now, zero in zip(own, then, strict=True)))
                for own, then in zip(step, table[-1], strict=True)
            ]
            rows.append(StepStyles(list(zip(norms[:-1:2], norms[1::2], strict=True)), norms[-1], bias))
        return rows


def heads_of(config: GemmaConfig) -> Heads:
    """A stack's heads."""
    return Heads(config.heads, config.kv_heads, config.head_dim)
