"""What one policy has planned so far, and what it plans next. Pure: times are passed in; a node and the harness share it."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pi0_ros.control.chunk import Chunk
from pi0_ros.control.planning import Latency, Prefix, Situation, Timetable, behind, due, finished, prefix, stay
from pi0_ros.robot.spec import Kind, Robot

CHUNKS_KEPT = 16


@dataclass(frozen=True)
class PlanTask:
    """A plan that is to be made: for which prompt and epoch, and the rest of the running plan it should agree with.

    `new_epoch`: the plan before it was for another epoch, or is forgotten.
    """

    prompt: str
    epoch: int
    new_epoch: bool
    prefix: Prefix | None


@dataclass(frozen=True)
class _Last:
    """The plan that was begun last: when [steady s], for which epoch and prompt, and since when for these two."""

    begun: float = -math.inf
    epoch: int = -1
    prompt: str = ""
    since: float = 0.0


class PlanningSession:
    """The chunks of one source, numbered, and the plan that they lead to."""

    def __init__(
        self, robot: Robot, source: str, horizon: int, period: float, finished_prompts: Container[str]
    ) -> None:
        """`horizon` rows of one `period` [s]: the policy's plans. `finished_prompts`: those that leave nothing to do."""
        self._source, self._horizon, self._period, self._finished = source, horizon, period, finished_prompts
        self._velocities = {c.name for c in robot.channels if c.kind is Kind.VELOCITY}
        self.situation = Situation()
        """What the executor said last; the caller keeps it up to date."""
        self.latency = Latency()
        """From observation to chunk [s]; the caller adds to it."""
        self.sequence = 0
        """Of the newest chunk."""
        self._sent: dict[int, Chunk] = {}
        self._last = _Last()

    def due(self, table: Timetable, prompt: str, steady: float, at_once: int = 1) -> bool:
        """Whether to plan for `prompt` at `steady` [s]. `at_once`: how many requests may wait for an answer."""
        last, latency = self._last, self.latency.quantile(0.95)
        return due(table, self.situation, steady, last.begun, last.epoch, prompt != last.prompt, latency, at_once)

    def keep_end(self, prompt: str, steady: float, ros: float) -> Chunk | None:
        """The chunk that keeps the last plan's end if nothing is left to do, stamped `ros` [s]; None to plan on."""
        now, last = self.situation, self._last
        if prompt not in self._finished:
            return None
        same = (prompt, now.epoch) == (last.prompt, last.epoch)
        newest, running = self._sent.get(self.sequence), self._sent.get(now.plan_sequence)
        ending = finished(running, newest, now, same, steady - last.since)
        if ending is None:
            return None
        self._last = replace(last, begun=steady)
        velocities = np.array([name in self._velocities for name in ending.names])
        return replace(stay(ending, ros, velocities), sequence=self.sequence + 1)

    def begin(self, prompt: str, steady: float, stamp: float, replan: float) -> PlanTask:
        """A plan for `prompt` is begun at `steady` [s], from the observation of `stamp` [ROS s].

        `replan` [s]: how much of it will be executed before the next one.
        """
        now, last = self.situation, self._last
        prefix = self._prefix(now, prompt == last.prompt, stamp, replan)
        since = last.since if (prompt, now.epoch) == (last.prompt, last.epoch) else steady
        self._last = _Last(steady, now.epoch, prompt, since)
        return PlanTask(prompt, now.epoch, now.epoch != last.epoch, prefix)

    def forget(self) -> None:
        """The words of the last plan were withdrawn: even if the same ones come again, that plan is not continued."""
        self._last = _Last()

    def postpone(self, steady: float) -> None:
        """As if the last plan had been begun at `steady` [s]: it failed, and the next one has to wait."""
        self._last = replace(self._last, begun=steady)

    def chunk(
        self,
        task: PlanTask,
        stamp: float,
        period: float,
        names: Sequence[str],
        values: npt.NDArray[np.float64],
        frozen_rows: int,
    ) -> Chunk:
        """The chunk for a plan of rows `values` [H, D] from `stamp` [ROS s] on."""
        return Chunk(
            start=stamp,
            period=period,
            names=tuple(names),
            values=values,
            sequence=self.sequence + 1,
            epoch=task.epoch,
            source=self._source,
            frozen_rows=frozen_rows,
            subtask=task.prompt,
        )

    def note_sent(self, chunk: Chunk) -> None:
        """A chunk went out."""
        self.sequence = chunk.sequence
        self._sent[chunk.sequence] = chunk
        self._sent.pop(chunk.sequence - CHUNKS_KEPT, None)

    def _prefix(self, now: Situation, same_prompt: bool, stamp: float, replan: float) -> Prefix | None:
        """The rest of the plan that the executor is following, if it is one of ours and of this epoch."""
        running = self._sent.get(now.plan_sequence)
        if now.mode != "autonomy" or running is None or running.epoch != now.epoch:
            return None
        late = self.latency.quantile(0.95)
        return prefix(running, stamp, self._period, self._horizon, late, replan, same_prompt, behind(running, now))
