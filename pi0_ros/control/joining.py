"""From the rows of a chunk to a path that begins where the robot is, or where the running path will be. ROS seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pi0_ros.control.chunk import Chunk
from pi0_ros.control.plan_channels import PlanChannels
from pi0_ros.control.progress import Progress
from pi0_ros.control.row_path import ROS_ROUNDING, RowPath, make_path
from pi0_ros.control.running_plan import Running
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.splice import blended, closed, ensemble_rows, row_times

Array = npt.NDArray[np.float64]

QUICK_JOIN = 0.2  # [s] in which a gap closes if rows are not to be blended
SLOW_JOIN = 1.0  # [s] most that a gap to a standing robot takes to close
SAME_PLACE = 0.02  # [rad, m] within which a row is as near to the robot as the nearest
PLAYBACK = 0.5  # share of the other's residual that a playback, or a look at the robot, leaves to be distinguished


class Join(NamedTuple):
    """A path, the plan time on it at which it begins, how late that is [s], and how far it is from the running one [D]."""

    path: RowPath
    begin: float
    behind: float
    gap: Array


class Joining:
    """Makes paths of chunks, and joins them to what is executed. Remembers the chunks that an ensemble is made of."""

    def __init__(
        self, channels: PlanChannels, settings: ExecutorSettings, period: float, step: float, progress: Progress
    ) -> None:
        """`period` [s] between commands, `step` [s] between the knots of a plan; `progress`: what has been executed."""
        self._channels, self._settings = channels, settings
        self._period, self._step, self._progress = period, step, progress
        self._history: deque[RowPath] = deque(maxlen=settings.ensemble_depth)
        self._newest: RowPath | None = None
        self._shift, self._playing = 0.0, False

    def forget(self) -> None:
        """No chunk of before has an opinion any more, and nothing is known of the policy."""
        self._history.clear()
        self._newest = None
        self._playing = False

    def path(self, strategy: str, chunk: Chunk, rows: Array, moving: Array | None = None) -> RowPath:
        """The path through a chunk's `rows` [H, D], or through what an ensemble makes of them.

        `moving` [D]: velocities of the command where it begins. The chunk has no opinion in later ones before `remember`.
        """
        self._newest, self._shift = None, 0.0
        if strategy != "ensemble":
            return self._path(chunk, rows, moving)
        self._newest = self._path(chunk, rows, moving)
        times, decay = row_times(chunk.start, chunk.period, len(rows)), self._settings.ensemble_decay
        return self._path(chunk, ensemble_rows(rows, times, self._history, decay, self._channels.smooth), moving)

    def remember(self) -> None:
        """The newest chunk was accepted: it is one of the ensemble, and the earlier ones keep their place on its time."""
        for k, earlier in enumerate(self._history):
            self._history[k] = replace(earlier, start=earlier.start - self._shift)
        if self._newest is not None:
            self._history.append(self._newest)

    def _path(self, chunk: Chunk, rows: Array, moving: Array | None = None) -> RowPath:
        of = self._channels
        return make_path(chunk.start, chunk.period, rows, of.kinds, of.velocity, of.brake, moving)

    def to_running(self, path: RowPath, old: Running, join: int, time: float, strategy: str) -> Join:
        """The path joined at ROS `time` to the running one, whose plan's command `join` comes then, -1 for its start."""
        index = max(join, 0)
        past = float(old.plan.path_times[index]) if join >= 0 else old.path_time
        begin, behind = path.start + self._executed(old, join, path.start, time), 0.0
        if self._plays_back(path, old.plan.path, past - begin):
            begin, behind = past, time - past
        self._shift = shift = past - begin
        apart = path.rows_at(np.array([begin])) - old.plan.path.at(np.array([past]))
        window = self._settings.blend_time if strategy in ("blend", "rtc") else QUICK_JOIN
        joined = blended(path, old.plan.path, begin, shift, window, self._step)
        return Join(joined, begin, behind, np.abs(apart[0]) * self._channels.smooth)

    def _executed(self, old: Running, join: int, since: float, time: float) -> float:
        """Path seconds that will have been executed at ROS `time` since `since`; less than 0 if that is yet to come."""
        now = time - max(join - old.index, 0) * self._period
        if since > now:
            return time - since
        return self._progress.since(since) + old.path_until(join)

    def _plays_back(self, path: RowPath, old: RowPath, shift: float) -> bool:
        """Whether the rows go on where the old ones are due, and not where the robot was, `shift` [s] of path away.

        What the rows do not tell is as it was before: between far rows, or where the robot is on time, both look alike.
        """
        if abs(shift) <= 0.5 * self._period:
            return self._playing
        last = min(path.end, old.end - max(shift, 0.0))
        times = np.linspace(path.start, max(last, path.start), 9)
        rows, size = path.rows_at(times), 1.0 / self._channels.velocity * self._channels.position
        looks = float(np.abs((old.rows_at(times + shift) - rows) * size).mean())
        plays = float(np.abs((old.rows_at(times) - rows) * size).mean())
        if min(plays, looks) < PLAYBACK * max(plays, looks):
            self._playing = plays < looks
        return self._playing

    def first_near(self, path: RowPath, ros: float, measured: Array) -> tuple[float, str]:
        """Plan time at which a standing robot begins, and how that is too far from it, "" if it is not.

        What has been executed since the observation is skipped, and no more: the first row near the robot, mostly row 0.
        """
        first = path.start + max(0.0, self._progress.since(path.start))
        last = min(max(ros, first), path.end)
        step = path.period / 4.0
        times: Array = first + step * np.arange(int((last - first + ROS_ROUNDING) / step) + 1, dtype=np.float64)
        gaps = np.abs(path.rows_at(times) - measured) * self._channels.position
        worst = gaps.max(axis=1)
        near = int(np.argmax(worst <= worst.min() + SAME_PLACE))
        if worst[near] > self._settings.start_gap:
            channel = self._channels.names[int(np.argmax(gaps[near]))]
            return float(times[near]), f"{channel} would start {worst[near]:.2f} from the robot"
        return float(times[near]), ""

    def from_rest(self, path: RowPath, begin: float, time: float, command: Array) -> Join:
        """The path from `begin` on, at ROS `time`, moved to the `command` [D].

        The gap closes at no more than a share of the limits. Of a policy that plays back the path is late by then.
        """
        of = self._channels
        gap = np.where(of.position, command - path.rows_at(np.array([begin]))[0], 0.0)
        share = float(np.max(np.abs(gap) / of.velocity, initial=0.0))
        if share > 0.0:
            window = float(np.clip(1.875 * share / self._settings.engage_scale, QUICK_JOIN, SLOW_JOIN))
            path = closed(path, begin, gap, window, self._step)
        return Join(path, begin, max(0.0, time - begin) if self._playing else 0.0, np.zeros(len(of.names)))
