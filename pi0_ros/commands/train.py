"""Train a policy on LeRobot datasets or on episodes made in simulation on the spot."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pi0_ros.commands._numbers import SEEDS, any_number, number, whole
from pi0_ros.robot.wording import counted
from pi0_ros.sim.seeds import FIRST_UNSEEN_SEED

if TYPE_CHECKING:
    from pi0_ros.model import ModelConfig
    from pi0_ros.policy.adapter import Adapter
    from pi0_ros.train.embodiments import SourceSpec
    from pi0_ros.train.from_dataset import FactsOf
    from pi0_ros.train.hooks import MakeHooks
    from pi0_ros.train.mixture import Choice, Source
    from pi0_ros.train.network import Network
    from pi0_ros.train.session import Plan
    from pi0_ros.train.settings import TrainSettings

_HELP = {
    "steps": "optimiser steps",
    "minutes": "end after this many minutes if the steps are not done before; 0: no such end",
    "batch": "action examples a step and process",
    "word_batch": "high-level examples a step and process",
    "draws": "noise draws on one prefix",
    "workers": "processes that share a step (one thread each); 1: one process with all threads",
    "loaders": "processes that make examples ahead, for each process that trains; 0: it makes them itself",
    "seed": "of weights, examples, noise and times",
    "peak_rate": "highest learning rate",
    "final_rate": "learning rate at the end of the cosine",
    "warmup": "steps of linear warm-up",
    "weight_decay": "of AdamW, on matrices",
    "clip": "largest norm of the gradient; 0: it is not clipped",
    "ema": "decay of the average that is exported",
    "alpha": "weight of the flow loss",
    "language_steps": "first steps without the flow loss",
    "prefix_chance": "share of steps with training-time real-time chunking",
    "prefix_rows": "most rows given then",
    "insulate": "knowledge insulation: the flow loss does not reach the trunk",
    "recipe": "pi0_ros, openpi or lerobot: schedule, decay, averages and losses as there (default: as --init's project)",
    "device": "where the network is: cpu, cuda, cuda:1",
    "ema_device": "where the average is kept: cpu saves memory of the GPU (default: as --device)",
    "moments": "of AdamW: float32, or 8bit (a quarter of the memory; needs bitsandbytes)",
    "precision": "bfloat16 computation on float32 weights, float32, or auto: bfloat16 if the device has instructions for it",
    "gradient_checkpointing": "less memory, more computation",
    "lora_trunk": "LoRA rank in the language trunk (16 is usual), 0: train it whole",
    "lora_expert": "LoRA rank in the action expert (32 is usual), 0: train it whole",
    "lora_export": "merged into the checkpoint, or peft: also as an adapter of --init (LeRobot's or openpi's PyTorch) in OUT/adapter",
    "augment": "pictures: none, light (--brightness, --contrast, --picture-noise), or openpi (crop 95 %%, turn 5 degrees, colour; "
    "no crop or turn on wrist cameras); default: the recipe's",
    "state_noise": "noise on the normalised state",
    "brightness": "largest change of brightness",
    "contrast": "largest change of contrast",
    "picture_noise": "noise on pictures",
    "answer_weight": "weight of what is said beside the actions (places, FAST tokens), and of pi0-FAST's actions",
    "word_weight": "weight of subtasks",
    "still_weight": "chance to draw a frame whose chunk stands still, against one that moves; 1: all alike",
    "validate_every": "steps between validations",
    "validation_share": "of the episodes, kept for validation",
    "save_every": "minutes between saves",
    "keep": "checkpoints of saves that stay: OUT/checkpoint and, from 2 on, OUT/checkpoints/step-N; and OUT/best, the one with the "
    "lowest loss on held-out frames (0: no best)",
    "patience": "end after so many validations in a row without a lower loss on held-out frames; 0: go on",
    "shard": "share weights, gradients, moments and averages out over the processes (FSDP2), instead of all of them in each (DDP)",
    "compile": "run the transformer layers through torch.compile",
    "tensorboard": "also write event files below OUT/tensorboard (needs tensorboardX)",
    "wandb": "also report to this project of Weights & Biases (needs wandb; WANDB_MODE=offline keeps it here)",
}


_BY_RECIPE = ("peak_rate", "final_rate", "warmup", "weight_decay", "clip", "ema")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 train`."""
    parser = subparsers.add_parser(
        "train",
        help=__doc__,
        description=__doc__,
        epilog="The folder given with --out is continued where it stopped. OUT/checkpoint is what the policy loads.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, help="folder of the run: state, record, curves, checkpoint (always needed)")
    parser.add_argument(
        "--self-test",
        choices=("gpu", "cpu"),
        help="train nothing: two steps of each way to train on random data, with time and memory beside the plan; cpu: tiny",
    )
    _add_data(parser.add_argument_group("data (at least one)"))
    _add_network(parser.add_argument_group("network"))
    _add_experiment(
        parser.add_argument_group(
            "experiment",
            "what a small network without pre-training needs to touch coloured blocks; of no use elsewhere",
        )
    )
    _add_run(parser.add_argument_group("run"))
    parser.set_defaults(run=run_command)


def _add_data(data: argparse._ArgumentGroup) -> None:
    data.add_argument(
        "--dataset",
        type=Path,
        action="append",
        default=[],
        help="LeRobot dataset, or a folder of such (as `pi0 collect --shard` writes); repeat for several of one robot",
    )
    data.add_argument(
        "--every", type=whole(1, 1000), default=1, help="take one of so many frames of an episode of --dataset"
    )
    data.add_argument(
        "--mixture",
        type=Path,
        help="YAML of sources in place of --dataset: several robots, weights, which frames, text (docs: mixtures)",
    )
    data.add_argument(
        "--stage", type=whole(0, 2), default=0, help="use those sources of --mixture that are of this stage; 0: all"
    )
    data.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out damaged episodes and frames, and list them, instead of refusing",
    )
    data.add_argument("--frames", type=Path, action="append", default=[], help="frames that an earlier run cached")
    data.add_argument(
        "--sim-episodes", type=whole(0, 10**6), default=0, help="episodes of the scripted operator to make first"
    )
    data.add_argument(
        "--sim-task",
        choices=("touch", "pick_place", "drive_to", "tidy"),
        default="touch",
        help="what the scripted operator does in them (default: touch); of the others one of --every frames is made",
    )
    data.add_argument("--sim-seed", type=whole(0, SEEDS), default=1_000_000, help="of the first of them")


