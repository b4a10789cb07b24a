"""Exponential moving average of the weights, the ones that are exported (openpi's default decay is 0.99)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Averages of a model's trainable weights, in float32. device: where they are kept, None for beside the weights.

    Of a weight that is sharded over processes each keeps the average of its own part.
    """

    def __init__(self, model: nn.Module, decay: float = 0.99, device: torch.device | str | None = None):
        self.decay = decay
        learning = {name: local(p.detach()).float() for name, p in model.named_parameters() if p.requires_grad}
        self.average = {name: p.to(device or p.device, copy=True) for name, p in learning.items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """average <- decay * average + (1 - decay) * weight."""
        for name, parameter in model.named_parameters():
            if name in self.average:
                average = self.average[name]
                average.lerp_(local(parameter.detach()).float().to(average.device), 1.0 - self.decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by parameter name, to save with a training state."""
        return dict(self.average)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from saved averages. Raises KeyError naming the first parameter that is missing."""
        for name, average in self.average.items():
            average.copy_(local(state[name]))

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """While it is open the model has the averages, and this the weights: exchanged one by one, so that neither is there twice."""
        self._exchange(model)
        try:
            yield
        finally:
            self._exchange(model)

    @torch.no_grad()
    def _exchange(self, model: nn.Module) -> None:
        for name, parameter in model.named_parameters():
            if name in self.average:
                weight = local(parameter.detach()).clone()
                local(parameter).copy_(self.average[name])
                self.average[name].copy_(weight)


def local(value: Tensor) -> Tensor:
    """This process's part of a sharded tensor (DTensor), without copying; any other tensor as it is."""
    return value.to_local() if hasattr(value, "to_local") else value
