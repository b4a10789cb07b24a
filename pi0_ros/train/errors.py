"""What can go wrong while training."""

from __future__ import annotations

from pi0_ros.robot.errors import UserError


class TrainError(UserError):
    """Training cannot start or go on; the message names the file or setting and the way out."""
