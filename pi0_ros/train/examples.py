"""From frames to what the network is trained on: pictures, prompts, answers, subtasks, normalised chunks, FAST tokens.

Action examples: the low-level prompt, for π0 the state as a vector, and behind the prompt what is predicted as text. For
π0-FAST that is the chunk (openpi src/openpi/models/tokenizer.py, FASTTokenizer); for a network with an action expert an
experiment's answer and, if asked for, the chunk too, both hidden from the expert (π0.5, arXiv 2504.16054, section IV).
High-level examples: `Task: ... Subtask: ` and its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pi0_ros.model import FAST, PROMPT, TEXT, Inputs
from pi0_ros.model.kinds import traits
from pi0_ros.policy import transforms
from pi0_ros.policy.boxes import parted
from pi0_ros.policy.fast import ActionTokenizer, answer_ids
from pi0_ros.policy.pipeline import Pipeline
from pi0_ros.policy.prompts import encode_prompt, encode_subtask_prompt
from pi0_ros.policy.tokenizer import Tokenizer
from pi0_ros.train.augment import as_openpi
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import Frames
from pi0_ros.train.hooks import Hooks, Purpose, Row
from pi0_ros.train.settings import Augment, TrainSettings

Index = Sequence[int] | NDArray[np.integer]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Examples drawn together.

    counts: [B, L] tokens with a loss. actions: normalised [B, H, D], None for words and for π0-FAST. valid: [B] rows of
    the actions that were shown, the first ones; the others carry no loss. rows: where they come from, for an experiment.
    dims: how many leading action dimensions are the robot's; [B] if rows are of several robots.
    """

    inputs: Inputs
    counts: Tensor
    actions: Tensor | None = None
    valid: Tensor | None = None
    rows: tuple[Row, ...] = ()
    dims: int | Tensor = 0

    def to(self, device: torch.device | str) -> Examples:
        """The same examples on another device; rows stay where they are."""
        moved = {n: getattr(self, n).to(device) for n in ("actions", "valid") if getattr(self, n) is not None}
        return replace(self, inputs=self.inputs.to(device), counts=self.counts.to(device), **moved)


@dataclass(frozen=True)
class AnswerText:
    """One text that follows a prompt: ids, and which of them are learned [n]."""

    ids: Ids
    learned: NDArray[np.bool_]

    def __add__(self, other: AnswerText) -> AnswerText:
        return AnswerText(np.concatenate([self.ids, other.ids]), np.concatenate([self.learned, other.learned]))


NOTHING = AnswerText(np.zeros(0, np.int64), np.zeros(0, bool))


