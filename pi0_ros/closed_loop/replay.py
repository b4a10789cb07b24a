"""What the executor would have commanded for a recorded run, with any strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pi0_ros.closed_loop.harness import Episode
from pi0_ros.control import Chunk, Executor, ExecutorSettings, Step
from pi0_ros.data.bag import CHUNK, JOINTS, ODOMETRY, STATE, RecordedMessage, joint_positions, rows_of, stamp_of
from pi0_ros.data.errors import DataError
from pi0_ros.data.recording import Recording
from pi0_ros.robot import Robot
from pi0_ros.robot.measurement import SourceMap

# The recorded robot followed other commands than the ones tried here: how far it is from these is no fault.
ANY_DISTANCE = 1e3
AUTONOMY = 2  # of ExecutorState.mode


def replay(recording: Recording, robot: Robot, strategy: str = "auto") -> Episode:
    """Run a recording through the executor in virtual time; an `Episode` whose measured rows are the recorded robot's.

    Chunks are followed while the recorded executor was in AUTONOMY, or always if its mode was not recorded. Raises
    DataError if not one chunk is followed.
    """
    settings = ExecutorSettings(
        strategy=strategy, start_gap=ANY_DISTANCE, tracking_error=ANY_DISTANCE, tracking_error_m=ANY_DISTANCE
    )
    executor, period = Executor(robot, settings), 1.0 / robot.control_rate
    waiting = list(reversed(recording.messages))
    feed = Feed(executor, robot, recording)
    steps: list[Step] = []
    for k in range(int((recording.end - recording.start) / period) + 1):
        now = recording.start + k * period
        while waiting and waiting[-1].time <= now:
            feed.take(waiting.pop(), now, steps)
        steps.append(executor.step(now, now))
    commanded = [step for step in steps if step.command is not None]
    if not commanded:
        raise DataError(f"{recording.file}: nothing would be commanded: {steps[-1].reason}")
    if not feed.followed:
        raise DataError(f"{recording.file}: not one chunk would be followed: {feed.why or steps[-1].reason}")
    return _episode(strategy, steps, commanded)


def _episode(strategy: str, steps: Sequence[Step], commanded: Sequence[Step]) -> Episode:
    commands = [step.command for step in commanded if step.command is not None]
    return Episode(
        seed=0,
        instruction=strategy,
        success=True,
        seconds=commands[-1].stamp - commands[0].stamp,
        done=0,
        total=0,
        times=np.array([c.stamp for c in commands]),
        commands=np.array([c.values for c in commands]),
        measured=np.array([step.measured for step in steps]),
        steps=tuple(steps),
    )


class Feed:
    """Gives recorded messages to an executor. `followed`: chunks that it took up; `why`: why it did not take up the newest one."""

    def __init__(self, executor: Executor, robot: Robot, recording: Recording) -> None:
        self._executor = executor
        self._sources = {s.topic: SourceMap(s) for s in robot.state if s.type == "joint_state"}
        self._black_box = recording.black_box
        self._knows_mode = any(message.type == STATE for message in recording.messages)
        self._autonomous = not self._knows_mode
        self.followed, self.why = 0, ""
        self._epoch, self._offset, self._highest = -1, 0, 0

    def take(self, received: RecordedMessage, now: float, steps: Sequence[Step]) -> None:
        """One message at its time of arrival."""
        message = received.message
        if received.type == STATE:
            self._autonomous = message.mode == AUTONOMY
        elif received.type == ODOMETRY:
            twist = message.twist.twist
            self._executor.on_odometry(now, now, now, twist.linear.x, twist.linear.y, twist.angular.z)
        elif received.type == JOINTS and self._black_box:
            stamp, source = stamp_of(message.header), message.header.frame_id
            self._executor.on_state(now, now, stamp, *joint_positions(message), source)
        elif received.type == JOINTS and received.topic in self._sources:
            source_map, (positions, rates) = self._sources[received.topic], joint_positions(message)
            joints = source_map.positions(positions), source_map.rates(rates)
            self._executor.on_state(now, now, stamp_of(message.header), *joints, received.topic)
        elif received.type == CHUNK:
            self._chunk(message, now, steps)

    def _sequence_of(self, message: Any) -> int:
        """The chunk's number after those of the recorded epochs before: a policy that was restarted counts from 1 again."""
        if message.epoch != self._epoch:
            self._epoch, self._offset = message.epoch, self._highest + 1 - message.sequence
        self._highest = max(self._highest, message.sequence + self._offset)
        return int(message.sequence + self._offset)

    def _chunk(self, message: Any, now: float, steps: Sequence[Step]) -> None:
        """Autonomy begins with the first chunk that was followed; recorded epochs were another executor's, so the
        present one is put in."""
        if not steps:
            return
        if not self._autonomous:
            self.why = "all of them came while the recorded executor was not in autonomy"
            return
        if steps[-1].mode.value != "autonomy":
            self._executor.request(now, now, "autonomy")
        chunk = Chunk(
            start=stamp_of(message.header),
            period=message.period,
            names=tuple(message.channels),
            values=rows_of(message),
            sequence=self._sequence_of(message),
            epoch=self._executor.epoch,
            source=message.source,
            frozen_rows=message.frozen_rows,
            subtask=message.subtask,
        )
        verdict = self._executor.on_chunk(now, now, chunk)
        self.followed += verdict.accepted
        self.why = self.why if verdict.accepted else verdict.reason
