"""Whether plans that take their time still join: how long a robot stands between one plan and the next."""

from __future__ import annotations


def standing_time(latency: float, duration: float) -> float:
    """Seconds without a plan, for every plan, when the next is asked for as soon as one has come [s].

    latency: observation to plan. duration: observation to the plan's last row. A plan asked for when the last one
    came, `latency` after its observation, comes `latency` later; by then the last one has ended `duration` after its
    observation.
    """
    return max(0.0, 2.0 * latency - duration)
