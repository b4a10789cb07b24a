"""The network's weights rearranged for inference: fused projections, norm weights folded in, time tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pi0_ros.model import gemma, siglip
from pi0_ros.model.config import GemmaConfig
from pi0_ros.model.kernels import GeGLU, Linear, Target, attention, pair_rows, rotate_pairs
from pi0_ros.model.network import Pi0

Style = tuple[Tensor, Tensor, Tensor] | None  # 1 + scale, shift, gate of one adaRMS norm; None: a plain norm
Done = Callable[[nn.Module], None]  # what becomes of a module once it is packed: `keep` or `give_up`


def keep(module: nn.Module) -> None:
    """Leave a packed module's own weights in memory."""


def give_up(module: nn.Module) -> None:
    """Free a packed module's own weights: placeholders without memory stand in for them."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)


def normed(x: Tensor, style: Style) -> Tensor:
    """RMS norm (its weight is folded into the layer behind it), under adaRMS scaled and shifted."""
    y = F.rms_norm(x.float(), x.shape[-1:], eps=gemma.EPSILON)
    if style is not None:
        y = torch.addcmul(style[1], y, style[0])
    return y.to(x.dtype)


def merged(linear: Linear, y: Tensor, residual: Tensor, style: Style) -> Tensor:
    """residual + linear(y), or residual + linear(y) * gate."""
    if style is None:
        return linear.plus(y, residual)
    return torch.addcmul(residual, linear(y), style[2].to(residual.dtype))


class Layer:
    """One Gemma layer. `cache` is a pair of buffers [B, kv_heads, capacity, head_dim].

    last: whether it is the last of its stack, which may be asked for keys and values alone.
    """

    def __init__(self, layer: gemma.Layer, config: GemmaConfig, to: Target, rows: int, last: bool):
        attention, mlp = layer.self_attn, layer.mlp
        before, behind = layer.input_layernorm, layer.post_attention_layernorm
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        q, k = (pair_rows(_folded(p.weight, before, to), config.head_dim) for p in (attention.q_proj, attention.k_proj))
        kv = torch.cat([k, _folded(attention.v_proj.weight, before, to)])
        self.qkv = to.linear(torch.cat([q, kv]), rows=rows)
        self.kv = to.linear(kv, rows=rows) if last else None
        self.o = to.linear(attention.o_proj.weight, rows=rows)
        gate, up = (_folded(p.weight, behind, to) for p in (mlp.gate_proj, mlp.up_proj))
        self.mlp = GeGLU(gate, up, to, rows)
        self.down = to.linear(mlp.down_proj.weight, rows=rows)
        self.narrow: Callable[[Any, Tensor], Tensor] | None = (
            None  # the MLP in 8 bits, on fused operations, if there is one
        )

    def __call__(
        self,
        x: Tensor,
        styles: Sequence[Style],
        table: Tensor,
        cache: gemma.KeyValue,
        start: int,
        bias: Tensor | None = None,
    ) -> Tensor:
        """x [B, T, width] sees the first `start` cached tokens and itself; its keys and values join the cache.

        bias [capacity] is added to the scores of the tokens seen: what hides padding, if there is some.
        """
        fused = self.qkv(normed(x, styles[0])).unflatten(-1, (-1, self.head_dim))
        self._store(fused[:, :, self.heads :], table, cache, start)
        q = rotate_pairs(fused[:, :, : self.heads], table).unflatten(2, (self.kv_heads, -1)).transpose(1, 2)
        end = start + x.shape[1]
        hide = None if bias is None else bias[None, None, None, :end]
        seen = attention(q.flatten(2, 3), cache[0][:, :, :end], cache[1][:, :, :end], hide)
        x = merged(self.o, seen.view(q.shape).transpose(1, 2).flatten(2), x, styles[0])
        return merged(self.down, self.mlp(normed(x, styles[1])), x, styles[1])

    def keys_values(self, x: Tensor, styles: Sequence[Style], table: Tensor, cache: gemma.KeyValue, start: int) -> None:
        """Only put x's keys and values into the cache: all that a last layer is needed for."""
        assert self.kv is not None, "only the last layer of a stack is asked for keys and values alone"
        self._store(self.kv(normed(x, styles[0])).unflatten(-1, (-1, self.head_dim)), table, cache, start)

    def _store(self, kv: Tensor, table: Tensor, cache: gemma.KeyValue, start: int) -> None:
        end = start + kv.shape[1]
        cache[0][:, :, start:end] = rotate_pairs(kv[:, :, : self.kv_heads], table).transpose(1, 2)
        cache[1][:, :, start:end] = kv[:, :, self.kv_heads :].transpose(1, 2)


