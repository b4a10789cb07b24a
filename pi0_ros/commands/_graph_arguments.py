"""The options of commands that use the running graph, and how they join it."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pi0_ros.ros.environment import check_environment

if TYPE_CHECKING:
    from pi0_ros.ros.graph_client import GraphClient


def add_graph_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --namespace and --timeout."""
    parser.add_argument("--namespace", default="", help="the robot's namespace, as given to pi0 up")
    parser.add_argument(
        "--timeout", type=_seconds, default=5.0, help="how long to wait for others, in seconds (default: 5)"
    )


def join_graph(args: argparse.Namespace) -> AbstractContextManager[GraphClient]:
    """A client in the graph that the options name. Raises UnusableEnvironment before anything of ROS is loaded."""
    check_environment()
    from pi0_ros.ros.graph_client import graph_client

    return graph_client(args.namespace, args.timeout)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 600.0:
        raise argparse.ArgumentTypeError("must be from 0.1 to 600 seconds")
    return value
