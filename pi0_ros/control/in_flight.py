"""How many requests a policy server may have before it answers the first. Pure.

One at a time leaves a gap between two plans if an answer takes more than half of what a plan lasts. A server that
infers for several clients at once closes it; one that infers for one after another answers all of them later.
"""

from __future__ import annotations

from collections import deque
from statistics import median

SHARE = 1.0 / 3.0
"""An answer that takes more than this share of a plan is worth a second request meanwhile."""
KEPT = 5
ENOUGH = 3
"""Answers of one kind that are needed before anything is concluded from them."""
SLOWED = 1.4
"""A server whose answers take this much longer beside other requests than alone infers for one after another."""


class InFlight:
    """Learns from the times of answers how many requests at once are of use."""

    def __init__(self, most: int) -> None:
        """`most`: requests at once, 1 for one after another."""
        self.most = most
        self._alone: deque[float] = deque(maxlen=KEPT)
        self._beside: deque[float] = deque(maxlen=KEPT)

    def allowed(self, lasts: float) -> int:
        """How many requests may be without an answer, for plans that last `lasts` [s]."""
        newest = self._beside or self._alone
        if len(self._alone) < ENOUGH:
            return 1
        return self.most if median(newest) > SHARE * lasts else 1

    def note(self, took: float, beside: bool) -> bool:
        """An answer took `took` [s], or did not come in that time; `beside`: other requests were waiting meanwhile.

        Whether one request less than before is allowed from now on, since the server does not answer them side by side.
        """
        (self._beside if beside else self._alone).append(took)
        if self.most == 1 or len(self._beside) < ENOUGH or len(self._alone) < ENOUGH:
            return False
        if median(self._beside) <= SLOWED * median(self._alone):
            return False
        self.most -= 1
        self._beside.clear()
        return True
