"""How far a run is, and its best validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Best:
    """The lowest validation loss of a run, None before the first. step: where it was. since: validations after it, none of which was lower."""

    loss: float | None = None
    step: int = 0
    since: int = 0

    def after(self, loss: float, step: int) -> Best:
        """With the validation loss of one more step; one that is not finite is never the best."""
        lower = math.isfinite(loss) and (self.loss is None or loss < self.loss)
        return Best(loss, step) if lower else replace(self, since=self.since + 1)

    def ends(self, patience: int) -> bool:
        """Whether the run ends early: `patience` validations in a row without a lower loss. 0: never."""
        return 0 < patience <= self.since


@dataclass(frozen=True)
class SoFar:
    """What a run has done: optimiser steps, seconds, examples drawn by all processes, its best validation."""

    step: int = 0
    seconds: float = 0.0
    examples: int = 0
    best: Best = field(default_factory=Best)


def so_far_of(facts: Mapping[str, Any]) -> SoFar:
    """What was done, of plain values; a state of an older version knows no best validation."""
    best = Best(**facts["best"]) if "best" in facts else Best()
    return SoFar(int(facts["step"]), float(facts["seconds"]), int(facts.get("examples", 0)), best)
