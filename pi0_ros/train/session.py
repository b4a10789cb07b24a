"""A whole run from frames and settings: statistics, network, processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pi0_ros.model import ModelConfig, Pi0, initialise
from pi0_ros.model.checkpoints import Conventions, start_from
from pi0_ros.model.checkpoints.peft_save import base_keys
from pi0_ros.model.conventions import conventions_for
from pi0_ros.policy import tiny_tokenizer
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.bins import BinTokenizer
from pi0_ros.policy.checkpoint import Overrides, build_pipeline
from pi0_ros.policy.fast import fit_fast, load_action_tokenizer
from pi0_ros.policy.normalize import Statistics, read_norm_stats, write_norm_stats
from pi0_ros.policy.pipeline import Pipeline
from pi0_ros.policy.tokenizer import Tokenizer, find_tokenizer, load_tokenizer
from pi0_ros.robot.replacing import replacing_folder
from pi0_ros.robot.wording import counted
from pi0_ros.train.adapters import with_adapters
from pi0_ros.train.augment import augment_for
from pi0_ros.train.compiling import check_compile
from pi0_ros.train.draw import Draws, shares
from pi0_ros.train.embodiments import (
    Embodiment,
    SourceSpec,
    check_fits,
    check_questions,
    embodiments,
    frame_folders,
    frame_weights,
    frames_below,
    question_slots,
    task_numbers,
)
from pi0_ros.train.errors import TrainError
from pi0_ros.train.examples import ExampleMaker
from pi0_ros.train.export import FAST_FOLDER
from pi0_ros.train.frames import Frames, MixedFrames, load_frames
from pi0_ros.train.hooks import MakeHooks, no_hooks
from pi0_ros.train.interruption import Interruption
from pi0_ros.train.job import Job
from pi0_ros.train.loggers import check_loggers
from pi0_ros.train.lots import split_episodes
from pi0_ros.train.memory import check_memory, memory_plan
from pi0_ros.train.mixed import MixedMaker, TextMaker
from pi0_ros.train.precision import Precision, precision_of
from pi0_ros.train.processes import first_one_first
from pi0_ros.train.prompt_check import (
    check_action_tokens,
    check_locations,
    check_prompts,
    check_question_lengths,
    room_for_actions,
)
from pi0_ros.train.recipe import recipe_for, warmup_steps
from pi0_ros.train.run_folder import check_room
from pi0_ros.train.settings import Augment, TrainSettings
from pi0_ros.train.start_statistics import choose, remarks
from pi0_ros.train.text_source import read_texts
from pi0_ros.train.trainer import Trainer
from pi0_ros.train.workers import run_workers

FIT, BINS = "fit", "bins"  # in place of an action tokenizer's folder
FITTED = 20_000  # chunks it is fitted on at most
CODES = 1024  # ids of a fitted action tokenizer
OWN_CODES = 512  # of the project's own tokenizer, which has 1024 tokens to spare less those that FAST leaves out


@dataclass(frozen=True)
class Plan:
    """A run in plain values, as processes receive it.

    frames: folders of frames; several are a mixture with weights n^0.43. adapter: name or file. init: a checkpoint
    folder to start from, "" for random weights. tokenizer: its file or folder, "" for the project's own. statistics:
    "checkpoint", "data", a file, or "" for what fits. fast: folder of the action tokenizer, FIT or BINS to make one, "" without.
    conventions: habits of the project the start comes from, None for ours; origin: its name. hooks: an experiment's.
    mixture: sources of several robots and of text, in place of frames and adapter.
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
    mixture: tuple[SourceSpec, ...] = ()


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

    Returns the signal that ended the run early, 0 if it was finished. Raises TrainError.
    """
    folder = Path(plan.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with first_one_first():
        robots = robots_of(plan)
        for number, robot in enumerate(robots):
            _settle_statistics(plan, robot, first=number == 0)
        plan = replace(plan, fast=fast_tokenizer(plan, robots))
        prepare(plan, robots)
    return run_workers(plan.settings.workers, train, plan)


def robots_of(plan: Plan) -> tuple[Embodiment, ...]:
    """The robots of a run: one, or those of its mixture."""
    if plan.mixture:
        return embodiments(plan.mixture)
    adapter = load_adapter(plan.adapter)
    return (Embodiment(adapter.name, adapter, (("", frames_below(plan.frames)),)),)


def _settle_statistics(plan: Plan, robot: Embodiment, first: bool) -> None:
    """Write a robot's statistics into the run's folder, once, and say where they are from. Raises TrainError."""
    place, frames, of = (
        robot.place(Path(plan.folder), first),
        robot.vectors,
        f" of {robot.name}" if plan.mixture else "",
    )
    episodes = sum(int(part.episode.max(initial=-1)) + 1 for _, part in robot.sources)
    print(f"{counted(len(frames), 'frame')} of {counted(episodes, 'episode')}{of}", flush=True)
    if (place / "norm_stats.json").is_file():  # a continued run keeps its scale
        source = "of the run that is continued"
    else:
        # Statistics of a checkpoint are one robot's: those of a mixture's other robots are of their own data.
        wanted, init = (plan.statistics, plan.init) if first else ("data", "")
        table, source = choose(wanted, init, robot.adapter, frames)
        place.mkdir(parents=True, exist_ok=True)
        write_norm_stats(place, table)
    print(f"statistics{of} {source}", flush=True)
    for remark in remarks(frames, robot.adapter, read_norm_stats(place)):
        print(f"look{of}: {remark}", flush=True)


def fast_tokenizer(plan: Plan, robots: Sequence[Embodiment]) -> str:
    """Folder of the action tokenizer; with "fit" it is fitted on this run's normalised chunks, once, "bins" needs no data.

    Raises: TrainError if no chunk is whole, PolicyError if the chunks do not fit into its vocabulary.
    """
    if plan.fast not in (FIT, BINS):
        return plan.fast
    folder = Path(plan.folder) / FAST_FOLDER
    if plan.fast == BINS:
        BinTokenizer().save(folder)
        return str(folder)
    if not folder.is_dir():
        chunks = [
            chunk
            for number, robot in enumerate(robots)
            for chunk in _whole_chunks(plan, robot, number == 0, len(robots))
        ]
        if not chunks:
            raise TrainError("no chunk is shown to its end, so that no action tokenizer can be fitted")
        fitted = fit_fast(chunks, vocab_size=CODES if room_for_actions(_tokenizer(plan)) >= CODES else OWN_CODES)
        with replacing_folder(folder) as partial:
            fitted.save(partial)
        print(f"action tokenizer fitted on {len(chunks)} chunks: {folder}", flush=True)
    return str(folder)


def _whole_chunks(plan: Plan, robot: Embodiment, first: bool, robots: int) -> NDArray[np.floating]:
    """A robot's normalised chunks [N, H, D] that were shown to their end, evenly chosen."""
    pipeline = pipeline_for(robot.adapter, plan.model, robot.statistics(Path(plan.folder), first), plan.conventions)
    return whole_chunks(robot.vectors, pipeline, FITTED // robots)


def whole_chunks(frames: Frames, pipeline: Pipeline, most: int = FITTED) -> NDArray[np.floating]:
    """At most so many normalised chunks [N, H, D] of frames that were shown to their end, evenly chosen."""
    whole = np.flatnonzero(np.asarray(frames.valid) == frames.chunk.shape[1])
    taken = whole[np.unique(np.linspace(0, len(whole) - 1, min(most, len(whole))).astype(int))]
    chunks = pipeline.normalised_actions(frames.chunk[taken].astype(np.float64), frames.state[taken])
    return chunks[..., : len(frames.channels)]


def prepare(plan: Plan, robots: Sequence[Embodiment]) -> None:
    """Everything that can be known to fail, before anything is trained. Raises TrainError."""
    settings, folder = plan.settings, Path(plan.folder)
    tokenizer = _tokenizer(plan)
    if plan.fast:
        check_action_tokens(load_action_tokenizer(plan.fast), tokenizer, plan.fast)
    for number, robot in enumerate(robots):
        check_fits(robot.adapter, plan.model)
        pipeline = pipeline_for(robot.adapter, plan.model, robot.statistics(folder, number == 0), plan.conventions)
        for name, frames in robot.sources:
            check_locations(frames.texts, tokenizer, name or robot.name)
            if settings.word_batch and frames.has_subtask.any():
                check_questions(robot.adapter)
                check_question_lengths(frames, pipeline, tokenizer)
            for augmentation in plan.hooks(tokenizer).augmentations:
                augmentation.check(frames.channels, frames.cameras)
            check_prompts(frames, pipeline, tokenizer)
    turned = augment_for(settings.augment, recipe_for(settings.recipe, plan.origin).name) is Augment.OPENPI
    if turned and plan.hooks(tokenizer).answer is not None:
        raise TrainError(
            "--augment openpi crops and turns pictures, and the places that --experiment touch names stay; "
            "give --augment light, or --experiment none"
        )
    if settings.compile and plan.hooks(tokenizer).loss is not None:
        raise TrainError(
            "--compile: the losses of --experiment touch look into layers, which compiled ones do not let them; give "
            "--experiment none, or leave --compile away"
        )
    if settings.shard and plan.hooks(tokenizer).loss is not None:
        raise TrainError(
            "--shard: the losses of --experiment touch need whole layers; give --experiment none, or leave --shard away"
        )
    check_memory(memory_plan(plan.model, settings, fast=bool(plan.fast)), settings.device)
    if settings.precision == "auto" and precision_of(settings) is Precision.FLOAT32:
        print("computing in float32, as this processor has no instructions for bfloat16", flush=True)
    check_room(folder, (20 + 2 * settings.keep) * parameter_count(plan.model))
    check_loggers(settings)
    if settings.compile:
        check_compile(settings.device)
    if warmup_steps(settings) != settings.warmup:
        print(
            f"warm-up of {settings.warmup} steps is shortened to {warmup_steps(settings)}: the run has {settings.steps}"
        )
    if settings.lora_export == "peft":
        base_keys(plan.init)
    texts = text_makers(plan, robots, tokenizer)
    for maker in texts:
        maker.check()
    if texts and not settings.word_batch:
        raise TrainError(f"{texts[0].name}: texts are drawn with --word-batch, which is 0; give 1 or more")
    if plan.mixture or len(plan.frames) > 1:
        draws = draws_of(plan, robots)
        trained, _ = split_episodes(draws.frames, settings.validation_share, draws.sources)
        chances = draws.chances(trained, settings.still_weight)
        for name, share in zip(draws.names, shares(draws.sources[trained], chances, len(draws.names)), strict=True):
            print(f"mixture: {share:.1%} of the action examples from {name}", flush=True)


def _tokenizer(plan: Plan) -> Tokenizer:
    return load_tokenizer(plan.tokenizer) if plan.tokenizer else tiny_tokenizer.build()


def draws_of(plan: Plan, robots: Sequence[Embodiment]) -> Draws:
    """From what the frames of a run are drawn, and how often."""
    parts = [frames for robot in robots for _, frames in robot.sources]
    lively = np.concatenate([moving(f.chunk, r.adapter.offset_mask, f.valid) for r in robots for _, f in r.sources])
    if not plan.mixture:
        return Draws(MixedFrames.of(parts), sources_of(plan.frames), tuple(plan.frames), lively)
    names = tuple(name for robot in robots for name, _ in robot.sources)
    weights = {s.name: s.weight for s in plan.mixture}
    given = tuple(weights[name] for name in names) if any(weights.values()) else ()
    sources = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    return Draws(MixedFrames.of(parts), sources, names, lively, task_numbers(parts), given, frame_weights(parts))


def text_makers(plan: Plan, robots: Sequence[Embodiment], tokenizer: Tokenizer) -> tuple[TextMaker, ...]:
    """The text sources of a mixture."""
    listed = [s for s in plan.mixture if s.text]
    if not listed:
        return ()
    statistics = robots[0].statistics(Path(plan.folder), True)
    pipeline = pipeline_for(robots[0].adapter, plan.model, statistics, plan.conventions)
    return tuple(TextMaker(read_texts(s.text), pipeline, tokenizer, s.name) for s in listed)


def parameter_count(model: ModelConfig) -> int:
    """Numbers of weights of a network."""
    with torch.device("meta"):
        return sum(p.numel() for p in Pi0(model).parameters())


def train(rank: int, interruption: Interruption | None, plan: Plan) -> None:
    """One process's part of a run."""
    Trainer(make_job(rank, plan)).run(interruption)


def make_job(rank: int, plan: Plan) -> Job:
    """Everything a process needs, built the same way in each."""
    folder, robots, tokenizer = Path(plan.folder), robots_of(plan), _tokenizer(plan)
    model = make_model(plan, tokenizer)
    hooks = plan.hooks(tokenizer)
    fast = load_action_tokenizer(plan.fast) if plan.fast else None
    recipe = recipe_for(plan.settings.recipe, plan.origin)
    augment = augment_for(plan.settings.augment, recipe.name)
    statistics = [robot.statistics(folder, number == 0) for number, robot in enumerate(robots)]
    makers = [
        ExampleMaker(
            frames,
            pipeline_for(robot.adapter, plan.model, table, plan.conventions),
            tokenizer,
            plan.settings,
            hooks,
            fast,
            augment,
            question_slots(robot.adapter),
        )
        for robot, table in zip(robots, statistics, strict=True)
        for _, frames in robot.sources
    ]
    texts = text_makers(plan, robots, tokenizer)
    draws = draws_of(plan, robots)
    return Job(
        model,
        MixedMaker(tuple(makers), texts) if plan.mixture else makers[0],
        robots[0].adapter,
        statistics[0],
        folder,
        plan.settings,
        rank,
        replace(
            draws, text_weights=tuple(s.weight for s in plan.mixture if s.text), texts=tuple(t.name for t in texts)
        ),
        find_tokenizer(Path(plan.tokenizer)) if plan.tokenizer else None,
        Path(plan.fast) if plan.fast else None,
        f"the checkpoint {plan.init}" if plan.init else "random weights",
        plan.conventions,
        recipe,
        hooks,
        tuple((robot.name, robot.adapter, table) for robot, table in zip(robots[1:], statistics[1:], strict=True)),
        plan.init,
    )


def sources_of(roots: Sequence[str]) -> NDArray[np.int64]:
    """Number of the dataset of every frame, in the order of `frame_folders`."""
    sizes = [sum(len(load_frames(f)) for f in frame_folders([root])) for root in roots]
    return np.repeat(np.arange(len(roots)), sizes)


def moving(chunk: NDArray[np.float32], mask: Sequence[bool], valid: NDArray[np.integer]) -> NDArray[np.float64]:
    """How much each chunk [N, H, D] moves over the rows that were shown of it, the first `valid` [N], 0..1: 1 from half of what the
    liveliest tenth moves.

    Counts the dimensions that `mask` names (relative ones, the arms), all where it names none.
    """
    last = chunk[np.arange(len(chunk)), np.maximum(np.asarray(valid), 1) - 1]
    moves = np.asarray(mask, bool) if any(mask) else np.ones(chunk.shape[2], bool)
    way = np.linalg.norm((last - chunk[:, 0])[:, moves].astype(np.float64), axis=1)
    lively: NDArray[np.float64] = np.clip(way / max(1e-9, 0.5 * float(np.quantile(way, 0.9))), 0.0, 1.0)
    return lively


def make_model(plan: Plan, tokenizer: Tokenizer) -> Pi0:
    """The network at its start: random by the run's seed, or a checkpoint; with adapters if LoRA is asked for."""
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
    per_head = recipe_for(settings.recipe, plan.origin).name == "openpi"
    return with_adapters(model, settings, generator, per_head)
