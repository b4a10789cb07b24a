"""What is remembered of a chunk that is followed, and of the plan that is executed. ROS seconds."""

from __future__ import annotations

from dataclasses import dataclass

from pi0_ros.control.motion_plan import MotionPlan
from pi0_ros.control.row_path import ROS_ROUNDING


@dataclass(frozen=True)
class AcceptedChunk:
    """What is remembered of a chunk besides its rows."""

    sequence: int
    epoch: int
    source: str
    observed: float
    period: float
    subtask: str
    strategy: str
    clamped: tuple[bool, ...]  # which rows were beyond a limit


@dataclass
class Running:
    """A plan that is followed. `index`: the command that was sent last, -1 for the state before the first."""

    chunk: AcceptedChunk
    plan: MotionPlan
    behind: float
    index: int = -1

    @property
    def path_time(self) -> float:
        """Where on the path the last command is."""
        if self.index < 0:
            return float(self.plan.request.times.times[0])
        return float(self.plan.path_times[min(self.index, len(self.plan.path_times) - 1)])

    def path_until(self, join: int) -> float:
        """Path seconds from the last command to the plan's command `join`; none to its start, -1."""
        return float(self.plan.path_times[join]) - self.path_time if join >= 0 else 0.0

    @property
    def left(self) -> float:
        """Path seconds that are left."""
        return max(0.0, self.plan.path.end - self.path_time)

    @property
    def limited(self) -> bool:
        """Whether a limit changed the last command."""
        row = int((self.path_time - self.plan.path.start) / self.plan.path.period)
        clamped = self.chunk.clamped[min(max(row, 0), len(self.chunk.clamped) - 1)]
        return self.index >= 0 and (clamped or bool(self.plan.limited[self.index]))

    @property
    def over(self) -> bool:
        """The path has ended; what may still follow is its stop."""
        return self.path_time >= self.plan.path.end - ROS_ROUNDING or self.index >= len(self.plan.states) - 1

    @property
    def ended(self) -> bool:
        """Its last command has been sent."""
        return self.index >= len(self.plan.states) - 1

    def behind_at(self, index: int, period: float) -> float:
        """Seconds by which the path is late at the command `index`; `period` [s] between two."""
        done = float(self.plan.path_times[index]) - float(self.plan.request.times.times[0])
        return self.behind + (index + 1) * period - done
