"""What goes into the network, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

PROMPT, TEXT, FAST = 0, 1, 2  # roles of a text token


@dataclass(frozen=True)
class Inputs:
    """One batch of observations.

    images: a camera each, in the order of the configuration: [B, 3, H, W] in [-1, 1], or None if no row has it.
    image_masks: a camera each, [B] bool: whether the row has this camera. Ignored where the picture is None.
    tokens, token_mask: [B, L] token ids and whether they count.
    state: [B, state_dim] (pi0 only).
    roles: [B, L], PROMPT (seen from everywhere), TEXT (predicted, causal) or FAST (predicted, causal, hidden from the
        action expert); None: all PROMPT.
    """

    images: Sequence[Tensor | None]
    image_masks: Sequence[Tensor]
    tokens: Tensor
    token_mask: Tensor
    state: Tensor | None = None
    roles: Tensor | None = None

    @property
    def batch(self) -> int:
        """Rows."""
        return self.tokens.shape[0]

    def map(self, function: Any) -> Inputs:
        """The same inputs with `function` applied to every tensor."""
        return replace(self, **{f.name: _mapped(getattr(self, f.name), function) for f in fields(self)})

    def to(self, device: torch.device | str) -> Inputs:
        """The same inputs on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def rows(self, index: Sequence[int]) -> Inputs:
        """Some rows of the batch, in the order given."""
        return self.map(lambda tensor: tensor[list(index)])


def _mapped(value: Any, function: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(_mapped(item, function) for item in value)
    return None if value is None else function(value)
