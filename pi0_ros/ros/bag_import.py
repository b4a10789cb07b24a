"""Episodes of rosbag2 recordings (sqlite3 or MCAP, compressed, in several files): read by the topics that the robot YAML names.

Frames are put together as the recorder puts them together, by header stamps: each camera's picture nearest to a frame's time,
the joints interpolated to it, endless ones unwrapped. What was commanded is the executor's command where it was recorded, else
the robot's command topics, else the state of the next frame.
"""

from __future__ import annotations

import heapq
import itertools
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pi0_ros.data.errors import DataError
from pi0_ros.data.frame_selection import FrameSelection, RecordMode
from pi0_ros.data.imports.episodes import Frame, ImportedEpisode
from pi0_ros.robot import Robot
from pi0_ros.robot.measurement import SourceMap
from pi0_ros.robot.spec import Group, Kind
from pi0_ros.ros.bag_messages import BagMessage, open_bag, parsed
from pi0_ros.ros.clock import seconds
from pi0_ros.ros.command_history import CommandHistory
from pi0_ros.ros.conversions import MODE_NAMES, channel_values, joint_state_values, odometry_values
from pi0_ros.ros.images import decode_picture
from pi0_ros.ros.observation import Snapshot, Synchroniser
from pi0_ros.ros.spoken_words import WordHistory, words_of

STATE, TASK, SUBTASK, OVERRIDE = "executor_state", "task", "subtask", "subtask_override"
LATE = 0.5
"""Seconds behind the newest message at which a frame is put together."""
ORDERED = 2.0
"""Seconds within which messages are put in the order of their stamps: a busy computer records some topics late."""
RECENT = 2.0
"""Seconds for which a topic's delay is that of the others."""
STREAM, SPEED_HELD = 0.1, 0.5
"""Seconds between two commands that follow one another, and seconds for which a velocity holds if none follows."""
KEPT = 2048
"""Commands of a topic that are remembered: 2 s of 1 kHz."""
HOLE = 2
"""Periods without a frame from which on another episode begins."""


def bag_episodes(
    sources: Sequence[Path], robot: Robot, fps: int, task: str | None, say: Callable[[str], None]
) -> Iterator[ImportedEpisode]:
    """The episodes of bags; a hole in time ends one and begins another.

    Raises DataError if a bag cannot be read, or holds no picture and no state of the robot.
    """
    for source in sources:
        frames = _BagFrames(robot, source, fps, task)
        pending = iter(frames)
        first = next(pending, None)
        if first is None:
            raise DataError(f"{source}: {frames.why()}")
        cameras = [c.name for c in robot.cameras]
        names = {
            "observation.state": [*robot.channel_names, *robot.state_joints],
            "action": list(robot.channel_names),
            "picture_offset": cameras,
            "camera_present": cameras,
        }
        while first is not None:
            stretch = _Stretch(first, pending, fps)
            yield ImportedEpisode(stretch, names, {"source": str(source), "robot": robot.name})
            first = stretch.behind
        if frames.missed:
            say(f"{source}: {frames.missed} moments have no frame: {frames.last_missing}")


class _Stretch:
    """Frames until a hole in time; `behind` is the one after it."""

    def __init__(self, first: Frame, rest: Iterator[Frame], fps: int) -> None:
        self._first, self._rest, self._fps = first, rest, fps
        self.behind: Frame | None = None

    def __iter__(self) -> Iterator[Frame]:
        before = self._first
        yield before
        for frame in self._rest:
            if (frame["stamp"] - before["stamp"]).item() * self._fps > HOLE - 0.5:
                self.behind = frame
                return
            yield frame
            before = frame


class _Commands:
    """What was said on one of the robot's command topics, by time. A position that was commanded holds until the next one."""

    def __init__(self, group: Group) -> None:
        self._names = [c.name for c in group.channels]
        self._held = SPEED_HELD if any(c.kind is Kind.VELOCITY for c in group.channels) else math.inf
        self._stamps: deque[float] = deque(maxlen=KEPT)
        self._values: deque[np.ndarray] = deque(maxlen=KEPT)

    def add(self, at: float, values: Sequence[float]) -> None:
        """The command of a moment. Where it lies before the last one, the clock was set back: what was before is forgotten."""
        last = self._stamps[-1] if self._stamps else -math.inf
        if last - at > LATE:
            self._stamps.clear()
            self._values.clear()
            last = -math.inf
        self._stamps.append(max(at, last))
        self._values.append(np.asarray(values, float))

    def at(self, moment: float) -> dict[str, float]:
        """The command at a moment by channel, {} if none is known: linear between two of a stream."""
        k = bisect_right(self._stamps, moment)
        if k == 0 or moment - self._stamps[k - 1] > self._held:
            return {}
        found = self._values[k - 1]
        if k < len(self._stamps) and 0.0 < (gap := self._stamps[k] - self._stamps[k - 1]) <= STREAM:
            found = found + (moment - self._stamps[k - 1]) / gap * (self._values[k] - found)
        return dict(zip(self._names, found.tolist(), strict=True))


