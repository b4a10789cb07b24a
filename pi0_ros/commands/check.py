"""Check a robot: its YAML and URDF alone, with a checkpoint, or on the running graph.

Without --checkpoint it prints every channel with its limits and where they come from, to compare with the vendor's page.
With one it compares channels, cameras, statistics and prompt by name; exit code 1, with both lists, if they do not fit.
With --live it asks the running graph about the robot's topics. No weight is read and nothing is moved.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pi0_ros.commands._check_server import add_server_arguments, check_server
from pi0_ros.commands._numbers import number, whole

if TYPE_CHECKING:
    from pi0_ros.robot import Robot


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 check`."""
    parser = subparsers.add_parser(
        "check", help="is this robot described well, is it there, does this checkpoint fit it?", description=__doc__
    )
    parser.add_argument("--robot", required=True, help="robot name, or its YAML")
    parser.add_argument(
        "--checkpoint", help="folder of ours, openpi's or LeRobot's, a name under checkpoints/, or ws://host:port"
    )
    parser.add_argument("--adapter", help="policy YAML, or a name under config/policies (default: its own)")
    parser.add_argument("--tokenizer", help="tokenizer file or folder, if the checkpoint has none")
    parser.add_argument("--asset", default="", help="which of several statistics under assets/ to use")
    parser.add_argument("--statistics", default="", help="a norm_stats.json to use instead of the checkpoint's")
    parser.add_argument("--fast", help="folder of the FAST tokenizer, if a π0-FAST checkpoint has none")
    parser.add_argument(
        "--pad-state-to",
        type=whole(0, 4096),
        default=0,
        help="numbers of the state in the prompt (LeRobot 0.4 padded it to 32)",
    )
    parser.add_argument("--backend", choices=("torch", "onnx"), help="also: can the network run so on this computer?")
    parser.add_argument("--device", help="the device for --backend, such as cpu or cuda:0 (default: cpu)")
    parser.add_argument("--json", action="store_true", help="print the robot, or what --live saw, as JSON")
    live = parser.add_argument_group("on the running graph")
    live.add_argument(
        "--live", action="store_true", help="types, publishers, rates, ages, clocks, ranges of all topics"
    )
    live.add_argument("--seconds", type=number(0.1, 600), default=3.0, help="how long --live listens (default: 3)")
    live.add_argument("--namespace", default="", help="the robot's namespace, as given to pi0 up")
    live.add_argument("--use-sim-time", action="store_true", help="compare stamps with /clock")
    add_server_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was asked for; 0 if the robot can be brought up, is there, and fits, 1 if not."""
    from pi0_ros.commands._check_robot import print_live, print_robot
    from pi0_ros.policy.address import server_address
    from pi0_ros.robot import load_robot

    robot = load_robot(args.robot)
    if args.live:
        return print_live(robot, args.seconds, args.namespace, args.use_sim_time, args.json)
    if not args.checkpoint:
        return print_robot(robot, args.json)
    address = server_address(args.checkpoint)
    if address is not None:
        return check_server(args, robot, address)
    return compare(args, robot)


def compare(args: argparse.Namespace, robot: Robot) -> int:
    """Print the comparison with a checkpoint; 0 if they fit, 1 if not."""
    from pi0_ros.policy.checkpoint import Overrides
    from pi0_ros.policy.contract import check_fit, contract_of
    from pi0_ros.policy.reading import load_words, policy_lines, read_policy
    from pi0_ros.policy.tokenizer import find_tokenizer

    overrides = Overrides(statistics=args.statistics, asset=args.asset, pad_state_to=args.pad_state_to)
    opened, adapter, pipeline = read_policy(
        args.checkpoint, robot, args.adapter, overrides, backend=args.backend or "torch"
    )
    contract = contract_of(adapter, pipeline, robot)
    fit = check_fit(robot, contract)
    print(f"robot      {robot.name} ({robot.file})")
    print(f"checkpoint {args.checkpoint} ({opened.origin}, {contract.kind})")
    print(f"adapter    {contract.name} ({contract.source})")
    for warning in robot.warnings:
        print(f"warning    {warning}")
    for line in fit.lines:
        print(line)
    sizes = pipeline.state_norm.statistics.size, pipeline.action_norm.statistics.size
    print(f"ok  statistics: state {sizes[0]}, actions {sizes[1]}")
    words, _ = load_words(opened, pipeline, args.tokenizer, args.fast)
    print(f"ok  tokenizer: {words.vocab_size} ids, {find_tokenizer(Path(args.tokenizer or opened.folder))}")
    for line in policy_lines(opened, adapter, pipeline):
        print(line)
    print("they fit" if fit.ok else "they do not fit")
    if not fit.ok:
        print(f"pi0: {args.checkpoint} does not fit robot {robot.name}; the lines with 'no' say where", file=sys.stderr)
    return max(int(not fit.ok), _check_backend(args, opened.folder, contract.kind))


def _check_backend(args: argparse.Namespace, folder: Path, kind: str) -> int:
    """Print whether the network can run as asked for; 1 if not."""
    if not (args.backend or args.device):
        return 0
    from pi0_ros.commands._check_backend import backend_lines

    lines = backend_lines(folder, kind, args.backend or "torch", args.device or "cpu")
    print("\n".join(lines))
    missing = [line for line in lines if line.startswith("no")]
    if missing:
        print(f"pi0: the network cannot run so here: {missing[0].removeprefix('no').strip()}", file=sys.stderr)
    return int(bool(missing))
