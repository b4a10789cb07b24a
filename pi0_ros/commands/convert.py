"""Convert a checkpoint (openpi, LeRobot, JAX or ours) to ours or to LeRobot's layout."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pi0_ros.commands._numbers import number, whole
from pi0_ros.model.kinds import traits

if TYPE_CHECKING:
    from pi0_ros.model.checkpoints.load import LoadedCheckpoint, OpenedCheckpoint
    from pi0_ros.policy.adapter import Adapter
    from pi0_ros.policy.lerobot_files import RelativeActions
    from pi0_ros.policy.normalize import Statistics

DTYPES = ("bfloat16", "float32")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "paligemma_tokenizer.model", "spiece.model")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`pi0 convert SRC DST --to pi0_ros|lerobot`."""
    parser = subparsers.add_parser("convert", help=__doc__, description=__doc__)
    parser.add_argument(
        "source", type=Path, metavar="SRC", help="folder, safetensors file, or a name under checkpoints/"
    )
    parser.add_argument("target", type=Path, metavar="DST", help="new folder")
    parser.add_argument("--to", choices=("pi0_ros", "lerobot"), default="pi0_ros", help="layout (default pi0_ros)")
    parser.add_argument("--dtype", choices=DTYPES, help="of the stored weights (default: as they are)")
    parser.add_argument("--sizes", type=Path, help="sizes.json for what shapes cannot tell: head counts, horizon, ...")
    parser.add_argument(
        "--horizon", type=whole(1, 1000), help="rows of a chunk, if the checkpoint does not record them"
    )
    parser.add_argument("--adapter", help="policy YAML (or a name under config/policies) that says the horizon")
    parser.add_argument("--base", type=Path, help="the checkpoint that a LoRA (PEFT) folder belongs to")
    parser.add_argument("--asset", default="", help="which of several statistics under assets/ to take")
    parser.add_argument("--statistics", type=Path, help="norm_stats.json, if the checkpoint has none")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer file or folder, if the checkpoint has none")
    parser.add_argument("--shard-gb", type=number(0, 1e6), default=0.0, help="cut the weights into files of this size")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that is not empty")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Loads, writes beside the target and puts it in its place, and says what came along."""
    from pi0_ros.model.checkpoints import CheckpointError, load, open_checkpoint
    from pi0_ros.model.checkpoints.shards import read_json
    from pi0_ros.model.checkpoints.tensorfile import dtype_named
    from pi0_ros.robot.replacing import replacing_folder
    from pi0_ros.robot.resources import checkpoint_folder

    source = Path(checkpoint_folder(args.source))
    refuse_target(source, args.target, args.overwrite)
    if args.tokenizer and not tokenizer_in(args.tokenizer):
        raise CheckpointError(f"--tokenizer {args.tokenizer}: there is none ({', '.join(TOKENIZERS)})")
    sizes = with_horizon(read_json(args.sizes) if args.sizes else {}, args)
    opened = open_checkpoint(source, sizes=sizes, base=args.base)
    refuse_unknown_horizon(source, opened)
    statistics = find_statistics(opened, args.statistics, args.asset, args.to)
    dtype = dtype_named(args.dtype) if args.dtype else None
    print(f"reading {args.source}", flush=True)
    loaded = load(source, dtype, sizes=sizes, base=args.base, progress=show)
    print(f"\r{args.source}: {loaded.config.kind} from {loaded.origin}, {loaded.report.tensors} tensors")
    for note in loaded.report.notes:
        print(f"  {note}")
    print(f"writing {args.target}", flush=True)
    write = write_lerobot if args.to == "lerobot" else write_own
    with replacing_folder(args.target) as partial:
        write(loaded, partial, statistics, int(args.shard_gb * 1e9))
        carried = carry(loaded, args, partial)
    print(f"{args.target}: written as {args.to}, {loaded.config.horizon} rows a chunk")
    for what, found in carried.items():
        print(f"  {what}: {found}")
    return 0


def refuse_target(source: Path, target: Path, overwrite: bool) -> None:
    """Raises CheckpointError for a target that cannot be written without losing something."""
    from pi0_ros.model.checkpoints import CheckpointError

    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{target}: is no folder; give another name")
    if target.exists() and any(target.iterdir()) and not overwrite:
        raise CheckpointError(f"{target}: is not empty; give another folder or --overwrite")
    inner, outer = target.resolve(), (source if source.is_dir() else source.parent).resolve()
    if (source.is_dir() and inner.is_relative_to(outer)) or outer.is_relative_to(inner):
        raise CheckpointError(
            f"{target}: is inside the checkpoint that is read ({outer}), or contains it; give another folder"
        )


