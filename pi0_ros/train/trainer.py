"""The training loop: examples in, weights, averages and a record out; stops at any time, goes on where it stopped."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from pi0_ros.model import Pi0, merge_lora
from pi0_ros.model.ema import Ema
from pi0_ros.robot.disk import DiskFull
from pi0_ros.train import optim
from pi0_ros.train.ahead import StepExamples
from pi0_ros.train.checkpoints import BEST, NEWEST, keep_copy, write_adapter, write_checkpoint
from pi0_ros.train.compiling import compile_layers
from pi0_ros.train.errors import TrainError
from pi0_ros.train.health import Health
from pi0_ros.train.interruption import Interruption
from pi0_ros.train.job import Job
from pi0_ros.train.lots import Lots
from pi0_ros.train.objective import Objective, StepLoss, Weights
from pi0_ros.train.precision import in_precision, precision_of
from pi0_ros.train.processes import decided_by_first, in_parallel, world
from pi0_ros.train.reporter import Reporter
from pi0_ros.train.sharding import ShardedObjective, gathered, skeleton
from pi0_ros.train.so_far import SoFar
from pi0_ros.train.state import load_state, save_sharded_state, save_state


class Trainer:
    """One process's part of a run.

    Larger than a class should be because it is the state of a training run.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.settings = job, job.settings
        s = job.settings
        self.lots = Lots.of(job)
        self.device = torch.device(s.device)
        torch.manual_seed(s.seed)
        auxiliary = job.hooks.loss(job.model) if job.hooks.loss is not None else None
        weights = Weights.of(s, job.recipe)
        self.objective = Objective(job.model, weights, auxiliary, job.hooks.token_loss)
        self.sharded = s.shard and world() > 1
        if s.compile:
            compile_layers(job.model)
        self.empty = skeleton(job.model)
        self.parallel: Callable[..., StepLoss]
        if self.sharded:
            self.parallel = ShardedObjective(self.objective, self.device)
        else:
            self.parallel = in_parallel(self.objective.to(self.device))
        self.optimizer = optim.make_optimizer(self.objective, s, job.recipe)
        self.idle = optim.idle_parameters(job.model, job.recipe)
        self.ema = Ema(job.model, s.ema, s.ema_device or None)
        self.so_far = load_state(job.folder, self.objective, self.optimizer, self.ema) or SoFar()
        self.started = time.monotonic()
        self.health = Health()
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

    def run(self, asked: Interruption | None = None) -> None:
        """Train to the end, or until somebody asked to stop; every process leaves at the same step.

        Raises: TrainError where the run has diverged; the last checkpoint and state stay what they were.
        """
        with closing(self.examples):
            self._train(asked)
        self._report()
        self._save(last=True)
        self.reporter.close()
        if not self.job.rank:
            self._tell_end(asked)

    def _train(self, asked: Interruption | None) -> None:
        """Steps, validations and saves until the end, or until it was asked for."""
        saved = time.monotonic()
        while self._goes_on(asked):
            loss, finite = self._one_step()
            self.so_far = replace(self.so_far, step=self.step + 1, examples=self.so_far.examples + self._drawn())
            self.health = self.health.after_step(finite)
            self._check(0.0)
            self.reporter.note(loss, self.step, self.progress())
            if self.step % self.settings.validate_every == 0:
                self._report()
            if self._together(time.monotonic() - saved > 60 * self.settings.save_every):
                self._save(last=False)
                saved = time.monotonic()

    def _tell_end(self, asked: Interruption | None) -> None:
        """Why the run ended before its last step, and which checkpoint is the best."""
        s, best = self.settings, self.so_far.best
        if asked:
            print(f"stopped at step {self.step} of {s.steps}; the same command goes on from there", flush=True)
        elif best.ends(s.patience):
            print(
                f"ended early at step {self.step} of {s.steps}: {best.since} validations without a lower val_loss; a higher "
                "--patience goes on",
                flush=True,
            )
        if s.keep and best.loss is not None:
            print(f"{self.job.folder / BEST}: best on held-out frames, val_loss {best.loss:.4g} at step {best.step}")

    def _goes_on(self, asked: Interruption | None) -> bool:
        """Process 0's clock, its validations, and what it was asked, decide for all."""
        patient = not self.so_far.best.ends(self.settings.patience)
        return decided_by_first(self.progress() < 1.0 and patient and not asked)

    def _together(self, value: bool) -> bool:
        """What process 0 says, where all have to act together; else each by itself."""
        return decided_by_first(value) if self.sharded else value

    def _drawn(self) -> int:
        """Examples of one step of all processes."""
        return (self.settings.batch + (self.settings.word_batch if self._has_words() else 0)) * self.settings.workers

    def _one_step(self) -> tuple[StepLoss, bool]:
        """One optimiser step; its loss, and whether the gradient was finite (the step is left out where not)."""
        s, job = self.settings, self.job
        rate = job.recipe.rate(s, self.step, self.progress())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        began = time.monotonic()
        made = next(self.examples)
        self.lots.note(made.drawn)
        self.reporter.waited(time.monotonic() - began, made.acting, made.words)
        moved = (part if part is None else part.to(self.device) for part in (made.acting, made.words, made.flow))
        loss = self._loss(*moved)
        _, finite = optim.advance(loss.total, self.objective, self.optimizer, s.clip, self.idle)
        self.ema.decay = job.recipe.ema_decay(s.ema, self.step)
        self.ema.update(job.model)
        return loss, finite

    def _has_words(self) -> bool:
        return bool(self.settings.word_batch and len(self.lots.told))

    def _loss(self, *batch: Any) -> StepLoss:
        loss: StepLoss = in_precision(precision_of(self.settings), self.parallel, batch, self.device.type)
        return loss

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
        averaged: Callable[[], Pi0] = self.averaged
        if self.sharded:  # gathered by all, once
            model = self.averaged()
            model = model if self.job.rank else model.to(self.device)
            averaged = partial(_itself, model)
        loss = self.reporter.report(self.now(), self.progress(), self.health.skipped, averaged)
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
        save = lambda: write_checkpoint(self.job, averaged(), BEST, self._note())
        if best.step == self.step and s.keep and not self._written(save, last=False):
            return
        self.so_far = replace(self.so_far, best=best)

    def averaged(self, merged: bool = True) -> Pi0:
        """A copy with averaged weights, adapters folded in where `merged`.

        Sharded weights are gathered: all processes have to ask, and all but process 0 get the network without weights.
        """
        if self.sharded:
            model = gathered(self.job.model, self.ema, self.empty)
            if self.job.rank:
                return model
        else:
            model = copy.deepcopy(self.job.model)
            self.ema.copy_to(model)
        if not merged:
            return model
        return merge_lora(model.requires_grad_(False)).eval()

    def _save(self, last: bool) -> None:
        """State and checkpoint. A full disk is said, and tried again at the next time; at the end it is an error."""
        if self.job.rank and not self.sharded:
            return
        job, model = self.job, self.averaged()
        adapters = self.averaged(merged=False) if self.settings.lora_export == "peft" else None
        if not job.rank and not all(bool(p.isfinite().all()) for p in model.parameters()):
            raise TrainError(f"{job.folder}: weights are not finite at step {self.step}; the last checkpoint is kept")
        self._written(lambda: self._save_all(model, adapters), last)

    def _save_all(self, model: Pi0, adapters: Pi0 | None) -> None:
        """Raises OSError."""
        job = self.job
        write_state = save_sharded_state if self.sharded else save_state
        write_state(job.folder, self.objective, self.optimizer, self.ema, self.now())
        if job.rank:
            return
        write_checkpoint(job, model, NEWEST, self._note())
        keep_copy(job.folder, self.step, self.settings.keep, tuple(name for name, _, _ in job.others))
        if adapters is not None:
            write_adapter(job, adapters)

    def _written(self, write: Callable[[], None], last: bool) -> bool:
        """Whether it could be written; a full disk is said, and at the end it is an error."""
        try:
            write()
        except OSError as problem:
            place = problem.place if isinstance(problem, DiskFull) else None
            cause = f"the disk is full at {place}" if place is not None else problem.strerror or problem
            sentence = f"{self.job.folder}: state and checkpoint could not be written ({cause})"
            if last:
                raise TrainError(f"{sentence}; make room and give the same command again") from problem
            print(f"{sentence}; make room: the run goes on, and tries again at the next save", flush=True)
            return False
        return True

    def _note(self) -> str:
        """One sentence on how far the training was."""
        now, s = self.now(), self.settings
        return f"Seed {s.seed}, {now.step} steps, {now.examples} examples, {now.seconds / 60:.0f} minutes; see docs/training.md.\n"


def _itself(model: Pi0) -> Pi0:
    return model
