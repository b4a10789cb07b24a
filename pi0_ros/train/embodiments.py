"""The robots of a run: each with its adapter, its frames by source, and statistics of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi0_ros.model import ModelConfig
from pi0_ros.model.kinds import traits
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.normalize import Statistics, read_norm_stats
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import Frames, join, load_frames


@dataclass(frozen=True)
class SourceSpec:
    """One source of a mixture as processes receive it, in plain values.

    frames: folder of its frames, "" for text. adapter: policy YAML. text: JSONL file, "" for frames. weight: 0 for n^0.43.
    """

    name: str
    frames: str = ""
    adapter: str = ""
    control_mode: str = ""
    text: str = ""
    weight: float = 0.0

    @property
    def robot(self) -> tuple[str, str]:
        """What sources of one robot have in common."""
        return self.adapter, self.control_mode


@dataclass(frozen=True)
class Embodiment:
    """One robot of a run. sources: names and frames of its sources."""

    name: str
    adapter: Adapter
    sources: tuple[tuple[str, Frames], ...]

    @property
    def vectors(self) -> Frames:
        """States and chunks of all its sources together; pictures, words and facts are those of the first alone."""
        first, *others = (frames for _, frames in self.sources)
        if not others:
            return first
        parts = [first, *others]
        lists: dict[str, Any] = {
            n: np.concatenate([np.asarray(getattr(p, n)) for p in parts]) for n in ("state", "chunk", "valid")
        }
        return replace(first, **lists)

    def statistics(self, folder: Path, first: bool) -> dict[str, Statistics]:
        """Those of a run's folder."""
        return read_norm_stats(self.place(folder, first))

    def place(self, folder: Path, first: bool) -> Path:
        """Where a run keeps its statistics: those of the first robot lie in the run's folder itself."""
        return folder if first else folder / "statistics" / self.name


def frame_folders(roots: Sequence[str]) -> list[Path]:
    """Every folder with frames.json at or below the given ones, in order. Raises TrainError if there is none."""
    found = [f.parent for root in roots for f in sorted(Path(root).rglob("frames.json")) if ".partial" not in str(f)]
    if not found:
        raise TrainError(f"no frames below {', '.join(roots)}; make some with `pi0 train --sim-episodes N`")
    return found


def frames_below(roots: Sequence[str]) -> Frames:
    """All frames below these folders, joined."""
    return join([load_frames(folder) for folder in frame_folders(roots)])


def adapter_of(source: SourceSpec) -> Adapter:
    """A source's adapter, with its own word for the control mode."""
    adapter = load_adapter(source.adapter)
    if not source.control_mode:
        return adapter
    return replace(adapter, prompt={**(adapter.prompt or {}), "control_mode": source.control_mode})


def embodiments(sources: Sequence[SourceSpec]) -> tuple[Embodiment, ...]:
    """The robots of a mixture, in the order of their first sources. Raises TrainError if two share a name."""
    made: list[Embodiment] = []
    for robot in dict.fromkeys(s.robot for s in sources if not s.text):
        own = [s for s in sources if not s.text and s.robot == robot]
        adapter = adapter_of(own[0])
        name = adapter.name + (f"-{own[0].control_mode.replace(' ', '_')}" if own[0].control_mode else "")
        made.append(Embodiment(name, adapter, tuple((s.name, frames_below([s.frames])) for s in own)))
    names = [e.name for e in made]
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        raise TrainError(f"two policy YAMLs of the mixture are called {twice[0]!r}; give each its own `policy:` name")
    return tuple(made)


def check_fits(adapter: Adapter, model: ModelConfig) -> None:
    """Raises TrainError if a robot does not fit into the network: width of its vectors, picture slots."""
    width = len(adapter.action_channels)
    if width > model.action_dim:
        raise TrainError(
            f"{adapter.file}: {width} action dimensions, and the network has {model.action_dim}; leave some of them to "
            "`hold`, or start from a wider one"
        )
    if traits(model.kind).state_token and len(adapter.state_channels) > model.state_dim:
        raise TrainError(
            f"{adapter.file}: {len(adapter.state_channels)} state dimensions, and the network has {model.state_dim}"
        )
    strange = [slot for slot in adapter.cameras if slot not in model.cameras]
    if strange:
        raise TrainError(
            f"{adapter.file}: the network has no picture slot {strange[0]!r}; it has {', '.join(model.cameras)}"
        )


def question_slots(adapter: Adapter) -> frozenset[str]:
    """Picture slots that a question for a subtask shows, of those that are read for the actions."""
    asked = adapter.question_cameras
    return frozenset(
        slot for slot, camera in adapter.cameras.items() if camera is not None and asked.get(slot) == camera
    )


def check_questions(adapter: Adapter) -> None:
    """Raises TrainError if a question for a subtask shows a camera that the frames do not have in its slot."""
    other = [
        (slot, camera)
        for slot, camera in adapter.question_cameras.items()
        if camera is not None and adapter.cameras.get(slot) != camera
    ]
    if other:
        slot, camera = other[0]
        raise TrainError(
            f"{adapter.file}: high_level_cameras puts {camera} into {slot}, where `cameras` has "
            f"{adapter.cameras.get(slot) or 'none'}; training shows the pictures of `cameras`: give the same there, or --word-batch 0"
        )


def task_numbers(parts: Sequence[Frames]) -> NDArray[np.int64]:
    """A number for the instruction of every frame of all parts, the same for the same words."""
    numbers: dict[str, int] = {}
    found = []
    for part in parts:
        table = np.array([*(numbers.setdefault(text, len(numbers)) for text in part.texts), -1], np.int64)
        found.append(table[part.task])
    return np.concatenate(found)


def frame_weights(parts: Sequence[Frames]) -> NDArray[np.float64] | None:
    """How often each frame of all parts is drawn against others; None if all are alike."""
    if all(p.weight is None for p in parts):
        return None
    return np.concatenate([np.ones(len(p)) if p.weight is None else np.asarray(p.weight, np.float64) for p in parts])


Tables = Mapping[str, Mapping[str, Statistics]]
