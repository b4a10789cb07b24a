"""A whole run from frames and settings: statistics, network, processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pi0_ros.model import LoraConfig, ModelConfig, Pi0, add_lora, initialise
from pi0_ros.model.checkpoints import Conventions, start_from
from pi0_ros.model.checkpoints.conventions import conventions_for
from pi0_ros.policy import tiny_tokenizer
from pi0_ros.policy.adapter import Adapter, load_adapter
from pi0_ros.policy.checkpoint import Overrides, build_pipeline
from pi0_ros.policy.fast import fit_fast, load_fast
from pi0_ros.policy.normalize import Statistics, read_norm_stats, write_norm_stats
from pi0_ros.policy.pipeline import Pipeline
from pi0_ros.policy.tokenizer import Tokenizer, find_tokenizer, load_tokenizer
from pi0_ros.train.draw import draw_chances, shares
from pi0_ros.train.errors import TrainError
from pi0_ros.train.examples import ExampleMaker
from pi0_ros.train.export import FAST_FOLDER
from pi0_ros.train.frames import Frames, join, load_frames
from pi0_ros.train.hooks import MakeHooks, no_hooks
from pi0_ros.train.interruption import Interruption
from pi0_ros.train.memory import check_memory, memory_plan
from pi0_ros.train.prompt_check import check_prompts
from pi0_ros.train.recipe import recipe_for, warmup_steps
from pi0_ros.train.run_folder import check_room
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.start_statistics import choose, remarks
from pi0_ros.train.trainer import Job, Trainer, split_episodes
from pi0_ros.train.workers import run_workers

FIT = "fit"  # in place of an action tokenizer's folder
FITTED = 20_000  # chunks it is fitted on at most
OWN_CODES = 512  # of the project's own tokenizer, which has 1024 tokens to spare less those that FAST leaves out


@dataclass(frozen=True)
class Plan:
    """A run in plain values, as processes receive it.

    frames: folders of frames; several are a mixture with weights n^0.43. adapter: name or file. init: a checkpoint
    folder to start from, "" for random weights. tokenizer: its file or folder, "" for the project's own. statistics:
    "checkpoint", "data", a file, or "" for what fits. fast: folder of the action tokenizer, FIT to make one, "" without.
    conventions: habits of the project the start comes from, None for ours; origin: its name. hooks: an experiment's.
    """

    frames: tuple[str, ...]
    adapter: str
    model: ModelConfig
    settings: TrainSettings
    folder: str
    init: str = ""
    tokenizer: str = ""
    statistics: str = ""
    fast: str = ""
    origin: str = "pi0_ros"
    conventions: Conventions | None = None
    hooks: MakeHooks = no_hooks


@dataclass(frozen=True)
class ToBe:
    """The checkpoint that a run will write, as `build_pipeline` sees it."""

    config: ModelConfig
    conventions: Conventions
    folder: Path = Path("checkpoint")
    origin: str = "pi0_ros"
    settings: Mapping[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()


def pipeline_for(
    adapter: Adapter, model: ModelConfig, statistics: Mapping[str, Statistics], conventions: Conventions | None = None
) -> Pipeline:
    """The pipeline that `load_policy` builds for the exported checkpoint: the same function makes both."""
    habits = conventions or conventions_for("pi0_ros", model.kind, {})
    return build_pipeline(ToBe(model, habits), adapter, Overrides(statistics=statistics))


def run(plan: Plan) -> int:
    """Train in one or several processes; what is in the folder already is continued.

    Returns the signal that ended the run early, 0 where it was finished. Raises TrainError.
    """
    folder = Path(plan.folder)
    folder.mkdir(parents=True, exist_ok=True)
    adapter, frames = load_adapter(plan.adapter), _frames(plan)
    print(f"{len(frames)} frames of {int(frames.episode.max()) + 1} episodes", flush=True)
    if (folder / "norm_stats.json").is_file():  # a continued run keeps its scale
        source = "of the run that is continued"
    else:
        table, source = choose(plan.statistics, plan.init, adapter, frames)
        write_norm_stats(folder, table)
    print(f"statistics {source}", flush=True)
    statistics = read_norm_stats(folder)
    for remark in remarks(frames, adapter, statistics):
        print(f"look: {remark}", flush=True)
    plan = replace(plan, fast=fast_tokenizer(plan, adapter, frames, statistics))
    prepare(plan, adapter, frames, statistics)
    return run_workers(plan.settings.workers, train, plan)


def fast_tokenizer(plan: Plan, adapter: Adapter, frames: Frames, statistics: Mapping[str, Statistics]) -> str:
    """Folder of the action tokenizer; with "fit" it is fitted on this run's normalised chunks, once.

    Raises: TrainError where no chunk is whole, PolicyError where the chunks do not fit into its vocabulary.
    """
    if plan.fast != FIT:
        return plan.fast
    folder = Path(plan.folder) / FAST_FOLDER
    if not folder.is_dir():
        pipeline = pipeline_for(adapter, plan.model, statistics, plan.conventions)
        whole = np.flatnonzero(frames.valid == frames.chunk.shape[1])
        if not len(whole):
            raise TrainError("no chunk is shown to its end, so that no action tokenizer can be fitted")
        taken = whole[np.unique(np.linspace(0, len(whole) - 1, min(FITTED, len(whole))).astype(int))]
        chunks = pipeline.normalised_actions(frames.chunk[taken].astype(np.float64), frames.state[taken])
        fitted = fit_fast(chunks[..., : len(frames.channels)], vocab_size=1024 if plan.tokenizer else OWN_CODES)
        partial = folder.with_name(folder.name + ".partial")
        fitted.save(partial)
        partial.rename(folder)
        print(f"action tokenizer fitted on {len(taken)} chunks: {folder}", flush=True)
    return str(folder)


def prepare(plan: Plan, adapter: Adapter, frames: Frames, statistics: dict[str, Statistics]) -> None:
    """Everything that can be known to fail, before anything is trained. Raises TrainError."""
    settings = plan.settings
    tokenizer = load_tokenizer(plan.tokenizer) if plan.tokenizer else tiny_tokenizer.build()
    for augmentation in plan.hooks(tokenizer).augmentations:
        augmentation.check(frames.channels, frames.cameras)
    check_prompts(frames, pipeline_for(adapter, plan.model, statistics, plan.conventions), tokenizer)
    check_memory(memory_plan(plan.model, settings), settings.device)
    check_room(Path(plan.folder), 20 * parameter_count(plan.model))
    if warmup_steps(settings) != settings.warmup:
        print(
            f"warm-up of {settings.warmup} steps is shortened to {warmup_steps(settings)}: the run has {settings.steps}"
        )
    sources = sources_of(plan.frames)
    trained, _ = split_episodes(frames, settings.validation_share, sources)
    lively = moving(frames.chunk, adapter.offset_mask)[trained]
    chances = draw_chances(sources[trained], lively, settings.still_weight)
    if len(plan.frames) > 1:
        for root, share in zip(plan.frames, shares(sources[trained], chances, len(plan.frames)), strict=True):
            print(f"mixture: {share:.1%} of the examples from {root}", flush=True)


def parameter_count(model: ModelConfig) -> int:
    """Numbers of weights of a network."""
    with torch.device("meta"):
        return sum(p.numel() for p in Pi0(model).parameters())


def train(rank: int, asked: Interruption | None, plan: Plan) -> None:
    """One process's part of a run."""
    Trainer(make_job(rank, plan)).run(asked)


