"""Whether a run still learns: steps that were left out, losses that ran away."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

MOST_IN_A_ROW = 20  # steps with a gradient that is not finite before the run ends
RUNAWAY = 100.0  # times the smallest loss so far (or 1, whichever is more): the run has diverged


@dataclass(frozen=True)
class Health:
    """Steps left out because their gradient was not finite, in all and in a row, and the smallest mean loss so far."""

    skipped: int = 0
    in_a_row: int = 0
    best: float = math.inf

    def after_step(self, finite: bool) -> Health:
        """With one more step."""
        if finite:
            return replace(self, in_a_row=0)
        return replace(self, skipped=self.skipped + 1, in_a_row=self.in_a_row + 1)

    def after_report(self, loss: float) -> Health:
        """With the mean loss since the last report."""
        return replace(self, best=min(self.best, loss)) if math.isfinite(loss) else self

    def complaint(self, loss: float = 0.0) -> str:
        """Why the run has to end, "" if it is well."""
        if self.in_a_row >= MOST_IN_A_ROW:
            return f"the gradient was not finite in {self.in_a_row} steps in a row"
        if not math.isfinite(loss) or loss > RUNAWAY * max(self.best, 1.0):
            return f"the loss is {loss:.4g}, and was {self.best:.4g}"
        return ""
