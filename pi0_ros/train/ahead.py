"""Examples of a step, made when it begins or ahead of it by processes beside the one that trains.

What a step draws depends on seed, process and step alone, so that it does not matter who makes it, or when.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from pi0_ros.process import end_with_parent
from pi0_ros.train.draw import step_streams
from pi0_ros.train.examples import Examples
from pi0_ros.train.flow_targets import flow_targets
from pi0_ros.train.hooks import without_pictures

if TYPE_CHECKING:
    from pi0_ros.model.losses import FlowTargets
    from pi0_ros.train.job import Job
    from pi0_ros.train.lots import Lots

AHEAD = 2  # steps that each process makes ahead
GRACE = 30  # s


@dataclass(frozen=True)
class StepData:
    """What one step trains on. drawn: numbers of all rows."""

    drawn: NDArray[np.int64]
    acting: Examples
    words: Examples | None
    flow: FlowTargets | None


class StepExamples(Dataset[StepData]):
    """The examples of every step of one process, by the step's number."""

    def __init__(self, job: Job, lots: Lots) -> None:
        self._job, self._lots = job, lots

    def __getitem__(self, step: int) -> StepData:
        job, lots, s = self._job, self._lots, self._job.settings
        rng, generator = step_streams(s.seed, job.rank, step)
        rows = lots.draw_actions(rng, s.batch)
        acting = job.maker.actions(rows, rng)
        word_rows = lots.draw_words(rng, s.word_batch) if s.word_batch and len(lots.word_rows) else None
        words = None if word_rows is None else job.maker.words(word_rows, rng)
        flow = flow_targets(acting, s, rng, generator, job.recipe) if step >= s.language_steps else None
        return StepData(rows if word_rows is None else np.concatenate([rows, word_rows]), acting, words, flow)

    def steps(self, first: int) -> Generator[StepData, None, None]:
        """From this step on, made by `--loaders` processes if there are any."""
        s = self._job.settings
        numbers = range(first, max(s.steps, first))
        yield from (self[step] for step in numbers) if not s.loaders else _ahead(self, numbers, s.loaders)


def _ahead(steps: StepExamples, numbers: range, processes: int) -> Iterator[StepData]:
    """The examples of these steps in their order. Raises what making them raised."""
    # Forked, so that frames stay where they are; nothing of a GPU is touched there.
    made: DataLoader[StepData | Exception] = DataLoader(
        _Travelling(steps),
        batch_size=None,
        sampler=numbers,
        num_workers=processes,
        prefetch_factor=AHEAD,
        collate_fn=_as_made,
        worker_init_fn=_begin,
        multiprocessing_context="fork",
    )
    for one in made:
        if isinstance(one, Exception):
            raise one
        yield one


class _Travelling(Dataset[StepData | Exception]):
    """The same without what no loss reads: pictures of rows, which are among the inputs. A fault is an answer too."""

    def __init__(self, steps: StepExamples) -> None:
        self._steps = steps

    def __getitem__(self, step: int) -> StepData | Exception:
        try:
            made = self._steps[step]
        except Exception as problem:  # noqa: BLE001 - whatever it is, the run ends with it as if it had happened there
            return problem
        words = None if made.words is None else replace(made.words, rows=without_pictures(made.words.rows))
        return replace(made, acting=replace(made.acting, rows=without_pictures(made.acting.rows)), words=words)


def _as_made(made: Any) -> Any:
    return made


def _begin(number: int) -> None:
    """The process that trains decides when this one ends, also if Ctrl-C or a cluster's SIGTERM reaches all of them: it has
    `GRACE` seconds to finish its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))
    end_with_parent(signal.SIGKILL)