def _add_network(start: argparse._ArgumentGroup) -> None:
    start.add_argument(
        "--init",
        default="",
        help="checkpoint to start from: any folder that can be loaded, or a name under checkpoints/",
    )
    start.add_argument("--tokenizer", default="", help="file or folder, if --init has none and is not the project's")
    start.add_argument(
        "--statistics",
        default="",
        help="checkpoint, data, or a norm_stats.json (default: those of --init if they are of the same channels)",
    )
    start.add_argument(
        "--model",
        default="",
        help="pi0, pi05 or pi0_fast grown from --init (a PaliGemma too); without --init a preset: tiny, pi0_small, "
        "pi0, pi05, pi0_fast (default: the kind of --init, or tiny)",
    )
    start.add_argument(
        "--fast-tokenizer",
        default="",
        help="folder of the FAST tokenizer, fit to make one of these data, or bins for 256 bins a dimension (to compare): for "
        "pi0_fast, and for others to predict the chunk as text too",
    )
    start.add_argument(
        "--horizon", type=whole(0, 4096), default=0, help="rows of a chunk (default: the policy YAML's, or --init's)"
    )
    start.add_argument(
        "--prompt-length", type=whole(0, 4096), default=0, help="tokens of the prompt (default: --init's, or 64)"
    )
    start.add_argument(
        "--mlp", type=whole(1, 1 << 17), default=384, help="MLP width of the tiny network, without --init"
    )
    start.add_argument(
        "--policy", default="mobile_bimanual", help="policy YAML: how vectors and cameras map to a robot"
    )
    start.add_argument("--robot", default="mobile_bimanual", help="robot YAML or name, for --sim-episodes")


