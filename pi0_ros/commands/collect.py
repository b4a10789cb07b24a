"""Record episodes of the scripted operator in simulation as a LeRobot v3.0 dataset."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pi0_ros.commands._numbers import SEEDS, number, whole
from pi0_ros.robot.wording import counted

if TYPE_CHECKING:
    from pi0_ros.data.dataset import DatasetWriter
    from pi0_ros.robot import Robot
    from pi0_ros.train.interruption import Interruption

Features = dict[str, dict[str, Any]]
Note = dict[str, object]
Episode = Callable[[int], tuple[Iterable[dict[str, Any]], Note]]
"""A seed to the rows of its episode, and what the dataset's log says of it."""

TASKS = ("reach", "touch_all", "mixed", "pick_place", "drive_to", "tidy")
CAMERAS = "base,left_wrist,right_wrist,back"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 collect`."""
    parser = subparsers.add_parser("collect", help=__doc__, description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="new folder for the dataset")
    parser.add_argument("--task", default="mixed", choices=TASKS, help="default: mixed")
    parser.add_argument("--episodes", type=whole(1, 10**6), default=50, help="how many (default: 50)")
    parser.add_argument(
        "--seed", type=whole(0, SEEDS), default=0, help="of the first episode; the next ones count up (default: 0)"
    )
    parser.add_argument("--robot", default="mobile_bimanual", help="robot YAML or name")
    parser.add_argument("--cameras", default=CAMERAS, help=f"names, comma between (default: {CAMERAS})")
    parser.add_argument(
        "--size", type=whole(16, 4096), default=224, help="width and height of the pictures (default: 224)"
    )
    parser.add_argument("--fps", type=int, default=10, choices=(5, 10, 25, 50), help="frames a second (default: 10)")
    parser.add_argument("--push-rate", type=number(0, 100), default=0.25, help="disturbances a second (default: 0.25)")
    parser.add_argument(
        "--variety",
        type=number(0, 3),
        default=1.0,
        help="chores: how much light, cameras and calibration vary between episodes; 0: not at all (default: 1)",
    )
    parser.add_argument(
        "--shard",
        type=whole(0, 10**6),
        default=0,
        help="write datasets of so many episodes below OUT; those that are there are kept (default: 0, one dataset)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Record; 0 once the dataset is complete on disk, 128 + the signal when one ended it early."""
    from pi0_ros.data.dataset import DatasetWriter
    from pi0_ros.robot import load_robot
    from pi0_ros.robot.disk import naming_full_disk
    from pi0_ros.sim.errors import SimError
    from pi0_ros.train.interruption import interruptible

    if args.episodes < 1 or args.size < 16:
        raise SimError(f"--episodes {args.episodes} --size {args.size}: at least 1 episode and 16 pixels are needed")
    cameras = tuple(name for name in args.cameras.split(",") if name)
    robot = load_robot(args.robot)
    chores = args.task in ("pick_place", "drive_to", "tidy")
    features, episode = _chores(args, robot, cameras) if chores else _touches(args, robot, cameras)
    counts = _Counts(args.episodes)
    with naming_full_disk(args.out), interruptible() as interruption:

        def write(folder: Path, seeds: range) -> int:
            """One dataset; how many of its episodes were recorded before a signal came."""
            with DatasetWriter(folder, args.fps, features, robot_type=robot.name) as writer:
                for done, seed in enumerate(seeds, 1):
                    counts.add(*_recorded(writer, *episode(seed)))
                    if interruption:
                        return done
            return len(seeds)

        seeds = range(args.seed, args.seed + args.episodes)
        if args.shard:
            _write_shards(args.out, seeds, args.shard, write, counts, interruption)
        else:
            write(args.out, seeds)
    if interruption:
        more = "the same command goes on behind the last whole shard" if args.shard else "the dataset is whole"
        print(f"\n{args.out}: ended early with {counts.summary()}; {more}")
        return 128 + interruption.number
    print(f"{args.out}: {counts.summary()}")
    return 0


def _write_shards(
    out: Path, seeds: range, size: int, write: Callable[[Path, range], int], counts: _Counts, interruption: Interruption
) -> None:
    """Datasets of `size` episodes below `out`, without those that are there. One that is not finished is removed, so that a
    shard that is there is a whole one."""
    from pi0_ros.robot.replacing import replacing_folder

    for first in range(0, len(seeds), size):
        shard = seeds[first : first + size]
        folder = out / f"seeds-{shard.start:09d}"
        if interruption:
            return
        if folder.is_dir():
            counts.add_kept(len(shard))
            continue
        with suppress(_Interrupted), replacing_folder(folder) as place:
            done = write(place, shard)
            if done < len(shard):
                counts.removed = done
                raise _Interrupted


class _Interrupted(Exception):
    """A shard was not finished."""


class _Counts:
    """What was recorded by this command, and how fast."""

    def __init__(self, total: int) -> None:
        self.total, self.episodes, self.kept, self.frames, self.failed, self.removed = total, 0, 0, 0, 0, 0
        self._began = time.monotonic()

    def add_kept(self, episodes: int) -> None:
        """Episodes that an earlier command recorded."""
        self.kept += episodes

    def add(self, frames: int, note: Note) -> None:
        """One episode."""
        self.episodes += 1
        self.frames += frames
        self.failed += int(str(note.get("failed_starts", 0)))
        _progress(self.kept + self.episodes, self.total, self.frames, time.monotonic() - self._began)

    def summary(self) -> str:
        """In words."""
        said = f"{counted(self.episodes, 'episode')}, {counted(self.frames, 'frame')}"
        if self.kept:
            said += f"; {counted(self.kept, 'episode')} more were there"
        if self.removed:
            said += f"; {self.removed} of them in a shard that is not whole, which is removed"
        if self.failed:
            said += f"; {self.failed} of {self.episodes + self.failed} starts failed and were drawn anew"
        return said


def _recorded(writer: DatasetWriter, rows: Iterable[dict[str, Any]], note: Note) -> tuple[int, Note]:
    """Put one episode on disk; its number of frames, and its note."""
    frames = 0
    for row in rows:
        writer.add_frame(row)
        frames += 1
    writer.save_episode(note)
    return frames, note


def _touches(args: argparse.Namespace, robot: Robot, cameras: tuple[str, ...]) -> tuple[Features, Episode]:
    from pi0_ros.touch.collect import Collector, CollectSettings
    from pi0_ros.touch.record import dataset_features, dataset_row

    settings = CollectSettings(args.task, cameras, args.size, args.fps, push_rate=args.push_rate)
    collector = Collector(robot, settings)
    return dataset_features(robot, settings), lambda seed: (map(dataset_row, collector.episode(seed)), {})


def _chores(args: argparse.Namespace, robot: Robot, cameras: tuple[str, ...]) -> tuple[Features, Episode]:
    from pi0_ros.chores.collectors import COLLECTORS
    from pi0_ros.chores.recording import ChoreSettings

    collector = COLLECTORS[args.task](robot, ChoreSettings(cameras, args.size, args.fps, args.push_rate, args.variety))

    def episode(seed: int) -> tuple[Iterable[dict[str, Any]], Note]:
        recorded = collector.episode(seed)
        return recorded.rows, recorded.note()

    return collector.features, episode


def _progress(done: int, total: int, frames: int, seconds: float) -> None:
    end = "\n" if done == total else ""
    rate = frames / max(seconds, 1e-9)
    print(f"\r{done}/{total} episodes, {frames} frames, {rate:.0f}/s ", end=end, file=sys.stderr, flush=True)
