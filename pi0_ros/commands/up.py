"""Run the nodes that `ros2 launch pi0_ros bimanual.launch.py` runs, if no launch is installed.

Log lines carry the name of their process. Nothing is restarted but what respawn:=true says. Ctrl-C stops everything within 3 s.
"""

from __future__ import annotations

import argparse
import shlex

from pi0_ros import bringup
from pi0_ros.ros.environment import check_environment
from pi0_ros.supervisor import Program, node_program, supervise


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `pi0 up` to the command line."""
    parser = subparsers.add_parser(
        "up",
        help="run the nodes",
        description=__doc__,
        epilog=describe_arguments(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("arguments", nargs="*", metavar="name:=value", help="as for the launch file; see below")
    parser.add_argument("--print", action="store_true", help="print the command lines and start nothing")


def describe_arguments() -> str:
    """The launch arguments as text: name, default, meaning and choices, one a line."""
    width = max(len(argument.name) for argument in bringup.ARGUMENTS)
    lines = [f"  {a.name:<{width}}  {a.description} ({_values(a)})" for a in bringup.ARGUMENTS]
    return "\n".join(["arguments:", *lines])


def _values(argument: bringup.Argument) -> str:
    default = f"default: {argument.default or 'empty'}"
    return f"{default}; {'|'.join(argument.choices)}" if argument.choices else default


def programs(arguments: list[str]) -> list[Program]:
    """What the supervisor has to run for these `name:=value` words. Raises BringupError."""
    return [node_program(node) for node in bringup.nodes(bringup.parse(arguments))]


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C; 0 if all ended well."""
    listed = programs(args.arguments)
    if args.print:
        print("\n".join(shlex.join(program.command) for program in listed))
        return 0
    check_environment()
    bringup.check_robot(bringup.parse(args.arguments))
    print(f"[up] {bringup.summary(bringup.parse(args.arguments))}", flush=True)
    return supervise(listed)
