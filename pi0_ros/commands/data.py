"""Show, check and copy recorded datasets; nothing is changed in place without a copy."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pi0_ros.commands._numbers import whole
from pi0_ros.robot.wording import counted

EPISODES = "numbers of episodes, such as 0,2-5,9-"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 data`."""
    parser = subparsers.add_parser("data", help=__doc__, description=__doc__)
    parts = parser.add_subparsers(metavar="WHAT", required=True)
    _declare_looking(parts)
    _declare_copying(parts)
    _declare_import(parts)


def _part(
    parts: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, work: str, many: bool = False
) -> argparse.ArgumentParser:
    parser = parts.add_parser(name, help=text, description=text)
    parser.add_argument(
        "folder", type=Path, nargs="+" if many else None, help="folder of a LeRobot dataset, v2.1 or v3.0"
    )
    parser.set_defaults(run=run, work=work)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="new folder for the copy")


def _declare_looking(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _part(parts, "info", "what is in a dataset", "info")
    check = _part(
        parts, "check", "what may be wrong with it; exit 1 if a training would learn something false", "check"
    )
    check.add_argument("--checkpoint", help="compare its numbers with the statistics of this checkpoint")
    check.add_argument("--robot", help="robot YAML or name (default: what the dataset names)")
    check.add_argument("--adapter", help="policy YAML in place of the checkpoint's own")
    show = _part(
        parts, "show", "a contact sheet, or a recording of Rerun: pictures, words and numbers over time", "show"
    )
    show.add_argument(
        "--out",
        type=Path,
        default=Path("sheet.png"),
        help="FILE.png, or FILE.rrd for Rerun's viewer (default: sheet.png)",
    )
    show.add_argument("--episodes", default="0-3", help=f"{EPISODES} (default: 0-3)")
    show.add_argument("--columns", type=int, default=10, help="pictures of each camera (default: 10)")
    stats = _part(parts, "stats", "exact statistics over all frames", "stats")
    stats.add_argument(
        "--write", action="store_true", help="put them into meta/stats.json; the old file is kept as stats.N.json"
    )
    fit = _part(parts, "fit-fast", "an action tokenizer (FAST) fitted on the chunks of datasets", "fit_fast", many=True)
    fit.add_argument("--policy", default="mobile_bimanual", help="policy YAML (default: mobile_bimanual)")
    fit.add_argument(
        "--statistics", default="data", help="data, or a checkpoint's folder or norm_stats.json (default: data)"
    )
    fit.add_argument("--horizon", type=whole(0, 10_000), default=0, help="rows of a chunk (default: the policy YAML's)")
    fit.add_argument(
        "--vocabulary",
        type=whole(16, 100_000),
        default=1024,
        help="ids it has (default: 1024; 512 for the tiny network)",
    )
    fit.add_argument("--out", type=Path, required=True, help="new folder for the tokenizer, for --fast-tokenizer")
    label = _part(
        parts, "label", "outcome, score or note of episodes (meta/pi0_episodes.json; the old file is kept)", "label"
    )
    label.add_argument("--episodes", required=True, help=EPISODES)
    label.add_argument("--outcome", help="success, failure or discarded")
    label.add_argument("--score", type=float, help="a number that says how well it went")
    label.add_argument("--note", help="what is to be said of them, in words")


def _declare_copying(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, text in (("keep", "a copy of some episodes"), ("drop", "a copy without some episodes")):
        parser = _part(parts, name, text, name)
        parser.add_argument("--episodes", help=EPISODES)
        parser.add_argument("--outcome", help="episodes that are labelled so: success, failure, discarded")
        _out(parser)
    split = _part(
        parts,
        "split",
        "a copy in two parts, or one in which an episode is two; holes in time are cut by --holes",
        "split",
    )
    split.add_argument("--share", type=float, help="share of the episodes that go to --out, the others to --rest")
    split.add_argument("--rest", type=Path, help="new folder for the other episodes")
    split.add_argument("--episode", type=int, help="number of the episode to cut in two")
    split.add_argument("--at", type=int, help="frame at which its second part begins")
    split.add_argument("--holes", action="store_true", help="cut every episode where time has a hole")
    _out(split)
    _out(_part(parts, "merge", "one dataset of several", "merge", many=True))
    retitle = _part(parts, "retitle", "a copy with other instructions", "retitle")
    retitle.add_argument(
        "--task",
        required=True,
        action="append",
        help="the new instruction; 'old=new' changes the frames with that instruction alone, and may be repeated",
    )
    retitle.add_argument("--episodes", help=f"{EPISODES} (default: all)")
    _out(retitle)
    trim = _part(parts, "trim", "a copy without ends in which nothing moves, or without so many seconds", "trim")
    trim.add_argument("--margin", type=float, default=0.5, help="seconds of stillness that stay (default: 0.5)")
    trim.add_argument("--start", type=float, help="seconds to cut at the beginning, moving or not")
    trim.add_argument("--end", type=float, help="seconds to cut at the end, moving or not")
    _out(trim)


def _declare_import(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    kinds = "rosbag (rosbag2 of sqlite3 or MCAP, compressed, several files), aloha (HDF5), rlds (TFRecord of TFDS)"
    parser = parts.add_parser("import", help="a dataset of other recordings", description=f"A dataset of: {kinds}.")
    parser.add_argument("kind", choices=("rosbag", "aloha", "rlds"), help=kinds)
    parser.add_argument("source", type=Path, nargs="+", help="files or folders; each recording is one episode")
    parser.add_argument("--robot", help="robot YAML or name (rosbag): says which topic is what")
    parser.add_argument("--fps", type=int, help="frames a second (default: aloha 50, rlds what its set is known for)")
    parser.add_argument("--task", help="the instruction, if the recording has none")
    parser.add_argument("--preset", help="rlds: bridge, droid, or none: the keys state, action and image*")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="state=KEY,KEY",
        help="rlds: keys of state, action, task, or camera NAME",
    )
    parser.add_argument(
        "--exchange-colours",
        action="store_true",
        help="aloha: red and blue are exchanged in its JPEG pictures, as if OpenCV was given RGB",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run, work="import")
    _out(parser)


def run(args: argparse.Namespace) -> int:
    """Do it; 0 if all is well."""
    if args.work == "import":
        from pi0_ros.commands import _data_import

        return _data_import.run(args)
    if args.work == "fit_fast":
        from pi0_ros.commands import _data_fit

        return _data_fit.fit_fast(args)
    from pi0_ros.commands import _data_copies, _data_looks

    looks = getattr(_data_looks, args.work, None)
    if looks is not None:
        return int(looks(args))
    count = getattr(_data_copies, args.work)(args, lambda text: print(text, file=sys.stderr))
    print(f"{args.out}: {counted(count, 'episode')}")
    return 0
