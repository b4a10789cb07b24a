"""The training loop: examples in, weights, averages and a record out; stops at any time, goes on where it stopped."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch.func import functional_call

from pi0_ros.model import Pi0, merge_lora
from pi0_ros.model.ema import Ema
from pi0_ros.model.losses import FlowTargets, delayed_times, flow_times
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.normalize import Statistics
from pi0_ros.train import optim
from pi0_ros.train.draw import draw_chances
from pi0_ros.train.examples import ExampleMaker, Examples
from pi0_ros.train.export import export
from pi0_ros.train.frames import Frames
from pi0_ros.train.objective import Objective, StepLoss
from pi0_ros.train.precision import Float32Attention
from pi0_ros.train.record import draw_curves, read_lines, write_line
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.state import load_state, save_state
from pi0_ros.train.validate import chunk_error, subtask_accuracy

CURVES = ("flow", "places", "words", "chunk_near")
VALIDATED = 96  # frames a validation


@dataclass(frozen=True)
class Job:
    """What is trained, from what, to where.

    sources: number of the dataset of each frame, and how lively each is, 0..1. tokenizer_file: None for the project's
    own. objects: tokens of the words for what the frames' grounding is about.
    """

    model: Pi0
    maker: ExampleMaker
    adapter: Adapter
    statistics: Mapping[str, Statistics]
    folder: Path
    settings: TrainSettings
    rank: int = 0
    sources: np.ndarray | None = None
    lively: np.ndarray | None = None
    tokenizer_file: Path | None = None
    objects: tuple[int, ...] = ()


def split_episodes(frames: Frames, share: float, sources: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Frame indices to train on and, from the last episodes of every source, to validate on.

    sources [N]: number of the dataset of each frame, None for one. A source of a single episode is trained on whole.
    """
    sources = np.zeros(len(frames), np.int64) if sources is None else sources
    held = np.zeros(len(frames), bool)
    for source in np.unique(sources):
        own = sources == source
        episodes = np.unique(frames.episode[own])
        count = min(max(1, round(share * len(episodes))), len(episodes) - 1)
        held |= own & np.isin(frames.episode, episodes[len(episodes) - count :])
    return np.flatnonzero(~held), np.flatnonzero(held)