def joined_texts(
    prompts: Sequence[Sequence[int]], answers: Sequence[AnswerText], role: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Prompts followed by answers of a role, [B, L] each: ids, which of them there are, their roles, which are learned."""
    length = max(len(p) + len(a.ids) for p, a in zip(prompts, answers, strict=True))
    tokens = np.zeros((len(prompts), length), np.int64)
    mask, counts = np.zeros(tokens.shape, bool), np.zeros(tokens.shape, bool)
    roles = np.full(tokens.shape, PROMPT)
    for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        start, stop = len(prompt), len(prompt) + len(answer.ids)
        tokens[i, :start], tokens[i, start:stop] = prompt, answer.ids
        mask[i, :stop], roles[i, start:stop] = True, role
        counts[i, start:stop] = answer.learned
    ids, valid, kinds, learned = (torch.from_numpy(a) for a in (tokens, mask, roles, counts))
    return ids, valid, kinds, learned


@dataclass(frozen=True)
class ExampleMaker:
    """Makes examples of frames for one model; without a generator nothing is disturbed (validation).

    fast: the action tokenizer; π0-FAST needs it, another network predicts the chunk as text too where it is given.
    asked: the frames' picture slots that a question for a subtask shows, as at run time; None: all.
    """

    frames: Frames
    pipeline: Pipeline
    tokenizer: Tokenizer
    settings: TrainSettings
    hooks: Hooks = field(default_factory=Hooks)
    fast: ActionTokenizer | None = None
    augment: Augment = Augment.LIGHT
    asked: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.says_actions_only and self.fast is None:
            raise TrainError(
                "a π0-FAST network is trained on FAST tokens; give the tokenizer's folder with --fast-tokenizer (the "
                "published one is physical-intelligence/fast), or --fast-tokenizer fit to fit one on these data"
            )

    @property
    def says_actions_only(self) -> bool:
        """Whether the network has no action expert: its actions are text."""
        return traits(self.pipeline.style.kind).acts_in_tokens

    def actions(self, index: Index, rng: np.random.Generator | None = None) -> Examples:
        """Action examples of these frames; with a generator changed by the augmentations, and disturbed."""
        numbers = np.asarray(index)
        rows = self.rows(numbers, Purpose.ACT, rng)
        state = np.stack([row.state for row in rows])
        normal = self.pipeline.normalised_state(state)
        noisy = normal if rng is None else normal + rng.normal(0.0, self.settings.state_noise, normal.shape)
        prompts = [
            encode_prompt(self.tokenizer, self.pipeline.style, row.task, s).ids
            for row, s in zip(rows, noisy, strict=True)
        ]
        targets = self.pipeline.normalised_actions(np.stack([row.chunk for row in rows]), state)
        valid = np.asarray(self.frames.valid[numbers], np.int64)
        answers = [self._answer(*part) for part in zip(rows, targets, valid, strict=True)]
        role = TEXT if self.says_actions_only else FAST
        inputs, counts = self._joined(rows, prompts, answers, role, rng)
        if self.pipeline.state_input:
            padded = transforms.pad(noisy, self.pipeline.state_input).astype(np.float32)
            inputs = replace(inputs, state=torch.from_numpy(padded))
        flow = None if self.says_actions_only else torch.from_numpy(targets.astype(np.float32))
        return Examples(inputs, counts, flow, torch.from_numpy(valid), tuple(rows), len(self.frames.channels))

    def words(self, index: Index, rng: np.random.Generator | None = None) -> Examples:
        """High-level examples of these frames, which must have a high-level task; with a generator changed."""
        rows = self.rows(np.asarray(index), Purpose.TELL, rng)
        length = self.pipeline.style.length
        prompts = [encode_subtask_prompt(self.tokenizer, row.high_task, length).ids for row in rows]
        answers = [self._told(row.high_target) for row in rows]
        inputs, counts = self._joined(rows, prompts, answers, TEXT, rng, Purpose.TELL)
        if self.pipeline.state_input:  # the question is asked without the state
            inputs = replace(inputs, state=torch.zeros(len(rows), self.pipeline.state_input))
        return Examples(inputs, counts, rows=tuple(rows))

    def rows(self, numbers: NDArray[np.integer], purpose: Purpose, rng: np.random.Generator | None) -> list[Row]:
        """The frames as rows; with a generator changed by the augmentations, one after the other."""
        frames = self.frames

        def word(index: np.int32) -> str:
            return frames.texts[index] if index >= 0 else ""

        rows = [
            Row(
                pictures,
                frames.cameras,
                frames.state[n].astype(np.float64),
                frames.chunk[n].astype(np.float64),
                frames.channels,
                word(frames.task[n]),
                word(frames.high_task[n]),
                word(frames.high_target[n]),
                np.asarray(frames.facts[n]),
                None if frames.present is None else np.asarray(frames.present[n]),
            )
            for n, pictures in zip(numbers, frames.images[numbers], strict=True)
        ]
        if rng is None:
            return rows
        for augmentation in self.hooks.augmentations:
            rows = [augmentation(row, purpose, rng) for row in rows]
        return rows

    def _told(self, text: str) -> AnswerText:
        ids = np.array([*self.tokenizer.encode(text), self.tokenizer.eos], np.int64)
        return AnswerText(ids, np.ones(len(ids), bool))

    def _answer(self, row: Row, target: NDArray[np.floating], valid: int) -> AnswerText:
        """What an action example says behind its prompt."""
        answer = NOTHING
        if self.hooks.answer is not None and not self.says_actions_only:
            ids = self.hooks.answer(row)
            answer = AnswerText(np.maximum(ids, 0), ids >= 0)
        return answer if self.fast is None else answer + self._spoken_chunk(target, valid)

    def _spoken_chunk(self, target: NDArray[np.floating], valid: int) -> AnswerText:
        """The chunk as FAST tokens. One that was not shown to its end is not learned: its tokens speak of all its rows.

        LeRobot's second BOS, before the answer, is not learned either: it stands there at run time.
        """
        assert self.fast is not None
        bos = self.says_actions_only and self.pipeline.style.dialect == "lerobot"
        chunk = target[:, : len(self.frames.channels)]
        ids = np.array(answer_ids(self.tokenizer, self.fast, chunk, bos=bos), np.int64)
        ids = ids[: self.pipeline.style.length] if bos else ids
        learned = np.full(len(ids), valid >= len(target))
        learned[: int(bos)] = False
        return AnswerText(ids, learned)

    def _joined(
        self,
        rows: Sequence[Row],
        prompts: Sequence[Any],
        answers: Sequence[AnswerText],
        role: int,
        rng: np.random.Generator | None,
        purpose: Purpose = Purpose.ACT,
    ) -> tuple[Inputs, Tensor]:
        """Inputs of prompts followed by answers, and which tokens are learned."""
        ids, valid, kinds, counts = joined_texts(prompts, answers, role)
        images, present = self._pictures(rows, rng, purpose)
        return Inputs(images, present, ids, valid, roles=kinds), counts

    def _pictures(
        self, rows: Sequence[Row], rng: np.random.Generator | None, purpose: Purpose
    ) -> tuple[list[Tensor | None], list[Tensor]]:
        """A picture and a mask for each of the network's slots; what no camera fills is absent, or black.

        So is the picture of a camera that gave none in a row, as the policy has it at run time.
        """
        masked = self.pipeline.missing == "masked"
        boxed = [bool(parted(row.high_target)[0]) for row in rows] if purpose is Purpose.TELL else None
        taken = dict(zip(self.slots(), self.pictures([row.pictures for row in rows], rng, boxed), strict=True))
        all_there = np.ones(len(self.frames.cameras), bool)
        if purpose is Purpose.TELL and self.asked is not None:
            all_there = np.array([camera in self.asked for camera in self.frames.cameras])
        there = torch.from_numpy(
            np.stack([all_there if row.present is None else all_there & row.present for row in rows])
        )
        masks = {slot: there[:, k] for k, slot in enumerate(self.slots())}
        images: list[Tensor | None] = []
        present: list[Tensor] = []
        for slot in self.pipeline.cameras:
            if slot in taken:
                mask, picture = masks[slot], taken[slot]
                images.append(picture if bool(mask.all()) else torch.where(mask[:, None, None, None], picture, -1.0))
                present.append(mask if masked else torch.ones_like(mask))
            else:
                images.append(None if masked else self._black(len(rows)))
                present.append(torch.full((len(rows),), not masked))
        return images, present

    def slots(self) -> tuple[str, ...]:
        """The network's slot of each of the frames' cameras."""
        return tuple(self.pipeline.rename.get(camera, camera) for camera in self.frames.cameras)

    def _black(self, count: int) -> Tensor:
        return torch.full((count, 3, *self.pipeline.image_size), -1.0)

    def pictures(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        rng: np.random.Generator | None = None,
        boxed: Sequence[bool] | None = None,
    ) -> list[Tensor]:
        """Pictures [C, S, S, 3] of rows, a camera each [B, 3, S, S] in [-1, 1]; disturbed with a generator.

        boxed: [B], rows with boxes in words on the first camera's picture, which is not cropped and turned there.
        """
        raw = np.stack(pictures)
        x = torch.from_numpy(np.ascontiguousarray(raw.transpose(1, 0, 4, 2, 3))).float() / 127.5 - 1.0
        if rng is None or self.augment is Augment.NONE:
            return list(x)
        if self.augment is Augment.LIGHT:
            return list(_disturbed(x, self.settings, rng))
        placed = [None if boxed is None else torch.tensor(boxed), *[None] * (len(x) - 1)]
        return [as_openpi(one, "wrist" in s, rng, own) for s, one, own in zip(self.slots(), x, placed, strict=True)]


def _disturbed(x: Tensor, settings: TrainSettings, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast and noise, drawn for each picture [C, B, 3, S, S]."""
    shape = (*x.shape[:2], 1, 1, 1)
    shift = torch.from_numpy(rng.uniform(-settings.brightness, settings.brightness, shape).astype(np.float32))
    gain = torch.from_numpy(1.0 + rng.uniform(-settings.contrast, settings.contrast, shape).astype(np.float32))
    noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32)) * settings.picture_noise
    return (x * gain + shift + noise).clamp_(-1.0, 1.0)
