"""What can go wrong while training."""

from __future__ import annotations


class TrainError(Exception):
    """Training cannot start or go on; the message names the file or setting and the way out."""
