"""Whether a chunk starts where the robot was when it was observed, and can be followed from there."""

from __future__ import annotations

import numpy as np

from pi0_ros.control.acceptance import History, accept_rows, reach_of
from pi0_ros.control.chunk import Chunk, Verdict, in_robot_order
from pi0_ros.control.running_plan import Running
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.splice import row_times
from pi0_ros.robot.spec import Robot


class Plausibility:
    """Remembers where the robot was, and judges chunks by it."""

    def __init__(self, robot: Robot, settings: ExecutorSettings) -> None:
        self._robot, self._reach = robot, reach_of(robot, settings)
        self.history = History(settings.chunk_max_age)

    def judge(self, chunk: Chunk, running: Running | None) -> Verdict:
        """Whether the chunk's rows are near the limits and within reach of where the robot, or its plan, was then."""
        moment = self.history.at(chunk.start)
        references = [] if moment is None else [(moment.time, moment.commanded), (moment.time, moment.measured)]
        if running is not None and running.plan.path.start <= chunk.start <= running.plan.path.end:
            references.append((chunk.start, running.plan.path.at(np.array([chunk.start]))[0]))
        times = row_times(chunk.start, chunk.period, chunk.rows)
        return accept_rows(in_robot_order(chunk, self._robot), times, self._reach, references)
