"""Record episodes of the scripted operator in simulation as a LeRobot v3.0 dataset."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pi0_ros.commands._numbers import SEEDS, number, whole
from pi0_ros.robot.wording import counted

if TYPE_CHECKING:
    from pi0_ros.robot import Robot

Features = dict[str, dict[str, Any]]
Episode = Callable[[int], Iterable[dict[str, Any]]]
"""A seed to the rows of its episode."""

TASKS = ("reach", "touch_all", "mixed", "pick_place")
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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Record; 0 once the dataset is complete on disk."""
    from pi0_ros.data.dataset import DatasetWriter
    from pi0_ros.robot import load_robot
    from pi0_ros.robot.disk import naming_full_disk
    from pi0_ros.sim.errors import SimError

    if args.episodes < 1 or args.size < 16:
        raise SimError(f"--episodes {args.episodes} --size {args.size}: at least 1 episode and 16 pixels are needed")
    cameras = tuple(name for name in args.cameras.split(",") if name)
    robot = load_robot(args.robot)
    features, episode = _chores(args, robot, cameras) if args.task == "pick_place" else _touches(args, robot, cameras)
    frames, began = 0, time.monotonic()
    with naming_full_disk(args.out), DatasetWriter(args.out, args.fps, features, robot_type=robot.name) as writer:
        for i in range(args.episodes):
            for row in episode(args.seed + i):
                writer.add_frame(row)
                frames += 1
            writer.save_episode()
            _progress(i + 1, args.episodes, frames, time.monotonic() - began)
    print(f"{args.out}: {counted(args.episodes, 'episode')}, {counted(frames, 'frame')}")
    return 0


def _touches(args: argparse.Namespace, robot: Robot, cameras: tuple[str, ...]) -> tuple[Features, Episode]:
    from pi0_ros.touch.collect import Collector, CollectSettings
    from pi0_ros.touch.record import dataset_features, dataset_row

    settings = CollectSettings(args.task, cameras, args.size, args.fps, push_rate=args.push_rate)
    collector = Collector(robot, settings)
    return dataset_features(robot, settings), lambda seed: map(dataset_row, collector.episode(seed))


def _chores(args: argparse.Namespace, robot: Robot, cameras: tuple[str, ...]) -> tuple[Features, Episode]:
    from pi0_ros.chores.collect import ChoreCollector, ChoreSettings

    collector = ChoreCollector(robot, ChoreSettings(cameras, args.size, args.fps, args.push_rate))
    return collector.features, collector.rows


def _progress(done: int, total: int, frames: int, seconds: float) -> None:
    end = "\n" if done == total else ""
    rate = frames / max(seconds, 1e-9)
    print(f"\r{done}/{total} episodes, {frames} frames, {rate:.0f}/s ", end=end, file=sys.stderr, flush=True)