def with_horizon(sizes: dict[str, object], args: argparse.Namespace) -> dict[str, object]:
    """`sizes` with the horizon that --horizon or the adapter of --adapter says."""
    from pi0_ros.policy.adapter_reading import load_adapter

    horizon = args.horizon or (load_adapter(args.adapter).horizon if args.adapter else 0)
    return {**sizes, "horizon": horizon} if horizon else sizes


def refuse_unknown_horizon(source: Path, opened: OpenedCheckpoint) -> None:
    """A converted checkpoint records its horizon, so a guess must not become one. Raises CheckpointError."""
    from pi0_ros.model.checkpoints import CheckpointError

    if "horizon" in opened.assumed:
        raise CheckpointError(
            f"{source}: nothing in it says how many rows a chunk has, and the numbers of every row depend on it; give "
            f"--horizon (openpi's base checkpoints: {opened.config.horizon}, pi05_libero: 10, pi05_droid: 15) or --adapter"
        )


def show(done: int, total: int) -> None:
    """Progress on stderr, if a person is looking."""
    if sys.stderr.isatty():
        print(f"\rreading {100 * done // max(total, 1)} %", end="", file=sys.stderr, flush=True)


def find_statistics(opened: OpenedCheckpoint, given: Path | None, asset: str, layout: str) -> dict[str, Statistics]:
    """{"state": ..., "actions": ...} from the given file, LeRobot's processors, or openpi's; {} if there are none.

    Of several assets {} is returned if the whole assets/ folder comes along (our layout).
    Raises: PolicyError if several are there and none is chosen for a layout that has room for one.
    """
    from pi0_ros.policy.lerobot_files import has_processors, read_processors
    from pi0_ros.policy.normalize import asset_names, find_norm_stats, missing_statistics, read_norm_stats

    if given is not None:
        return dict(read_norm_stats(given))
    if opened.origin == "lerobot" and has_processors(opened.folder):
        files = read_processors(opened.folder)
        return {"state": files.state.statistics, "actions": files.actions.statistics}
    several = asset_names(opened.folder)
    if not (asset or several or (opened.folder / "norm_stats.json").is_file()):
        print(missing_statistics(str(opened.folder)), file=sys.stderr)
        return {}
    if len(several) > 1 and not asset and layout == "pi0_ros" and not (opened.folder / "norm_stats.json").is_file():
        return {}
    return dict(read_norm_stats(find_norm_stats(opened.folder, asset or None)))


def write_own(loaded: LoadedCheckpoint, target: Path, statistics: dict[str, Statistics], shard_bytes: int) -> None:
    """Our folder: weights, config.json with the origin's habits, norm_stats.json, README.md."""
    from pi0_ros.model.checkpoints import save
    from pi0_ros.policy.normalize import Statistics, write_norm_stats

    conventions = replace(loaded.conventions, relative_mask=relative_mask_of(loaded, statistics))
    save(loaded.model, target, loaded.policy, shard_bytes=shard_bytes, conventions=conventions)
    if statistics:
        vectors = {key: {n: v for n, v in table.values.items() if n != "count"} for key, table in statistics.items()}
        write_norm_stats(target, {key: Statistics(values) for key, values in vectors.items()})
    config = loaded.config
    (target / "README.md").write_text(
        f"# {config.kind} checkpoint\n\nConverted by `pi0 convert` from {loaded.origin} weights: "
        f"{loaded.report.tensors} tensors, horizon {config.horizon}, action size {config.action_dim}, cameras "
        f"{', '.join(config.cameras)}. The licence of the original weights applies.\n",
        encoding="utf-8",
    )


