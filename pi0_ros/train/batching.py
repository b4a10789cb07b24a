"""Examples of several robots, and of text alone, as one batch: shorter texts padded, cameras that a row lacks masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.model import PROMPT, Inputs
from pi0_ros.train.examples import Examples


def joined_examples(parts: Sequence[Examples]) -> Examples:
    """The rows of all parts behind one another. Actions have the network's width already; each row keeps its own `dims`."""
    if len(parts) == 1:
        return parts[0]
    length = max(p.inputs.tokens.shape[1] for p in parts)
    inputs = joined_inputs([p.inputs for p in parts], length)
    counts = torch.cat([_wider(p.counts, length, False) for p in parts])
    actions = None if any(p.actions is None for p in parts) else torch.cat([_some(p.actions) for p in parts])
    valid = None if any(p.valid is None for p in parts) else torch.cat([_some(p.valid) for p in parts])
    rows = tuple(row for p in parts for row in p.rows)
    dims = torch.cat([torch.as_tensor(p.dims).expand(p.counts.shape[0]) for p in parts])
    return replace(parts[0], inputs=inputs, counts=counts, actions=actions, valid=valid, rows=rows, dims=dims)


def joined_inputs(parts: Sequence[Inputs], length: int) -> Inputs:
    """Inputs behind one another, texts padded to `length`."""
    slots = [
        _slot([p.images[k] for p in parts], [p.image_masks[k] for p in parts]) for k in range(len(parts[0].images))
    ]
    states = [p.state for p in parts]
    return Inputs(
        [image for image, _ in slots],
        [mask for _, mask in slots],
        torch.cat([_wider(p.tokens, length, 0) for p in parts]),
        torch.cat([_wider(p.token_mask, length, False) for p in parts]),
        None if any(s is None for s in states) else torch.cat([_some(s) for s in states]),
        torch.cat(
            [_wider(torch.zeros_like(p.tokens) + PROMPT if p.roles is None else p.roles, length, PROMPT) for p in parts]
        ),
    )


def _slot(images: Sequence[Tensor | None], masks: Sequence[Tensor]) -> tuple[Tensor | None, Tensor]:
    """One camera's pictures of all parts; -1 and masked if a part has none, None if none has."""
    there = [image for image in images if image is not None]
    if not there:
        return None, torch.cat(list(masks))
    blank = there[0].new_full(there[0].shape[1:], -1.0)
    whole = [blank.expand(len(mask), *blank.shape) if i is None else i for i, mask in zip(images, masks, strict=True)]
    known = [mask & (image is not None) for image, mask in zip(images, masks, strict=True)]
    return torch.cat(whole), torch.cat(known)


def _wider(values: Tensor, length: int, fill: float) -> Tensor:
    """[B, L] to [B, length]."""
    return F.pad(values, (0, length - values.shape[1]), value=fill)


def _some(value: Tensor | None) -> Tensor:
    assert value is not None
    return value
