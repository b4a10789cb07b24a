"""How late, how unevenly and how unreliably a policy answers, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Observation to chunk [s]: uniform in mean · (1 ± jitter); `drop` is the share of chunks that never arrive.

    `stalls` are (start, duration) on the episode's clock [s]: what is asked within one arrives after it.
    Raises ValueError for a number that makes no sense.
    """

    mean: float = 0.0
    jitter: float = 0.0
    drop: float = 0.0
    stalls: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if not (0.0 <= self.mean < 60.0 and 0.0 <= self.jitter <= 1.0 and 0.0 <= self.drop <= 1.0):
            raise ValueError(
                f"latency {self.mean} s, jitter {self.jitter}, drop {self.drop}: jitter and drop are 0 .. 1"
            )

    def draw(self, rng: np.random.Generator, at: float) -> float | None:
        """When the answer to a request at `asked` [s] arrives, None if it is lost. Two draws, whatever happens."""
        spread, lost = rng.uniform(-1.0, 1.0), rng.random() < self.drop
        arrival = at + self.mean * (1.0 + self.jitter * spread)
        for start, duration in self.stalls:
            if start <= at < start + duration:
                arrival = max(arrival, start + duration)
        return None if lost else float(arrival)
