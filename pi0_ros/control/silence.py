"""The sentence about a silent topic: its name, age and limit. It changes rarely, so that it is not logged every period."""

from __future__ import annotations

import math

STEPS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Ages [s] at which the sentence changes; between them it stays the same, so that it is logged once."""


def silence(topic: str, age: float, limit: float) -> str:
    """What is missing on `topic` for `age` seconds (infinite: since the start) if `limit` is allowed."""
    name = topic or "the robot's state"
    if not math.isfinite(age):
        return f"nothing came on {name} yet (max_age {limit:g} s)"
    passed = max([step for step in STEPS if step <= age], default=limit)
    return f"nothing new on {name} for {max(passed, limit):g} s and more (max_age {limit:g} s)"
