"""What the fused operations have in common: shapes, and what changes with the step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Heads:
    """Query heads, key/value heads, and numbers a head."""

    query: int
    kv: int
    dim: int


@dataclass(frozen=True)
class Place:
    """Where a stack's rows stand in the cache: rows are [batch * tokens, width]; keys begin at `start`.

    rope: cos and sin [batch * tokens, dim / 2, 2] of each row. bias: [capacity], below zero hides a key.
    """

    tokens: int
    start: int
    rope: Tensor
    bias: Tensor

    @property
    def end(self) -> int:
        """Keys seen: all in front and their own."""
        return self.start + self.tokens


@dataclass(frozen=True)
class Style:
    """adaRMS of one norm, float32 [width]: `scale` and `shift` of the normed numbers, `gate` of the branch behind them.
    Each now and at time zero, for given rows."""

    scale: tuple[Tensor, Tensor]
    shift: tuple[Tensor, Tensor]
    gate: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Guide:
    """Real-time chunking as numbers, so that one recording serves all of it: rows that are given ([1] int32; they keep
    `previous` and are at time zero), the weight [H] of the previous chunk [B * H, A], and its strength [steps]."""

    given: Tensor
    previous: Tensor
    share: Tensor
    strength: Tensor
