"""Record episodes of the scripted operator in simulation as a LeRobot v3.0 dataset."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from pi0_ros.commands._numbers import SEEDS, number, whole
from pi0_ros.robot.wording import counted

CAMERAS = "base,left_wrist,right_wrist,back"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 collect`."""
    parser = subparsers.add_parser("collect", help=__doc__, description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="new folder for the dataset")
    parser.add_argument("--task", default="mixed", choices=("reach", "touch_all", "mixed"), help="default: mixed")
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
    from pi0_ros.touch.collect import Collector, CollectSettings
    from pi0_ros.touch.record import dataset_features, dataset_row

    if args.episodes < 1 or args.size < 16:
        raise SimError(f"--episodes {args.episodes} --size {args.size}: at least 1 episode and 16 pixels are needed")
    cameras = tuple(name for name in args.cameras.split(",") if name)
    settings = CollectSettings(args.task, cameras, args.size, args.fps, push_rate=args.push_rate)
    robot = load_robot(args.robot)
    collector = Collector(robot, settings)
    frames, began = 0, time.monotonic()
    features = dataset_features(robot, settings)
    with naming_full_disk(args.out), DatasetWriter(args.out, args.fps, features, robot_type=robot.name) as writer:
        for i in range(args.episodes):
            for frame in collector.episode(args.seed + i):
                writer.add_frame(dataset_row(frame))
                frames += 1
            writer.save_episode()
            _progress(i + 1, args.episodes, frames, time.monotonic() - began)
    print(f"{args.out}: {counted(args.episodes, 'episode')}, {counted(frames, 'frame')}")
    return 0


def _progress(done: int, total: int, frames: int, seconds: float) -> None:
    end = "\n" if done == total else ""
    rate = frames / max(seconds, 1e-9)
    print(f"\r{done}/{total} episodes, {frames} frames, {rate:.0f}/s ", end=end, file=sys.stderr, flush=True)