def _add_experiment(touch: argparse._ArgumentGroup) -> None:
    touch.add_argument(
        "--experiment",
        choices=("auto", "touch", "none"),
        default="auto",
        help="auto: touch for the tiny network over the project's own tokenizer, else none",
    )
    touch.add_argument(
        "--symmetry", action="store_true", help="also train on scenes mirrored left to right and recoloured"
    )
    touch.add_argument(
        "--patch-weight",
        type=number(0.0, 1e9),
        default=1.0,
        help="weight of what patches say of the objects, and of where the named one is",
    )


def _add_run(run: argparse._ArgumentGroup) -> None:
    from pi0_ros.train.settings import TrainSettings

    run.add_argument("--plan", action="store_true", help="say what the run needs of memory, and do not train")
    run.add_argument(
        "--accept-changes",
        action="store_true",
        help="continue a run with other data or settings than it was begun with",
    )
    for f in fields(TrainSettings):
        default = getattr(TrainSettings, f.name)
        name = "--" + f.name.replace("_", "-")
        if f.name == "answer_weight":
            run.add_argument(name, "--grounding-weight", type=any_number(default), default=default, help=_HELP[f.name])
        elif isinstance(default, bool):
            run.add_argument(name, action="store_true", help=_HELP[f.name])
        elif f.name in _BY_RECIPE:
            text = f"{_HELP[f.name]} (default: {default:g}, or the recipe's)"
            run.add_argument(name, type=any_number(default), default=argparse.SUPPRESS, help=text)
        else:
            kind = str if isinstance(default, str) else any_number(default)
            run.add_argument(name, type=kind, default=default, help=_HELP[f.name])


def run_command(args: argparse.Namespace) -> int:
    """Make frames if asked, then train; 0 once the last checkpoint is written."""
    from pi0_ros.robot.disk import naming_full_disk
    from pi0_ros.robot.resources import checkpoint_folder
    from pi0_ros.train.errors import TrainError
    from pi0_ros.train.processes import process_group, rank

    if args.self_test:
        from pi0_ros.train.self_test import self_test

        self_test(args.self_test)
        return 0
    if args.plan:
        return _print_plan(args)
    if args.out is None:
        raise TrainError("the run has no folder; give --out FOLDER")
    if not (args.dataset or args.frames or args.sim_episodes or args.mixture):
        raise TrainError(
            "nothing to train on; give --dataset FOLDER, --mixture FILE, --frames FOLDER or --sim-episodes N"
        )
    args.sources = _sources(args)
    args.init = str(checkpoint_folder(args.init)) if args.init else ""
    if args.sim_seed + max(args.sim_episodes, *(s.sim_episodes for s in args.sources), 0) > FIRST_UNSEEN_SEED:
        raise TrainError(
            f"--sim-seed {args.sim_seed}: scenes from {FIRST_UNSEEN_SEED} on are kept for `pi0 evaluate`; give a smaller one"
        )
    with process_group(args.device), naming_full_disk(args.out):
        ended_by = _trained(args)
        first = rank() == 0
    if ended_by:
        return 128 + ended_by
    if first:
        print(f"{args.out / 'checkpoint'}: ready to load")
    return 0


run = run_command


def _trained(args: argparse.Namespace) -> int:
    """Train, in this process or beside others; the signal that ended the run early, 0 for none."""
    from pi0_ros.train.errors import TrainError
    from pi0_ros.train.processes import first_one_first, own_device, rank, world
    from pi0_ros.train.run_folder import check_continues, locked, write_settings
    from pi0_ros.train.session import run
    from pi0_ros.train.state import has_state
    from pi0_ros.train.text_source import read_texts

    network = _network(args)
    settings = _settings(args, network)
    unasked = next((s.name for s in args.sources if s.boxes and not settings.word_batch), None)
    if unasked is not None:
        raise TrainError(f"{args.mixture}: boxes of {unasked} are drawn with --word-batch, which is 0; give 1 or more")
    for source in args.sources:  # before the pictures of large datasets are decoded
        if source.text:
            read_texts(source.text)
    if world() > 1:
        settings = replace(settings, workers=world(), device=own_device(settings.device))
    # Process 0 writes the folder and makes the frames; the others wait for it, and read.
    with locked(args.out) if rank() == 0 else nullcontext():
        with first_one_first():
            plan = _plan(args, settings, network)
            if rank() == 0:
                begun = has_state(args.out)
                chosen = _asked(args, plan.model)
                for change in check_continues(args.out, chosen, begun, args.accept_changes):
                    print(f"changed since the run began: {change}", flush=True)
                write_settings(args.out, chosen)
            if args.sources:
                plan = replace(plan, mixture=tuple(_drawn(args, plan.model)))
            else:
                plan = replace(plan, frames=tuple(str(folder) for folder in _frames(args, plan.model)))
        return run(plan)


