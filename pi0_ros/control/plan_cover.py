"""Whether plans that take their time still join: how long a robot stands between one plan and the next."""

from __future__ import annotations


def standing_time(latency: float, duration: float, interval: float | None = None) -> float:
    """Seconds without a plan, for every plan [s].

    latency: observation to plan. duration: observation to the plan's last row. interval: from one request to the next;
    None: the next is asked for as soon as one has come. A plan asked for `interval` after the last one's observation
    comes `latency` later; by then the last one has ended `duration` after its observation.
    """
    return max(0.0, latency + (latency if interval is None else interval) - duration)
