"""Recorded FAST tokenisation: ids of chunks, chunks of ids (broken ones too), and their place in PaliGemma's vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pi0_ros.model.checkpoints.shards import read_json
from pi0_ros.model.checkpoints.tensorfile import read_all
from pi0_ros.parity.quiet import quiet
from pi0_ros.parity.report import Row, close, equal
from pi0_ros.policy.fast import FastTokenizer, load_fast, to_vocabulary


def fast_rows(folder: Path) -> Iterator[Row]:
    """One row for every recorded table of a FAST folder."""
    with quiet("pi0_ros.policy.fast"):
        yield from _tables(folder)


def _tables(folder: Path) -> Iterator[Row]:
    fast = load_fast(folder)
    io = {name: tensor.numpy() for name, tensor in read_all(folder / "io.safetensors").items()}
    mapping = read_json(folder / "mapping.json") if (folder / "mapping.json").is_file() else {}
    for shape in sorted(name.removeprefix("chunks.") for name in io if name.startswith("chunks.")):
        yield from encode_rows(fast, io, shape, mapping)
        yield from decode_rows(fast, io, shape)
    vocab, skipped = int(mapping.get("paligemma_vocab", 257152)), int(mapping.get("skip", 128))
    for text, expected in mapping.get("examples", {}).items():
        yield equal(f"mapping.{text}", to_vocabulary([int(text)], vocab, skipped), [expected])


def _padded(rows: list[list[int]], width: int) -> np.ndarray:
    return np.array([[*row[:width], *[-1] * (width - len(row))] for row in rows], np.int64)


def encode_rows(
    fast: FastTokenizer, io: dict[str, np.ndarray], shape: str, mapping: dict[str, object]
) -> Iterator[Row]:
    """Ids and lengths of the recorded chunks."""
    ids = [fast.encode(chunk) for chunk in io[f"chunks.{shape}"]]
    recorded = io[f"ids.{shape}"]
    yield equal(f"ids.{shape}", _padded(ids, recorded.shape[1]), recorded)
    if f"lengths.{shape}" in io:
        yield equal(f"lengths.{shape}", [len(row) for row in ids], io[f"lengths.{shape}"])
    if f"paligemma_ids.{shape}" in io:
        vocab, skipped = int(mapping.get("paligemma_vocab", 257152)), int(mapping.get("skip", 128))  # type: ignore[call-overload]
        moved = [to_vocabulary(row, vocab, skipped).tolist() for row in ids]
        yield equal(f"paligemma_ids.{shape}", _padded(moved, recorded.shape[1]), io[f"paligemma_ids.{shape}"])


def decode_rows(fast: FastTokenizer, io: dict[str, np.ndarray], shape: str) -> Iterator[Row]:
    """Chunks from the recorded ids, good and broken."""
    for stem in ("", "broken_"):
        ids, chunks = io.get(f"{stem or ''}ids.{shape}"), io.get(f"{stem}decoded.{shape}")
        if ids is not None and chunks is not None:
            found = [fast.decode([i for i in row if i >= 0], *chunks.shape[1:]) for row in ids]
            yield close(f"{stem}decoded.{shape}", np.stack(found), chunks)
