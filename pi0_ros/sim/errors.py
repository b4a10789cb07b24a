"""What can go wrong in simulation."""

from __future__ import annotations

from pi0_ros.robot.errors import UserError


class SimError(UserError):
    """A simulated robot cannot be built, drawn or commanded; the message says which part and the way out."""
