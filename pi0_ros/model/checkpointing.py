"""Gradient checkpointing: recompute layers in the backward pass instead of keeping their activations."""

from __future__ import annotations

from pi0_ros.model.network import Pi0


def gradient_checkpointing(model: Pi0, on: bool = True) -> Pi0:
    """Switch recomputation for all stacks, in place."""
    for name in ("siglip", "gemma", "expert"):
        if hasattr(model, name):
            getattr(model, name).gradient_checkpointing = on
    return model
