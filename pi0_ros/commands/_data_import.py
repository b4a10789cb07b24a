"""`pi0 data import`: a dataset of other recordings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

from pi0_ros.data.errors import DataError
from pi0_ros.data.imports.episodes import ImportedEpisode, write_episodes
from pi0_ros.robot.wording import counted

Say = Callable[[str], None]
Found = tuple[int, str, Iterator[ImportedEpisode]]
"""Frames a second, the robot's name, the episodes."""


def run(args: argparse.Namespace) -> int:
    """Import; 0 once the dataset is complete on disk."""
    for source in args.source:
        if not source.exists():
            raise DataError(f"{source}: is not there")
    if args.out.exists() and any(args.out.iterdir()):
        raise DataError(f"{args.out}: is there already; give a new folder for the dataset")

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    if args.exchange_colours and args.kind != "aloha":
        raise DataError(f"--exchange-colours is for aloha; {args.kind} says which colour is which")
    kinds: dict[str, Callable[[argparse.Namespace, Say], Found]] = {"aloha": _aloha, "rlds": _rlds, "rosbag": _rosbag}
    fps, robot, episodes = kinds[args.kind](args, say)
    count = write_episodes(episodes, args.out, fps, robot, say)
    print(
        f"{args.out}: {counted(count, 'episode')} at {fps} frames a second; look at them with pi0 data check and pi0 data show"
    )
    return 0


def _aloha(args: argparse.Namespace, say: Say) -> Found:
    from pi0_ros.data.imports.aloha import FPS, aloha_episodes

    return args.fps or FPS, args.robot or "aloha", aloha_episodes(args.source, args.task, args.exchange_colours)


def _rlds(args: argparse.Namespace, say: Say) -> Found:
    from pi0_ros.data.imports.rlds import PRESETS, rlds_episodes

    preset = args.preset or ""
    if preset not in PRESETS:
        raise DataError(f"--preset {preset}: there are {', '.join(filter(None, PRESETS))}")
    keys = PRESETS[preset]
    for pair in args.map:
        name, sign, value = pair.partition("=")
        if not sign or not value:
            raise DataError(f"--map {pair}: say NAME=KEY, such as state=observation/joint_position,observation/gripper")
        listed = tuple(value.split(","))
        if name == "state":
            keys = replace(keys, state=listed, names={})
        elif name == "action":
            keys = replace(keys, action=listed, names={})
        elif name == "task":
            keys = replace(keys, task=listed, names={})
        else:
            keys = replace(keys, cameras={**keys.cameras, name: value})
    fps = args.fps or keys.fps
    if not fps:
        raise DataError("RLDS has no frame rate; give --fps (Bridge 5, DROID 15, or a --preset)")
    return fps, args.robot or preset or "unknown", rlds_episodes(args.source, keys, args.task)


def _rosbag(args: argparse.Namespace, say: Say) -> Found:
    from pi0_ros.robot import load_robot
    from pi0_ros.ros.bag_import import bag_episodes

    if not args.robot or not args.fps:
        raise DataError("a bag needs --robot, whose YAML names its topics, and --fps")
    robot = load_robot(args.robot)
    return args.fps, robot.name, bag_episodes(args.source, robot, args.fps, args.task, say)
