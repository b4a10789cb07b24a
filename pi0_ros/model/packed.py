"""The network's weights rearranged for inference: fused projections, norm weights folded in, time tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.model import gemma, siglip
from pi0_ros.model.config import GemmaConfig
from pi0_ros.model.kernels import GeGLU, Linear, Target, pair_rows, rotate_pairs
from pi0_ros.model.network import Pi0

Style = tuple[Tensor, Tensor, Tensor] | None  # 1 + scale, shift, gate of one adaRMS norm; None: a plain norm


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
    """One Gemma layer. `cache` is a pair of buffers [B, kv_heads, capacity, head_dim]."""

    def __init__(self, layer: gemma.Layer, config: GemmaConfig, to: Target, rows: int):
        attention, mlp = layer.self_attn, layer.mlp
        before, behind = _folded(layer.input_layernorm), _folded(layer.post_attention_layernorm)
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        q, k = (pair_rows(p.weight.detach().float(), config.head_dim) for p in (attention.q_proj, attention.k_proj))
        kv = torch.cat([k, attention.v_proj.weight.detach().float()]) * before
        self.qkv = to.linear(torch.cat([q * before, kv]), rows=rows)
        self.kv = to.linear(kv, rows=rows)
        self.o = to.linear(attention.o_proj.weight, rows=rows)
        self.mlp = GeGLU(mlp.gate_proj.weight.float() * behind, mlp.up_proj.weight.float() * behind, to, rows)
        self.down = to.linear(mlp.down_proj.weight, rows=rows)

    def __call__(self, x: Tensor, styles: Sequence[Style], table: Tensor, cache: gemma.KeyValue, start: int) -> Tensor:
        """x [B, T, width] sees the first `start` cached tokens and itself; its keys and values join the cache."""
        fused = self.qkv(normed(x, styles[0])).unflatten(-1, (-1, self.head_dim))
        self._store(fused[:, :, self.heads :], table, cache, start)
        q = rotate_pairs(fused[:, :, : self.heads], table).unflatten(2, (self.kv_heads, -1)).transpose(1, 2)
        end = start + x.shape[1]
        seen = F.scaled_dot_product_attention(q.flatten(2, 3), cache[0][:, :, :end], cache[1][:, :, :end])
        x = merged(self.o, seen.view(q.shape).transpose(1, 2).flatten(2), x, styles[0])
        return merged(self.down, self.mlp(normed(x, styles[1])), x, styles[1])

    def keys_values(self, x: Tensor, styles: Sequence[Style], table: Tensor, cache: gemma.KeyValue, start: int) -> None:
        """Only put x's keys and values into the cache: all that a last layer is needed for."""
        self._store(self.kv(normed(x, styles[0])).unflatten(-1, (-1, self.head_dim)), table, cache, start)

    def _store(self, kv: Tensor, table: Tensor, cache: gemma.KeyValue, start: int) -> None:
        end = start + kv.shape[1]
        cache[0][:, :, start:end] = rotate_pairs(kv[:, :, : self.kv_heads], table).transpose(1, 2)
        cache[1][:, :, start:end] = kv[:, :, self.kv_heads :].transpose(1, 2)


class Vision:
    """SigLIP and projector over all pictures of a call at once."""

    def __init__(self, model: Pi0, to: Target, rows: int):
        tower, config = model.siglip, model.config.vision
        self.patch, self.heads = config.patch, config.heads
        patches = tower.embeddings.patch_embedding
        self.embed = to.linear(patches.weight.flatten(1), rows=rows)
        self.position = to(tower.embeddings.position_embedding.weight.float() + patches.bias.float())
        self.layers = [VisionLayer(layer, config.heads, to, rows) for layer in tower.encoder.layers]
        self.norm = (to(tower.post_layernorm.weight), to(tower.post_layernorm.bias))
        self.project = to.linear(model.projector.weight, model.projector.bias, rows)

    def __call__(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] to [N, tokens, language width]."""
        n, _, height, width = images.shape
        p = self.patch
        cut = images.view(n, 3, height // p, p, width // p, p).permute(0, 2, 4, 1, 3, 5)
        x = self.embed(cut.reshape(n, -1, 3 * p * p).to(self.position.dtype)) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.project(F.layer_norm(x, x.shape[-1:], *self.norm, eps=siglip.EPSILON))


class VisionLayer:
    """One SigLIP layer with fused query, key and value weights."""

    def __init__(self, layer: siglip.Layer, heads: int, to: Target, rows: int):
        attention = layer.self_attn
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.heads = heads
        self.norms = [[to(norm.weight), to(norm.bias)] for norm in (layer.layer_norm1, layer.layer_norm2)]
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
    """All layers of one stack and its final norm."""

    def __init__(self, stack: gemma.Gemma, to: Target, rows: int):
        self.layers = [Layer(layer, stack.config, to, rows) for layer in stack.layers]

    def __call__(
        self,
        x: Tensor,
        styles: Sequence[Style],
        table: Tensor,
        cache: Sequence[gemma.KeyValue],
        start: int,
        output: bool = True,
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
                x = layer(x, pair, table, cache[index], start)
        return x


def _folded(norm: gemma.RMSNorm | gemma.AdaRMSNorm) -> Tensor | float:
    """What a norm's own weight multiplies the next layer's columns with."""
    return 1.0 if isinstance(norm, gemma.AdaRMSNorm) else 1.0 + norm.weight.detach().float()


class Heads:
    """Actions in, velocities out, in float32, with everything that depends on time alone precomputed."""

    def __init__(self, model: Pi0, to: Target):
        self.model, self.to, self.adarms = model, to, model.config.adarms
        into, out = model.action_in_proj, model.action_out_proj
        self.out = to.linear(out.weight.float() * _folded(model.expert.norm), out.bias, full=True)
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
        cond = self.model.time_condition(t)
        table = torch.stack([norm.modulation(cond).unflatten(-1, (3, -1)) for norm in adarms_norms(self.model)], dim=1)
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
    """All norms of the expert, two a layer and the final one."""
    pairs = [(layer.input_layernorm, layer.post_attention_layernorm) for layer in model.expert.layers]
    return [norm for pair in pairs for norm in pair] + [model.expert.norm]
