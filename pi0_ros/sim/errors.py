"""What can go wrong in simulation."""

from __future__ import annotations


class SimError(Exception):
    """A simulated robot cannot be built, drawn or commanded; the message says which part and the way out."""
