"""`pi0 data fit-fast`: an action tokenizer for `pi0 train --fast-tokenizer`."""

from __future__ import annotations

import argparse

from pi0_ros.data.errors import DataError


def fit_fast(args: argparse.Namespace) -> int:
    """Fit and write; 0 once the folder is complete."""
    from pi0_ros.policy.adapter_reading import load_adapter
    from pi0_ros.robot.replacing import replacing_folder
    from pi0_ros.train.fitting import fit_on

    if args.out.exists():
        raise DataError(f"{args.out}: is there already; give a new folder for the tokenizer")
    adapter = load_adapter(args.policy)
    fitted = fit_on(args.folder, adapter, args.statistics, args.horizon, args.vocabulary)
    with replacing_folder(args.out) as partial:
        fitted.tokenizer.save(partial)
    print(
        f"{args.out}: fitted on {fitted.chunks} chunks of {fitted.rows} rows of {fitted.width} channels, statistics {fitted.source}; "
        f"a chunk is {fitted.tokens:.0f} tokens, and off by {fitted.error:.3f} on the network's scale of -1 .. 1"
    )
    return 0
