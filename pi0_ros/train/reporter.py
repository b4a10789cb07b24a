"""What a run prints and records: progress lines, and at every validation the record, the curves and the errors."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi0_ros.model import Pi0
from pi0_ros.train.examples import ExampleMaker, Examples
from pi0_ros.train.job import Job
from pi0_ros.train.loading import LoadingMeter, picture_count
from pi0_ros.train.loggers import make_loggers, write_all
from pi0_ros.train.lots import Lots
from pi0_ros.train.objective import StepLoss
from pi0_ros.train.record import cut_back, draw_curves, read_lines, write_line
from pi0_ros.train.so_far import SoFar
from pi0_ros.train.ticker import Ticker
from pi0_ros.train.validate import held_out_loss, measured, subtask_accuracy

CURVES = ("flow", "answer", "words", "chunk_near", "val_loss")
VALIDATED = 96  # frames a validation
LARGE = 100_000_000  # parameters from which on so many frames at once would need more memory than a step


class Reporter:
    """Process 0 reports; the others add up their losses."""

    def __init__(self, job: Job, lots: Lots, step: int) -> None:
        self.job, self.lots = job, lots
        self.sums: dict[str, float] = {}
        self.loading = LoadingMeter(time.monotonic())
        self.ticker = Ticker(job.settings.steps)
        self.val_loss = math.nan
        self.loggers = () if job.rank else make_loggers(job.folder, job.settings, step)
        if not job.rank:
            cut_back(job.folder / "record.jsonl", step)

    def waited(self, seconds: float, *batches: Examples | None) -> None:
        """A step waited so long for these examples."""
        self.loading.add(seconds, sum(picture_count(batch) for batch in batches))

    def note(self, loss: StepLoss, step: int, progress: float) -> None:
        """One step's losses."""
        values = {name: float(value.detach()) for name, value in loss.items().items()}
        for name, value in (values | {"count": 1.0}).items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if not self.job.rank:
            rate = self.job.recipe.rate(self.job.settings, step, progress)
            self.ticker.tick(time.monotonic(), step, values["total"], rate, progress)

    def report(self, now: SoFar, progress: float, skipped: int, averaged: AbstractContextManager[Pi0]) -> float | None:
        """Mean losses since the last report, and errors on held-out frames with the averaged weights: the network that
        `averaged` opens.

        Returns the mean total loss, None if no step was done since. `val_loss` is the loss on the held-out frames, not a
        number without any.
        """
        self.val_loss = math.nan
        if not self.sums:
            return None
        sums, self.sums = self.sums, {}
        count = sums.pop("count")
        total = sums.pop("total") / count
        drawn = self.lots.drawn_shares()
        if self.job.rank:
            return total
        line: dict[str, Any] = {
            "step": now.step,
            "seconds": round(now.seconds, 1),
            "examples": now.examples,
            "rate": self.job.recipe.rate(self.job.settings, now.step, progress),
            **self.loading.take(time.monotonic()),
            **{k: round(v / count, 5) for k, v in sums.items()},
            **({"skipped": skipped} if skipped else {}),
            **{f"drawn {name}": round(share, 4) for name, share in drawn.items()},
        }
        line |= self._validated(averaged) if math.isfinite(total) else {}
        self._tell(line)
        return total

    def _tell(self, line: dict[str, Any]) -> None:
        """A line of the record, everywhere."""
        file = self.job.folder / "record.jsonl"
        write_line(file, line)
        draw_curves(read_lines(file), CURVES, self.job.folder / "curves.png")
        print(" ".join(f"{k} {v:.4g}" for k, v in line.items()), flush=True)
        write_all(self.loggers, line)

    def close(self) -> None:
        """The run is over."""
        for logger in self.loggers:
            logger.close()

    def _errors(self, model: Pi0, maker: ExampleMaker, index: NDArray[np.integer]) -> dict[str, float]:
        """Of one source's held-out frames: of a large network in parts of a batch, as a step has them."""
        large = sum(p.numel() for p in model.parameters()) > LARGE
        count = -(-len(index) // self.job.settings.batch) if large else 1
        found = []
        for part, rows in enumerate(np.array_split(index, count)):
            loss = held_out_loss(model, maker, rows, self.job.settings, self.job.recipe, part)
            values = {"val_loss": loss, **measured(model, maker, rows)}
            word_rows = rows[maker.frames.has_subtask[rows]]
            if len(word_rows):
                values["subtasks"] = subtask_accuracy(model, maker, word_rows)
            found.append((len(rows), values))
        return together(found)

    def _validated(self, averaged: AbstractContextManager[Pi0]) -> dict[str, float]:
        """Loss and errors on held-out frames; of several sources the mean over them, and each by its name."""
        if not len(self.lots.held):
            return {}
        with averaged as model:
            found = {name: self._errors(model, maker, index) for name, maker, index in self.lots.held_out(VALIDATED)}
        self.val_loss = _mean([values["val_loss"] for values in found.values()])
        if len(found) == 1:
            return {k: round(v, 4) for k, v in next(iter(found.values())).items()}
        keys = dict.fromkeys(key for values in found.values() for key in values)
        means = {k: _mean([v[k] for v in found.values() if k in v]) for k in keys}
        named = {f"{key} {name}": value for name, values in found.items() for key, value in values.items()}
        return {k: round(v, 4) for k, v in {**means, **named}.items()}


def together(parts: Sequence[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Errors of parts of so many rows each as those of all rows: means, of `chunk_` errors the root of the mean square. A part
    without a number for a key does not count in it."""
    found = {}
    for key in dict.fromkeys(key for _, values in parts for key in values):
        power = 2 if key.startswith("chunk_") else 1
        known = [(n, values[key] ** power) for n, values in parts if not math.isnan(values.get(key, math.nan))]
        rows = sum(n for n, _ in known)
        found[key] = (sum(n * v for n, v in known) / rows) ** (1 / power) if rows else math.nan
    return found


def _mean(values: list[float]) -> float:
    """Of those that are numbers; not a number if none is."""
    known = [v for v in values if not math.isnan(v)]
    return float(np.mean(known)) if known else math.nan