def _sources(args: argparse.Namespace) -> tuple[Source, ...]:
    """The sources of --mixture, with a policy YAML each; () without one. The first robot's YAML becomes the run's."""
    from pi0_ros.train.errors import TrainError
    from pi0_ros.train.mixture import load_mixture

    if not args.mixture:
        if args.stage:
            raise TrainError("--stage chooses among the sources of --mixture; give that too")
        return ()
    if args.dataset or args.frames or args.sim_episodes:
        raise TrainError("--mixture names all data; put what --dataset, --frames and --sim-episodes name into it")
    found = load_mixture(args.mixture, args.stage)
    sources = tuple(s if s.text or s.policy else replace(s, policy=args.policy) for s in found)
    args.policy = next(s.policy for s in sources if not s.text)
    return sources


def _adapters(args: argparse.Namespace) -> list[Adapter]:
    """Of the robots of a run, the first one's first."""
    from pi0_ros.policy.adapter_reading import load_adapter

    policies = dict.fromkeys([args.policy, *(s.policy for s in args.sources if not s.text)])
    return [load_adapter(policy) for policy in policies]


def _drawn(args: argparse.Namespace, model: ModelConfig) -> Iterator[SourceSpec]:
    """The sources of a mixture with their frames made."""
    from pi0_ros.policy.adapter_reading import load_adapter
    from pi0_ros.train.embodiments import SourceSpec

    for source in args.sources:
        if source.text:
            yield SourceSpec(source.name, text=source.text, weight=source.weight)
            continue
        if source.dataset:
            frames = _read(Path(source.dataset), args, load_adapter(source.policy), model, source)
        elif source.frames:
            frames = Path(source.frames)
        else:
            frames = _simulated(args, model, source.policy, source.sim_episodes)
        yield SourceSpec(source.name, str(frames), source.policy, source.control_mode, weight=source.weight)


def _print_plan(args: argparse.Namespace) -> int:
    """Memory by part, from the network's sizes alone; 1 if the device has less."""
    from pi0_ros.robot.resources import checkpoint_folder
    from pi0_ros.train.errors import TrainError
    from pi0_ros.train.memory import check_memory, memory_plan

    args.sources = _sources(args)
    args.init = str(checkpoint_folder(args.init)) if args.init else ""
    network = _network(args)
    settings = _settings(args, network)
    plan = memory_plan(network.model, settings, fast=bool(args.fast_tokenizer or network.fast))
    print("\n".join(plan.lines()))
    try:
        check_memory(plan, settings.device)
    except TrainError as problem:
        print(f"does not fit: {problem}")
        return 1
    return 0


def _settings(args: argparse.Namespace, network: Network) -> TrainSettings:
    """The numbers of the run; those that nobody gave are the recipe's."""
    from pi0_ros.train.recipe import USUAL, recipe_for
    from pi0_ros.train.settings import TrainSettings

    usual = USUAL[recipe_for(args.recipe, network.origin).name]
    given = {f.name: getattr(args, f.name) for f in fields(TrainSettings) if hasattr(args, f.name)}
    vars(args).update({name: usual[name] for name in usual if name not in given})
    return TrainSettings(**{**usual, **given})


def _plan(args: argparse.Namespace, settings: TrainSettings, network: Network) -> Plan:
    """The run without its frames: network, tokenizers, what the experiment adds."""
    from functools import partial

    from pi0_ros.touch.hooks import TouchSettings, touch_hooks
    from pi0_ros.train.hooks import no_hooks
    from pi0_ros.train.session import Plan

    hooks: MakeHooks = no_hooks
    if _touches(args):
        hooks = partial(touch_hooks, settings=TouchSettings(args.symmetry, args.patch_weight))
    return Plan(
        (), args.policy, network.model, settings, str(args.out), args.init, network.tokenizer, args.statistics,
        args.fast_tokenizer or network.fast, network.origin, network.conventions, hooks,
    )  # fmt: skip