class Vision:
    """SigLIP and projector over all pictures of a call at once."""

    def __init__(self, model: Pi0, to: Target, rows: int, done: Done = keep):
        tower, config = model.siglip, model.config.vision
        self.patch, self.heads = config.patch, config.heads
        patches = tower.embeddings.patch_embedding
        assert patches.bias is not None, "the patch embedding has a bias"
        self.embed = to.linear(patches.weight.flatten(1), rows=rows)
        self.position = to(tower.embeddings.position_embedding.weight.float() + patches.bias.float())
        self.layers = []
        for layer in tower.encoder.layers:
            self.layers.append(VisionLayer(layer, config.heads, to, rows))
            done(layer)
        self.norm = (to(tower.post_layernorm.weight), to(tower.post_layernorm.bias))
        self.project = to.linear(model.projector.weight, model.projector.bias, rows)
        done(tower)
        done(model.projector)

    def patches(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] to what enters the tower, [N, tokens, vision width]."""
        n, _, height, width = images.shape
        p = self.patch
        cut = images.view(n, 3, height // p, p, width // p, p).permute(0, 2, 4, 1, 3, 5)
        return self.embed(cut.reshape(n, -1, 3 * p * p).to(self.position.dtype)) + self.position

    def __call__(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] to [N, tokens, language width]."""
        x = self.patches(images)
        for layer in self.layers:
            x = layer(x)
        return self.project(F.layer_norm(x, x.shape[-1:], *self.norm, eps=siglip.EPSILON))


class VisionLayer:
    """One SigLIP layer with fused query, key and value weights."""

    def __init__(self, layer: siglip.Layer, heads: int, to: Target, rows: int):
        attention = layer.self_attn
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.heads = heads
        self.norms = [(to(norm.weight), to(norm.bias)) for norm in (layer.layer_norm1, layer.layer_norm2)]
        self.qkv = to.linear(torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts]), rows)
        self.out = to.linear(attention.out_proj.weight, attention.out_proj.bias, rows)
        self.fc1 = to.linear(layer.mlp.fc1.weight, layer.mlp.fc1.bias, rows)
        self.fc2 = to.linear(layer.mlp.fc2.weight, layer.mlp.fc2.bias, rows)

    def __call__(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x, x.shape[-1:], *self.norms[0], eps=siglip.EPSILON)
        q, k, v = self.qkv(y).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.out.plus(seen, x)
        y = F.layer_norm(x, x.shape[-1:], *self.norms[1], eps=siglip.EPSILON)
        return self.fc2.plus(self.fc1.gelu(y), x)


class Stack:
    """All layers of one stack."""

    def __init__(self, stack: gemma.Gemma, to: Target, rows: int, done: Done = keep):
        self.layers = []
        for layer in stack.layers:
            self.layers.append(Layer(layer, stack.config, to, rows, last=layer is stack.layers[-1]))
            done(layer)

    def __call__(
        self,
        x: Tensor,
        styles: Sequence[Style],
        table: Tensor,
        cache: Sequence[gemma.KeyValue],
        start: int,
        output: bool = True,
        bias: Tensor | None = None,
    ) -> Tensor:
        """x [B, T, width] -> the same after all layers, before the final norm.

        styles: two a layer. Without `output` the last layer only fills the cache and the answer means nothing.
        """
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            pair = styles[2 * index : 2 * index + 2]
            if index == last and not output:
                layer.keys_values(x, pair, table, cache[index], start)
            else:
                x = layer(x, pair, table, cache[index], start, bias)
        return x


