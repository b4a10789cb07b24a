"""The training loop: examples in, weights, averages and a record out; stops at any time, goes on where it stopped."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from pi0_ros.model import Pi0, merge_lora
from pi0_ros.model.checkpoints import Conventions
from pi0_ros.model.checkpoints.peft_save import save_peft
from pi0_ros.model.checkpoints.save import replacing_folder
from pi0_ros.model.ema import Ema
from pi0_ros.model.losses import FlowTargets, delayed_times, flow_times
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.normalize import Statistics
from pi0_ros.train import optim
from pi0_ros.train.draw import Draws, step_streams
from pi0_ros.train.errors import TrainError
from pi0_ros.train.examples import ExampleMaker, Examples
from pi0_ros.train.export import export, export_beside
from pi0_ros.train.frames import Frames, MixedFrames
from pi0_ros.train.health import Health
from pi0_ros.train.hooks import Hooks
from pi0_ros.train.interruption import Interruption
from pi0_ros.train.mixed import MixedMaker
from pi0_ros.train.objective import Objective, StepLoss, Weights
from pi0_ros.train.precision import Float32Attention
from pi0_ros.train.processes import decided_by_first, in_parallel, summed
from pi0_ros.train.recipe import OURS, Recipe
from pi0_ros.train.record import cut_back, draw_curves, read_lines, write_line
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.state import SoFar, load_state, save_state
from pi0_ros.train.ticker import Ticker
from pi0_ros.train.validate import measured, subtask_accuracy

CURVES = ("flow", "answer", "words", "chunk_near")
VALIDATED = 96  # frames a validation


@dataclass(frozen=True)
class Job:
    """What is trained, from what, to where.

    draws: from what, and how often. tokenizer_file: None for the project's own. fast_folder: of the action tokenizer, None without one. origin: what the weights were before. conventions: habits
    of the project the start comes from, None for ours. others: further robots, by name, for each of which a checkpoint is
    written beside the first one's. base: folder that was started from, "" for none.
    """

    model: Pi0
    maker: ExampleMaker | MixedMaker
    adapter: Adapter
    statistics: Mapping[str, Statistics]
    folder: Path
    settings: TrainSettings
    rank: int = 0
    draws: Draws | None = None
    tokenizer_file: Path | None = None
    fast_folder: Path | None = None
    origin: str = "random weights"
    conventions: Conventions | None = None
    recipe: Recipe = OURS
    hooks: Hooks = field(default_factory=Hooks)
    others: tuple[tuple[str, Adapter, Mapping[str, Statistics]], ...] = ()
    base: str = ""


def split_episodes(
    frames: Frames | MixedFrames, share: float, sources: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Frame indices to train on and, from the last episodes of every source, to validate on.

    sources [N]: number of the dataset of each frame, None for one. A source of a single episode is trained on whole, and
    so is everything where `share` is 0.
    """
    sources = np.zeros(len(frames), np.int64) if sources is None else sources
    held = np.zeros(len(frames), bool)
    for source in np.unique(sources):
        own = sources == source
        episodes = np.unique(frames.episode[own])
        count = min(max(1, round(share * len(episodes))), len(episodes) - 1) if share > 0.0 else 0
        held |= own & np.isin(frames.episode, episodes[len(episodes) - count :])
    return np.flatnonzero(~held), np.flatnonzero(held)