@dataclass(frozen=True)
class _TimedMessage:
    """A message; when it counts as heard, and its stamp [s], 0 if it has none."""

    received: BagMessage
    message: Any
    at: float
    stamp: float


def _in_order(
    messages: Iterable[BagMessage], time: Callable[[str, float, Any], tuple[float, float]]
) -> Iterator[_TimedMessage]:
    """The messages by the time at which they count as heard, as far as they came within ORDERED seconds.

    time: of topic, arrival and message. Where it goes back by more, the clock was set, and what was before comes first.
    """
    waiting: list[tuple[float, int, _TimedMessage]] = []
    newest = -math.inf
    for number, received in enumerate(messages):
        message = parsed(received)
        at, stamp = time(received.topic, received.time, message)
        back = at < newest - ORDERED
        newest = at if back else max(newest, at)
        while waiting and (back or waiting[0][0] <= newest - ORDERED):
            yield heapq.heappop(waiting)[2]
        heapq.heappush(waiting, (at, number, _TimedMessage(received, message, at, stamp)))
    while waiting:
        yield heapq.heappop(waiting)[2]


class _BagMemory:
    """What was heard of a bag up to now, in memories as the recorder's own: pictures, state, words, commands."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self.memory = Synchroniser(robot)
        self.words = {topic: WordHistory() for topic in (TASK, SUBTASK, OVERRIDE)}
        self.driven = CommandHistory()
        self.commands = {g.command.topic: _Commands(g) for g in robot.groups}
        self.topics: set[str] = set()
        self.last = 0.0
        """The newest stamp [s]."""
        self._behind: dict[str, tuple[float, float]] = {}
        self._unstamped = 0.0

    def wanted(self) -> dict[str, tuple[str, Any]]:
        """What is read, by the robot's topic: what it is, and the part of the robot YAML that says so."""
        robot = self._robot
        found: dict[str, tuple[str, Any]] = {c.topic: ("camera", c) for c in robot.cameras}
        found |= {s.topic: ("state", s) for s in robot.state}
        found |= {g.command.topic: ("command", g) for g in robot.groups}
        return found | {t: ("words", t) for t in self.words} | {STATE: ("executor", None)}

    def time(self, topic: str, arrival: float, message: Any) -> tuple[float, float]:
        """When a message counts as heard, and its stamp. Without a stamp (commands, words) it is as long before its arrival
        as the most punctual topic's newest message was stamped: pictures come later than what is small.

        Arrival may be of another clock (a simulation recorded by wall time), and later than the recorder's own would be.
        """
        header = getattr(message, "header", None)
        stamp = seconds(header.stamp) if header is not None else 0.0
        if stamp > 0.0:
            self._behind[topic] = arrival, arrival - stamp
            return stamp, stamp
        behind = [late for at, late in self._behind.values() if arrival - at < RECENT]
        at = arrival - min(behind) if behind else 0.0
        # Delays vary: that takes nothing back in time, where it would be taken for a clock that was set.
        self._unstamped = self._unstamped if at < self._unstamped < at + LATE else at
        return self._unstamped, 0.0

    def take(self, timed: _TimedMessage) -> None:
        """Put a message into the memories, by its stamp if it has one."""
        received, message, at, stamp = timed.received, timed.message, timed.at, timed.stamp
        self.topics.add(received.topic)
        self.last = max(self.last, stamp)
        steady = ros = at
        kind, part = received.role
        if kind == "camera":
            self.memory.add_picture(part.name, steady, stamp, ros, message, len(received.data))
        elif kind == "state" and part.type == "joint_state":
            mapped = SourceMap(part)
            positions, rates = joint_state_values(message)
            self.memory.add_joints(steady, stamp, ros, mapped.positions(positions), mapped.rates(rates), part.topic)
        elif kind == "state":
            self.memory.add_odometry(steady, stamp, ros, odometry_values(message, part.twist), part.topic)
        elif kind == "words":
            self.words[part].add(ros, message.data)
        elif kind == "executor":
            self.driven.add(stamp or ros, MODE_NAMES.get(message.mode, "hold"), message.channels, message.command)
            self.memory.state.add_command(dict(zip(message.channels, message.command, strict=False)))
        elif kind == "command":
            self.commands[part.command.topic].add(ros, channel_values(part, message, part.command))

    def commanded(self, moment: float) -> Mapping[str, float]:
        """What was commanded at a moment by channel: by the executor, else on the robot's command topics; {} if by nobody."""
        driven = self.driven.at(moment)
        if driven is not None:
            return driven.command
        return {name: value for c in self.commands.values() for name, value in c.at(moment).items()}


