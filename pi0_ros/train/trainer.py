"""The training loop: examples in, weights, averages and a record out; stops at any time, goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from functools import partial

from pi0_ros.model import Pi0
from pi0_ros.train.ahead import StepExamples
from pi0_ros.train.checkpoints import BEST
from pi0_ros.train.errors import TrainError
from pi0_ros.train.health import Health
from pi0_ros.train.interruption import Interruption
from pi0_ros.train.job import Job
from pi0_ros.train.learner import Learner
from pi0_ros.train.lots import Lots
from pi0_ros.train.objective import StepLoss
from pi0_ros.train.processes import decided_by_first
from pi0_ros.train.reporter import Reporter
from pi0_ros.train.saver import Saver
from pi0_ros.train.so_far import SoFar
from pi0_ros.train.state import load_state


class Trainer:
    """One process's part of a run."""

    def __init__(self, job: Job) -> None:
        self.job, self.settings = job, job.settings
        self.lots = Lots.of(job)
        self.learner = learner = Learner(job)
        self.so_far = load_state(job.folder, learner.objective, learner.optimizer, learner.ema) or SoFar()
        self.started = time.monotonic()
        self.health = Health()
        self.saver = Saver(job, learner, self.now)
        self.reporter = Reporter(job, self.lots, self.so_far.step)
        self.examples = StepExamples(job, self.lots).steps(self.so_far.step)

    @property
    def step(self) -> int:
        """Steps done, earlier parts of the run included."""
        return self.so_far.step

    def now(self) -> SoFar:
        """What was done until now."""
        return replace(self.so_far, seconds=self.so_far.seconds + time.monotonic() - self.started)

    def progress(self) -> float:
        """How far the run is, 0..1, by steps or by the clock."""
        clock = self.now().seconds / (60 * self.settings.minutes) if self.settings.minutes else 0.0
        return max(self.step / self.settings.steps, clock)

    def run(self, interruption: Interruption | None = None) -> None:
        """Train to the end, or until somebody asked to stop; every process leaves at the same step.

        Raises: TrainError if the run has diverged; the last checkpoint and state stay what they were.
        """
        with closing(self.examples):
            self._train(interruption)
        self._report()
        self.saver.save(last=True)
        self.reporter.close()
        if not self.job.rank:
            self._tell_end(interruption)

    def _train(self, interruption: Interruption | None) -> None:
        """Steps, validations and saves until the end, or until it was asked for."""
        saved = time.monotonic()
        while self._goes_on(interruption):
            loss, finite = self._one_step()
            self.so_far = replace(self.so_far, step=self.step + 1, examples=self.so_far.examples + self._drawn())
            self.health = self.health.after_step(finite)
            self._check(0.0)
            self.reporter.note(loss, self.step, self.progress())
            if self.step % self.settings.validate_every == 0:
                self._report()
            if self._together(time.monotonic() - saved > 60 * self.settings.save_every):
                self.saver.save(last=False)
                saved = time.monotonic()

    def _tell_end(self, interruption: Interruption | None) -> None:
        """Why the run ended before its last step, and which checkpoint is the best."""
        s, best = self.settings, self.so_far.best
        if interruption:
            print(f"stopped at step {self.step} of {s.steps}; the same command goes on from there", flush=True)
        elif best.ends(s.patience):
            print(
                f"ended early at step {self.step} of {s.steps}: {best.since} validations without a lower val_loss; a higher "
                "--patience goes on",
                flush=True,
            )
        if s.keep and best.loss is not None:
            print(f"{self.job.folder / BEST}: best on held-out frames, val_loss {best.loss:.4g} at step {best.step}")

    def _goes_on(self, interruption: Interruption | None) -> bool:
        """Process 0's clock, its validations, and what it was asked, decide for all."""
        patient = not self.so_far.best.ends(self.settings.patience)
        return decided_by_first(self.progress() < 1.0 and patient and not interruption)

    def _together(self, value: bool) -> bool:
        """What process 0 says, if all have to act together; else each by itself."""
        return decided_by_first(value) if self.learner.sharded else value

    def _drawn(self) -> int:
        """Examples of one step of all processes."""
        return (self.settings.batch + (self.settings.word_batch if self._has_words() else 0)) * self.settings.workers

    def _one_step(self) -> tuple[StepLoss, bool]:
        """One optimiser step; its loss, and whether the gradient was finite (the step is left out if not)."""
        s, job = self.settings, self.job
        rate = job.recipe.rate(s, self.step, self.progress())
        began = time.monotonic()
        made = next(self.examples)
        self.lots.note(made.drawn)
        self.reporter.waited(time.monotonic() - began, made.acting, made.words)
        return self.learner.advance(made, self.step, rate)

    def _has_words(self) -> bool:
        return bool(self.settings.word_batch and len(self.lots.word_rows))

    def _check(self, loss: float) -> None:
        """End a run that has diverged. Raises TrainError."""
        complaint = self.health.complaint(loss)
        if complaint:
            raise TrainError(
                f"{self.job.folder}: the run has diverged at step {self.step}: {complaint}; the last checkpoint and state "
                "are kept. Lower --peak-rate, or look for wild values in the data"
            )

    def _report(self) -> None:
        """What all processes together need to know is exchanged; process 0 validates."""
        learner = self.learner
        averaged: Callable[[], Pi0] = learner.averaged
        shown: AbstractContextManager[Pi0] = learner.with_averages()
        if learner.sharded:  # gathered by all, once
            model = learner.averaged()
            model = model if self.job.rank else model.to(learner.device)
            averaged, shown = partial(_itself, model), nullcontext(model)
        loss = self.reporter.report(self.now(), self.progress(), self.health.skipped, shown)
        if loss is not None:
            self._check(loss)
            self.health = self.health.after_report(loss)
            self._compare(averaged)

    def _compare(self, averaged: Callable[[], Pi0]) -> None:
        """Keep the weights if no validation was better before."""
        loss, s = self.reporter.val_loss, self.settings
        if self.job.rank or not len(self.lots.held):
            return
        best = self.so_far.best.after(loss, self.step)
        if best.step == self.step and s.keep and not self.saver.save_best(averaged()):
            return
        self.so_far = replace(self.so_far, best=best)


def _itself(model: Pi0) -> Pi0:
    return model
