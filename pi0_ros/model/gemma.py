"""Gemma layers, as used twice: by the language trunk and, with other weights and widths, by the action expert.

Both stacks share one attention operation per layer: the expert's queries see the trunk's keys and values.
As the trunk never sees the expert, its layers may run first and hand over keys and values (the prefix cache);
this equals the joint form of the pi0 paper (section IV, "mixture of experts") exactly, in both directions of
differentiation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pi0_ros.model.config import GemmaConfig
from pi0_ros.model.module_list import module_list

EPSILON = 1e-6
MASKED = -2.3819763e38  # finite, so a query that may see nothing averages over everything instead of giving NaN
THETA = 10_000.0

KeyValue = tuple[Tensor, Tensor]


class RMSNorm(nn.Module):
    """x / rms(x) * (1 + weight), in float32; the stored weight is the "minus one" form (Gemma)."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x [..., width] -> (normed, no gate)."""
        return (normalised(x) * (1.0 + self.weight.float())).to(x.dtype), None


class AdaRMSNorm(nn.Module):
    """RMSNorm whose scale, shift and gate come from the time condition (pi0.5; DiT's adaLN-Zero for RMSNorm)."""

    def __init__(self, width: int):
        super().__init__()
        self.dense = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, T, width], cond [B, n, width] with n dividing T (n = 1: one time for all, n = T: one a token)."""
        modulation = self.modulation(cond)
        modulation = modulation.repeat_interleave(x.shape[1] // modulation.shape[1], dim=1)
        scale, shift, gate = modulation.chunk(3, dim=-1)
        return (normalised(x) * (1.0 + scale) + shift).to(x.dtype), gate.to(x.dtype)

    def modulation(self, cond: Tensor) -> Tensor:
        """Scale, shift and gate one behind another, float32 [..., 3 * width], of conditions [..., width]."""
        return self.dense(cond.to(self.dense.weight.dtype)).float()


def normalised(x: Tensor) -> Tensor:
    """x / rms(x) in float32."""
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)


def rotary(positions: Tensor, head_dim: int) -> KeyValue:
    """cos and sin [B, T, head_dim / 2] (float32) of the rotary angles at `positions` [B, T]."""
    exponent = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    frequency = 1.0 / THETA**exponent
    angle = positions.float()[..., None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x [B, heads, T, d], half-split pairing (dims i and i + d/2), in the precision of cos."""
    low, high = x.to(cos.dtype).chunk(2, dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, fused: bool = False) -> Tensor:
    """Masked attention with float32 logits and softmax.

    q [B, heads, T, d], k and v [B, kv_heads, S, d], mask [B, T, S] (True: may see) -> [B, T, heads * d].
    The explicit form is bit-equal to the reference implementations in float32; the fused kernel agrees to rounding
    and takes a third less of training's time on a CPU.
    """
    if fused:
        bias = torch.zeros(mask.shape, dtype=q.dtype, device=q.device).masked_fill_(~mask, torch.finfo(q.dtype).min)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[:, None], enable_gqa=True)
        return seen.transpose(1, 2).flatten(2)
    batch, heads, length, dim = q.shape
    grouped = q.reshape(batch, k.shape[1], -1, dim)  # the query heads of a key/value head lie one behind another
    logits = (grouped @ k.transpose(-1, -2)).float() * dim**-0.5
    logits = logits.view(batch, heads, length, -1).masked_fill(~mask[:, None], MASKED)
    weights = logits.softmax(dim=-1).to(v.dtype).view(batch, k.shape[1], -1, k.shape[2])
    return (weights @ v).view(batch, heads, length, dim).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Projections of one stack; the attention operation itself is shared between stacks."""

    def __init__(self, config: GemmaConfig):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        inner = config.heads * config.head_dim
        self.q_proj = nn.Linear(config.width, inner, bias=False)
        self.k_proj = nn.Linear(config.width, config.kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.width, config.kv_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(inner, config.width, bias=False)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [B, T, width] -> queries and keys with rotary positions, values; each [B, heads, T, head_dim]."""
        q = self.q_proj(x).unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)
        k = self.k_proj(x).unflatten(-1, (self.kv_heads, self.head_dim)).transpose(1, 2)
        v = self.v_proj(x).unflatten(-1, (self.kv_heads, self.head_dim)).transpose(1, 2)
        return rotate(q, cos, sin), rotate(k, cos, sin), v


