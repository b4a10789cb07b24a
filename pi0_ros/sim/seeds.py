"""Which seeds of scenes are for training, and which are kept for evaluation."""

from __future__ import annotations

FIRST_UNSEEN_SEED = 100_000_000
"""Scenes with a seed from here on are never trained on."""
