"""Score trials of a real robot by a rubric, as the papers do: progress, and how many trials reached all of it."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 score`."""
    parser = subparsers.add_parser("score", help=__doc__, description=__doc__)
    parser.add_argument("--rubric", required=True, help="YAML file or name under config/rubrics")
    parser.add_argument(
        "trials",
        type=Path,
        nargs="?",
        help="table (CSV) with a row for each trial and a column for each step; without one the steps are shown",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print progress and success with its interval, or the steps of the rubric; 0."""
    from pi0_ros.closed_loop.intervals import wilson
    from pi0_ros.closed_loop.rubric import load_rubric, mean_score, read_trials

    rubric = load_rubric(args.rubric)
    if args.trials is None:
        for step in rubric.steps:
            print(f"{step.name} (0 to {step.points}): {step.text}")
        return 0
    points = read_trials(args.trials, rubric)
    whole = sum(p == rubric.total for p in points)
    low, high = wilson(whole, len(points))
    print(
        f"{rubric.name}: progress {mean_score(points, rubric):.1%}, {whole} of {len(points)} trials whole, "
        f"{whole / len(points):.1%} (95 % interval {low:.1%} to {high:.1%})"
    )
    return 0
