"""Makes examples of several sources as if they were one: robots with adapters, rates and cameras of their own, and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from pi0_ros.model import TEXT, Inputs
from pi0_ros.policy.pipeline import Pipeline
from pi0_ros.policy.prompts import clean
from pi0_ros.policy.resize import pil_bilinear
from pi0_ros.policy.tokenizer import Tokenizer
from pi0_ros.train.batching import joined_examples
from pi0_ros.train.errors import TrainError
from pi0_ros.train.examples import AnswerText, ExampleMaker, Examples, Index, joined_texts
from pi0_ros.train.frames import MixedFrames
from pi0_ros.train.prompt_check import check_locations
from pi0_ros.train.text_source import TextItem, picture, slots_of


@dataclass(frozen=True)
class TextMaker:
    """Makes examples of text and pictures for one network."""

    items: tuple[TextItem, ...]
    pipeline: Pipeline
    tokenizer: Tokenizer
    name: str = ""

    def check(self) -> None:
        """Raises TrainError for a picture slot that the network lacks, or a text longer than its prompt."""
        check_locations([item.said((1, 1), (1, 1)) for item in self.items if item.boxes], self.tokenizer, self.name)
        for number, item in enumerate(self.items, 1):
            slots_of(item, self.pipeline.cameras, f"{self.name}: example {number}")
            if len(self._prompt(item)) >= self.pipeline.style.length:
                raise TrainError(
                    f"{self.name}: example {number} has a question of {len(self._prompt(item))} tokens, and the network "
                    f"takes {self.pipeline.style.length}; shorten it, or give --prompt-length"
                )

    def words(self, index: Index) -> Examples:
        """Examples of these items: the question is a prompt, the answer is learned; what has no picture is masked."""
        items = [self.items[int(i)] for i in np.asarray(index)]
        found = [self._pictures(item) for item in items]
        answers = [self._said(item, pictures) for item, pictures in zip(items, found, strict=True)]
        tokens, mask, roles, counts = joined_texts([self._prompt(i) for i in items], answers, TEXT)
        images, present = [], []
        for slot in self.pipeline.cameras:
            there = torch.tensor([slot in named for named in found])
            size = self.pipeline.image_size
            blank = np.full((*size, 3), 0, np.uint8)
            rows = [pil_bilinear(named[slot], size) if slot in named else blank for named in found]
            stacked = torch.from_numpy(np.stack(rows).transpose(0, 3, 1, 2).copy()).float() / 127.5 - 1.0
            images.append(stacked if bool(there.any()) else None)
            present.append(there)
        state = torch.zeros(len(items), self.pipeline.state_input) if self.pipeline.state_input else None
        return Examples(Inputs(images, present, tokens, mask, state, roles), counts)

    def _prompt(self, item: TextItem) -> list[int]:
        """As a picture's question is put: the words, and a line break (PaliGemma)."""
        words = clean(item.question)
        return [self.tokenizer.bos, *self.tokenizer.encode(words), *self.tokenizer.encode("\n")]

    def _pictures(self, item: TextItem) -> dict[str, NDArray[np.uint8]]:
        """An item's pictures [H, W, 3] by slot, in the network's order."""
        named = slots_of(item, self.pipeline.cameras, self.name)
        return {slot: picture(named[slot]) for slot in self.pipeline.cameras if slot in named}

    def _said(self, item: TextItem, pictures: Mapping[str, NDArray[np.uint8]]) -> AnswerText:
        height, width = next(iter(pictures.values())).shape[:2]
        answer = item.said((height, width), self.pipeline.image_size)
        ids = np.array([*self.tokenizer.encode(answer), self.tokenizer.eos], np.int64)
        return AnswerText(ids, np.ones(len(ids), bool))


@dataclass(frozen=True)
class MixedMaker:
    """Robots' frames and texts, numbered through: first the frames of every part, then the texts of every text source."""

    parts: tuple[ExampleMaker, ...]
    texts: tuple[TextMaker, ...] = ()

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Number of the first row of every part and text source, and of the one behind the last."""
        sizes = [len(p.frames) for p in self.parts] + [len(t.items) for t in self.texts]
        return np.cumsum([0, *sizes])

    @cached_property
    def frames(self) -> MixedFrames:
        """The frames of all parts, episodes kept apart."""
        return MixedFrames.of([p.frames for p in self.parts])

    @property
    def text_rows(self) -> NDArray[np.int64]:
        """Numbers of all texts."""
        return np.arange(len(self.frames), int(self.starts[-1]))

    def source_of(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Number of the part or text source of each row."""
        return np.searchsorted(self.starts, np.asarray(rows), side="right") - 1

    def actions(self, index: Index, rng: np.random.Generator | None = None) -> Examples:
        """Action examples, source by source."""
        return joined_examples([self.parts[k].actions(own, rng) for k, own in self.by_source(index)])

    def words(self, index: Index, rng: np.random.Generator | None = None) -> Examples:
        """High-level examples of frames, and examples of text, source by source."""
        made = []
        for k, own in self.by_source(index):
            made.append(
                self.parts[k].words(own, rng) if k < len(self.parts) else self.texts[k - len(self.parts)].words(own)
            )
        return joined_examples(made)

    def by_source(self, index: Index) -> Sequence[tuple[int, NDArray[np.int64]]]:
        """Number of each source in these rows, and its own numbers of them, in their order."""
        rows = np.asarray(index, np.int64)
        sources = self.source_of(rows)
        return [(int(k), rows[sources == k] - self.starts[k]) for k in np.unique(sources)]
