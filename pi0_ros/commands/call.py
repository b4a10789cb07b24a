"""Ask a running robot: hold, teleop, autonomy, stop, reset, or start and stop a recording."""

from __future__ import annotations

import argparse
import sys

from pi0_ros.commands._graph_arguments import add_graph_arguments, join_graph
from pi0_ros.ros.interface import SERVICES

EXECUTOR = tuple(service.name for service in SERVICES if service.node == "executor")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 call`."""
    parser = subparsers.add_parser(
        "call",
        help=__doc__,
        description=__doc__,
        epilog=describe_services(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "service", help="service to call; a word alone is the executor's, so `autonomy` is executor/autonomy"
    )
    add_graph_arguments(parser)


def describe_services() -> str:
    """The services as text, one a line."""
    width = max(len(service.path) for service in SERVICES)
    return "\n".join(["services:", *(f"  {s.path:<{width}}  {s.meaning}" for s in SERVICES)])


def service_path(word: str) -> str:
    """The service that a word means: any Trigger service by its path, the executor's by a word alone."""
    return f"executor/{word}" if word in EXECUTOR else word


def run(args: argparse.Namespace) -> int:
    """Print the answer; 0 if it was granted."""
    with join_graph(args) as client:
        answer = client.call(service_path(args.service))
    print(answer.message or ("granted" if answer.ok else "refused"), file=sys.stdout if answer.ok else sys.stderr)
    return 0 if answer.ok else 1
