"""Run a recorded bag through the executor, with any strategy; or an episode of a dataset on the simulated robot."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from pi0_ros.control.settings import STRATEGIES


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `pi0 replay`."""
    parser = subparsers.add_parser("replay", help=__doc__, description=__doc__)
    parser.add_argument(
        "bag",
        type=Path,
        help="an .mcap file or a rosbag2 folder with action_chunk and joint states; or a dataset's folder, whose commands "
        "are then given to the simulated robot",
    )
    parser.add_argument("--robot", default="mobile_bimanual", help="robot YAML or name")
    parser.add_argument("--strategy", nargs="+", default=["auto"], choices=STRATEGIES, help="one or several, compared")
    parser.add_argument("--episode", type=int, default=0, help="number of the dataset's episode (default: 0)")
    parser.add_argument("--channel", nargs="+", help="channels to plot (default: the three that moved most)")
    parser.add_argument("--plot", type=Path, help="write a PNG of commands and their rates here")
    parser.add_argument("--json", type=Path, help="write the numbers here")


def run(args: argparse.Namespace) -> int:
    """Print one line of numbers for each strategy, or for each channel of an episode."""
    return _episode(args) if (args.bag / "meta" / "info.json").is_file() else _bag(args)


def _bag(args: argparse.Namespace) -> int:
    from pi0_ros.closed_loop.metrics import motion_of
    from pi0_ros.closed_loop.plots import busiest, plot_commands
    from pi0_ros.closed_loop.replay import replay
    from pi0_ros.data.recording import load_recording
    from pi0_ros.robot import RobotError, load_robot
    from pi0_ros.robot.disk import naming_full_disk
    from pi0_ros.robot.replacing import write_whole

    robot = load_robot(args.robot)
    for channel in args.channel or ():
        if channel not in robot.index:
            raise RobotError(f"--channel {channel}: robot {robot.name} has {', '.join(robot.channel_names)}")
    recording = load_recording(args.bag, robot)
    for note in recording.notes:
        print(f"note: {note}", file=sys.stderr)
    runs, numbers = {}, {}
    for strategy in args.strategy:
        print(f"replaying {recording.end - recording.start:.1f} s with {strategy} …", file=sys.stderr)
        runs[strategy] = replay(recording, robot, strategy)
        numbers[strategy] = asdict(motion_of(robot, [runs[strategy]]))
    _print_table(numbers)
    if args.plot:
        first = next(iter(runs.values()))
        with naming_full_disk(args.plot):
            plot_commands(robot, runs, args.channel or busiest(robot, first), args.plot)
    if args.json:
        write_whole(args.json, json.dumps(numbers, indent=1) + "\n")
    return 0


def _episode(args: argparse.Namespace) -> int:
    """How far the simulated robot is from the recorded one, if it is commanded what that was."""
    from pi0_ros.closed_loop.episode_replay import motion_in, replay_motion
    from pi0_ros.data.curation.pieces import selected
    from pi0_ros.data.dataset import Dataset
    from pi0_ros.robot import load_robot
    from pi0_ros.sim.robot import SimRobot
    from pi0_ros.sim.scene import nothing_in_reach

    robot, dataset = load_robot(args.robot), Dataset(args.bag)
    (position,) = selected(dataset, str(args.episode))
    motion = motion_in(dataset, position, robot)
    body = SimRobot(robot)
    body.load(nothing_in_reach(dict(zip(motion.channels, motion.measured[0].tolist(), strict=True))))
    print(f"replaying episode {args.episode}, {len(motion.measured) / motion.fps:.1f} s …", file=sys.stderr)
    again = replay_motion(body, motion)
    rms, largest = again.rms(), again.largest()
    moved = dict(zip(motion.channels, (motion.measured.max(0) - motion.measured.min(0)).tolist(), strict=True))
    print(f"{'channel':20s}{'unit':>8s}{'moved':>12s}{'rms':>12s}{'largest':>12s}")
    for name in motion.channels:
        unit = robot.channels[robot.index[name]].unit
        print(f"{name:20s}{unit:>8s}{moved[name]:12.4g}{rms[name]:12.4g}{largest[name]:12.4g}")
    if args.json:
        numbers = {name: {"moved": moved[name], "rms": rms[name], "largest": largest[name]} for name in motion.channels}
        args.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return 0


def _print_table(numbers: dict[str, dict[str, float]]) -> None:
    names = list(next(iter(numbers.values())))
    print(f"{'':15s}" + "".join(f"{strategy:>12s}" for strategy in numbers))
    for name in names:
        print(f"{name:15s}" + "".join(f"{row[name]:12.4g}" for row in numbers.values()))
