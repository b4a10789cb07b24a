"""The whole loop in virtual time: a robot, the real control core, and a policy that answers late.

Nothing here reads a clock: latency is a number, an episode is repeatable to the bit for a seed, and faster than real
time wherever the policy is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol

import numpy as np
from numpy.typing import NDArray

from pi0_ros.closed_loop.latency import Latency
from pi0_ros.closed_loop.robot import Body, Task
from pi0_ros.control import BlackBox, Chunk, Executor, ExecutorSettings, Step
from pi0_ros.control.planning import Prefix, Situation, Timetable
from pi0_ros.control.planning_session import PlanningSession
from pi0_ros.policy import Observation, Plan, PlanPrefix

SOURCE = "policy"
SETTLE = 0.4  # [s] the executor reads the robot this long before autonomy is requested


class Planner(Protocol):
    """Whatever makes plans: a `Policy`, or a scripted stand-in with the same methods."""

    finished: tuple[str, ...]  # subtasks that say that nothing is left to do
    horizon: int  # rows of a plan
    period: float  # seconds between rows
    cameras: tuple[str, ...]  # pictures it plans from
    high_level_cameras: tuple[str, ...]  # pictures it chooses subtasks from

    def plan(self, observation: Observation, seed: int, prefix: PlanPrefix | None) -> Plan:
        """A plan for an observation; `seed` draws its noise."""

    def subtask(self, observation: Observation, task: str) -> str:
        """What to do next towards `task`."""


@dataclass(frozen=True)
class Trial:
    """How one episode is run.

    rtc: "none", "identity", "vjp" or "prefix": how the network is given the running plan. high_level: seconds between
    subtask questions; 0 gives the instruction to the policy as it is. oracle: subtasks come from the scene instead of
    the network. blind: every picture is black. instruction: said instead of the task's own, or `spoken`'s changes of it.
    """

    latency: Latency = field(default_factory=Latency)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    timetable: Timetable = field(default_factory=Timetable)
    rtc: str = "identity"
    high_level: float = 0.0
    oracle: bool = False
    blind: bool = False
    instruction: str = ""


@dataclass(frozen=True)
class Episode:
    """What happened. times [T] in s and commands [T, D] have a row for each command; measured [S, D] and steps one for
    each control period (the first few have no command). done of total: progress as the task counts it.
    refusal: why the newest chunk that was refused was, "" if none was."""

    seed: int
    instruction: str
    success: bool
    seconds: float
    done: int
    total: int
    times: NDArray[np.float64]
    commands: NDArray[np.float64]
    measured: NDArray[np.float64]
    steps: tuple[Step, ...] = field(repr=False)
    subtasks: tuple[str, ...] = ()
    refusal: str = ""


@dataclass
class _Pending:
    """A plan on its way to the executor."""

    arrives: float
    chunk: Chunk


def changed_words(wanted: str) -> dict[str, str]:
    """Words and what is said in their place, from `old=new, old=new`; {} if `wanted` has no such pair."""
    if "=" not in wanted:
        return {}
    return {old.strip(): new.strip() for old, _, new in (pair.partition("=") for pair in wanted.split(","))}


def spoken(instruction: str, wanted: str) -> str:
    """What is said to the policy: `wanted`, or the task's own words if that is "". `old=new, old=new` changes words of those."""
    changes = changed_words(wanted)
    if not changes:
        return wanted or instruction
    return " ".join(changes.get(word, word) for word in instruction.split())


class Harness(Generic[Body]):
    """One robot, simulated in whatever way, reused over episodes."""

    def __init__(self, sim: Body, make_planner: Callable[[Body], Planner], trial: Trial | None = None) -> None:
        """`make_planner` gets the robot, which a checkpoint has no use for and a scripted planner reads."""
        self.robot, self.sim, self.trial = sim.robot, sim, trial or Trial()
        self.planner = make_planner(self.sim)

    def run(self, task: Task[Body], seed: int, blackbox: BlackBox | None = None) -> Episode:
        """One episode of a task. The same seed gives the same episode to the bit. `blackbox` records what passes."""
        instruction = task.reset(self.sim, seed)
        return _Run(self, task, seed, spoken(instruction, self.trial.instruction), blackbox).episode()

    def close(self) -> None:
        """Free the drawing context."""
        self.sim.close()


