"""Training frames of chores straight from the simulator: the episodes of `collect`, of which only the frames that are trained on
are rendered, and no dataset is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi0_ros.chores.collectors import COLLECTORS
from pi0_ros.chores.recording import ChoreSettings, Row
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.adapter_vectors import actions_to_model
from pi0_ros.policy.resize import pil_bilinear
from pi0_ros.robot import Robot
from pi0_ros.touch.localised import place_numbers
from pi0_ros.touch.record import Features
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import Frames, join
from pi0_ros.train.made_frames import write_made_frames
from pi0_ros.train.recorded_motion import planned_rows
from pi0_ros.train.recorded_vectors import ACTION, STATE, states_to_model


@dataclass(frozen=True)
class ChoreFrameSettings:
    """How frames are made. task: one of `COLLECTORS`. every: one of so many frames of an episode. size: of the pictures of a frame;
    they are rendered with `seen` pixels, as a recording has them, and made small. Rows of a chunk are `adapter.period` apart."""

    adapter: Adapter
    horizon: int = 16
    size: int = 96
    seen: int = 192
    every: int = 4
    variety: float = 1.0
    task: str = "pick_place"


def write_chore_frames(
    robot: Robot, settings: ChoreFrameSettings, folder: Path, first: int, episodes: int, workers: int = 1
) -> None:
    """Write shards until the episodes with seeds first .. first + episodes - 1 are on disk; those there are kept.

    Raises TrainError for a policy YAML with a camera or channel that the simulated robot lacks, or with another period than
    the episodes can have.
    """
    fps = round(1.0 / settings.adapter.period)
    if abs(fps * settings.adapter.period - 1.0) > 1e-6:
        raise TrainError(
            f"{settings.adapter.file}: period {settings.adapter.period:g} s is no whole number of rows a second; "
            "record with `pi0 collect` and train on --dataset"
        )
    adapter = settings.adapter
    lost = [c for c in (*adapter.state_channels, *adapter.action_channels) if c not in robot.channel_names]
    if lost:
        raise TrainError(f"{adapter.file}: the robot {robot.name} has no channel {', '.join(dict.fromkeys(lost))}")
    write_made_frames(_Maker(robot, settings, fps), folder, first, episodes, workers=workers)


@dataclass(frozen=True)
class _Maker:
    """Seeds to frames, in whichever process."""

    robot: Robot
    settings: ChoreFrameSettings
    fps: int

    def __call__(self, seeds: range) -> Frames:
        s = self.settings
        cameras = tuple(camera for camera in s.adapter.cameras.values() if camera is not None)
        collector = COLLECTORS[s.task](self.robot, ChoreSettings(cameras, s.seen, self.fps, variety=s.variety))
        try:
            parts = []
            for seed in seeds:
                rows = collector.episode(seed, seen=(seed % s.every, s.every)).rows
                parts.append(frames_of_rows(rows, collector.features, s))
            return replace(join(parts), images=np.concatenate([part.images for part in parts]))
        finally:
            collector.sim.close()


def frames_of_rows(rows: Sequence[Row], features: Features, settings: ChoreFrameSettings) -> Frames:
    """Frames of one episode's rows, which have `features`: those with pictures whose chunk runs over no disturbance.

    The same as `train.from_dataset.frames_of` makes of a dataset of these rows.
    """
    adapter, horizon, size = settings.adapter, settings.horizon, settings.size
    slots = {slot: camera for slot, camera in adapter.cameras.items() if camera is not None}
    names = list(features[STATE]["names"])
    state = states_to_model(adapter, _column(rows, STATE)[:, [names.index(c) for c in adapter.state_channels]])
    action = actions_to_model(adapter, _column(rows, ACTION), list(features[ACTION]["names"]))
    disturbed = np.flatnonzero(np.ravel([row["perturbed"] for row in rows]))
    pictured = [k for k, row in enumerate(rows) if all(f"observation.images.{c}" in row for c in slots.values())]
    chosen = [k for k in pictured if not np.any((disturbed > k) & (disturbed < k + horizon))]
    ahead = np.array(chosen, np.int64).reshape(-1, 1) + np.arange(horizon)
    inside = np.minimum(ahead, len(rows) - 1)
    texts, said = _texts([rows[k] for k in chosen])
    images = [[pil_bilinear(rows[k][f"observation.images.{c}"], (size, size)) for c in slots.values()] for k in chosen]
    facts = [place_numbers(features, rows[k], rows[k]["task"]) for k in chosen]
    return Frames(
        cameras=tuple(slots),
        channels=adapter.action_channels,
        period=adapter.period,
        texts=texts,
        images=np.array(images, np.uint8).reshape(len(chosen), len(slots), size, size, 3),
        state=state[chosen].astype(np.float32),
        chunk=planned_rows(adapter, action[inside], state[inside]).astype(np.float32),
        task=said[:, 0],
        high_task=said[:, 1],
        high_target=said[:, 2],
        facts=np.array(facts, np.int16).reshape(len(chosen), -1),
        episode=np.zeros(len(chosen), np.int32),
        valid=(ahead < len(rows)).sum(1).astype(np.int32),
    )


def _texts(rows: Sequence[Row]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """All texts of rows, and [N, 3] which of them are a row's instruction, the high level's task and its answer; -1 for none."""
    columns = ("task", "high_level_task", "high_level_target")
    found = tuple(dict.fromkeys(row[c] for c in columns for row in rows if row.get(c)))
    numbers = {text: number for number, text in enumerate(found)}
    said = [[numbers.get(row.get(c, ""), -1) for c in columns] for row in rows]
    return found, np.array(said, np.int32).reshape(len(rows), len(columns))


def _column(rows: Sequence[dict[str, Any]], key: str) -> NDArray[np.float64]:
    return np.stack([row[key] for row in rows]).astype(np.float64)