class _BagFrames:
    """The frames of one bag, in order."""

    def __init__(self, robot: Robot, source: Path, fps: int, task: str | None) -> None:
        self._robot, self._source, self._fps, self._task = robot, source, fps, task
        self._cameras = {c.name: c for c in robot.cameras}
        self._memories, self._selection = _BagMemory(robot), FrameSelection(RecordMode.EVERYTHING)
        self.missed, self.last_missing = 0, ""
        self._black: dict[str, np.ndarray] | None = None  # what a camera that may be missing shows then

    def why(self) -> str:
        """Why there is no frame at all."""
        wanted = [c.topic for c in self._robot.cameras] + [s.topic for s in self._robot.state]
        lost = [topic for topic in wanted if topic not in self._memories.topics]
        if lost:
            return f"nothing was recorded on {', '.join(lost)}; robot {self._robot.name} needs {', '.join(wanted)}"
        return self.last_missing or "holds no frame"

    def __iter__(self) -> Iterator[Frame]:
        begin, count, held, so_far = math.nan, 0, None, self._memories
        with open_bag(self._source, so_far.wanted()) as messages:
            for timed in itertools.chain(_in_order(messages, so_far.time), [None]):
                late = LATE if timed is not None else 0.0
                # With what is known before this message: behind an outage what was before it is soon forgotten.
                newest = max(so_far.last, timed.stamp) if timed is not None else so_far.last
                while (moment := begin + count / self._fps) + late <= newest:
                    frame = self._frame(moment)
                    if held is not None:
                        yield self._complete(held, frame)
                    held, count = frame, count + 1
                if timed is None:
                    break
                so_far.take(timed)
                if math.isnan(begin):
                    begin = self._begin()
        if held is not None:
            yield self._complete(held, None)

    def _begin(self) -> float:
        """The first moment of which everything is known, NaN if something is missing yet."""
        now = self._memories.last
        moment = self._memories.memory.reached(now, now, self._cameras)
        snapshot = self._memories.memory.take(moment, moment, moment=moment)
        if not snapshot.complete:
            self.last_missing = "; ".join(snapshot.missing)
        return moment if snapshot.complete else math.nan

    def _frame(self, moment: float) -> dict[str, Any] | None:
        """The frame of a moment, its action still open if none was commanded; None if something is missing."""
        snapshot = self._memories.memory.take(moment, moment, moment=moment)
        if not snapshot.complete:
            self.missed, self.last_missing = self.missed + 1, "; ".join(snapshot.missing)
            return None
        driven = self._memories.driven.at(moment)
        driver = driven.driver if driven is not None else ""
        words = words_of(driver or "autonomy", *(w.at(moment) for w in self._memories.words.values()))
        instruction = words.instruction or self._task or ""
        if not instruction:
            raise DataError(f"{self._source}: no instruction came on {TASK}; give it with --task")
        return self._row(moment, snapshot) | {
            "driver": driver,
            "intervention": np.array([self._selection.choose(driver).intervention]),
            "high_level_task": words.task or self._task or "",
            "high_level_target": words.subtask,
            "subtask_source": str(words.origin),
            "task": instruction,
        }

    def _row(self, moment: float, snapshot: Snapshot) -> dict[str, Any]:
        robot = self._robot
        names, command = (*robot.channel_names, *robot.state_joints), self._memories.commanded(moment)
        action = np.array([command.get(n, np.nan) for n in robot.channel_names], np.float32)
        shown = {
            f"observation.images.{name}": decode_picture(p.message, self._cameras[name].options)
            for name, p in snapshot.pictures.items()
        }
        self._black = self._black or {key: np.zeros_like(picture) for key, picture in shown.items()}
        shown = {key: shown.get(key, black) for key, black in self._black.items()}
        state = np.array([snapshot.state[n] for n in names], np.float32)
        row = {**shown, "observation.state": state, "action": action, "stamp": np.array([moment])}
        if self._cameras:
            taken = {name: p.stamp for name, p in snapshot.pictures.items()}
            row["picture_offset"] = np.array([taken.get(c, moment) - moment for c in self._cameras], np.float32)
            row["camera_present"] = np.array([c in taken for c in self._cameras])
        return row

    def _complete(self, frame: dict[str, Any], after: dict[str, Any] | None) -> Frame:
        """The frame with the next frame's state if no command is known."""
        state = (after or frame)["observation.state"][: len(frame["action"])]
        return {**frame, "action": np.where(np.isfinite(frame["action"]), frame["action"], state)}
