"""Sends a recorded episode's commands to a simulated robot, and compares the motion with the recorded one.

Where joints are named, signed and scaled as in the robot YAML, it follows; if a dataset was imported wrongly, it does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pi0_ros.closed_loop.robot import LoopRobot
from pi0_ros.data.dataset import Dataset
from pi0_ros.data.errors import DataError
from pi0_ros.robot import Robot

STATE, ACTION = "observation.state", "action"


@dataclass(frozen=True)
class RecordedMotion:
    """Measured and commanded values [N, D] of the robot's `channels`, `fps` rows a second."""

    channels: tuple[str, ...]
    measured: NDArray[np.float64]
    commanded: NDArray[np.float64]
    fps: float


@dataclass(frozen=True)
class ReplayedMotion:
    """What the simulated robot measured in the rows of a recording, and how far that is from it [N, D], in the channels' units."""

    channels: tuple[str, ...]
    measured: NDArray[np.float64]
    recorded: NDArray[np.float64] = field(repr=False)

    @property
    def error(self) -> NDArray[np.float64]:
        """Replayed less recorded."""
        return self.measured - self.recorded

    def largest(self) -> dict[str, float]:
        """The largest distance of each channel."""
        return dict(zip(self.channels, np.abs(self.error).max(axis=0).tolist(), strict=True))

    def rms(self) -> dict[str, float]:
        """Root mean square of the distance of each channel."""
        return dict(zip(self.channels, np.sqrt(np.mean(self.error**2, axis=0)).tolist(), strict=True))


def motion_in(dataset: Dataset, position: int, robot: Robot, names: Mapping[str, str] | None = None) -> RecordedMotion:
    """What a dataset has of a robot's channels in the episode at this position.

    names: the dataset's names to the robot's, for those that differ. Raises DataError if neither state nor action names
    a channel of the robot.
    """
    episode = dataset.episodes[position]
    rows = slice(episode.start, episode.stop)
    columns = {key: _columns(dataset, key, names or {}) for key in (STATE, ACTION)}
    channels = tuple(c for c in robot.channel_names if all(c in columns[key] for key in columns))
    if not channels:
        raise DataError(
            f"{dataset.folder}: {STATE} and {ACTION} name no channel of robot {robot.name}; they have "
            f"{', '.join(columns[ACTION]) or 'no names'}, the robot {', '.join(robot.channel_names)}"
        )
    values = {
        key: np.asarray(dataset.column(key)[rows], np.float64)[:, [columns[key][c] for c in channels]]
        for key in columns
    }
    return RecordedMotion(channels, values[STATE], values[ACTION], float(dataset.fps))


def _columns(dataset: Dataset, key: str, names: Mapping[str, str]) -> dict[str, int]:
    """Where in a vector each channel stands."""
    if key not in dataset.features:
        raise DataError(f"{dataset.folder}: has no feature {key!r}; it has {', '.join(dataset.features)}")
    stored = dataset.features[key].get("names")
    stored = stored if isinstance(stored, Sequence) and not isinstance(stored, str) else ()
    return {names.get(str(name), str(name)): k for k, name in enumerate(stored)}


def replay_motion(body: LoopRobot, motion: RecordedMotion) -> ReplayedMotion:
    """Command `body`, which stands as the first row says, row after row; between two rows commands are interpolated."""
    period, count = 1.0 / body.robot.control_rate, len(motion.measured)
    times = np.arange(count) / motion.fps
    measured = np.empty_like(motion.measured)
    began, row = body.time, 0
    for k in range(round(times[-1] / period) + 1):
        now = k * period
        while row < count and times[row] <= now + 1e-9:
            found = body.measured()
            measured[row] = [found[c] for c in motion.channels]
            row += 1
        command = [np.interp(now, times, motion.commanded[:, i]) for i in range(len(motion.channels))]
        body.set_command(motion.channels, np.array(command))
        body.advance(began + (k + 1) * period - body.time)
    if row < count:  # of a period that has just begun
        found = body.measured()
        measured[row:] = [found[c] for c in motion.channels]
    return ReplayedMotion(motion.channels, measured, motion.measured)
