"""From frames to what the network is trained on: pictures, prompts, grounding answers, subtasks, normalised chunks.

Action examples: the low-level prompt, then, hidden from the action expert, where things are (`grounding`), which is
the localisation co-training of pi0.5 (arXiv 2504.16054, section V) folded into the same row.
High-level examples: `Task: ... Subtask: ` and its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pi0_ros.model import FAST, PROMPT, TEXT, Inputs
from pi0_ros.policy.pipeline import Pipeline
from pi0_ros.policy.prompts import encode_prompt, encode_subtask_prompt
from pi0_ros.policy.tokenizer import Tokenizer
from pi0_ros.train.frames import Frames
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.symmetry import (
    Change,
    changed_grounding,
    changed_labels,
    changed_pictures,
    changed_text,
    changed_vector,
    draw_change,
    ordered_target,
)
from pi0_ros.train.vision import HEAD, Labels, Objects

Index = Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True)
class Examples:
    """Examples drawn together.

    counts: [B, L] tokens with a loss. actions: normalised [B, H, D], None for words. objects: None where nothing is
    known of them. valid: [B] rows of the actions that were shown, the first ones; the others carry no loss.
    """

    inputs: Inputs
    counts: Tensor
    actions: Tensor | None = None
    objects: Objects | None = None
    valid: Tensor | None = None


@dataclass(frozen=True)
class ExampleMaker:
    """Makes examples of frames for one model; with `generator` None nothing is disturbed (validation)."""

    frames: Frames
    pipeline: Pipeline
    tokenizer: Tokenizer
    settings: TrainSettings
    labels: Labels | None = None

    @property
    def first_place(self) -> int:
        """Id of <loc0000>; the next 1023 ids follow it."""
        return self.tokenizer.encode("<loc0000>")[0]

    def actions(self, index: Index, rng: np.random.Generator | None = None) -> Examples:
        """Action examples of these frames; with a generator mirrored, recoloured and disturbed."""
        frames, rows = self.frames, np.asarray(index)
        changes = self._changes(len(rows), rng)
        state = self._changed(frames.state[rows], changes)
        chunk = self._changed(frames.chunk[rows], changes)
        normal = self.pipeline.normalised_state(state)
        noisy = normal if rng is None else normal + rng.normal(0.0, self.settings.state_noise, normal.shape)
        texts = [changed_text(frames.texts[t], c) for t, c in zip(frames.task[rows], changes, strict=True)]
        prompts = [
            encode_prompt(self.tokenizer, self.pipeline.style, text, s).ids
            for text, s in zip(texts, noisy, strict=True)
        ]
        answers = [
            self._places(changed_grounding(g, c)[:HEAD]) for g, c in zip(frames.grounding[rows], changes, strict=True)
        ]
        targets = self.pipeline.normalised_actions(chunk, state)
        inputs, counts = self._joined(rows, prompts, answers, FAST, rng, changes)
        objects = self._objects(rows, changes)
        valid = torch.from_numpy(frames.valid[rows].astype(np.int64))
        return Examples(inputs, counts, torch.from_numpy(targets.astype(np.float32)), objects, valid)

    def _changes(self, count: int, rng: np.random.Generator | None) -> list[Change]:
        if rng is None or not self.settings.symmetry:
            return [Change()] * count
        return [draw_change(rng) for _ in range(count)]

    def _changed(self, values: NDArray, changes: Sequence[Change]) -> NDArray[np.float64]:
        channels = self.frames.channels
        pairs = zip(values.astype(np.float64), changes, strict=True)
        return np.stack([changed_vector(v, channels, c) for v, c in pairs])

    def _objects(self, rows: NDArray[np.integer], changes: Sequence[Change]) -> Objects | None:
        if self.labels is None:
            return None
        cameras = self.frames.cameras
        known = [changed_labels(self.labels, row, cameras, c) for row, c in zip(rows, changes, strict=True)]
        return Objects(*(torch.from_numpy(np.stack([getattr(k, f.name) for k in known])) for f in fields(Objects)))

    def words(self, index: Index, rng: np.random.Generator | None = None) -> Examples:
        """High-level examples of these frames, which must have a high-level task; with a generator mirrored."""
        frames, rows = self.frames, np.asarray(index)
        drawn = self._changes(len(rows), rng)
        known = [self._exchangeable(row, c) for row, c in zip(rows, drawn, strict=True)]
        changes = [c if ok else replace(c, colours=None) for c, ok in zip(drawn, known, strict=True)]
        length = self.pipeline.style.length
        prompts = [encode_subtask_prompt(self.tokenizer, frames.texts[t], length).ids for t in frames.high_task[rows]]
        targets = [self._target(row, c) for row, c in zip(rows, changes, strict=True)]
        answers = [np.array([*self.tokenizer.encode(text), self.tokenizer.eos]) for text in targets]
        inputs, counts = self._joined(rows, prompts, answers, TEXT, rng, changes)
        return Examples(inputs, counts)

    def _exchangeable(self, row: int, change: Change) -> bool:
        """Whether the target after exchanging colours is known, as it is where the rule gives the recorded one."""
        frames = self.frames
        numbers, told = frames.grounding[row], frames.texts[frames.high_target[row]]
        return ordered_target(numbers) == told and ordered_target(numbers, change.colours) is not None

    def _target(self, row: int, change: Change) -> str:
        frames = self.frames
        if change.colours is None:
            return changed_text(frames.texts[frames.high_target[row]], change)
        target = ordered_target(frames.grounding[row], change.colours) or ""
        return changed_text(target, Change(change.mirrored))

    def pictures(
        self, index: Index, rng: np.random.Generator | None = None, changes: Sequence[Change] = ()
    ) -> list[Tensor]:
        """Pictures of these frames, a camera each [B, 3, S, S] in [-1, 1]; changed, and disturbed with a generator."""
        raw = self.frames.images[np.asarray(index)]
        if changes:
            raw = np.stack([changed_pictures(p, self.frames.cameras, c) for p, c in zip(raw, changes, strict=True)])
        x = torch.from_numpy(np.ascontiguousarray(raw.transpose(1, 0, 4, 2, 3))).float() / 127.5 - 1.0
        if rng is not None:
            x = _disturbed(x, self.settings, rng)
        return list(x)

    def _places(self, numbers: NDArray[np.int16]) -> NDArray[np.int64]:
        """Location tokens; -1 where there is none."""
        wide = numbers.astype(np.int64)
        return np.where(wide >= 0, wide + self.first_place, -1)

    def _joined(
        self,
        rows: Index,
        prompts: Sequence,
        answers: Sequence,
        role: int,
        rng: np.random.Generator | None,
        changes: Sequence[Change],
    ) -> tuple[Inputs, Tensor]:
        """Inputs of prompts followed by answers; answer tokens of -1 stand as padding that is seen but not learned."""
        length = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
        tokens = np.zeros((len(prompts), length), np.int64)
        mask, counts = np.zeros(tokens.shape, bool), np.zeros(tokens.shape, bool)
        roles = np.full(tokens.shape, PROMPT)
        for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            start, stop = len(prompt), len(prompt) + len(answer)
            tokens[i, :start], tokens[i, start:stop] = prompt, np.maximum(answer, 0)
            mask[i, :stop], roles[i, start:stop] = True, role
            counts[i, start:stop] = np.asarray(answer) >= 0
        images = self.pictures(rows, rng, changes)
        present = torch.ones(len(prompts), dtype=torch.bool)
        tensors = (torch.from_numpy(a) for a in (tokens, mask, roles))
        ids, valid, kinds = tensors
        return Inputs(images, [present] * len(images), ids, valid, roles=kinds), torch.from_numpy(counts)


def _disturbed(x: Tensor, settings: TrainSettings, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast and noise, drawn for each picture [C, B, 3, S, S]."""
    shape = (*x.shape[:2], 1, 1, 1)
    shift = torch.from_numpy(rng.uniform(-settings.brightness, settings.brightness, shape).astype(np.float32))
    gain = torch.from_numpy(1.0 + rng.uniform(-settings.contrast, settings.contrast, shape).astype(np.float32))
    noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32)) * settings.picture_noise
    return (x * gain + shift + noise).clamp_(-1.0, 1.0)
