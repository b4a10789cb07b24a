"""The options of commands that speak to the running graph."""

from __future__ import annotations

import argparse


def add_graph_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --namespace and --timeout."""
    parser.add_argument("--namespace", default="", help="the robot's namespace, as given to pi0 up")
    parser.add_argument(
        "--timeout", type=_seconds, default=5.0, help="how long to wait for others, in seconds (default: 5)"
    )


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 600.0:
        raise argparse.ArgumentTypeError("must be from 0.1 to 600 seconds")
    return value