class Trainer:
    """One process's part of a run."""

    def __init__(self, job: Job) -> None:
        self.job, self.settings = job, job.settings
        s = job.settings
        sources = np.zeros(len(job.maker.frames), np.int64) if job.sources is None else job.sources
        self.train, self.held = split_episodes(job.maker.frames, s.validation_share, sources)
        lively = None if job.lively is None else job.lively[self.train]
        self.chances = draw_chances(sources[self.train], lively, s.still_weight)
        told = job.maker.frames.high_task >= 0
        self.told = self.train[told[self.train]]
        self.rng = np.random.default_rng([s.seed, job.rank])
        self.generator = torch.Generator().manual_seed(s.seed * 1000 + job.rank)
        first_place = job.maker.first_place
        objects = job.objects if job.maker.labels is not None else ()
        weights = (s.alpha, s.grounding_weight, s.word_weight, s.insulate, objects, s.patch_weight)
        torch.manual_seed(s.seed)
        self.objective = Objective(job.model, first_place, *weights)
        self.optimizer = optim.make_optimizer(self.objective, s)
        self.ema = Ema(job.model, s.ema)
        self.step, self.before = load_state(job.folder, self.objective, self.optimizer, self.ema) or (0, 0.0)
        self.started = self.saved = time.monotonic()
        self.sums: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """Seconds trained, earlier parts of the run included."""
        return self.before + time.monotonic() - self.started

    def progress(self) -> float:
        """How far the run is, 0..1, by steps or by the clock."""
        clock = self.seconds / (60 * self.settings.minutes) if self.settings.minutes else 0.0
        return max(self.step / self.settings.steps, clock)

    def run(self) -> None:
        """Train to the end; every process leaves at the same step."""
        while self._goes_on():
            loss = self._one_step()
            self._note(loss)
            self.step += 1
            if self.step % self.settings.validate_every == 0:
                self._report()
            if time.monotonic() - self.saved > 60 * self.settings.save_every:
                self._save()
        self._report()
        self._save()

    def _goes_on(self) -> bool:
        """Process 0's clock decides for all."""
        more = torch.tensor([float(self.progress() < 1.0)])
        if torch.distributed.is_initialized():
            torch.distributed.broadcast(more, 0)
        return bool(more.item())

    def _one_step(self) -> StepLoss:
        s, job = self.settings, self.job
        rate = optim.learning_rate(s, self.step, self.progress())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        acting = job.maker.actions(self.rng.choice(self.train, s.batch, p=self.chances), self.rng)
        words = job.maker.words(self.rng.choice(self.told, s.word_batch), self.rng) if self._has_words() else None
        flow = self._flow(acting) if self.step >= s.language_steps else None
        with Float32Attention():
            loss = self._loss(acting, words, flow)
        loss.total.backward()
        parameters = [p for p in self.objective.parameters() if p.requires_grad]
        for p in parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        optim.share_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, s.clip)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.decay = optim.ema_decay(s.ema, self.step)
        self.ema.update(job.model)
        return loss

    def _has_words(self) -> bool:
        return bool(self.settings.word_batch and len(self.told))

    def _loss(self, *batch: Any) -> StepLoss:
        if self.settings.precision == "float32":
            return self.objective(*batch)
        if self.settings.gradient_checkpointing:  # layers run again in the backward pass, when no weights are swapped
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.objective(*batch)
        weights = optim.rounded(self.objective.named_parameters())
        return functional_call(self.objective, weights, batch)

    def _flow(self, acting: Examples) -> FlowTargets:
        """Noise and times of a step; with `prefix_chance` the first rows of each chunk are given (real-time chunking).

        Rows behind an episode's end count nowhere: they were not shown.
        """
        s, actions = self.settings, acting.actions
        batch, horizon, width = actions.shape
        noise = torch.randn((batch, s.draws, horizon, width), generator=self.generator)
        t = flow_times(torch.rand((batch, s.draws), generator=self.generator))
        shown = (torch.arange(horizon) < acting.valid[:, None]).float()[:, None].expand(-1, s.draws, -1)
        if self.rng.random() >= s.prefix_chance or s.prefix_rows < 1:
            return FlowTargets(actions, noise, t, shown)
        delay = torch.randint(0, s.prefix_rows + 1, t.shape, generator=self.generator)
        times, weight = delayed_times(t, delay, horizon)
        return FlowTargets(actions, noise, times, weight * shown)

    def _note(self, loss: StepLoss) -> None:
        values = {f.name: float(getattr(loss, f.name).detach()) for f in fields(loss) if f.name != "total"}
        for name, value in (values | {"count": 1.0}).items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def _report(self) -> None:
        """Mean losses since the last report and errors on held-out frames (with the averaged weights), by process 0."""
        if self.job.rank or not self.sums:
            return
        count = self.sums.pop("count")
        line: dict[str, Any] = {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "examples": self.step * (self.settings.batch + self.settings.word_batch) * self.settings.workers,
            "rate": optim.learning_rate(self.settings, self.step, self.progress()),
            **{k: round(v / count, 5) for k, v in self.sums.items()},
        }
        self.sums = {}
        line |= self._validated()
        write_line(self.job.folder / "record.jsonl", line)
        draw_curves(read_lines(self.job.folder / "record.jsonl"), CURVES, self.job.folder / "curves.png")
        print(" ".join(f"{k} {v:.4g}" for k, v in line.items()), flush=True)

    def _averaged(self) -> Pi0:
        """A copy with averaged weights, adapters folded in."""
        model = copy.deepcopy(self.job.model).requires_grad_(False)
        self.ema.copy_to(model)
        return merge_lora(model).eval()

    def _validated(self) -> dict[str, float]:
        if not len(self.held):
            return {}
        index = np.random.default_rng(1).choice(self.held, min(VALIDATED, len(self.held)), replace=False)
        model = self._averaged()
        values = chunk_error(model, self.job.maker, index)
        told = index[self.job.maker.frames.high_task[index] >= 0]
        if len(told):
            values["subtasks"] = subtask_accuracy(model, self.job.maker, told)
        return {k: round(v, 4) for k, v in values.items()}

    def _save(self) -> None:
        self.saved = time.monotonic()
        if self.job.rank:
            return
        job = self.job
        save_state(job.folder, self.objective, self.optimizer, self.ema, self.step, self.seconds)
        export(
            self._averaged(), job.folder / "checkpoint", job.adapter, job.statistics, run_note(self), job.tokenizer_file
        )


def run_note(trainer: Trainer) -> str:
    """One sentence on how far the training was."""
    s = trainer.settings
    examples = trainer.step * (s.batch + s.word_batch) * s.workers
    minutes = trainer.seconds / 60
    return f"Seed {s.seed}, {trainer.step} steps, {examples} examples, {minutes:.0f} minutes; see docs/training.md.\n"
