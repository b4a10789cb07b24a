"""`pi0 data keep`, `drop`, `split`, `merge`, `retitle`, `trim`: each writes a new dataset; how many episodes it has."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import numpy as np

from pi0_ros.data.curation.checks import idle_ends, vectors
from pi0_ros.data.curation.pieces import Piece, selected, write_pieces
from pi0_ros.data.dataset import Dataset
from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.data.errors import DataError

Say = Callable[[str], None]


def _chosen(dataset: Dataset, args: argparse.Namespace) -> list[int]:
    """Positions of the episodes that --episodes and --outcome name."""
    if args.episodes is None and args.outcome is None:
        raise DataError("give --episodes 0,2-5 or --outcome success")
    found = selected(dataset, args.episodes) if args.episodes else list(range(len(dataset.episodes)))
    if args.outcome is not None:
        notes = EpisodeLog(dataset.folder).read()
        found = [p for p in found if notes.get(dataset.episodes[p].index, {}).get("outcome", "") == args.outcome]
    return found


def keep(args: argparse.Namespace, say: Say) -> int:
    """The chosen episodes."""
    with Dataset(args.folder, skip_bad=True) as dataset:
        return write_pieces([(dataset, [Piece(p) for p in _chosen(dataset, args)])], args.out, say)


def drop(args: argparse.Namespace, say: Say) -> int:
    """All but the chosen episodes."""
    with Dataset(args.folder, skip_bad=True) as dataset:
        gone = set(_chosen(dataset, args))
        return write_pieces(
            [(dataset, [Piece(p) for p in range(len(dataset.episodes)) if p not in gone])], args.out, say
        )


def split(args: argparse.Namespace, say: Say) -> int:
    """Two datasets of one, or an episode cut in two, or all cut at the holes in time."""
    with Dataset(args.folder, skip_bad=True) as dataset:
        count = len(dataset.episodes)
        if args.share is not None:
            if args.rest is None or not 0.0 < args.share < 1.0:
                raise DataError("--share is above 0 and below 1, and needs --rest, the folder of the other episodes")
            if count < 2:
                raise DataError(f"{dataset.folder}: has one episode; --episode N --at FRAME cuts it in two")
            if args.out.exists() and any(args.out.iterdir()):
                raise DataError(f"{args.out}: is there already; give a new folder for the dataset")
            order = np.random.default_rng(0).permutation(count)
            first = sorted(order[: min(max(round(args.share * count), 1), count - 1)].tolist())
            write_pieces([(dataset, [Piece(p) for p in range(count) if p not in first])], args.rest, say)
            return write_pieces([(dataset, [Piece(p) for p in first])], args.out, say)
        if args.holes:
            return write_pieces([(dataset, _between_holes(dataset))], args.out, say)
        if args.episode is None or args.at is None:
            raise DataError("give --share 0.9 --rest FOLDER, or --episode N --at FRAME, or --holes")
        cut = selected(dataset, str(args.episode))[0]
        pieces = [[Piece(p, 0, args.at), Piece(p, args.at)] if p == cut else [Piece(p)] for p in range(count)]
        return write_pieces([(dataset, [piece for part in pieces for piece in part])], args.out, say)


def _between_holes(dataset: Dataset) -> list[Piece]:
    pieces = []
    for position, episode in enumerate(dataset.episodes):
        cuts = (np.flatnonzero(dataset.broken[episode.start : episode.stop]) + 1).tolist()
        edges = [0, *cuts, episode.length]
        pieces += [Piece(position, a, b) for a, b in itertools.pairwise(edges)]
    return pieces


def merge(args: argparse.Namespace, say: Say) -> int:
    """All episodes of several datasets."""
    datasets = [Dataset(folder) for folder in args.folder]
    try:
        return write_pieces([(d, [Piece(p) for p in range(len(d.episodes))]) for d in datasets], args.out, say)
    finally:
        for dataset in datasets:
            dataset.close()


def retitle(args: argparse.Namespace, say: Say) -> int:
    """All episodes, some of them with other words. Raises DataError if nothing would be changed."""
    pairs = [(old.strip(), new.strip()) for old, sign, new in (task.partition("=") for task in args.task) if sign]
    if len(pairs) < len(args.task) and len(args.task) > 1:
        raise DataError("--task is one new instruction, or several times 'old instruction=new instruction'")
    if not all(new for _, new in pairs) or not args.task[0].strip():
        raise DataError("--task has no new words; a frame without an instruction is not trained on")
    with Dataset(args.folder, skip_bad=True) as dataset:
        chosen = set(selected(dataset, args.episodes) if args.episodes else range(len(dataset.episodes)))
        there = list(dict.fromkeys(task for p in sorted(chosen) for task in dataset.episodes[p].tasks))
        strange = [old for old, _ in pairs if old not in there]
        unknown = "".join(f"; no frame says {old!r}" for old in strange)
        if pairs and len(strange) == len(pairs):
            shown = ", ".join(map(repr, there[:3])) + (" ..." if len(there) > 3 else "")
            raise DataError(
                f"{args.folder}: nothing would be changed{unknown}: only whole instructions are replaced, and there are {shown}"
            )
        if unknown:
            say(f"{args.folder}{unknown}")
        pieces = []
        for position, episode in enumerate(dataset.episodes):
            if position not in chosen or (pairs and not any(old in episode.tasks for old, _ in pairs)):
                pieces.append(Piece(position))
            else:
                pieces.append(Piece(position, renamed=tuple(pairs)) if pairs else Piece(position, task=args.task[0]))
        return write_pieces([(dataset, pieces)], args.out, say)


def trim(args: argparse.Namespace, say: Say) -> int:
    """All episodes without their idle ends, or without so many seconds."""
    with Dataset(args.folder, skip_bad=True) as dataset:
        numbers, spreads = vectors(dataset)
        pieces = []
        for position, episode in enumerate(dataset.episodes):
            before, behind = (round((s or 0.0) * dataset.fps) for s in (args.start, args.end))
            if args.start is None and args.end is None:
                stay = round(args.margin * dataset.fps)
                still = idle_ends(numbers, spreads, episode)
                if still[0] >= episode.length:
                    say(f"{args.folder}: episode {episode.index} is left out: nothing moves in it")
                    continue
                before, behind = (max(0, n - stay) for n in still)
            if before + behind >= episode.length:
                say(f"{args.folder}: episode {episode.index} is left out: nothing would stay of it")
                continue
            pieces.append(Piece(position, before, episode.length - behind))
        return write_pieces([(dataset, pieces)], args.out, say)
