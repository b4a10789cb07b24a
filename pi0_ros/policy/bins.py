"""Action chunks as one token per number: 256 bins per dimension, as in RT-2 and OpenVLA.

Source: openvla prismatic/vla/action_tokenizer.py (edges at linspace(-1, 1, 256); a value is said as the middle between two
edges). A chunk is said row by row. It is here to compare with: at 50 rows of 14 numbers it takes 700 tokens while FAST
takes 53.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi0_ros.policy.errors import PolicyError

PROCESSOR = "BinActionProcessor"
MOST = 1 << 16


@dataclass(frozen=True)
class BinTokenizer:
    """Normalised actions [T, D] to T * D ids and back; what lies outside of -1 .. 1 is said as the nearest end.

    `failure` is what a sequence of the wrong length decodes to, as for FAST: "zeros", "truncate" or "refuse".
    """

    bins: int = 256
    failure: str = "zeros"

    @property
    def vocab_size(self) -> int:
        """Ids there are."""
        return self.bins

    def encode(self, chunk: ArrayLike) -> list[int]:
        """Ids of one chunk [T, D], row by row. Raises PolicyError if it is not a finite [T, D] array."""
        array = np.asarray(chunk)
        if array.ndim != 2 or not np.all(np.isfinite(array)):
            raise PolicyError(f"bins encode one finite [T, D] chunk, not shape {array.shape} or values that are not")
        edges = np.linspace(-1.0, 1.0, self.bins)
        ids: list[int] = (np.digitize(np.clip(array, -1.0, 1.0), edges) - 1).ravel().tolist()
        return ids

    def decode(self, ids: Sequence[int], horizon: int, size: int) -> NDArray[np.float64]:
        """Chunk [horizon, size] of ids. Raises PolicyError for those of another shape if `failure` is "refuse"."""
        known = np.array([i for i in ids if 0 <= int(i) < self.bins], np.int64)
        wanted = horizon * size
        if len(known) != wanted and self.failure == "refuse":
            raise PolicyError(f"the answer holds {len(known)} numbers instead of {horizon} x {size}; no plan made")
        if len(known) != wanted and self.failure == "zeros":
            return np.zeros((horizon, size))
        edges = np.linspace(-1.0, 1.0, self.bins)
        middles = (edges[:-1] + edges[1:]) / 2
        values = middles[np.minimum(known[:wanted], self.bins - 2)]
        return np.pad(values, (0, wanted - len(values))).reshape(horizon, size)

    def save(self, folder: str | Path) -> None:
        """Write processor_config.json."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        config = {"processor_class": PROCESSOR, "bins": self.bins}
        (path / "processor_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def bins_of(config: Mapping[str, object], where: Path, failure: str) -> BinTokenizer:
    """The tokenizer of a processor_config.json. Raises PolicyError for a number of bins that is none."""
    bins = config.get("bins")
    if isinstance(bins, bool) or not isinstance(bins, int) or not 2 <= bins <= MOST:
        raise PolicyError(f"{where}: bins {bins!r} has to be a whole number from 2 to {MOST}")
    return BinTokenizer(bins, failure)
