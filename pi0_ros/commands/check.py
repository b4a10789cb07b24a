"""Compare a robot with a checkpoint: channels, cameras, statistics, prompt, by name.

Prints what was compared. Exit code 1, with both lists, where they do not fit. No weight is read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare `pi0 check`."""
    parser = subparsers.add_parser("check", help="does this checkpoint fit this robot?", description=__doc__)
    parser.add_argument("--robot", required=True, help="robot name, or its YAML")
    parser.add_argument(
        "--checkpoint", required=True, help="folder of ours, openpi's or LeRobot's, or a name under checkpoints/"
    )
    parser.add_argument("--adapter", help="policy YAML, or a name under config/policies (default: its own)")
    parser.add_argument("--tokenizer", help="tokenizer file or folder, where the checkpoint has none")
    parser.add_argument("--asset", default="", help="which of several statistics under assets/ to use")
    parser.add_argument("--statistics", default="", help="a norm_stats.json to use instead of the checkpoint's")
    parser.add_argument("--fast", help="folder of the FAST tokenizer, where a π0-FAST checkpoint has none")
    parser.add_argument(
        "--pad-state-to", type=int, default=0, help="numbers of the state in the prompt (LeRobot 0.4 padded it to 32)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the comparison; 0 where robot and checkpoint fit, 1 where not."""
    from pi0_ros.policy.checkpoint import Overrides
    from pi0_ros.policy.contract import check_fit, contract_of
    from pi0_ros.policy.engine import load_words, policy_lines, read_policy
    from pi0_ros.policy.tokenizer import find_tokenizer
    from pi0_ros.robot import load_robot

    robot = load_robot(args.robot)
    overrides = Overrides(statistics=args.statistics, asset=args.asset, pad_state_to=args.pad_state_to)
    opened, adapter, pipeline = read_policy(args.checkpoint, robot, args.adapter, overrides)
    contract = contract_of(adapter, pipeline, robot)
    fit = check_fit(robot, contract)
    print(f"robot      {robot.name} ({robot.file})")
    print(f"checkpoint {args.checkpoint} ({opened.origin}, {contract.kind})")
    print(f"adapter    {contract.name} ({contract.source})")
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
    return 0 if fit.ok else 1
