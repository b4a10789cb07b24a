"""What a demo has seen, and the report that is made of it (docs/interface.md). Times are passed in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pi0_ros.msg import ExecutorState
from pi0_ros.robot.quantile import quantiles
from pi0_ros.robot.spec import Robot
from pi0_ros.ros.command_monitor import CommandMonitor
from pi0_ros.touch.words import DONE


def own_timing(health: Mapping[str, str]) -> dict[str, object]:
    """How late the executor's periods began by its own clock (its diagnostics, last minute), beside what a subscriber saw:
    on a loaded machine the two differ by what the machine delays between them."""
    late = {name: round(float(health.get(f"period_late_ms_{name}", 0.0)), 3) for name in ("p50", "p99", "max")}
    return {"period_late_ms": late, "missed": int(float(health.get("overruns", 0)))}


@dataclass
class Stage:
    """How things stand. `scene`: what the simulation says of it. `began`: steady time of the first autonomy, infinite
    before. `finished_since`: steady time since which the network says that nothing is left to do, infinite while it does not."""

    mode: str = ""
    task: str = ""
    state: ExecutorState | None = None
    scene: Mapping[str, str] = field(default_factory=dict)
    began: float = math.inf
    finished_since: float = math.inf

    @property
    def running(self) -> bool:
        """Whether it is being measured."""
        return math.isfinite(self.began)

    def elapsed(self, steady: float) -> float:
        """Seconds that have been measured."""
        return steady - self.began if self.running else 0.0

    @property
    def done(self) -> int:
        """How much of the scene is done."""
        return int(self.scene.get("done", 0))

    @property
    def total(self) -> int:
        """How much there is to do in it."""
        return int(self.scene.get("total", 0))

    @property
    def solved(self) -> bool:
        """Whether all of it is done."""
        return self.scene.get("success") == "True"

    def update_subtask(self, text: str, steady: float) -> None:
        """The network says what to do next; the same said again is no later."""
        if text != DONE:
            self.finished_since = math.inf
        elif math.isinf(self.finished_since):
            self.finished_since = steady


class Faults:
    """What went wrong, each kind once: the same sentence with other numbers is the same fault."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.texts: list[str] = []
        self._warn, self._kinds = warn, set[str]()

    def add(self, text: str) -> None:
        """Note one."""
        kind = re.sub(r"[0-9.]+", "", text)
        if kind not in self._kinds:
            self._kinds.add(kind)
            self.texts.append(text)
            self._warn(text)


class PlanTimes:
    """Chunks as they came, and how late they were."""

    def __init__(self) -> None:
        self.chunks = 0
        self._inference: list[float] = []
        self._delays: list[float] = []
        self._last = 0

    def restart(self) -> None:
        """Begin to count anew."""
        self.chunks, self._inference, self._delays = 0, [], []

    def add_chunk(self, inference: float) -> None:
        """A chunk came that took `inference` [s]."""
        self.chunks += 1
        self._inference.append(inference * 1e3)

    def follow(self, sequence: int, delay: float) -> None:
        """The executor follows plan `sequence`, `delay` [s] after its observation."""
        if sequence not in (0, self._last):
            self._last = sequence
            self._delays.append(delay * 1e3)

    def report(self) -> dict[str, object]:
        """The `policy` part of the report."""
        parts = {"inference_ms": self._inference, "observation_to_command_ms": self._delays}
        spread = {name: quantiles(values, 0.5, 0.99) for name, values in parts.items()}
        rounded = {name: {"p50": round(p50, 2), "p99": round(p99, 2)} for name, (p50, p99) in spread.items()}
        return {"chunks": self.chunks, **rounded}


class DemoRecord:
    """All that is counted while a demo runs."""

    def __init__(self, robot: Robot, warn: Callable[[str], None]) -> None:
        self.monitor, self.faults, self.plans = CommandMonitor(robot), Faults(warn), PlanTimes()
        self.subtasks: list[str] = []
        self.takeovers = self.attempted = self.succeeded = 0
        self._executor: Mapping[str, str] = {}
        self._worst = {"jerk_rms": 0.0, "tracking_error": 0.0}
        self._underruns_before = 0

    def start(self, underruns: int) -> None:
        """Begin to measure; `underruns` so far are not counted."""
        self.monitor.restart()
        self.plans.restart()
        self._underruns_before = underruns

    def add_subtask(self, text: str) -> bool:
        """The network says what to do next; whether that is new."""
        if not text or (self.subtasks and self.subtasks[-1] == text):
            return False
        self.subtasks.append(text)
        return True

    def add_health(self, values: Mapping[str, str], measuring: bool) -> None:
        """The executor's diagnostics."""
        self._executor = values
        if measuring:
            self._worst = {n: max(worst, float(values.get(n, 0.0))) for n, worst in self._worst.items()}

    def end_scene(self, stage: Stage, in_time: bool) -> None:
        """Count what was done; `in_time`: there was time for all of it."""
        # A block that time was not left for was not attempted; the one being reached for was.
        self.attempted += stage.total if in_time else min(stage.total, stage.done + 1)
        self.succeeded += stage.done

    def report(self, stage: Stage, steady: float) -> dict[str, object]:
        """The demo report."""
        seam = {f"seam_{n}": float(self._executor.get(f"seam_{n}_max", 0.0)) for n in ("position", "velocity")}
        underruns = stage.state.underruns - self._underruns_before if stage.state is not None else 0
        violations = self.monitor.violations
        return {
            "duration_s": round(stage.elapsed(steady), 2),
            "control": {**self.monitor.control(), "executor": own_timing(self._executor)},
            "policy": self.plans.report(),
            "motion": {"limit_violations": violations, "underruns": underruns, **seam, **self._worst},
            "tasks": {"attempted": self.attempted, "succeeded": self.succeeded},
            "subtasks": self.subtasks,
            "takeovers": self.takeovers,
            "faults": self.faults.texts,
        }
