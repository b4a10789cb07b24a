"""How often each frame of a mixture is drawn."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pi0_ros.data.mixture import mixture_weights


def draw_chances(sources: NDArray[np.integer], lively: NDArray[np.float64] | None, still: float) -> NDArray[np.float64]:
    """Chance of each frame that is trained on [N], summing to 1.

    A dataset of n frames has the share n^0.43 of the draws (π0, arXiv 2410.24164, section V). Inside a dataset a frame
    whose chunk stands still (`lively` 0) is drawn `still` times as often as one that moves (1).
    """
    chances = np.zeros(len(sources))
    numbers, sizes = np.unique(sources, return_counts=True)
    for number, share in zip(numbers, mixture_weights([int(n) for n in sizes]), strict=True):
        own = sources == number
        weight = np.ones(int(own.sum())) if lively is None else still + (1.0 - still) * lively[own]
        total = weight.sum()
        chances[own] = share * (weight / total if total > 0 else 1.0 / own.sum())
    return chances


def shares(sources: NDArray[np.integer], chances: NDArray[np.float64], count: int) -> list[float]:
    """Share of the draws of each of `count` datasets."""
    return [float(chances[sources == number].sum()) for number in range(count)]


def step_streams(seed: int, rank: int, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """The random numbers of one step of one process.

    They depend on nothing else, so that a run that is continued draws what it would have drawn.
    """
    numbers = np.random.SeedSequence([seed, rank, step])
    torch_seed = int(numbers.generate_state(1, np.uint64)[0] >> 1)
    return np.random.default_rng(numbers), torch.Generator().manual_seed(torch_seed)
