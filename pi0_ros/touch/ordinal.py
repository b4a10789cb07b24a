"""Embeddings of numbers that start out knowing their order: neighbours in value are neighbours in the embedding.

Random Fourier features of the value (Rahimi and Recht 2007; Tancik et al. 2020) at the scale of the other rows.
Without this a network trained from scratch has to find the order of 256 bins and 1024 places from examples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pi0_ros.model import Pi0
from pi0_ros.policy.tokenizer import Tokenizer

HIGHEST = 12.0  # periods over the whole range, highest frequency


def number_ids(tokenizer: Tokenizer) -> list[int]:
    """Ids of " -1" .. " 255", empty if the tokenizer has no single token for each."""
    ids = [tokenizer.encode(f" {n}") for n in range(-1, 256)]
    return [i[0] for i in ids] if all(len(i) == 1 for i in ids) else []


def place_ids(tokenizer: Tokenizer) -> list[int]:
    """Ids of <loc0000> .. <loc1023>, empty if the tokenizer has no single token for each."""
    first, last = tokenizer.encode("<loc0000>"), tokenizer.encode("<loc1023>")
    single = len(first) == len(last) == 1 and last[0] - first[0] == 1023
    return list(range(first[0], last[0] + 1)) if single else []


def ordered_rows(count: int, width: int, generator: torch.Generator) -> Tensor:
    """Rows [count, width] with unit mean square, smooth in the row number."""
    value = torch.linspace(0.0, 1.0, count)[:, None]
    frequency = torch.rand(width, generator=generator) ** 2 * HIGHEST
    phase = torch.rand(width, generator=generator) * 2 * math.pi
    return math.sqrt(2.0) * torch.cos(2 * math.pi * frequency * value + phase)


@torch.no_grad()
def order_embeddings(model: Pi0, tokenizer: Tokenizer, generator: torch.Generator) -> None:
    """Give number and place tokens ordered rows, in place."""
    weight = model.gemma.embed_tokens.weight
    for ids in (number_ids(tokenizer), place_ids(tokenizer)):
        if ids:
            weight[ids] = ordered_rows(len(ids), weight.shape[1], generator) * weight.shape[1] ** -0.5