class Lots:
    """Which rows are trained on and held out, how they are drawn, and what of them was."""

    def __init__(self, job: Job, draws: Draws) -> None:
        s, self.maker, self.draws = job.settings, job.maker, draws
        frames = job.maker.frames
        self.train, self.held = split_episodes(frames, s.validation_share, draws.sources)
        self._chances = draws.chances(self.train, s.still_weight)
        self.told = self.train[frames.told[self.train]]
        sizes = [len(t.items) for t in job.maker.texts] if isinstance(job.maker, MixedMaker) else []
        self._word_chances = draws.word_chances(self.told, sizes)
        if sizes:
            self.told = np.concatenate([self.told, len(frames) + np.arange(sum(sizes))])
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
        return self._noted(rng.choice(self.train, count, p=self._chances))

    def draw_words(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Numbers of rows for examples of text."""
        return self._noted(rng.choice(self.told, count, p=self._word_chances))

    def _noted(self, rows: np.ndarray) -> np.ndarray:
        self._drawn += np.bincount(self._sources[rows].astype(np.int64), minlength=len(self._drawn))
        return rows

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


class Trainer:
    """One process's part of a run."""

    def __init__(self, job: Job) -> None:
        self.job, self.settings = job, job.settings
        s = job.settings
        self.lots = Lots.of(job)
        self.device = torch.device(s.device)
        torch.manual_seed(s.seed)
        auxiliary = job.hooks.loss(job.model) if job.hooks.loss is not None else None
        weights = Weights(s.alpha, s.answer_weight, s.word_weight, s.insulate, job.recipe.by_row)
        self.objective = Objective(job.model, weights, auxiliary, job.hooks.token_loss).to(self.device)
        self.optimizer = optim.make_optimizer(self.objective, s, job.recipe)
        self.idle = optim.idle_parameters(job.model, job.recipe)
        self.ema = Ema(job.model, s.ema, s.ema_device or None)
        self.so_far = load_state(job.folder, self.objective, self.optimizer, self.ema) or SoFar()
        self.parallel = in_parallel(self.objective)
        self.started = time.monotonic()
        self.health = Health()
        self.reporter = Reporter(job, self.lots, self.so_far.step)

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
        saved = time.monotonic()
        while self._goes_on(asked):
            loss, finite = self._one_step()
            self.so_far = replace(self.so_far, step=self.step + 1, examples=self.so_far.examples + self._drawn())
            self.health = self.health.after_step(finite)
            self._check(0.0)
            self.reporter.note(loss, self.step, self.progress())
            if self.step % self.settings.validate_every == 0:
                self._report()
            if time.monotonic() - saved > 60 * self.settings.save_every:
                self._save(last=False)
                saved = time.monotonic()
        self._report()
        self._save(last=True)
        if asked and not self.job.rank:
            print(
                f"stopped at step {self.step} of {self.settings.steps}; the same command goes on from there", flush=True
            )

    def _goes_on(self, asked: Interruption | None) -> bool:
        """Process 0's clock, and what it was asked, decide for all."""
        return decided_by_first(self.progress() < 1.0 and not asked)

    def _drawn(self) -> int:
        """Examples of one step of all processes."""
        return (self.settings.batch + (self.settings.word_batch if self._has_words() else 0)) * self.settings.workers

    def _one_step(self) -> tuple[StepLoss, bool]:
        """One optimiser step; its loss, and whether the gradient was finite (the step is left out where not)."""
        s, job = self.settings, self.job
        rate = job.recipe.rate(s, self.step, self.progress())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rng, generator = step_streams(s.seed, job.rank, self.step)
        began = time.monotonic()
        acting = job.maker.actions(self.lots.draw_actions(rng, s.batch), rng)
        words = job.maker.words(self.lots.draw_words(rng, s.word_batch), rng) if self._has_words() else None
        flow = flow_targets(acting, s, rng, generator, job.recipe) if self.step >= s.language_steps else None
        self.reporter.waited(time.monotonic() - began)
        moved = (part if part is None else part.to(self.device) for part in (acting, words, flow))
        loss = self._loss(*moved)
        _, finite = optim.advance(loss.total, self.objective, self.optimizer, s.clip, self.idle)
        self.ema.decay = job.recipe.ema_decay(s.ema, self.step)
        self.ema.update(job.model)
        return loss, finite

    def _has_words(self) -> bool:
        return bool(self.settings.word_batch and len(self.lots.told))

    def _loss(self, *batch: Any) -> StepLoss:
        if self.settings.precision == "float32":
            return self.parallel(*batch)
        if self.device.type != "cpu":
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                return self.parallel(*batch)
        with Float32Attention():
            if (
                self.settings.gradient_checkpointing
            ):  # layers run again in the backward pass, when no weights are swapped
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    return self.parallel(*batch)
            return functional_call(self.parallel, optim.rounded(self.parallel.named_parameters()), batch)

    def _check(self, loss: float) -> None:
        """End a run that has diverged. Raises TrainError."""
        complaint = self.health.complaint(loss)
        if complaint:
            raise TrainError(
                f"{self.job.folder}: the run has diverged at step {self.step}: {complaint}; the last checkpoint and state "
                "are kept. Lower --peak-rate, or look for wild values in the data"
            )

    def _report(self) -> None:
        loss = self.reporter.report(self.now(), self.progress(), self.health.skipped, self.averaged)
        if loss is not None:
            self._check(loss)
            self.health = self.health.after_report(loss)

    def averaged(self, merged: bool = True) -> Pi0:
        """A copy with averaged weights, adapters folded in where `merged`."""
        model = copy.deepcopy(self.job.model)
        self.ema.copy_to(model)
        if not merged:
            return model
        return merge_lora(model.requires_grad_(False)).eval()

    def _save(self, last: bool) -> None:
        """State and checkpoint. A full disk is said, and tried again at the next time; at the end it is an error."""
        if self.job.rank:
            return
        job, model = self.job, self.averaged()
        if not all(bool(p.isfinite().all()) for p in model.parameters()):
            raise TrainError(f"{job.folder}: weights are not finite at step {self.step}; the last checkpoint is kept")
        try:
            save_state(job.folder, self.objective, self.optimizer, self.ema, self.now())
            export(
                model,
                job.folder / "checkpoint",
                job.adapter,
                job.statistics,
                self._note(),
                job.tokenizer_file,
                origin=job.origin,
                fast_folder=job.fast_folder,
                conventions=job.conventions,
            )
            if self.settings.lora_export == "peft":
                with replacing_folder(job.folder / "adapter") as partial:
                    save_peft(self.averaged(merged=False), partial, job.base)
            for name, adapter, statistics in job.others:
                export_beside(job.folder / "checkpoint", job.folder / f"checkpoint-{name}", adapter, statistics)
        except OSError as problem:
            sentence = f"{job.folder}: state and checkpoint could not be written ({problem.strerror or problem})"
            if last:
                raise TrainError(f"{sentence}; make room and give the same command again") from problem
            print(f"{sentence}; make room: the run goes on, and tries again at the next save", flush=True)

    def _note(self) -> str:
        """One sentence on how far the training was."""
        now, s = self.now(), self.settings
        return f"Seed {s.seed}, {now.step} steps, {now.examples} examples, {now.seconds / 60:.0f} minutes; see docs/training.md.\n"


def flow_targets(
    acting: Examples,
    settings: TrainSettings,
    rng: np.random.Generator,
    generator: torch.Generator,
    recipe: Recipe = OURS,
) -> FlowTargets | None:
    """Noise and times of a step; with `prefix_chance` the first rows of each chunk are given (real-time chunking).

    Rows behind an episode's end count nowhere: they were not shown. None where the actions are text alone.
    """
    actions, s = acting.actions, settings
    if actions is None or acting.valid is None:
        return None
    batch, horizon, width = actions.shape
    noise = torch.randn((batch, s.draws, horizon, width), generator=generator)
    t = flow_times(torch.rand((batch, s.draws), generator=generator))
    shown = (torch.arange(horizon) < acting.valid[:, None]).float()[:, None].expand(-1, s.draws, -1)
    dims = acting.dims if recipe.real_dims else None
    if rng.random() >= s.prefix_chance or s.prefix_rows < 1:
        return FlowTargets(actions, noise, t, shown, dims)
    delay = torch.randint(0, s.prefix_rows + 1, t.shape, generator=generator)
    times, weight = delayed_times(t, delay, horizon)
    return FlowTargets(actions, noise, times, weight * shown, dims)


class Reporter:
    """What process 0 tells: a line now and then, and at every validation the record, the curves and the errors."""

    def __init__(self, job: Job, lots: Lots, step: int) -> None:
        self.job, self.lots = job, lots
        self.sums: dict[str, float] = {}
        self._waited, self._since = 0.0, time.monotonic()
        self.ticker = Ticker(job.settings.steps)
        if not job.rank:
            cut_back(job.folder / "record.jsonl", step)

    def waited(self, seconds: float) -> None:
        """A step waited so long for its examples."""
        self._waited += seconds

    def loading(self) -> float:
        """Share of the time since the last report in which examples were waited for."""
        now = time.monotonic()
        share = self._waited / max(now - self._since, 1e-9)
        self._waited, self._since = 0.0, now
        return share

    def note(self, loss: StepLoss, step: int, progress: float) -> None:
        """One step's losses."""
        values = {name: float(value.detach()) for name, value in loss.items().items()}
        for name, value in (values | {"count": 1.0}).items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if not self.job.rank:
            rate = self.job.recipe.rate(self.job.settings, step, progress)
            self.ticker.tick(time.monotonic(), step, values["total"], rate, progress)

    def report(self, now: SoFar, progress: float, skipped: int, averaged: Callable[[], Pi0]) -> float | None:
        """Mean losses since the last report, and errors on held-out frames with the averaged weights.

        Returns the mean total loss, None where no step was done since.
        """
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
            "loading": round(self.loading(), 3),
            **{k: round(v / count, 5) for k, v in sums.items()},
            **({"skipped": skipped} if skipped else {}),
            **{f"drawn {name}": round(share, 4) for name, share in drawn.items()},
        }
        line |= self._validated(averaged) if math.isfinite(total) else {}
        file = self.job.folder / "record.jsonl"
        write_line(file, line)
        draw_curves(read_lines(file), CURVES, self.job.folder / "curves.png")
        print(" ".join(f"{k} {v:.4g}" for k, v in line.items()), flush=True)
        return total

    def _validated(self, averaged: Callable[[], Pi0]) -> dict[str, float]:
        """Errors on held-out frames; of several sources the mean over them, and each by its name."""
        if not len(self.lots.held):
            return {}
        model, found = averaged(), {}
        for name, maker, index in self.lots.held_out(VALIDATED):
            values = dict(measured(model, maker, index))
            told = index[maker.frames.told[index]]
            if len(told):
                values["subtasks"] = subtask_accuracy(model, maker, told)
            found[name] = values
        if len(found) == 1:
            return {k: round(v, 4) for k, v in next(iter(found.values())).items()}
        keys = dict.fromkeys(key for values in found.values() for key in values)
        means = {k: _mean([v[k] for v in found.values() if k in v]) for k in keys}
        named = {f"{key} {name}": value for name, values in found.items() for key, value in values.items()}
        return {k: round(v, 4) for k, v in {**means, **named}.items()}


def _mean(values: list[float]) -> float:
    """Of those that are numbers; not a number where none is."""
    known = [v for v in values if not math.isnan(v)]
    return float(np.mean(known)) if known else math.nan
