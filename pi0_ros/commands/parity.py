"""Run a recorded reference case and print the largest difference of every output."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME_WIDTH = 52


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`pi0 parity CASE`."""
    parser = subparsers.add_parser("parity", help=__doc__, description=__doc__)
    parser.add_argument("case", type=Path, metavar="CASE", help="folder with recorded inputs and outputs")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        help="largest absolute difference allowed in floating-point outputs (default 1e-4, for float32)",
    )
    parser.add_argument("--tokenizer", type=Path, help="PaliGemma tokenizer (file or folder) if the case has none")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints one line an output; 0 if all are within the tolerance, else 1."""
    from pi0_ros.parity.cases import case_kind, rows
    from pi0_ros.parity.report import ParityError, line

    print(f"{args.case} ({case_kind(args.case)})", flush=True)
    found = []
    for row in rows(args.case, args.tokenizer):
        print(line(row, args.tolerance, NAME_WIDTH), flush=True)
        found.append(row)
    if not found:
        raise ParityError(f"{args.case}: nothing recorded there is an output that can be recomputed")
    failed = [row for row in found if not row.passes(args.tolerance)]
    worst = max((row.difference for row in found if not row.exact), default=0.0)
    print(f"{len(found) - len(failed)} of {len(found)} within {args.tolerance:g}; largest difference {worst:.3g}")
    return 1 if failed else 0
