"""The fused operations in plain PyTorch: what each of them computes, in float32, or float64 if its input is.

`launch` has the same ones as Triton kernels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.model.fused.shapes import Guide, Heads, Place, Style
from pi0_ros.model.gemma import EPSILON, KeyValue

NARROW = torch.float8_e4m3fn
LARGEST = 448.0  # of NARROW


def rms(x: Tensor, delta: Tensor | None = None, scale: float | None = None) -> Tensor:
    """x [M, W] + delta into x; x / rms(x), in 8 bits over `scale` if one is given."""
    if delta is not None:
        x += delta
    return _narrow(_normalised(_wide(x)), scale, x.dtype)


def layer_norm(x: Tensor, pending: Tensor | None, weight: Tensor, bias: Tensor) -> Tensor:
    """x [M, W] + pending [W] into x; the layer norm of x."""
    if pending is not None:
        x += pending
    w = _wide(x)
    return F.layer_norm(w, w.shape[-1:], weight.to(w), bias.to(w), EPSILON).to(x.dtype)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """gelu(x w^T + b), tanh form."""
    return F.gelu(F.linear(x, weight, bias), approximate="tanh")


def geglu(both: Tensor, scale: float | None = None) -> Tensor:
    """gelu(gate) * up of [M, 2 N], in 8 bits over `scale` if one is given."""
    gate, up = _wide(both).chunk(2, dim=-1)
    return _narrow(F.gelu(gate, approximate="tanh") * up, scale, both.dtype)


def rotate_store(qkv: Tensor, heads: Heads, place: Place, cache: KeyValue) -> None:
    """Rotates the queries of [M, (query + 2 kv) * dim] in place; rotated keys and values go into the cache."""
    parts = qkv.unflatten(-1, (-1, heads.dim))
    parts[:, : heads.query + heads.kv] = _rotated(_wide(parts[:, : heads.query + heads.kv]), place).to(qkv.dtype)
    _store(parts[:, heads.query :], heads, place, cache)


def attention(q: Tensor, heads: Heads, place: Place, cache: KeyValue) -> Tensor:
    """Softmax attention of queries in the first columns of [M, ...] over all keys up to the rows' own. -> [M, query * dim]."""
    keys, values = (c[:, :, : place.end].to(_wide(q).dtype) for c in cache)
    rows = q[:, : heads.query * heads.dim].reshape(len(keys), place.tokens, heads.kv, -1, heads.dim)
    scores = torch.einsum("btkgd,bksd->bkgts", _wide(rows), keys) * heads.dim**-0.5
    scores = scores.masked_fill(place.bias[: place.end] < 0.0, -1e30)
    seen = torch.einsum("bkgts,bksd->btkgd", scores.softmax(-1), values)
    return seen.reshape(len(q), -1).to(q.dtype)


def norm(x: Tensor, style: Style, guide: Guide, place: Place) -> Tensor:
    """The adaRMS norm of x [M, W]."""
    return _styled(x, style, guide, place).to(x.dtype)


def qkv(a: Tensor, weight: Tensor, heads: Heads, place: Place, cache: KeyValue) -> Tensor:
    """Rotated queries in the first columns of [M, ...] from normed a [M, W]; keys and values go into the cache."""
    y = F.linear(_wide(a), weight.to(_wide(a).dtype)).unflatten(-1, (-1, heads.dim))
    turned = _rotated(y[:, : heads.query + heads.kv], place)
    y = torch.cat([turned, y[:, heads.query + heads.kv :]], dim=1).to(a.dtype)
    _store(y[:, heads.query :], heads, place, cache)
    return y[:, : heads.query].flatten(1)


def gate_up(a: Tensor, weight: Tensor) -> Tensor:
    """GeGLU [M, N] of normed a [M, W]; weight [2 N, W]."""
    gate, up = F.linear(_wide(a), weight.to(_wide(a).dtype)).chunk(2, dim=-1)
    return (F.gelu(gate, approximate="tanh") * up).to(a.dtype)


def branch(
    a: Tensor, weight: Tensor, x: Tensor, style: Style, then: Style | None, guide: Guide, place: Place
) -> Tensor | None:
    """x + (a w^T) * gate, into x [M, W]; its adaRMS norm by the style that comes `then`."""
    gate = torch.where(_given(x, guide, place), style.gate[1], style.gate[0])
    x.copy_(_wide(x) + F.linear(_wide(a), weight.to(_wide(a).dtype)) * gate)
    return None if then is None else norm(x, then, guide, place)


def leave(
    hidden: Tensor,
    style: Style,
    weight: Tensor,
    bias: Tensor,
    x: Tensor,
    guide: Guide,
    place: Place,
    step: int,
    t: float,
) -> None:
    """One Euler step of x [M, A] by the expert's output [M, W]: final norm, velocity, guidance."""
    given, dt = _given(x, guide, place), 1.0 / len(guide.strength)
    styled = _styled(hidden, style, guide, place)
    v = F.linear(styled, weight.to(styled), bias.to(styled))
    share = guide.share.repeat(len(x) // place.tokens)[:, None]
    v = v - guide.strength[step] * share * (guide.previous - (x - t * v))
    x.copy_(torch.where(given, guide.previous, x - v * dt))


def enter(
    x: Tensor,
    weight: Tensor,
    bias: tuple[Tensor, Tensor],
    guide: Guide,
    place: Place,
    dtype: torch.dtype,
    silu: bool,
) -> Tensor:
    """Tokens [M, W] of actions x [M, A]; given rows take the previous chunk, in x too. bias: now and at time zero.

    silu: π0's first layer.
    """
    given = _given(x, guide, place)
    x.copy_(torch.where(given, guide.previous, x))
    y = F.linear(x, weight) + torch.where(given, bias[1], bias[0])
    return (F.silu(y) if silu else y).to(dtype)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _normalised(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)


def _narrow(y: Tensor, scale: float | None, dtype: torch.dtype) -> Tensor:
    return y.to(dtype) if scale is None else (y / scale).clamp(-LARGEST, LARGEST).to(NARROW)


def _given(x: Tensor, guide: Guide, place: Place) -> Tensor:
    return (torch.arange(len(x), device=x.device) % place.tokens < guide.given)[:, None]


def _styled(x: Tensor, style: Style, guide: Guide, place: Place) -> Tensor:
    given = _given(x, guide, place)
    scale, shift = (torch.where(given, zero, now) for now, zero in (style.scale, style.shift))
    return _normalised(_wide(x)) * scale + shift


def _rotated(x: Tensor, place: Place) -> Tensor:
    (cos, sin), (even, odd) = place.rope[:, None].to(x.dtype).unbind(-1), x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def _store(kv: Tensor, heads: Heads, place: Place, cache: KeyValue) -> None:
    keys, values = kv.unflatten(0, (-1, place.tokens)).transpose(1, 2).split(heads.kv, dim=1)
    cache[0][:, :, place.start : place.end] = keys
    cache[1][:, :, place.start : place.end] = values
