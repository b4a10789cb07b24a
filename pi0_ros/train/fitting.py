"""An action tokenizer fitted on recorded chunks, before any run: one for several runs, and for both stages of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.dataset import Dataset
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.fast import FastTokenizer, fit_fast
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import Frames, join
from pi0_ros.train.from_dataset import frames_of
from pi0_ros.train.network import fresh_network
from pi0_ros.train.session import pipeline_for, whole_chunks
from pi0_ros.train.start_statistics import choose

TRIED = 200  # chunks that are encoded and decoded again, to measure the tokenizer


@dataclass(frozen=True)
class FittedTokenizer:
    """A tokenizer, what it was fitted on (chunks [rows, width], statistics of `source`), tokens per chunk, and the root
    mean square error of encoding and decoding, on the network's scale."""

    tokenizer: FastTokenizer
    chunks: int
    rows: int
    width: int
    source: str
    tokens: float
    error: float


def fit_on(
    datasets: Sequence[Path], adapter: Adapter, statistics: str, horizon: int, vocabulary: int
) -> FittedTokenizer:
    """FAST fitted on the chunks of datasets that are shown to their end, evenly chosen, on the scale of a π0-FAST network.

    statistics: "data", a checkpoint's folder, or a norm_stats.json. horizon: rows of a chunk, 0 as the policy YAML says.
    Raises: TrainError if no chunk is whole, PolicyError if the chunks do not fit into the vocabulary.
    """
    network = fresh_network("pi0_fast", adapter, {"horizon": horizon} if horizon else {}, "", 0)
    rows = network.model.horizon
    frames = join([_vectors(folder, adapter, rows) for folder in datasets])
    folder = Path(statistics).is_dir() and (Path(statistics) / "config.json").is_file()
    table, source = choose("checkpoint" if folder else statistics, statistics if folder else "", adapter, frames)
    chunks = whole_chunks(frames, pipeline_for(adapter, network.model, table))
    if not len(chunks):
        raise TrainError(
            f"no episode is as long as a chunk of {rows} rows of {adapter.period:g} s; give a smaller --horizon"
        )
    fitted = fit_fast(chunks, vocab_size=vocabulary)
    tokens, error = _measured(fitted, chunks)
    return FittedTokenizer(fitted, len(chunks), rows, chunks.shape[2], source, tokens, error)


def _vectors(folder: Path, adapter: Adapter, rows: int) -> Frames:
    """States and chunks of a dataset, without its pictures."""
    dataset = Dataset(folder)
    return frames_of(dataset, adapter, 1, rows, range(len(dataset.episodes)), see=False)


def _measured(fitted: FastTokenizer, chunks: NDArray[np.floating]) -> tuple[float, float]:
    tried = chunks[np.unique(np.linspace(0, len(chunks) - 1, min(TRIED, len(chunks))).astype(int))]
    encoded = [fitted.encode(chunk) for chunk in tried]
    decoded = np.stack([fitted.decode(ids, *chunks.shape[1:]) for ids in encoded])
    return float(np.mean([len(ids) for ids in encoded])), float(np.sqrt(np.mean((decoded - tried) ** 2)))
