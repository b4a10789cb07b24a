"""How an experiment extends training: changed rows, answers beside the actions, losses, the start.

The trainer trains any policy on any dataset without any of these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pi0_ros.model import Inputs, Pi0, Prefix
from pi0_ros.model.gemma import LayerInputs
from pi0_ros.policy.tokenizer import Tokenizer


class Purpose(Enum):
    """What a row becomes: an example of acting, or of saying what to do next."""

    ACT = "act"
    TELL = "tell"


@dataclass(frozen=True)
class Row:
    """One moment before it becomes an example.

    pictures: uint8 [C, S, S, 3] RGB, one for each of `cameras`. state: [D] in robot units. chunk: [H, D] absolute
    actions of `channels`. task: the instruction that the chunk follows. high_task, high_target: a task, and what to do
    next for it; "" if not known. facts: int16 [G], numbers that only an experiment reads; empty without one.
    present: bool [C], which cameras gave a picture; None: all.
    """

    pictures: NDArray[np.uint8]
    cameras: tuple[str, ...]
    state: NDArray[np.float64]
    chunk: NDArray[np.float64]
    channels: tuple[str, ...]
    task: str
    high_task: str
    high_target: str
    facts: NDArray[np.int16]
    present: NDArray[np.bool_] | None = None


def without_pictures(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with no picture of any camera: what is left travels fast between processes."""
    return tuple(replace(row, pictures=row.pictures[:0]) for row in rows)


class Augmentation(Protocol):
    """Rows that are as true as the recorded one."""

    def check(self, channels: Sequence[str], cameras: Sequence[str]) -> None:
        """Raises TrainError if it does not know how such a robot looks."""

    def __call__(self, row: Row, purpose: Purpose, rng: np.random.Generator) -> Row:
        """Another row, drawn."""


class Answer(Protocol):
    """What the text head says beside the actions, hidden from the action expert."""

    def __call__(self, row: Row) -> NDArray[np.int64]:
        """Token ids; a negative one stands as padding that is seen but not learned."""


@dataclass(frozen=True)
class StepView:
    """What a step computed, for losses of an experiment.

    prefix: of the action examples. layers: positional inputs of the layers that the loss watches, in its order; empty for
    layers that did not run (the expert's without flow).
    tokens, counts: [B, L] text of the examples, and where it is learned.
    """

    prefix: Prefix
    layers: tuple[LayerInputs | tuple[()], ...]
    tokens: Tensor
    counts: Tensor


class AuxiliaryLoss(nn.Module, ABC):
    """Losses beside text and flow, with weights of their own."""

    names: tuple[str, ...] = ()

    @abstractmethod
    def facts(self, rows: Sequence[Row]) -> object:
        """What `forward` needs to know of the rows, as tensors on the CPU; None if nothing is known of them. Rows that another
        process made come without pictures."""

    def watched(self, model: Pi0) -> tuple[nn.Module, ...]:
        """Layers whose inputs `forward` wants to see."""
        return ()

    @abstractmethod
    def forward(self, model: Pi0, seen: StepView, facts: object) -> dict[str, Tensor]:
        """Weighted scalars by name, one for each of `names`."""


TokenLoss = Callable[[Tensor, Tensor], Tensor]


class CountedBatch(Protocol):
    """Of a batch of examples: what goes in, and which tokens [B, L] have a loss."""

    @property
    def inputs(self) -> Inputs: ...
    @property
    def counts(self) -> Tensor: ...


Measure = Callable[[Pi0, Prefix, CountedBatch], Mapping[str, float]]


@dataclass(frozen=True)
class Hooks:
    """All that an experiment adds; the default adds nothing.

    token_loss: of log probabilities [N, V] and wanted tokens [N], per token [N]; None for cross-entropy.
    loss: makes the auxiliary loss for a network, once, seeded by torch's own generator; None for none.
    prepare: changes randomly drawn weights in place, before training.
    measure: what to measure on held-out action examples: model, prefix, examples to numbers by name.
    """

    augmentations: tuple[Augmentation, ...] = ()
    answer: Answer | None = None
    token_loss: TokenLoss | None = None
    loss: Callable[[Pi0], AuxiliaryLoss] | None = None
    prepare: Callable[[Pi0, Tokenizer, torch.Generator], None] | None = None
    measure: Measure | None = None


MakeHooks = Callable[[Tokenizer], Hooks]


def no_hooks(tokenizer: Tokenizer) -> Hooks:
    """Training without an experiment."""
    return Hooks()
