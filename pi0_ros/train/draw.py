"""How often each frame of a mixture is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pi0_ros.data.mixture import mixture_weights
from pi0_ros.train.frames import MixedFrames


@dataclass(frozen=True)
class Draws:
    """From what a run draws, and how often.

    sources [N]: number of the source of each frame, names: of the sources. lively [N]: how much each chunk moves, 0..1.
    tasks, given, weight: as `draw_chances` takes them. texts: names of the text sources, text_weights: given ones, 0
    without.
    """

    frames: MixedFrames
    sources: NDArray[np.int64]
    names: tuple[str, ...]
    lively: NDArray[np.float64] | None = None
    tasks: NDArray[np.int64] | None = None
    given: tuple[float, ...] = ()
    weight: NDArray[np.float64] | None = None
    texts: tuple[str, ...] = ()
    text_weights: tuple[float, ...] = ()

    def chances(self, trained: NDArray[np.integer], still: float) -> NDArray[np.float64]:
        """Chance of each of these frames to be drawn as an action example, summing to 1."""
        lively, tasks, weight = (None if v is None else v[trained] for v in (self.lively, self.tasks, self.weight))
        return draw_chances(self.sources[trained], lively, still, tasks, self.given, weight)

    def word_chances(self, word_rows: NDArray[np.integer], sizes: Sequence[int]) -> NDArray[np.float64] | None:
        """Chance of each of these frames with a high-level task, and behind them of each text of sources of these sizes;
        None if all are alike, of one source."""
        alone = not sizes and len(self.names) < 2
        if alone or not len(word_rows) + len(sizes):
            return None
        sources = np.concatenate([self.sources[word_rows], np.repeat(len(self.names) + np.arange(len(sizes)), sizes)])
        given = (*self.given, *self.text_weights) if self.given else ()
        return draw_chances(sources, None, 1.0, None, given)


def draw_chances(
    sources: NDArray[np.integer],
    lively: NDArray[np.float64] | None,
    still: float,
    tasks: NDArray[np.integer] | None = None,
    given: Sequence[float] = (),
    weight: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Chance of each frame that is trained on [N], summing to 1.

    A dataset of n frames has the share n^0.43 of the draws (π0, arXiv 2410.24164, section V), or, with `tasks` [N], each
    task of each dataset has. given: shares of the datasets in place of that, by their number. Inside one, a frame whose
    chunk stands still (`lively` 0) is drawn `still` times as often as one that moves (1), and each `weight` [N] times.
    """
    groups = np.stack([sources, np.zeros_like(sources) if tasks is None else tasks])
    _, own, sizes = np.unique(groups, axis=1, return_inverse=True, return_counts=True)
    own = own.reshape(-1)
    inside = np.ones(len(sources)) if lively is None else still + (1.0 - still) * lively
    inside = inside if weight is None else inside * weight
    totals = np.bincount(own, inside, len(sizes))
    inside = np.where(totals[own] > 0, inside / np.where(totals > 0, totals, 1.0)[own], 1.0 / sizes[own])
    chances = mixture_weights([int(n) for n in sizes])[own] * inside
    if len(given):
        wanted = np.asarray(given, np.float64)
        there = np.bincount(sources, chances, len(wanted))
        chances = chances * (wanted / np.where(there > 0, there, 1.0))[sources]
    return np.asarray(chances / chances.sum())


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