class GeGLU(nn.Module):
    """down(gelu(gate(x)) * up(x)), tanh form of GELU."""

    def __init__(self, config: GemmaConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.mlp, bias=False)
        self.up_proj = nn.Linear(config.width, config.mlp, bias=False)
        self.down_proj = nn.Linear(config.mlp, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


LayerInputs = tuple[Tensor, KeyValue, Tensor, KeyValue | None, Tensor | None]
"""What `Layer.forward` takes, in its order."""


class Layer(nn.Module):
    """One layer of one stack."""

    def __init__(self, config: GemmaConfig, adarms: bool):
        super().__init__()
        norm = AdaRMSNorm if adarms else RMSNorm
        self.input_layernorm = norm(config.width)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = norm(config.width)
        self.mlp = GeGLU(config)

    def forward(
        self, x: Tensor, rope: KeyValue, mask: Tensor, past: KeyValue | None, cond: Tensor | None
    ) -> tuple[Tensor, KeyValue]:
        """x [B, T, width], mask [B, T, S + T] over past and own tokens -> (x, own keys and values)."""
        fused = self.training and torch.is_grad_enabled()
        normed, gate = self.input_layernorm(x, cond)
        q, k, v = self.self_attn.project(normed, *rope)
        keys, values = (k, v) if past is None else (torch.cat([past[0], k], 2), torch.cat([past[1], v], 2))
        x = residual(x, self.self_attn.o_proj(attend(q, keys, values, mask, fused)), gate)
        normed, gate = self.post_attention_layernorm(x, cond)
        return residual(x, self.mlp(normed), gate), (k, v)


def residual(x: Tensor, branch: Tensor, gate: Tensor | None) -> Tensor:
    """x + branch, or x + branch * gate under adaRMS."""
    return x + (branch if gate is None else branch * gate)


class Gemma(nn.Module):
    """A stack of layers and its final norm. The trunk also holds the (tied) token embedding, the expert none."""

    def __init__(self, config: GemmaConfig, vocab: int = 0, adarms: bool = False, rope: str = "float32"):
        super().__init__()
        self.config = config
        self.rope = rope
        if vocab:
            self.embed_tokens = nn.Embedding(vocab, config.width)
        self.layers = module_list(Layer(config, adarms) for _ in range(config.depth))
        self.norm = AdaRMSNorm(config.width) if adarms else RMSNorm(config.width)
        self.gradient_checkpointing = False

    @property
    def dtype(self) -> torch.dtype:
        """In which the tokens go from layer to layer: that of the matrices, or of the adapters over them."""
        projection = self.layers[0].self_attn.q_proj
        kind: torch.dtype = getattr(projection, "lora_a", projection.weight).dtype
        return kind

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor,
        past: Sequence[KeyValue] | None = None,
        cond: Tensor | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """Run the stack.

        x [B, T, width], positions [B, T], mask [B, T, S + T] (True: may see), past: per layer keys and values
        [B, kv_heads, S, head_dim] seen before the own ones, cond [B, n, width] under adaRMS.
        Returns the normed output [B, T, width] and per layer the own keys (with rotary positions) and values.
        """
        x = x.to(self.dtype)
        rope = rotary(positions, self.config.head_dim)
        if self.rope == "activation":
            rope = (rope[0].to(x.dtype), rope[1].to(x.dtype))
        own = []
        for index, layer in enumerate(self.layers):
            seen = None if past is None else past[index]
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x, kv = checkpoint(layer, x, rope, mask, seen, cond, use_reentrant=False)
            else:
                x, kv = layer(x, rope, mask, seen, cond)
            own.append(kv)
        return self.norm(x, cond)[0], own