class _Run(Generic[Body]):
    """The state of one episode.

    Larger than a class should be because everything that an episode remembers is in it, and nothing outlives it.
    """

    def __init__(
        self, harness: Harness[Body], task: Task[Body], seed: int, instruction: str, blackbox: BlackBox | None = None
    ) -> None:
        self.robot, self.sim, self.trial = harness.robot, harness.sim, harness.trial
        self.planner, self.task = harness.planner, task
        self.seed, self.instruction = seed, instruction
        self.rng = np.random.default_rng((seed, 1))
        self.executor = Executor(self.robot, self.trial.executor, blackbox=blackbox)
        self.subtask = "" if self.trial.high_level else instruction
        self.subtasks: list[str] = []
        self.pending: list[_Pending] = []
        planner = self.planner
        self.session = PlanningSession(self.robot, SOURCE, planner.horizon, planner.period, planner.finished)
        self.thought = -np.inf
        self.refusal = ""
        self.steps: list[Step] = []
        self.measured: list[NDArray[np.float64]] = []

    def episode(self) -> Episode:
        period = 1.0 / self.robot.control_rate
        while not (self.task.success(self.sim) or self.task.failed(self.sim)):
            self._period(self.sim.time)
            self.sim.advance(period)
        done, total = self.task.progress(self.sim)
        commanded = [s for s in self.steps if s.command is not None]
        return Episode(
            seed=self.seed,
            instruction=self.instruction,
            success=self.task.success(self.sim),
            seconds=self.sim.time,
            done=done,
            total=total,
            times=np.array([s.command.stamp for s in commanded if s.command]),
            commands=np.array([s.command.values for s in commanded if s.command]),
            measured=np.array(self.measured),
            steps=tuple(self.steps),
            subtasks=tuple(self.subtasks),
            refusal=self.refusal,
        )

    def _period(self, now: float) -> None:
        """Sense, deliver, engage, step, command, and think about the next plan, all at time `now` [s]."""
        self._sense(now)
        self._deliver(now)
        if now >= SETTLE and self.session.situation.mode == "hold":
            self.executor.request(now, now, "autonomy")
        step = self.executor.step(now, now)
        self.steps.append(step)
        if step.command is not None:
            self.sim.set_command(step.command.names, step.command.values)
        self.session.situation = Situation(now, step.mode.value, step.epoch, step.plan_sequence, step.plan_left, now)
        self._think(now)

    def _sense(self, now: float) -> None:
        names, positions, _ = self.sim.joint_state()
        self.executor.on_state(now, now, now, _mapping(names, positions))
        self.executor.on_odometry(now, now, now, *self.sim.odometry()[3:])
        measured = self.sim.measured()
        self.measured.append(np.array([measured[name] for name in self.robot.channel_names]))

    def _deliver(self, now: float) -> None:
        for pending in [p for p in self.pending if p.arrives <= now + 1e-9]:
            self.pending.remove(pending)
            verdict = self.executor.on_chunk(now, now, pending.chunk)
            self.refusal = self.refusal if verdict.accepted else verdict.reason
            self.session.latency.add(now - pending.chunk.start)

    def _think(self, now: float) -> None:
        """One inference at a time, as in the policy node."""
        if self.pending or now < SETTLE / 2:
            return
        if self.trial.high_level and now - self.thought >= self.trial.high_level:
            self.thought = now
            self._choose_subtask(now)
        if not self.subtask or not self.session.due(self.trial.timetable, self.subtask, now):
            return
        ending = self.session.keep_end(self.subtask, now, now)
        if ending is None:
            self._plan(now)
        else:
            self._send(ending, now)

    def _choose_subtask(self, now: float) -> None:
        observation = self._observe(now, self.instruction, self.planner.high_level_cameras)
        text = self.task.subtask(self.sim) if self.trial.oracle else self.planner.subtask(observation, self.instruction)
        if text and text != self.subtask:
            self.subtask = text
            self.subtasks.append(text)

    def _observe(self, now: float, prompt: str, cameras: tuple[str, ...]) -> Observation:
        images = {name: self.sim.render(name) for name in cameras}
        if self.trial.blind:
            images = {name: np.zeros_like(picture) for name, picture in images.items()}
        command = self.steps[-1].command if self.steps else None
        commanded = dict(zip(command.names, command.values.tolist(), strict=True)) if command is not None else {}
        return Observation(now, images, self.sim.measured(), prompt, commanded)

    def _plan(self, now: float) -> None:
        session = self.session
        task = session.begin(self.subtask, now, now, self.trial.timetable.replan)
        observation = self._observe(now, self.subtask, self.planner.cameras)
        plan = self.planner.plan(
            observation, self.seed * 100_003 + session.sequence + 1, self._plan_prefix(task.prefix)
        )
        self._send(session.chunk(task, now, plan.period, plan.names, plan.values, plan.frozen_rows), now)

    def _send(self, chunk: Chunk, now: float) -> None:
        self.session.note_sent(chunk)
        arrives = self.trial.latency.draw(self.rng, now)
        if arrives is not None:
            self.pending.append(_Pending(arrives, chunk))

    def _plan_prefix(self, rest: Prefix | None) -> PlanPrefix | None:
        if self.trial.rtc == "none" or rest is None:
            return None
        return PlanPrefix(rest.values, rest.names, rest.delay_rows, rest.execution_rows, self.trial.rtc)


def _mapping(names: tuple[str, ...], values: NDArray[np.float64]) -> Mapping[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}
