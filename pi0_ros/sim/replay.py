"""What the executor would have commanded for a recorded run, with any strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pi0_ros.control import Chunk, Executor, ExecutorSettings, Step
from pi0_ros.data.bag import CHUNK, JOINTS, ODOMETRY, Heard, joint_positions, read_bag, rows_of, stamp_of
from pi0_ros.data.errors import DataError
from pi0_ros.robot import Robot
from pi0_ros.robot.measurement import SourceMap
from pi0_ros.sim.harness import Episode

# The recorded robot followed other commands than the ones tried here: how far it is from these is no fault.
ANY_DISTANCE = 1e3


@dataclass(frozen=True)
class Recording:
    """What the executor heard, in order of arrival."""

    file: Path
    messages: tuple[Heard, ...]

    @property
    def black_box(self) -> bool:
        """Whether the executor wrote it: its joint states are in the robot's words already."""
        return any(heard.topic.strip("/") == "executor/command" for heard in self.messages)

    @property
    def start(self) -> float:
        """Arrival of the first message [s]."""
        return self.messages[0].time

    @property
    def end(self) -> float:
        """Arrival of the last message [s]."""
        return self.messages[-1].time


def load_recording(file: Path) -> Recording:
    """Chunks, joint states and odometry of a bag. Raises DataError where chunks or joint states are missing."""
    messages = tuple(sorted(read_bag(file, (CHUNK, JOINTS, ODOMETRY)), key=lambda heard: heard.time))
    there = {heard.type for heard in messages}
    for needed in (CHUNK, JOINTS):
        if needed not in there:
            raise DataError(f"{file}: holds no {needed}; record action_chunk and the robot's joint states")
    return Recording(file, messages)


def replay(recording: Recording, robot: Robot, strategy: str = "auto") -> Episode:
    """Run a recording through the executor in virtual time; an `Episode` whose measured rows are the recorded robot's."""
    settings = ExecutorSettings(strategy=strategy, start_gap=ANY_DISTANCE, tracking_error=ANY_DISTANCE)
    executor, period = Executor(robot, settings), 1.0 / robot.control_rate
    waiting = list(reversed(recording.messages))
    steps: list[Step] = []
    for k in range(int((recording.end - recording.start) / period) + 1):
        now = recording.start + k * period
        while waiting and waiting[-1].time <= now:
            _feed(executor, robot, waiting.pop(), now, steps, recording.black_box)
        steps.append(executor.step(now, now))
    commanded = [step for step in steps if step.command is not None]
    if not commanded:
        raise DataError(f"{recording.file}: nothing would be commanded: {steps[-1].reason}")
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


def _feed(executor: Executor, robot: Robot, heard: Heard, now: float, steps: Sequence[Step], black_box: bool) -> None:
    message = heard.message
    if heard.type == CHUNK:
        _feed_chunk(executor, message, now, steps)
    elif heard.type == ODOMETRY:
        twist = message.twist.twist
        executor.on_odometry(now, now, now, twist.linear.x, twist.linear.y, twist.angular.z)
    elif black_box and heard.topic.strip("/") == "joint_states":
        stamp, source = stamp_of(message.header), message.header.frame_id
        executor.on_state(now, now, stamp, *joint_positions(message), source)
    else:
        for source in robot.state:
            if heard.topic.strip("/").endswith(source.topic.strip("/")):
                positions, rates = joint_positions(message)
                mapped = SourceMap(source)
                joints = mapped.positions(positions), mapped.rates(rates)
                executor.on_state(now, now, stamp_of(message.header), *joints, source.topic)


def _feed_chunk(executor: Executor, message: object, now: float, steps: Sequence[Step]) -> None:
    """Autonomy begins with the first chunk; recorded epochs were another executor's, so the present one is put in."""
    if not steps:
        return
    if steps[-1].mode.value != "autonomy":
        executor.request(now, now, "autonomy")
    chunk = Chunk(
        start=stamp_of(message.header),  # type: ignore[attr-defined]
        period=message.period,  # type: ignore[attr-defined]
        names=tuple(message.channels),  # type: ignore[attr-defined]
        values=rows_of(message),
        sequence=message.sequence,  # type: ignore[attr-defined]
        epoch=0,
        source=message.source,  # type: ignore[attr-defined]
        frozen_rows=message.frozen_rows,  # type: ignore[attr-defined]
        subtask=message.subtask,  # type: ignore[attr-defined]
    )
    executor.on_chunk(now, now, replace(chunk, epoch=executor.epoch))
