"""Frames in memory: small pictures, states, action chunks and texts, ready to be drawn as training examples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.stored import Values
from pi0_ros.robot.replacing import replacing_folder
from pi0_ros.train.errors import TrainError


class StackedArrays:
    """Arrays on disk behind one another, read row by row: [i, j, ...] gives copies of those rows in that order."""

    def __init__(self, parts: Sequence[Values]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *(len(p) for p in parts)])
        self.shape = (int(self._starts[-1]), *parts[0].shape[1:])

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: NDArray[np.integer]) -> Values:
        rows = np.asarray(rows)
        part = np.searchsorted(self._starts, rows, side="right") - 1
        return np.stack([self._parts[p][r - self._starts[p]] for p, r in zip(part, rows, strict=True)])


_ARRAYS = ("images", "state", "chunk", "task", "high_task", "high_target", "facts", "episode", "valid")
_OPTIONAL = ("weight", "present")


@dataclass(frozen=True)
class Frames:
    """N moments of one robot.

    images: uint8 [N, C, S, S, 3] RGB at the model's size, a camera each of `cameras`.
    state: float32 [N, D] in robot units. chunk: float32 [N, H, D] absolute actions, row k for k periods after the picture.
    task: int32 [N], index into `texts`: the low-level instruction that `chunk` follows.
    high_task, high_target: int32 [N], indices into `texts`: a task and what to do next for it; -1 if not known.
    facts: int16 [N, G]: numbers that an experiment's hooks read; G is 0 without one. episode: int32 [N].
    valid: int32 [N]: how many rows of `chunk` were shown; the rest lies behind the episode's end and carries no loss.
    weight: float32 [N]: how often a frame is drawn against the others of its source; None: all alike.
    present: bool [N, C]: which cameras gave a picture; None: all. The picture of one that gave none is black.
    """

    cameras: tuple[str, ...]
    channels: tuple[str, ...]
    period: float
    texts: tuple[str, ...]
    images: NDArray[np.uint8] | StackedArrays
    state: NDArray[np.float32]
    chunk: NDArray[np.float32]
    task: NDArray[np.int32]
    high_task: NDArray[np.int32]
    high_target: NDArray[np.int32]
    facts: NDArray[np.int16]
    episode: NDArray[np.int32]
    valid: NDArray[np.int32]
    weight: NDArray[np.float32] | None = None
    present: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.state)

    @property
    def has_subtask(self) -> NDArray[np.bool_]:
        """Which frames say what to do next for a task [N]. A person's frames have the task alone: nothing is to be learned
        from them as an answer."""
        return (np.asarray(self.high_task) >= 0) & (np.asarray(self.high_target) >= 0)


@dataclass(frozen=True)
class MixedFrames:
    """What the trainer asks of the frames of all sources together: numbers of episodes that keep sources apart, which
    say what to do next, and a number for each recorded moment, the same wherever it is found again."""

    episode: NDArray[np.int64]
    has_subtask: NDArray[np.bool_]
    moment: NDArray[np.uint64]

    @classmethod
    def of(cls, parts: Sequence[Frames]) -> MixedFrames:
        """All parts behind one another."""
        highest = [int(p.episode.max(initial=-1)) + 1 for p in parts]
        offsets = np.cumsum([0, *highest[:-1]])
        episode = np.concatenate([p.episode + o for p, o in zip(parts, offsets, strict=True)])
        has_subtask = np.concatenate([p.has_subtask for p in parts])
        return cls(episode.astype(np.int64), has_subtask, np.concatenate([moments(p) for p in parts]))

    def __len__(self) -> int:
        return len(self.episode)


def moments(frames: Frames) -> NDArray[np.uint64]:
    """A number for each frame [N] that depends on its state and on the first and last row of its chunk, bit by bit."""
    values = np.concatenate([frames.state, frames.chunk[:, 0], frames.chunk[:, -1]], axis=1).astype(np.float32)
    bits = values.view(np.uint32).astype(np.uint64)
    factors = np.random.default_rng(0).integers(1, 2**63, bits.shape[1], np.uint64)
    return np.asarray((bits * factors).sum(axis=1))


def save_frames(frames: Frames, folder: Path) -> None:
    """Write as plain .npy files and a JSON of names; a folder that exists already is complete."""
    names = {
        "cameras": frames.cameras, "channels": frames.channels, "period": frames.period, "texts": frames.texts
    }  # fmt: skip
    with replacing_folder(folder) as partial:
        partial.mkdir(parents=True)
        for name in _ARRAYS:
            np.save(partial / f"{name}.npy", getattr(frames, name), allow_pickle=False)
        for name in _OPTIONAL:
            if getattr(frames, name) is not None:
                np.save(partial / f"{name}.npy", getattr(frames, name), allow_pickle=False)
        (partial / "frames.json").write_text(json.dumps(names), encoding="utf-8")


def load_frames(folder: Path) -> Frames:
    """Read what `save_frames` wrote; pictures stay on disk until used. Raises TrainError if there is nothing."""
    file = folder / "frames.json"
    if not file.is_file():
        raise TrainError(f"{folder}: no frames.json there; give a folder written by `pi0 train`'s cache")
    names = json.loads(file.read_text(encoding="utf-8"))
    missing = [n for n in _ARRAYS if not (folder / f"{n}.npy").is_file()]
    if missing:
        raise TrainError(f"{folder}: {missing[0]}.npy is missing; frames of an older version have to be made anew")
    there = [*_ARRAYS, *(n for n in _OPTIONAL if (folder / f"{n}.npy").is_file())]
    arrays: dict[str, Any] = {n: np.load(folder / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in there}
    lists: dict[str, Any] = {k: tuple(names[k]) for k in ("cameras", "channels", "texts")}
    return Frames(period=float(names["period"]), **lists, **arrays)


def join(parts: Sequence[Frames]) -> Frames:
    """All frames of the parts behind one another; episodes stay apart, texts are shared.

    Raises TrainError if cameras, channels or periods differ.
    """
    if not parts:
        raise TrainError("there is not one frame to train on")
    parts = [part for part in parts if len(part)] or list(parts[:1])
    first = parts[0]
    for part in parts[1:]:
        if (part.cameras, part.channels, part.period) != (first.cameras, first.channels, first.period):
            raise TrainError(
                f"frames of cameras {part.cameras} and channels {part.channels} at {part.period} s do not mix with "
                f"{first.cameras}, {first.channels} at {first.period} s; train on one robot and rate at a time"
            )
    texts = tuple(dict.fromkeys(text for part in parts for text in part.texts))
    at = {text: i for i, text in enumerate(texts)}
    offsets = np.cumsum([0, *(int(p.episode.max(initial=-1)) + 1 for p in parts[:-1])])

    def renumbered(part: Frames, name: str) -> NDArray[np.int32]:
        table = np.array([*(at[t] for t in part.texts), -1], np.int32)  # the last entry answers index -1
        index: NDArray[np.int32] = getattr(part, name)
        return table[index]

    plain = {n: np.concatenate([getattr(p, n) for p in parts]) for n in ("state", "chunk", "facts", "valid")}
    images = StackedArrays(
        [cast(Values, p.images) for p in parts]
    )  # a `StackedArrays` is read row by row as an array is
    indexed = {n: np.concatenate([renumbered(p, n) for p in parts]) for n in ("task", "high_task", "high_target")}
    episode = np.concatenate([p.episode + o for p, o in zip(parts, offsets, strict=True)]).astype(np.int32)
    weights = [np.ones(len(p), np.float32) if p.weight is None else p.weight for p in parts]
    there = [np.ones((len(p), len(p.cameras)), bool) if p.present is None else p.present for p in parts]
    return Frames(
        first.cameras,
        first.channels,
        first.period,
        texts,
        images=images,
        **plain,
        **indexed,
        episode=episode,
        weight=None if all(p.weight is None for p in parts) else np.concatenate(weights),
        present=None if all(p.present is None for p in parts) else np.concatenate(there),
    )
