"""Convert a checkpoint (openpi, LeRobot, JAX or ours) to ours or to LeRobot's layout."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

DTYPES = ("bfloat16", "float32")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "paligemma_tokenizer.model", "spiece.model")


def add_parser(subparsers: Any) -> None:
    """`pi0 convert SRC DST --to pi0_ros|lerobot`."""
    parser = subparsers.add_parser("convert", help=__doc__, description=__doc__)
    parser.add_argument(
        "source", type=Path, metavar="SRC", help="folder, safetensors file, or a name under checkpoints/"
    )
    parser.add_argument("target", type=Path, metavar="DST", help="new folder")
    parser.add_argument("--to", choices=("pi0_ros", "lerobot"), default="pi0_ros", help="layout (default pi0_ros)")
    parser.add_argument("--dtype", choices=DTYPES, help="of the stored weights (default: as they are)")
    parser.add_argument("--sizes", type=Path, help="sizes.json for what shapes cannot tell: head counts, horizon, ...")
    parser.add_argument("--statistics", type=Path, help="norm_stats.json, where the checkpoint brings none")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer file or folder, where the checkpoint brings none")
    parser.add_argument("--shard-gb", type=float, default=0.0, help="cut the weights into files of this size")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is not empty")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Loads, writes, and says what came along."""
    from pi0_ros.model.checkpoints import CheckpointError, load
    from pi0_ros.model.checkpoints.shards import read_json
    from pi0_ros.model.checkpoints.tensorfile import dtype_named
    from pi0_ros.robot.resources import checkpoint_folder

    if args.target.exists() and any(args.target.iterdir()) and not args.overwrite:
        raise CheckpointError(f"{args.target}: is not empty; give another folder or --overwrite")
    sizes = read_json(args.sizes) if args.sizes else None
    dtype = dtype_named(args.dtype) if args.dtype else None
    print(f"reading {args.source}", flush=True)
    loaded = load(checkpoint_folder(args.source), dtype, sizes=sizes, progress=show)
    print(f"\r{args.source}: {loaded.config.kind} from {loaded.origin}, {loaded.report.tensors} tensors")
    for note in loaded.report.notes:
        print(f"  {note}")
    statistics = find_statistics(loaded, args.statistics)
    print(f"writing {args.target}", flush=True)
    write = write_lerobot if args.to == "lerobot" else write_own
    write(loaded, args.target, statistics, int(args.shard_gb * 1e9))
    carried = carry_tokenizer(args.tokenizer or loaded.folder, args.target)
    print(f"{args.target}: written as {args.to}; tokenizer: {carried or 'none found, see --tokenizer'}")
    return 0


def show(done: int, total: int) -> None:
    """Progress on stderr, where a person is looking."""
    if sys.stderr.isatty():
        print(f"\rreading {100 * done // max(total, 1)} %", end="", file=sys.stderr, flush=True)


def find_statistics(loaded: Any, given: Path | None) -> dict[str, Any]:
    """{"state": ..., "actions": ...} from the given file, LeRobot's processors, or openpi's; {} where there are none."""
    from pi0_ros.policy.errors import PolicyError
    from pi0_ros.policy.lerobot_files import has_processors, read_processors
    from pi0_ros.policy.normalize import find_norm_stats, read_norm_stats

    if given is not None:
        return dict(read_norm_stats(given))
    try:
        if loaded.origin == "lerobot" and has_processors(loaded.folder):
            files = read_processors(loaded.folder)
            return {"state": files.state.statistics, "actions": files.actions.statistics}
        return dict(read_norm_stats(find_norm_stats(loaded.folder)))
    except PolicyError as error:
        print(error, file=sys.stderr)
        return {}


def write_own(loaded: Any, target: Path, statistics: dict[str, Any], shard_bytes: int) -> None:
    """Our folder: weights, config.json with the origin's habits, norm_stats.json, README.md."""
    from pi0_ros.model.checkpoints import save
    from pi0_ros.policy.normalize import Statistics, write_norm_stats

    save(loaded.model, target, loaded.policy, shard_bytes=shard_bytes, conventions=loaded.conventions)
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


def write_lerobot(loaded: Any, target: Path, statistics: dict[str, Any], shard_bytes: int) -> None:
    """LeRobot's folder; channel names and offsets come from our own "policy" section where there is one."""
    from pi0_ros.model.checkpoints.lerobot import Vectors, save_lerobot
    from pi0_ros.policy.adapter import adapter_of_checkpoint

    adapter = adapter_of_checkpoint(loaded.folder / "config.json") if loaded.policy else None
    names = adapter.action_channels if adapter else tuple(loaded.settings.get("action_feature_names") or ())
    vectors = Vectors(
        {key: table.values for key, table in statistics.items()}, adapter.delta_mask if adapter else (), names
    )
    save_lerobot(loaded.model, target, loaded.conventions, vectors, shard_bytes=shard_bytes)


def carry_tokenizer(source: Path, target: Path) -> str:
    """Copies the tokenizer file found in `source` (or its tokenizer/ folder); returns its name, "" if there is none."""
    places = [source] if source.is_file() else [f / name for f in (source, source / "tokenizer") for name in TOKENIZERS]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        return ""
    name = found.name if found.name in TOKENIZERS else f"tokenizer{found.suffix}"
    shutil.copyfile(found, target / name)
    return name