def _touches(args: argparse.Namespace) -> bool:
    """Whether the experiment's hooks are used."""
    own = not args.init and not args.tokenizer and args.model in ("", "tiny")
    from_own = bool(args.init) and not args.model and _is_own_tiny(Path(args.init))
    return args.experiment == "touch" or (args.experiment == "auto" and (own or from_own))


def _is_own_tiny(folder: Path) -> bool:
    """Whether a checkpoint speaks with the project's own tokenizer."""
    from pi0_ros.policy import tiny_tokenizer

    file = folder / "tokenizer.json"
    return file.is_file() and file.read_text(encoding="utf-8") == tiny_tokenizer.to_json()


def _asked(args: argparse.Namespace, model: ModelConfig) -> dict[str, object]:
    """Everything that the run was asked for, and what its data and policy YAML were."""
    from pi0_ros.data.layout import datasets_below
    from pi0_ros.policy.adapter_reading import load_adapter
    from pi0_ros.train.frame_cache import made_of
    from pi0_ros.train.mixture import Choice

    options = {
        k: v
        for k, v in vars(args).items()
        if k not in ("run", "command", "debug", "accept_changes", "func", "plan", "sources", "self_test")
    }
    adapter, facts = load_adapter(args.policy), _facts(args)
    size, horizon = model.vision.image_size, model.horizon
    plain = _in_words(Choice(every=args.every))
    parts = [part for folder in args.dataset for part in datasets_below(folder)]
    read = [made_of(part, adapter, size, horizon, args.skip_bad, facts.__name__, plain) for part in parts]
    for source in args.sources:
        if source.dataset:
            own = load_adapter(source.policy)
            for part in datasets_below(Path(source.dataset)):
                made = made_of(part, own, size, horizon, args.skip_bad, facts.__name__, _chosen(source))
                read.append({**made, "name": source.name, "weight": source.weight, "control_mode": source.control_mode})
        else:
            read.append(vars(source))
    wanted = options | {"data": read} | _fingerprints(args, adapter)
    asked: dict[str, object] = json.loads(json.dumps(wanted, default=str))
    return asked


def _fingerprints(args: argparse.Namespace, adapter: Adapter) -> dict[str, object]:
    """Of everything that is read from files beside datasets, by the option that names it."""
    from pi0_ros.policy.adapter_writing import adapter_to_dict
    from pi0_ros.train.fingerprints import of_path, of_value, versions

    named = {key: getattr(args, key) for key in ("init", "tokenizer", "statistics", "fast_tokenizer")}
    found: dict[str, object] = {f"{key} fingerprint": of_path(path) for key, path in named.items() if path}
    found["policy fingerprint"] = of_value(adapter_to_dict(adapter))
    texts = [s.text for s in args.sources if s.text]
    folders = [*args.frames, *(s.frames for s in args.sources if s.frames)]
    found |= {"text fingerprints": [of_path(file) for file in texts]} if texts else {}
    found |= {"frames fingerprints": [of_path(folder) for folder in folders]} if folders else {}
    return found | {"versions": versions()}


def _facts(args: argparse.Namespace) -> FactsOf:
    """What is read of each row of a dataset beside what every dataset has."""
    from pi0_ros.touch.localised import localised
    from pi0_ros.train.from_dataset import no_facts

    return localised if _touches(args) else no_facts


def _network(args: argparse.Namespace) -> Network:
    """Sizes, tokenizers and habits: those of --init grown to --model, or a preset over the tokenizer that is given."""
    from pi0_ros.train.network import fresh_network, grown_network

    adapter, *others = _adapters(args)
    wanted = {"horizon": args.horizon, "prompt_length": args.prompt_length}
    changes = {key: value for key, value in wanted.items() if value}
    if args.init:
        return grown_network(args.init, args.model, adapter, changes, args.tokenizer, others)
    return fresh_network(args.model, adapter, changes, args.tokenizer, args.mlp, others)


