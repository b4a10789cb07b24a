"""The network behind a policy: model inputs and noise in, normalised actions or token ids out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pi0_ros.policy.pipeline import ModelInputs

Array = NDArray[np.floating]


@dataclass(frozen=True)
class NormalisedPrefix:
    """A leftover plan on the network's scale [P, D], and how the new chunk continues it (`pi0_ros.model.rtc`)."""

    values: Array
    delay_rows: int
    execution_rows: int
    method: str


@dataclass(frozen=True)
class Words:
    """Token ids without the stop id, and the mean log-probability of the tokens with it: 0 is certain."""

    ids: list[int]
    log_probability: float


class Backend(Protocol):
    """Runs one observation at a time. `actions` gives float [H, D]; `text` gives the words behind the prompt."""

    def actions(self, inputs: ModelInputs, noise: Array, prefix: NormalisedPrefix | None) -> Array: ...
    def text(self, inputs: ModelInputs, max_tokens: int, stop: Sequence[int]) -> Words: ...
