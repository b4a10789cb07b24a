"""The trunk's MLPs in 8 bits (FP8, e4m3): one scale a weight matrix, and fixed scales of what goes into the products.

Fixed scales come from recorded observations (`measure`), so nothing is searched for in a call; they are folded into the
norm and the activation in front of each product. Only the MLPs: they are 85 % of the prefix's arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.model.fused.path import Operations
from pi0_ros.model.fused.plain import LARGEST, NARROW
from pi0_ros.model.packed import Layer

ROOM = 2.0  # inputs larger than any recorded one are met without clipping up to this factor; e4m3 loses nothing by it

Scales = Sequence[tuple[float, float]]  # per layer: of what goes into gate and up, and into down


class NarrowMlp:
    """A layer's MLP in 8 bits."""

    def __init__(self, layer: Layer, scales: tuple[float, float]) -> None:
        self.scales = scales
        self.both, self.down = (_Product(w, s) for w, s in zip(_weights(layer), scales, strict=True))

    def __call__(self, do: Operations, x: Tensor) -> Tensor:
        """What the MLP adds to x [M, width]."""
        both = self.both(do.rms(x, None, self.scales[0]), x.dtype)
        return self.down(do.geglu(both, self.scales[1]), x.dtype)


class _Product:
    def __init__(self, weight: Tensor, scale: float) -> None:
        own = (weight.float().abs().max() / LARGEST).clamp(min=1e-12)
        self.weight = (weight.float() / own).to(NARROW)
        self.own, self.scale = own.reshape(()), torch.tensor(scale, device=weight.device)

    def __call__(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return torch._scaled_mm(
            x, self.weight.T, scale_a=self.scale, scale_b=self.own, out_dtype=dtype, use_fast_accum=x.is_cuda
        )


class _MeasuredMlp:
    """A layer's MLP as it is, that notes the largest number going into each product."""

    def __init__(self, layer: Layer) -> None:
        self.weights, self.largest = _weights(layer), [0.0, 0.0]

    def __call__(self, do: Operations, x: Tensor) -> Tensor:
        y = self._noted(0, do.rms(x))
        return F.linear(self._noted(1, do.geglu(F.linear(y, self.weights[0]))), self.weights[1])

    def _noted(self, which: int, x: Tensor) -> Tensor:
        self.largest[which] = max(self.largest[which], x.abs().max().item())
        return x


def measure(layers: Sequence[Layer], run: Callable[[], object]) -> Scales:
    """Scales for the layers from what `run` (calls by eager fused operations) sends through them."""
    measured = [_MeasuredMlp(layer) for layer in layers]
    try:
        for layer, own in zip(layers, measured, strict=True):
            layer.narrow = own
        run()
    finally:
        for layer in layers:
            layer.narrow = None
    into, between = ([max(own.largest[which], 1e-6) * ROOM / LARGEST for own in measured] for which in (0, 1))
    return list(zip(into, between, strict=True))


def narrow(layers: Sequence[Layer], scales: Scales) -> None:
    """Put the layers' MLPs into 8 bits by scales of `measure`."""
    for layer, own in zip(layers, scales, strict=True):
        layer.narrow = NarrowMlp(layer, own)


def _weights(layer: Layer) -> tuple[Tensor, Tensor]:
    return layer.mlp.both.weight, layer.down.weight
