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

FEW = 128  # rows; with more a product fills the card, and cuBLAS is at home


@dataclass(frozen=True)
class Tiles:
    """Rows, columns and depth of a block, its warps, how many loads are on their way at a time, and into how many
    stretches the depth is cut for blocks of their own."""

    rows: int
    columns: int
    depth: int
    warps: int = 4
    stages: int = 4
    splits: int = 1


@dataclass(frozen=True)
class Tuning:
    """Tiles of each kernel; the defaults are what `python -m bench gpu` found on an H200 (docs/performance.md).

    blocks: how many the attention of a step is cut into, about one a multiprocessor. chained: whether kernels of a step
    are got ready while the one in front still runs (programmatic dependent launch, compute capability 9.0 and above).
    """

    qkv: Tiles = Tiles(64, 32, 128, 4, 4)
    gate_up: Tiles = Tiles(64, 32, 128, 4, 4)
    out: Tiles = Tiles(64, 64, 128, 4, 4, 4)
    down: Tiles = Tiles(64, 64, 64, 4, 8, 8)
    few: Tiles = Tiles(64, 64, 0, 8, 2)  # attention of a step; depth 0: not cut
    many: Tiles = Tiles(64, 32, 0, 4, 3)  # attention of the prefix
    blocks: int = 128
    chained: bool = False


# On a card with less shared memory (99 KiB a block at compute capabilities 8.6, 8.9 and 12.0). Not measured.
SMALLER = Tuning(
    qkv=Tiles(64, 32, 128, 4, 2),
    gate_up=Tiles(64, 32, 64, 4, 3),
    out=Tiles(64, 32, 128, 4, 2, 4),
    down=Tiles(64, 32, 128, 4, 2, 4),
    few=Tiles(32, 32, 0, 4, 2),
    many=Tiles(32, 32, 0, 4, 2),
)


def tuning_for(capability: tuple[int, int]) -> Tuning:
    """The tuning for a card's compute capability."""
    if capability in ((9, 0), (10, 0), (10, 3)):
        return Tuning(chained=True)
    return Tuning(few=Tiles(32, 64, 0, 4, 2)) if capability == (8, 0) else SMALLER


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
        kernels.rotate_store[(len(qkv),)](
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
        cuts = self.tuning.blocks // (blocks * across) if tiles is self.tuning.few else 1
        chunk = triton.cdiv(steps, max(1, min(steps, cuts))) * tiles.columns
        splits = triton.cdiv(place.end, chunk)
        out = q.new_empty((len(q), heads.query * heads.dim))
        parts = q.new_empty((splits, across * rows, heads.dim)) if splits > 1 else out
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

    def norm(self, x: Tensor, style: Style, guide: Guide, place: Place) -> Tensor:
        """See `plain.norm`."""
        y = self._close(x, None, style, style, guide, place)
        assert y is not None, "there is a norm where a style comes then"
        return y

    def qkv(self, a: Tensor, weight: Tensor, heads: Heads, place: Place, cache: KeyValue) -> Tensor:
        """See `plain.qkv`."""
        tiles = self.tuning.qkv
        if len(a) > FEW:
            wide = F.linear(a, weight)
            self.rotate_store(wide, heads, place, cache)
            return wide
        out = a.new_empty((len(a), heads.query * heads.dim))
        columns = min(tiles.columns, heads.dim)
        kernels.qkv[(len(weight) // columns, triton.cdiv(len(a), tiles.rows))](
            a,
            weight,
            place.rope,
            out,
            *cache,
            len(a),
            place.tokens,
            place.start,
            cache[0].shape[2],
            K=a.shape[1],
            HEADS=heads.query,
            KV=heads.kv,
            D=heads.dim,
            BM=tiles.rows,
            BN=columns,
            BK=_divisor(tiles.depth, a.shape[1]),
            num_warps=tiles.warps,
            num_stages=tiles.stages,
            **self._chain,
        )
        return out

    def gate_up(self, a: Tensor, weight: Tensor) -> Tensor:
        """See `plain.gate_up`."""
        tiles, width = self.tuning.gate_up, len(weight) // 2
        if len(a) > FEW:
            return self.geglu(F.linear(a, weight))
        out = a.new_empty((len(a), width))
        columns = _divisor(tiles.columns, width)
        kernels.gate_up[(width // columns, triton.cdiv(len(a), tiles.rows))](
            a,
            weight,
            out,
            len(a),
            width,
            K=a.shape[1],
            BM=tiles.rows,
            BN=columns,
            BK=_divisor(tiles.depth, a.shape[1]),
            num_warps=tiles.warps,
            num_stages=tiles.stages,
            **self._chain,
        )
        return out

    def branch(
        self, a: Tensor, weight: Tensor, x: Tensor, style: Style, then: Style | None, guide: Guide, place: Place
    ) -> Tensor | None:
        """See `plain.branch`."""
        tiles = self.tuning.out if a.shape[1] <= 2 * x.shape[1] else self.tuning.down
        if len(a) > FEW:
            return self._close(x, F.linear(a, weight)[None], style, then, guide, place)
        deep, width = a.shape[1], len(weight)
        splits = min(tiles.splits, deep & -deep)
        columns, part = _divisor(tiles.columns, width), a.new_empty((splits, *x.shape), dtype=torch.float32)
        kernels.parts[(width // columns, triton.cdiv(len(a), tiles.rows), splits)](
            a,
            weight,
            part,
            len(a),
            width,
            deep,
            KC=deep // splits,
            BM=tiles.rows,
            BN=columns,
            BK=_divisor(tiles.depth, deep // splits),
            num_warps=tiles.warps,
            num_stages=tiles.stages,
            **self._chain,
        )
        return self._close(x, part, style, then, guide, place)

    def _close(
        self, x: Tensor, part: Tensor | None, style: Style, then: Style | None, guide: Guide, place: Place
    ) -> Tensor | None:
        width, y = x.shape[1], None if then is None else torch.empty_like(x)
        block, behind = triton.next_power_of_2(width), then or style
        kernels.close[(len(x),)](
            x,
            x if part is None else part,
            *style.gate,
            *behind.scale,
            *behind.shift,
            guide.given,
            x if y is None else y,
            len(x),
            place.tokens,
            W=width,
            BW=block,
            SPLITS=0 if part is None else len(part),
            NORM=y is not None,
            num_warps=_warps(block),
            **self._chain,
        )
        return y

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
        styles = (out[1],) * 4 if style is None else (*style.scale, *style.shift)
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
            num_warps=8,
            **self._chain,
        )


def _warps(block: int) -> int:
    return min(8, max(1, block // 256))


def _divisor(wanted: int, of: int) -> int:
    """The largest power of two up to `wanted` that divides `of`."""
    return min(wanted, of & -of)
