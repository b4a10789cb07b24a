"""The scripted person beside a simulated robot: watches the policy, takes over when it goes wrong, gives back."""

from __future__ import annotations

import argparse

from pi0_ros.commands._numbers import whole


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 operate`."""
    parser = subparsers.add_parser(
        "operate", help=__doc__, description=f"{__doc__} Needs `pi0 up sim:=true` in another terminal."
    )
    parser.add_argument(
        "--corrections",
        type=whole(1, 100_000),
        default=30,
        help="end after so many scenes in which it took over (default: 30)",
    )
    parser.add_argument("--scenes", type=whole(1, 10**6), default=1000, help="end after so many scenes (default: 1000)")
    parser.add_argument("--robot", default="mobile_bimanual", help="robot YAML or name")
    parser.add_argument("--namespace", default="", help="the robot's namespace, as given to pi0 up")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Watch until enough was corrected; 0 if it ended by itself."""
    from pi0_ros import bringup
    from pi0_ros.ros.environment import check_environment
    from pi0_ros.supervisor import node_program, supervise

    check_environment()
    parameters = {"robot": args.robot, "corrections": args.corrections, "scenes": args.scenes}
    node = bringup.Node("sim_operator", parameters, namespace=args.namespace)
    return supervise([node_program(node, required=True)])