def write_lerobot(loaded: LoadedCheckpoint, target: Path, statistics: dict[str, Statistics], shard_bytes: int) -> None:
    """LeRobot's folder; channel names and offsets come from our own "policy" section if there is one."""
    from pi0_ros.model.checkpoints.lerobot import Vectors, save_lerobot
    from pi0_ros.policy.adapter_reading import adapter_of_checkpoint
    from pi0_ros.policy.errors import PolicyError

    adapter = adapter_of_checkpoint(loaded.folder / "config.json") if loaded.policy else None
    if adapter is not None and any(adapter.step_shares):
        raise PolicyError("LeRobot's layout has no actions that are steps from the row before; keep our own layout")
    mask = adapter.delta_mask if adapter and any(adapter.delta_mask) else relative_mask_of(loaded, statistics)
    names = adapter.action_channels if adapter else (relative_of(loaded).names or ())
    if any(mask) and not names:  # LeRobot tells offsets by name, and one that takes all of them needs none
        mask = () if all(mask) else mask
    for habit in lost_habits(loaded, adapter):
        print(f"  note: {habit}")
    vectors = Vectors({key: table.values for key, table in statistics.items()}, mask, names)
    save_lerobot(loaded.model, target, loaded.conventions, vectors, shard_bytes=shard_bytes)


def lost_habits(loaded: LoadedCheckpoint, adapter: Adapter | None) -> list[str]:
    """What LeRobot does otherwise than the checkpoint was trained with, and its files have no word for."""
    lost = []
    if loaded.conventions.resampler != "torch":
        lost.append("pictures are resized by LeRobot without antialiasing; this checkpoint was trained with Pillow's")
    if adapter is not None and (adapter.prompt or {}).get("lowercase"):
        lost.append("the prompt was in lower case; give LeRobot tasks in lower case")
    if loaded.conventions.dialect != "lerobot" and traits(loaded.config.kind).state_token:
        lost.append("openpi cleans the prompt (strips it, underscores become spaces); give LeRobot tasks like that")
    return lost


def relative_of(loaded: LoadedCheckpoint) -> RelativeActions:
    """LeRobot's word on which actions are offsets: its preprocessor's, else that of config.json."""
    from pi0_ros.policy.lerobot_files import RelativeActions, has_processors, read_processors

    habits, names = loaded.conventions, loaded.settings.get("action_feature_names")
    relative = RelativeActions(habits.relative_actions, habits.absolute_joints, tuple(names) if names else None)
    if loaded.origin == "lerobot" and has_processors(loaded.folder):
        return read_processors(loaded.folder).delta or relative
    return relative


def relative_mask_of(loaded: LoadedCheckpoint, statistics: dict[str, Statistics]) -> tuple[bool, ...]:
    """Which action dimensions are offsets by the checkpoint's own files; () if none is."""
    if loaded.conventions.relative_mask:
        return tuple(loaded.conventions.relative_mask)
    size = statistics["actions"].size if "actions" in statistics else 0
    mask = tuple(relative_of(loaded).mask(size))
    return mask if loaded.origin == "lerobot" and any(mask) else ()


def carry(loaded: LoadedCheckpoint, args: argparse.Namespace, target: Path) -> dict[str, str]:
    """Copies tokenizers and statistics of several robots; what was found of each, for people."""
    from pi0_ros.policy.normalize import asset_names

    carried = {"tokenizer": carry_tokenizer(args.tokenizer or loaded.folder, target) or "none found, see --tokenizer"}
    if traits(loaded.config.kind).acts_in_tokens:
        folder = loaded.folder / "fast_tokenizer"
        if folder.is_dir():
            shutil.copytree(folder, target / "fast_tokenizer")
        carried["FAST tokenizer"] = "fast_tokenizer" if folder.is_dir() else "none found; it is needed to plan"
    several = asset_names(loaded.folder)
    if several and args.to == "pi0_ros" and not (target / "norm_stats.json").is_file():
        for name in several:
            place = target / "assets" / name
            place.mkdir(parents=True)
            shutil.copyfile(loaded.folder / "assets" / name / "norm_stats.json", place / "norm_stats.json")
        carried["statistics"] = f"of {', '.join(several)}, under assets/"
    return carried


def tokenizer_in(source: Path) -> Path | None:
    """The tokenizer file that `source` is, or has in it or in its tokenizer/ folder."""
    places = [source] if source.is_file() else [f / name for f in (source, source / "tokenizer") for name in TOKENIZERS]
    return next((place for place in places if place.is_file()), None)


def carry_tokenizer(source: Path, target: Path) -> str:
    """Copies the tokenizer file found in `source` (or its tokenizer/ folder); returns its name, "" if there is none."""
    found = tokenizer_in(source)
    if found is None:
        return ""
    name = found.name if found.name in TOKENIZERS else f"tokenizer{found.suffix}"
    shutil.copyfile(found, target / name)
    return name
