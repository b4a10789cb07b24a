"""Which normalisation statistics a run uses, and how the data lie in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pi0_ros.data.stored import Numbers
from pi0_ros.policy import transforms
from pi0_ros.policy.adapter import Adapter, Block
from pi0_ros.policy.adapter_reading import adapter_of_checkpoint
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.normalize import Statistics, read_norm_stats
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import Frames
from pi0_ros.train.statistics import frame_statistics, shown_rows

FAR = 2.0  # times the range from q01 to q99 away from its middle: far outside
NOTED = 0.01  # share of the values far outside from which on a channel is named
Table = Mapping[str, Statistics]


def choose(wanted: str, init: str, adapter: Adapter, frames: Frames) -> tuple[Table, str]:
    """Statistics of state and actions, and where they come from.

    Args: wanted: "checkpoint", "data", a norm_stats.json, or "" for the checkpoint's if there is one for these
    channels, else the data's. init: the folder that is started from, "" for none.
    Raises: TrainError if those asked for are not to be had.
    """
    if wanted not in ("", "checkpoint", "data"):
        return _wide_enough(read_norm_stats(wanted), adapter, f"--statistics {wanted}"), wanted
    if wanted != "data" and init:
        try:
            return _wide_enough(
                _of_checkpoint(Path(init), adapter), adapter, init, none=True
            ), f"of the checkpoint {init}"
        except (PolicyError, TrainError) as problem:
            if wanted:
                raise TrainError(f"--statistics checkpoint: {problem}") from problem
            return _of_data(frames, adapter), f"of the data ({problem})"
    if wanted == "checkpoint":
        raise TrainError("--statistics checkpoint needs --init, the checkpoint that they are of")
    return _of_data(frames, adapter), "of the data"


def _wide_enough(table: Table, adapter: Adapter, where: str, none: bool = False) -> Table:
    """Raises TrainError if there are none of the state or of the actions, or of fewer channels than the policy YAML has.

    none: a checkpoint that was trained without normalisation has none.
    """
    for key, channels in (("state", adapter.state_channels), ("actions", adapter.action_channels)):
        size = table[key].size if key in table else 0
        if size < len(channels) and not (none and not size):
            raise TrainError(
                f"{where}: has statistics of {size} dimensions for {key}, and {adapter.file} has {len(channels)} channels there; "
                "give statistics of this robot, or --statistics data"
            )
    return table


def _of_data(frames: Frames, adapter: Adapter) -> Table:
    return frame_statistics(frames, adapter.delta_mask, adapter.step_shares)


def _of_checkpoint(folder: Path, adapter: Adapter) -> Table:
    """Raises PolicyError or TrainError if the checkpoint has none, or has them for other channels."""
    from pi0_ros.model.checkpoints import open_checkpoint
    from pi0_ros.policy.checkpoint import build_pipeline

    opened = open_checkpoint(folder, as_start=True)
    if opened.origin == "paligemma":
        raise TrainError("a PaliGemma has none")
    own = adapter_of_checkpoint(opened.folder / "config.json") if opened.origin == "pi0_ros" else None
    if own is not None and _numbers(own) != _numbers(adapter):
        raise TrainError("the checkpoint's are of other channels, signs or offsets than this policy YAML's")
    pipeline = build_pipeline(opened, adapter)
    return {"state": pipeline.state_norm.statistics, "actions": pipeline.action_norm.statistics}


def _numbers(adapter: Adapter) -> list[list[tuple[str, float, Block]]]:
    """Of state and actions, each number: its channel, its sign, and its block without what statistics do not depend on.
    That is what comes after the network (`clip`, `binary`), and which channels share the block."""

    def numbers(block: Block) -> list[tuple[str, float, Block]]:
        bare = replace(block, channels=(), signs=(), clip=None, binary=None)
        return [(channel, sign, bare) for channel, sign in zip(block.channels, block.signs, strict=True)]

    return [[n for block in blocks for n in numbers(block)] for blocks in (adapter.state, adapter.actions)]


def remarks(frames: Frames, adapter: Adapter, table: Table) -> list[str]:
    """What deserves a look before training: channels far outside of the statistics, and channels that never move."""
    step = max(1, len(frames) // 20_000)
    state, chunk = np.asarray(frames.state[::step]), np.asarray(frames.chunk[::step], np.float64)
    moves = transforms.delta(chunk, state, adapter.delta_mask)
    found = _outside("state", state, table["state"], adapter.state_channels)
    if not any(adapter.step_shares):
        shown = shown_rows(frames.valid[::step], chunk.shape[1])
        found += _outside("actions", moves[shown], table["actions"], adapter.action_channels)
    still = [n for n, width in zip(adapter.state_channels, np.ptp(state, axis=0), strict=True) if width < 1e-6]
    return found + ([f"never move in these data: {', '.join(still)}"] if still else [])


def _usual(statistics: Statistics) -> tuple[Numbers, Numbers] | None:
    """Between what the middle 98 % lie: the quantiles, or, if there are none, those of a bell curve; None without either."""
    if "q01" in statistics and "q99" in statistics:
        return np.asarray(statistics["q01"]), np.asarray(statistics["q99"])
    if "mean" not in statistics or "std" not in statistics:
        return None
    mean, wide = np.asarray(statistics["mean"]), 2.326 * np.asarray(statistics["std"])
    return mean - wide, mean + wide


def _outside(key: str, values: Numbers, statistics: Statistics, channels: Sequence[str]) -> list[str]:
    edges = _usual(statistics)
    if edges is None:
        return []
    low, high = (edge[: len(channels)] for edge in edges)
    middle, reach = (low + high) / 2, np.maximum(FAR * (high - low), 1e-9)
    share = (np.abs(values - middle) > reach).mean(axis=0)
    return [
        f"{key} of {name}: {share[i]:.0%} of the values lie far outside of the statistics ({low[i]:.3g} .. {high[i]:.3g}; "
        f"data {values[:, i].min():.3g} .. {values[:, i].max():.3g})"
        for i, name in enumerate(channels)
        if share[i] > NOTED
    ]