def _folded(weight: Tensor, norm: gemma.RMSNorm | gemma.AdaRMSNorm, to: Target, full: bool = False) -> Tensor:
    """A weight [out, in] with the weight of the norm before it multiplied into its columns, rounded once at the end."""
    place = to.full if full else to
    if isinstance(norm, gemma.AdaRMSNorm):
        return place(weight)
    return place(weight.detach() * (1.0 + norm.weight.detach().float()))  # promotes to float32 as it multiplies


def _linear32(layer: nn.Linear, x: Tensor) -> Tensor:
    """A layer in float32, whatever type its weights have."""
    return F.linear(x, layer.weight.float(), layer.bias.float())


class Heads:
    """Actions in, velocities out, in float32, with everything that depends on time alone precomputed."""

    def __init__(self, model: Pi0, to: Target):
        self.model, self.to, self.adarms = model, to, model.config.adarms
        into, out = model.action_in_proj, model.action_out_proj
        self.out = to.linear(_folded(out.weight, model.expert.norm, to, full=True), out.bias, full=True)
        if self.adarms:
            self.into = to.linear(into.weight, into.bias, full=True)
            return
        first, second, state = model.action_time_mlp_in, model.action_time_mlp_out, model.state_proj
        by_action, self.by_time = first.weight.detach().float().chunk(2, dim=1)
        self.constant = first.bias.detach().float() + by_action @ into.bias.detach().float()
        self.into = to.linear(by_action @ into.weight.float(), full=True)
        self.second = to.linear(second.weight, second.bias, full=True)
        self.state = to.linear(state.weight, state.bias, full=True)

    @torch.no_grad()
    def tables(self, grid: Sequence[float]) -> Tensor:
        """What depends on time, at the times of `grid` and last at time 0.

        pi0.5: [steps + 1, norms, 3, width], 1 + scale, shift and gate of every adaRMS norm; pi0: [steps + 1, width],
        the bias of the action-time MLP.
        """
        t = torch.tensor([*grid, 0.0], dtype=torch.float32, device=self.model.action_in_proj.weight.device)
        if not self.adarms:
            return self.to.full(self.model.embed_time(t) @ self.by_time.T + self.constant)
        hidden = F.silu(_linear32(self.model.time_mlp_in, self.model.embed_time(t)))
        cond = F.silu(_linear32(self.model.time_mlp_out, hidden))
        styles = [_linear32(norm.dense, cond).unflatten(-1, (3, -1)) for norm in adarms_norms(self.model)]
        table = torch.stack(styles, dim=1)
        table[:, :, 0] += 1.0
        return self.to.full(table)

    def embed(self, x: Tensor, row: Tensor) -> Tensor:
        """Noisy actions [B, H, D] to tokens [B, H, width]; `row`: of the table of pi0, for all tokens or per token."""
        tokens = self.into(x) if self.adarms else self.second(F.silu(self.into(x) + row))
        return tokens.to(self.to.dtype)

    def embed_state(self, state: Tensor) -> Tensor:
        """State [B, state_dim] to its token [B, 1, width] (pi0)."""
        return self.state(state.float())[:, None].to(self.to.dtype)

    def velocity(self, hidden: Tensor, style: Style) -> Tensor:
        """Expert output [B, H, width] before its final norm to velocities [B, H, D] in float32."""
        return self.out(normed(hidden, style).float())


def adarms_norms(model: Pi0) -> list[gemma.AdaRMSNorm]:
    """All norms of π0.5's expert, two a layer and the final one."""
    pairs = [(layer.input_layernorm, layer.post_attention_layernorm) for layer in model.expert.layers]
    norms = [norm for pair in pairs for norm in pair] + [model.expert.norm]
    return [norm for norm in norms if isinstance(norm, gemma.AdaRMSNorm)]
