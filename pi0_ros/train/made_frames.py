"""Frames that are made, not recorded: shards of episodes on disk, in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from pi0_ros.process import end_with_parent
from pi0_ros.train.frames import Frames, save_frames


def write_made_frames(
    make: Callable[[range], Frames], folder: Path, first: int, episodes: int, each: int = 25, workers: int = 1
) -> None:
    """Write shards of `each` episodes until seeds first .. first + episodes - 1 are on disk; those there are kept.

    make: seeds to frames, which do not depend on how many processes make them; it is sent to these, so it can be pickled.
    """
    stop = first + episodes
    shards = [range(at, min(at + each, stop)) for at in range(first, stop, each)]
    write = partial(_write_shard, make, folder)
    if workers == 1:
        _report(map(write, shards), episodes, each)
        return
    with multiprocessing.get_context("spawn").Pool(workers, initializer=end_with_parent) as pool:
        _report(pool.imap_unordered(write, shards), episodes, each)


def _report(done: Iterable[None], episodes: int, each: int) -> None:
    for number, _ in enumerate(done, 1):
        print(f"frames: {min(number * each, episodes)}/{episodes} episodes", flush=True)


def _write_shard(make: Callable[[range], Frames], folder: Path, seeds: range) -> None:
    shard = folder / f"seeds-{seeds.start:07d}"
    if not shard.is_dir():
        save_frames(make(seeds), shard)