def make_job(rank: int, plan: Plan) -> Job:
    """Everything a process needs, built the same way in each."""
    folder = Path(plan.folder)
    statistics = read_norm_stats(folder)
    adapter = load_adapter(plan.adapter)
    tokenizer = load_tokenizer(plan.tokenizer) if plan.tokenizer else tiny_tokenizer.build()
    model = make_model(plan, tokenizer)
    frames = _frames(plan)
    pipeline = pipeline_for(adapter, plan.model, statistics, plan.conventions)
    hooks = plan.hooks(tokenizer)
    fast = load_fast(plan.fast) if plan.fast else None
    return Job(
        model,
        ExampleMaker(frames, pipeline, tokenizer, plan.settings, hooks, fast),
        adapter,
        statistics,
        folder,
        plan.settings,
        rank,
        sources_of(plan.frames),
        moving(frames.chunk, adapter.offset_mask),
        find_tokenizer(Path(plan.tokenizer)) if plan.tokenizer else None,
        Path(plan.fast) if plan.fast else None,
        f"the checkpoint {plan.init}" if plan.init else "random weights",
        plan.conventions,
        recipe_for(plan.settings.recipe, plan.origin),
        hooks,
    )


def sources_of(roots: Sequence[str]) -> NDArray[np.int64]:
    """Number of the dataset of every frame, in the order of `frame_folders`."""
    sizes = [sum(len(load_frames(f)) for f in frame_folders([root])) for root in roots]
    return np.repeat(np.arange(len(roots)), sizes)


def moving(chunk: NDArray[np.float32], mask: Sequence[bool]) -> NDArray[np.float64]:
    """How much each chunk [N, H, D] moves over its length, 0..1: 1 from half of what the liveliest tenth moves.

    Counts the dimensions that `mask` names (relative ones, the arms), all where it names none.
    """
    kept = np.asarray(mask, bool) if any(mask) else np.ones(chunk.shape[2], bool)
    way = np.linalg.norm((chunk[:, -1] - chunk[:, 0])[:, kept].astype(np.float64), axis=1)
    return np.clip(way / max(1e-9, 0.5 * float(np.quantile(way, 0.9))), 0.0, 1.0)


def make_model(plan: Plan, tokenizer: Tokenizer) -> Pi0:
    """The network at its start: random by the run's seed, or a checkpoint; with adapters where LoRA is asked for."""
    settings = plan.settings
    generator = torch.Generator().manual_seed(settings.seed)
    if plan.init:
        start = start_from(plan.init, plan.model, generator=generator)
        model = start.model
        for what, parts in (("drawn anew", start.drawn), ("left out", start.left)):
            if parts:
                print(f"{plan.init}: {what}: {', '.join(parts)}", flush=True)
    else:
        model = initialise(Pi0(plan.model), generator)
        prepare_start = plan.hooks(tokenizer).prepare
        if prepare_start is not None:
            prepare_start(model, tokenizer, generator)
    for stack in (model.siglip, model.gemma, getattr(model, "expert", None)):
        if stack is not None:
            stack.gradient_checkpointing = settings.gradient_checkpointing
    if settings.lora_trunk or settings.lora_expert:
        trunk, expert = settings.lora_trunk, settings.lora_expert
        per_head = recipe_for(settings.recipe, plan.origin).name == "openpi"
        add_lora(model, LoraConfig(trunk, float(trunk), expert, float(expert), per_head), generator)
    return model


def _frames(plan: Plan) -> Frames:
    return join([load_frames(folder) for folder in frame_folders(plan.frames)])


def frame_folders(roots: Sequence[str]) -> list[Path]:
    """Every folder with frames.json at or below the given ones, in order. Raises TrainError where there is none."""
    found = [f.parent for root in roots for f in sorted(Path(root).rglob("frames.json")) if ".partial" not in str(f)]
    if not found:
        raise TrainError(f"no frames below {', '.join(roots)}; make some with `pi0 train --sim-episodes N`")
    return found