def _frames(args: argparse.Namespace, model: ModelConfig) -> Iterator[Path]:
    """Folders of frames: those given, made in simulation, and of the datasets."""
    from pi0_ros.policy.adapter_reading import load_adapter

    yield from args.frames
    if args.sim_episodes:
        yield _simulated(args, model, args.policy, args.sim_episodes)
    for dataset in args.dataset:
        yield _read(dataset, args, load_adapter(args.policy), model)


def _simulated(args: argparse.Namespace, model: ModelConfig, policy: str, count: int) -> Path:
    """Frames of so many episodes of the scripted operator, made now unless they are on disk."""
    from pi0_ros.robot import load_robot

    robot, size = load_robot(args.robot), model.vision.image_size
    if args.sim_task != "touch":
        from pi0_ros.chores.frames import ChoreFrameSettings, write_chore_frames
        from pi0_ros.policy.adapter_reading import load_adapter

        settings = ChoreFrameSettings(load_adapter(policy), model.horizon, size, every=args.every, task=args.sim_task)
        made: Path = args.out / "frames" / args.sim_task
        write_chore_frames(robot, settings, made, args.sim_seed, count, args.workers)
        return made
    from pi0_ros.touch.frames import SimFrameSettings, write_frames

    folder: Path = args.out / "frames" / "sim"
    touches = SimFrameSettings(horizon=model.horizon, size=size)
    write_frames(robot, folder, args.sim_seed, count, settings=touches, workers=args.workers)
    return folder


def _read(
    dataset: Path, args: argparse.Namespace, adapter: Adapter, model: ModelConfig, source: Source | None = None
) -> Path:
    """Frames of a dataset, or of all in a folder of datasets; `source`: what a mixture takes of it."""
    from pi0_ros.data.layout import datasets_below
    from pi0_ros.train.frame_cache import cache_folder

    plain = cache_folder(args.out / "frames", dataset)
    folder = plain.with_name(f"{source.name}-{plain.name}") if source else plain
    parts = datasets_below(dataset)
    if parts == [dataset]:
        return _read_one(dataset, folder, args, adapter, model, source)
    made = {_read_one(part, folder / part.name, args, adapter, model, source) for part in parts}
    for gone in set(folder.iterdir()) - made:
        shutil.rmtree(gone)
    return folder


def _read_one(
    dataset: Path, folder: Path, args: argparse.Namespace, adapter: Adapter, model: ModelConfig, source: Source | None
) -> Path:
    """Frames of one dataset, in a folder of their own."""
    from pi0_ros.data.dataset import Dataset
    from pi0_ros.touch.localised import unknown_things
    from pi0_ros.train.frame_cache import made_of, refreshed
    from pi0_ros.train.from_dataset import write_dataset_frames
    from pi0_ros.train.mixture import Choice

    size, horizon, facts = model.vision.image_size, model.horizon, _facts(args)
    choice, boxes = (source.choice, source.boxes) if source else (Choice(every=args.every), "")
    taken = _chosen(source) if source else _in_words(choice)
    wanted = made_of(dataset, adapter, size, horizon, args.skip_bad, facts.__name__, taken)
    folder = refreshed(folder, wanted, _say)
    count = write_dataset_frames(dataset, folder, adapter, size, horizon, args.skip_bad, _say, facts, choice, boxes)
    print(f"{dataset}: {counted(count, 'frame')}", flush=True)
    if _touches(args):
        for remark in unknown_things(Dataset(dataset, skip_bad=True)):
            _say(f"look: {remark}")
    return folder


def _chosen(source: Source) -> str:
    """Which frames a source takes and what their boxes are, in words; "" for all of them and no boxes."""
    from pi0_ros.train.fingerprints import of_path

    boxes = f" boxes in padded pictures {of_path(source.boxes)}" if source.boxes else ""
    return _in_words(source.choice) + boxes


def _in_words(choice: Choice) -> str:
    """Which frames are taken; "" for all of them."""
    from pi0_ros.train.mixture import Choice

    return "" if choice == Choice() else str(choice)


def _say(text: str) -> None:
    print(text, flush=True)
