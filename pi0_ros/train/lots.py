"""Which rows of a run's data are trained on and which are held out, and how they are drawn."""

from __future__ import annotations

import numpy as np
import torch

from pi0_ros.train.draw import Draws
from pi0_ros.train.examples import ExampleMaker
from pi0_ros.train.frames import Frames, MixedFrames
from pi0_ros.train.job import Job
from pi0_ros.train.mixed import MixedMaker
from pi0_ros.train.processes import summed


def split_episodes(
    frames: Frames | MixedFrames, share: float, sources: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Frame indices to train on and, from the last episodes of every source, to validate on.

    sources [N]: number of the dataset of each frame, None for one. A source of a single episode is trained on whole, and
    so is everything if `share` is 0. A moment that one source holds out is not trained on in another: the same recording may stand
    in two of them, chosen otherwise.
    """
    sources = np.zeros(len(frames), np.int64) if sources is None else sources
    held = np.zeros(len(frames), bool)
    for source in np.unique(sources):
        own = sources == source
        episodes = np.unique(frames.episode[own])
        count = min(max(1, round(share * len(episodes))), len(episodes) - 1) if share > 0.0 else 0
        held |= own & np.isin(frames.episode, episodes[len(episodes) - count :])
    shared = np.zeros(len(frames), bool)
    if isinstance(frames, MixedFrames):
        for source in np.unique(sources[held]):
            own = sources == source
            shared |= ~own & ~held & np.isin(frames.moment, frames.moment[held & own])
    return np.flatnonzero(~held & ~shared), np.flatnonzero(held)


class Lots:
    """Which rows are trained on and held out, how they are drawn, and what of them was."""

    def __init__(self, job: Job, draws: Draws) -> None:
        s, self.maker, self.draws = job.settings, job.maker, draws
        frames = job.maker.frames
        self.train, self.held = split_episodes(frames, s.validation_share, draws.sources)
        self._chances = draws.chances(self.train, s.still_weight)
        self.word_rows = self.train[frames.has_subtask[self.train]]
        sizes = [len(t.items) for t in job.maker.texts] if isinstance(job.maker, MixedMaker) else []
        self._word_chances = draws.word_chances(self.word_rows, sizes)
        if sizes:
            self.word_rows = np.concatenate([self.word_rows, len(frames) + np.arange(sum(sizes))])
        self._sources = np.concatenate([draws.sources, len(draws.names) + np.repeat(np.arange(len(sizes)), sizes)])
        self._drawn = np.zeros(len(draws.names) + len(sizes))

    @classmethod
    def of(cls, job: Job) -> Lots:
        """The lots of a job; without draws all frames are of one source."""
        frames = job.maker.frames
        alone = (
            Draws(MixedFrames.of([frames]), np.zeros(len(frames), np.int64), ("",))
            if isinstance(frames, Frames)
            else None
        )
        draws = job.draws or alone
        assert draws is not None, "sources of several robots come with their draws"
        return cls(job, draws)

    def draw_actions(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Numbers of rows for action examples."""
        return np.asarray(rng.choice(self.train, count, p=self._chances))

    def draw_words(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Numbers of rows for examples of text."""
        return np.asarray(rng.choice(self.word_rows, count, p=self._word_chances))

    def note(self, rows: np.ndarray) -> None:
        """These rows were trained on."""
        self._drawn += np.bincount(self._sources[rows].astype(np.int64), minlength=len(self._drawn))

    def drawn_shares(self) -> dict[str, float]:
        """Share of every source in the examples that all processes drew in this part of the run; {} for a single one."""
        names = (*self.draws.names, *self.draws.texts)
        if len(names) < 2:
            return {}
        counts = summed(torch.from_numpy(self._drawn.copy()))
        return dict(zip(names, (counts / counts.sum()).tolist(), strict=True))

    def held_out(self, count: int) -> list[tuple[str, ExampleMaker, np.ndarray]]:
        """Rows to validate on, about `count` in all: name of the source, its maker, numbers of its frames."""
        if not isinstance(self.maker, MixedMaker):
            rows = np.random.default_rng(1).choice(self.held, min(count, len(self.held)), replace=False)
            return [("", self.maker, rows)]
        sources = self.maker.by_source(self.held)
        each = max(1, count // len(sources))
        return [
            (
                self.draws.names[k],
                self.maker.parts[k],
                np.random.default_rng(1).choice(own, min(each, len(own)), replace=False),
            )
            for k, own in sources
        ]
