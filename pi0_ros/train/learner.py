"""The network of a run with its loss, its optimiser and its averaged weights; sharded over processes or whole in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from pi0_ros.model import Pi0, merge_lora
from pi0_ros.model.ema import Ema
from pi0_ros.train import optim
from pi0_ros.train.ahead import StepData
from pi0_ros.train.compiling import compile_layers
from pi0_ros.train.job import Job
from pi0_ros.train.objective import Objective, StepLoss, Weights
from pi0_ros.train.precision import in_precision, precision_of
from pi0_ros.train.processes import in_parallel, world
from pi0_ros.train.sharding import ShardedObjective, gathered, skeleton


class Learner:
    """One process's copy, or share, of the network that is trained."""

    def __init__(self, job: Job) -> None:
        self._job, s = job, job.settings
        self.device = torch.device(s.device)
        torch.manual_seed(s.seed)
        auxiliary = job.hooks.loss(job.model) if job.hooks.loss is not None else None
        self.objective = Objective(job.model, Weights.of(s, job.recipe), auxiliary, job.hooks.token_loss)
        self.sharded = s.shard and world() > 1
        if s.compile:
            compile_layers(job.model)
        self._empty = skeleton(job.model)
        self._parallel: Callable[..., StepLoss]
        if self.sharded:
            self._parallel = ShardedObjective(self.objective, self.device)
        else:
            self._parallel = in_parallel(self.objective.to(self.device))
        self.optimizer = optim.make_optimizer(self.objective, s, job.recipe)
        self._idle = optim.idle_parameters(job.model, job.recipe)
        averaged = job.model if s.ema else nn.Module()  # without averages, what is saved are the weights
        self.ema = Ema(averaged, s.ema, s.ema_device or None)

    def advance(self, made: StepData, step: int, rate: float) -> tuple[StepLoss, bool]:
        """One optimiser step, number `step`, at this learning rate; its loss, and whether the gradient was finite.

        If it was not, nothing is learned from it.
        """
        job, s = self._job, self._job.settings
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        moved = (part if part is None else part.to(self.device) for part in (made.acting, made.words, made.flow))
        loss = self.loss(*moved)
        _, finite = optim.advance(loss.total, self.objective, self.optimizer, s.clip, self._idle)
        self.ema.decay = job.recipe.ema_decay(s.ema, step)
        self.ema.update(job.model)
        return loss, finite

    def loss(self, *batch: Any) -> StepLoss:
        """The loss of acting examples, word examples and flow targets, each or None, in the precision of the run."""
        precision = precision_of(self._job.settings)
        loss: StepLoss = in_precision(precision, self._parallel, batch, self.device.type)
        return loss

    @contextmanager
    def with_averages(self) -> Iterator[Pi0]:
        """The network itself, with averaged weights while it is open: a GPU has no room for a second one. Nothing is compiled for
        the shapes of a validation."""
        model = self._job.model
        eager = torch.compiler.set_stance("force_eager") if self._job.settings.compile else nullcontext()
        with self.ema.in_place(model), eager:
            yield model

    def averaged(self) -> Pi0:
        """A copy on the CPU with averaged weights, adapters folded in.

        Sharded weights are gathered: all processes have to ask, and all but process 0 get the network without weights.
        """
        return self.folded(self.unfolded())

    def unfolded(self) -> Pi0:
        """`averaged` before its adapters are folded in."""
        return gathered(self._job.model, self.ema, self._empty)

    def folded(self, model: Pi0) -> Pi0:
        """A network of `unfolded` with its adapters folded in, in place, in the process that has its weights."""
        return model if self._job.rank else merge_lora(model.requires_grad_(False)).eval()
