"""Pictures, prefix and steps over the packed weights of `model.packed`, by the fused operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.model.config import GemmaConfig, ModelConfig
from pi0_ros.model.fused.shapes import Guide, Heads, Place, Style
from pi0_ros.model.gemma import KeyValue
from pi0_ros.model.kernels import Linear
from pi0_ros.model.packed import Heads as Ends
from pi0_ros.model.packed import Layer, Stack, Vision


class Operations(Protocol):
    """The operations of `plain`, which says what each computes, or of `launch.Launch`."""

    def rms(self, x: Tensor, delta: Tensor | None = None, scale: float | None = None) -> Tensor: ...
    def layer_norm(self, x: Tensor, pending: Tensor | None, weight: Tensor, bias: Tensor) -> Tensor: ...
    def linear_gelu(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor: ...
    def geglu(self, both: Tensor, scale: float | None = None) -> Tensor: ...
    def rotate_store(self, qkv: Tensor, heads: Heads, place: Place, cache: KeyValue) -> None: ...
    def attention(self, q: Tensor, heads: Heads, place: Place, cache: KeyValue) -> Tensor: ...
    def norm(self, x: Tensor, style: Style, guide: Guide, place: Place) -> Tensor: ...
    def qkv(self, a: Tensor, weight: Tensor, heads: Heads, place: Place, cache: KeyValue) -> Tensor: ...
    def gate_up(self, a: Tensor, weight: Tensor) -> Tensor: ...
    def branch(
        self, a: Tensor, weight: Tensor, x: Tensor, style: Style, then: Style | None, guide: Guide, place: Place
    ) -> Tensor | None: ...
    def leave(
        self,
        hidden: Tensor,
        style: Style,
        weight: Tensor,
        bias: Tensor,
        x: Tensor,
        guide: Guide,
        place: Place,
        step: int,
        t: float,
    ) -> None: ...
    def enter(
        self,
        x: Tensor,
        weight: Tensor,
        bias: tuple[Tensor, Tensor],
        guide: Guide,
        place: Place,
        dtype: torch.dtype,
        silu: bool,
    ) -> Tensor: ...


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
        tower = self._vision
        n, count = len(images), self.config.vision.tokens
        x, pending = tower.patches(images).flatten(0, 1), None
        for layer in tower.layers:
            y = self.do.layer_norm(x, pending, *layer.norms[0])
            q, k, v = layer.qkv(y).view(n, count, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
            seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n * count, -1)
            x.addmm_(seen, layer.out.weight.T)
            y = self.do.layer_norm(x, layer.out.bias, *layer.norms[1])
            x.addmm_(self.do.linear_gelu(y, layer.fc1.weight, _bias(layer.fc1)), layer.fc2.weight.T)
            pending = layer.fc2.bias
        return tower.project(self.do.layer_norm(x, pending, *tower.norm)).view(n, count, -1)

    def prefix(self, x: Tensor, place: Place, cache: Sequence[KeyValue]) -> None:
        """Embeddings [B * P, width] through the trunk; the cache is all that stays. x is used up."""
        keys_alone, last = Heads(0, self.heads.kv, self.heads.dim), self._trunk.layers[-1]
        assert last.kv is not None, "the last layer of a stack has keys and values alone"
        delta = None
        for layer, own in zip(self._trunk.layers[:-1], cache, strict=False):
            wide = layer.qkv(self.do.rms(x, delta))
            self.do.rotate_store(wide, self.heads, place, own)
            x.addmm_(self.do.attention(wide, self.heads, place, own), layer.o.weight.T)
            delta = self._mlp(layer, x)
        self.do.rotate_store(last.kv(self.do.rms(x, delta)), keys_alone, place, cache[-1])

    def _mlp(self, layer: Layer, x: Tensor) -> Tensor | None:
        """The MLP's branch into x, or, if it was made in 8 bits, what is to be added to x."""
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
            self.do.leave(hidden, own.final, ends.out.weight, _bias(ends.out), x, guide, place, index, t)
        return x.view(noise.shape)

    def _layers(self, x: Tensor, styles: StepStyles, place: Place, guide: Guide, cache: Sequence[KeyValue]) -> Tensor:
        y: Tensor | None = self.do.norm(x, styles.layers[0][0], guide, place)
        behind = [first for first, _ in styles.layers[1:]] + [None]
        for layer, (first, second), then, own in zip(self._expert.layers, styles.layers, behind, cache, strict=True):
            assert y is not None, "only behind the last layer there is no norm"
            seen = self.do.attention(self.do.qkv(y, layer.qkv.weight, self.heads, place, own), self.heads, place, own)
            y = self.do.branch(seen, layer.o.weight, x, first, second, guide, place)
            assert y is not None, "a norm follows attention"
            wide = self.do.gate_up(y, layer.mlp.both.weight)
            y = self.do.branch(wide, layer.down.weight, x, second, then, guide, place)
        return x

    @torch.no_grad()
    def styles(self, grid: Sequence[float]) -> list[StepStyles]:
        """What depends on time alone, at the times of `grid`."""
        table = self._ends.tables(grid)
        if self.config.adarms:
            return self._adarms_styles(table)
        assert self.config.expert is not None, "a policy that acts in tokens has no steps"
        width = self.config.expert.width
        one, zero = torch.ones(width, device=table.device), torch.zeros(width, device=table.device)
        neutral = Style((one, one), (zero, zero), (one, one))
        layers = [(neutral, neutral)] * len(self._expert.layers)
        return [StepStyles(layers, neutral, (row, table[-1])) for row in table[:-1]]

    def _adarms_styles(self, table: Tensor) -> list[StepStyles]:
        """Of a table [steps + 1, norms, 3, width]: scale, shift and gate."""
        bias, rows = (_bias(self._ends.into),) * 2, []
        for step in table[:-1]:
            norms = [
                Style(*((now, zero) for now, zero in zip(own, then, strict=True)))
                for own, then in zip(step, table[-1], strict=True)
            ]
            rows.append(StepStyles(list(zip(norms[:-1:2], norms[1::2], strict=True)), norms[-1], bias))
        return rows


def _bias(linear: Linear) -> Tensor:
    assert linear.bias is not None, "this layer has a bias"
    return linear.bias


def heads_of(config: GemmaConfig) -> Heads:
    """A stack's heads."""
    return Heads(config.heads, config.kv_heads, config.head_dim)
