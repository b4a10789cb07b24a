"""The fused operations as Triton kernels; `plain` says what each computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from pi0_ros.model.fused import triton_kernels as kernels
from pi0_ros.model.fused.plain import NARROW
from pi0_ros.model.fused.shapes import Guide, Heads, Place, Style
from pi0_ros.model.gemma import KeyValue


@dataclass(frozen=True)
class Tiles:
    """Rows, columns and depth of a block, its warps, and how many loads are on their way at a time."""

    rows: int
    columns: int
    depth: int
    warps: int = 4
    stages: int = 4


@dataclass(frozen=True)
class Tuning:
    """Tiles of each kernel.

    blocks: how many the attention of a step is cut into, about one a multiprocessor.
    chained: kernels of a step ask for their weights while the one in front still runs (programmatic dependent launch,
    compute capability 9.0 and above).
    """

    qkv: Tiles = Tiles(64, 16, 128)
    gate_up: Tiles = Tiles(64, 32, 128)
    out: Tiles = Tiles(64, 16, 128)
    down: Tiles = Tiles(64, 16, 256)
    few: Tiles = Tiles(64, 64, 0, 4, 2)  # attention of a step; depth 0: not cut
    many: Tiles = Tiles(64, 64, 0, 4, 2)  # attention of the prefix
    blocks: int = 128
    chained: bool = False


def tuning_for(capability: tuple[int, int]) -> Tuning:
    """The tuning for a card's compute capability."""
    return Tuning(chained=capability >= (9, 0))


