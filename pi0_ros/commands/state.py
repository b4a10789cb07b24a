"""Show what a running robot does and why: mode, reason, and the status of every node."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from pi0_ros.commands._graph_arguments import add_graph_arguments, join_graph

if TYPE_CHECKING:
    from pi0_ros.ros.graph_client import GraphState


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 state`."""
    parser = subparsers.add_parser("state", help=__doc__, description=__doc__)
    parser.add_argument("--values", action="store_true", help="print the values in /diagnostics too")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    add_graph_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print it once; 0 if no node reports an error."""
    with join_graph(args) as client:
        state = client.state()
    print(json.dumps(asdict(state), indent=1, ensure_ascii=False) if args.json else as_text(state, args.values))
    return 1 if any(node.level == "error" for node in state.nodes.values()) else 0


def as_text(state: GraphState, values: bool) -> str:
    """Mode and reason, then a line for each node."""
    lines = (
        [f"mode    {state.mode}, plan left {state.plan_left:.1f} s", f"reason  {state.reason}"] if state.mode else []
    )
    for name, node in sorted(state.nodes.items()):
        lines.append(f"{node.level:<7} {name}: {node.message}")
        lines += [f"          {key}: {value}" for key, value in node.values.items()] if values else []
    return "\n".join(lines)
