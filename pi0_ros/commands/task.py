"""Tell a running robot what to do, in words."""

from __future__ import annotations

import argparse

from pi0_ros.commands._graph_arguments import add_graph_arguments, join_graph


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 task`."""
    parser = subparsers.add_parser("task", help=__doc__, description=__doc__)
    parser.add_argument("text", help="what to do; an empty text takes it back")
    parser.add_argument(
        "--subtask",
        action="store_true",
        help="say the next step yourself, in place of the network (topic subtask_override); an empty text gives the "
        "choice back",
    )
    add_graph_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Publish the text, latched; 0 once it has arrived."""
    topic = "subtask_override" if args.subtask else "task"
    with join_graph(args) as client:
        listeners = client.say(topic, args.text)
    print(f"{topic}: {args.text!r}, heard by {listeners}")
    return 0