class Launch:
    """The operations with one tuning."""

    def __init__(self, tuning: Tuning) -> None:
        self.tuning = tuning
        self._chain: dict[str, Any] = {"PDL": tuning.chained} | ({"launch_pdl": True} if tuning.chained else {})

    def rms(self, x: Tensor, delta: Tensor | None = None, scale: float | None = None) -> Tensor:
        """See `plain.rms`."""
        width, out = x.shape[-1], torch.empty_like(x, dtype=x.dtype if scale is None else NARROW)
        block = triton.next_power_of_2(width)
        kernels.rms[(len(x),)](
            x,
            x if delta is None else delta,
            out,
            1.0 if scale is None else 1.0 / scale,
            W=width,
            BW=block,
            DELTA=delta is not None,
            NARROW=scale is not None,
            num_warps=_warps(block),
        )
        return out

    def layer_norm(self, x: Tensor, pending: Tensor | None, weight: Tensor, bias: Tensor) -> Tensor:
        """See `plain.layer_norm`."""
        width, out = x.shape[-1], torch.empty_like(x)
        block = triton.next_power_of_2(width)
        given = weight if pending is None else pending
        kernels.layer_norm[(len(x),)](
            x, given, weight, bias, out, W=width, BW=block, PENDING=pending is not None, num_warps=_warps(block)
        )
        return out

    def linear_gelu(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """See `plain.linear_gelu`: the product's own epilogue."""
        if x.is_cuda:
            return torch._addmm_activation(bias, x, weight.T, use_gelu=True)
        return F.gelu(F.linear(x, weight, bias), approximate="tanh")

    def geglu(self, both: Tensor, scale: float | None = None) -> Tensor:
        """See `plain.geglu`."""
        rows, width = both.shape[0], both.shape[1] // 2
        out = both.new_empty((rows, width), dtype=both.dtype if scale is None else NARROW)
        block = min(2048, triton.next_power_of_2(width))
        kernels.geglu[(rows, triton.cdiv(width, block))](
            both,
            out,
            1.0 if scale is None else 1.0 / scale,
            width,
            BLOCK=block,
            NARROW=scale is not None,
            num_warps=_warps(block),
        )
        return out

    def rotate_store(self, qkv: Tensor, heads: Heads, place: Place, cache: KeyValue) -> None:
        """See `plain.rotate_store`."""
        kernels.rotate_store[(len(qkv), heads.query + 2 * heads.kv)](
            qkv,
            place.rope,
            *cache,
            place.tokens,
            place.start,
            cache[0].shape[2],
            HEADS=heads.query,
            KV=heads.kv,
            D=heads.dim,
            num_warps=1,
        )

    def attention(self, q: Tensor, heads: Heads, place: Place, cache: KeyValue) -> Tensor:
        """See `plain.attention`."""
        rows, batch = place.tokens * heads.query // heads.kv, len(q) // place.tokens
        tiles = self.tuning.few if rows < 1024 else self.tuning.many
        blocks, across = triton.cdiv(rows, tiles.rows), batch * heads.kv
        steps = triton.cdiv(place.end, tiles.columns)
        chunk = triton.cdiv(steps, max(1, min(steps, self.tuning.blocks // (blocks * across)))) * tiles.columns
        splits = triton.cdiv(place.end, chunk)
        out = q.new_empty((len(q), heads.query * heads.dim))
        parts = q.new_empty((splits, across * rows, heads.dim), dtype=torch.float32) if splits > 1 else out
        sums = q.new_empty((splits, across * rows, 2), dtype=torch.float32) if splits > 1 else out
        chain = self._chain if tiles is self.tuning.few else {"PDL": False}
        kernels.attend[(blocks, splits, across)](
            q,
            *cache,
            place.bias,
            out,
            parts,
            sums,
            place.tokens,
            place.end,
            cache[0].shape[2],
            q.stride(0),
            heads.dim**-0.5,
            HEADS=heads.query,
            KV=heads.kv,
            D=heads.dim,
            BM=tiles.rows,
            BN=tiles.columns,
            CHUNK=chunk,
            SPLITS=splits,
            num_warps=tiles.warps,
            num_stages=tiles.stages,
            **chain,
        )
        if splits > 1:
            kernels.merge[(across * rows,)](
                parts,
                sums,
                out,
                place.tokens,
                across * rows,
                HEADS=heads.query,
                KV=heads.kv,
                D=heads.dim,
                SPLITS=splits,
                num_warps=2,
                **chain,
            )
        return out

    def qkv(
        self, x: Tensor, weight: Tensor, style: Style, guide: Guide, heads: Heads, place: Place, cache: KeyValue
    ) -> Tensor:
        """See `plain.qkv`."""
        tiles, out = self.tuning.qkv, x.new_empty((len(x), heads.query * heads.dim))
        columns = min(tiles.columns, heads.dim)
        kernels.qkv[(len(weight) // columns, triton.cdiv(len(x), tiles.rows))](
            x,
            weight,
            *style.scale,
            *style.offset,
            guide.given,
            place.rope,
            out,
            *cache,
            len(x),
            place.tokens,
            place.start,
            cache[0].shape[2],
            K=x.shape[1],
            HEADS=heads.query,
            KV=heads.kv,
            D=heads.dim,
            BM=tiles.rows,
            BN=columns,
            BK=_depth(tiles, x.shape[1]),
            num_warps=tiles.warps,
            num_stages=tiles.stages,
            **self._chain,
        )
        return out

    def gate_up(self, x: Tensor, weight: Tensor, style: Style, guide: Guide, place: Place) -> Tensor:
        """See `plain.gate_up`."""
        tiles, width = self.tuning.gate_up, len(weight) // 2
        out = x.new_empty((len(x), width))
        columns = _divisor(tiles.columns, width)
        kernels.gate_up[(width // columns, triton.cdiv(len(x), tiles.rows))](
            x,
            weight,
            *style.scale,
            *style.offset,
            guide.given,
            out,
            len(x),
            place.tokens,
            width,
            K=x.shape[1],
            BM=tiles.rows,
            BN=columns,
            BK=_depth(tiles, x.shape[1]),
            num_warps=tiles.warps,
            num_stages=tiles.stages,
            **self._chain,
        )
        return out

    def gated(self, a: Tensor, weight: Tensor, x: Tensor, style: Style, guide: Guide, place: Place) -> None:
        """See `plain.gated`."""
        tiles = self.tuning.out if a.shape[1] <= 2 * x.shape[1] else self.tuning.down
        columns = _divisor(tiles.columns, len(weight))
        kernels.gated[(len(weight) // columns, triton.cdiv(len(x), tiles.rows))](
            a,
            weight,
            x,
            *style.gate,
            guide.given,
            len(x),
            place.tokens,
            len(weight),
            K=a.shape[1],
            BM=tiles.rows,
            BN=columns,
            BK=_depth(tiles, a.shape[1]),
            num_warps=tiles.warps,
            num_stages=tiles.stages,
            **self._chain,
        )

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
    ) -> None:
        """See `plain.leave`."""
        self._advance(hidden, style, (weight, bias), x, guide, place, (step, t), None, hidden, False)

    def enter(
        self,
        x: Tensor,
        weight: Tensor,
        bias: tuple[Tensor, Tensor],
        guide: Guide,
        place: Place,
        dtype: torch.dtype,
        silu: bool,
    ) -> Tensor:
        """See `plain.enter`."""
        tokens = x.new_empty((len(x), len(weight)), dtype=dtype)
        self._advance(tokens, None, (weight, bias[0]), x, guide, place, None, (weight, *bias), tokens, silu)
        return tokens

    def _advance(
        self,
        hidden: Tensor,
        style: Style | None,
        out: tuple[Tensor, Tensor],
        x: Tensor,
        guide: Guide,
        place: Place,
        step: tuple[int, float] | None,
        into: tuple[Tensor, Tensor, Tensor] | None,
        tokens: Tensor,
        silu: bool,
    ) -> None:
        index, t = step or (0, 0.0)
        styles = (out[1],) * 4 if style is None else (*style.scale, *style.offset)
        kernels.advance[(len(x),)](
            hidden,
            *styles,
            *out,
            x,
            guide.previous,
            guide.share,
            guide.strength[index:],
            guide.given,
            *(into or (*out, out[1])),
            tokens,
            place.tokens,
            t,
            1.0 / len(guide.strength),
            W=hidden.shape[1],
            A=x.shape[1],
            BA=triton.next_power_of_2(x.shape[1]),
            BW=_divisor(128, hidden.shape[1]),
            LEAVE=step is not None,
            ENTER=into is not None,
            SILU=silu,
            num_warps=4,
            **self._chain,
        )


def _warps(block: int) -> int:
    return min(8, max(1, block // 256))


def _divisor(wanted: int, of: int) -> int:
    """The largest power of two up to `wanted` that divides `of`."""
    return min(wanted, of & -of)


def _depth(tiles: Tiles, of: int) -> int:
    return _divisor(tiles.depth, of)
