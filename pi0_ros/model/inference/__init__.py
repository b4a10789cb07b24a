"""Inference by the fast path: `sampler` is what others use."""
