"""What recording one task or another has in common: starts until one succeeds, pictures of some of the rows, columns, a knock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import numpy as np

from pi0_ros.chores.conditions import Conditions, Eyes, Ranges, draw_conditions
from pi0_ros.robot import Robot
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.robot import SimRobot, state_vector
from pi0_ros.sim.tasks import SimTask
from pi0_ros.sim.world import SIDES
from pi0_ros.touch.disturbance import Frame
from pi0_ros.touch.localise import project
from pi0_ros.touch.localised import SPOT, WAY
from pi0_ros.touch.record import Features, base_features, named_numbers

Row = dict[str, Any]
EVERY_ROW = (0, 1)
ATTEMPTS = 10  # starts of one episode until one of them succeeds
AFTERWARDS = 0.6  # s that are recorded after success
KNOCK = (0.3, 0.7)  # m/s that a thing gets; friction stops it after 1 to 6 cm


@dataclass(frozen=True)
class ChoreSettings:
    """What is recorded. push_rate: disturbances a second. variety: how much conditions vary, 1 as usual, 0 not at all."""

    cameras: tuple[str, ...] = ("base", "left_wrist", "right_wrist", "back")
    size: int = 224
    fps: int = 10
    push_rate: float = 0.25
    variety: float = 1.0


@dataclass(frozen=True)
class Recorded:
    """One episode: its rows under the names of the collector's features, and `task`; how many starts failed before it, and the
    conditions under which it was recorded."""

    rows: tuple[Row, ...]
    failed_starts: int
    conditions: Conditions

    def note(self) -> dict[str, object]:
        """For the dataset's log of episodes."""
        return {"outcome": "success", "failed_starts": self.failed_starts, "conditions": self.conditions.note()}


class Collector(Protocol):
    """One simulation that is used for episode after episode."""

    sim: SimRobot

    @property
    def features(self) -> Features:
        """Names, types and shapes of the columns of a row."""

    def episode(self, seed: int, seen: tuple[int, int] = EVERY_ROW) -> Recorded:
        """One successful episode, the same to the bit for a seed. seen: the first row with pictures, and how many rows it is to
        the next; each picture is as if there were all. Raises SimError when no start succeeds."""


class Pictures:
    """The pictures of one episode. Noise of its own, so that pictures change nothing else."""

    def __init__(
        self, sim: SimRobot, settings: ChoreSettings, conditions: Conditions, rng: np.random.Generator,
        seen: tuple[int, int],
    ) -> None:  # fmt: skip
        """seen: the first row with pictures, and how many rows it is to the next. One number of rng is used."""
        self._sim, self._settings = sim, settings
        self._eyes = Eyes(conditions, settings.size, np.random.default_rng(rng.integers(2**63)))
        self._rows, (self._first, self._step) = count(), seen

    def next(self) -> Row:
        """Of the next row, uint8 [S, S, 3] each; none if it is not seen."""
        cameras, size = self._settings.cameras, self._settings.size
        if (next(self._rows) - self._first) % self._step == 0:
            return {f"observation.images.{c}": self._eyes.see(c, self._sim.render(c, size)) for c in cameras}
        for _ in cameras:
            self._eyes.blink()
        return {}


def first_success(
    sim: SimRobot,
    task: SimTask,
    settings: ChoreSettings,
    draws: tuple[int, int],
    attempt: Callable[[np.random.Generator, Conditions], Iterable[Row]],
) -> Recorded:
    """The first start that succeeds; one that fails is thrown away and another one is drawn. draws: the seed, and a number of the task.

    attempt: one start, from resetting the task to its last row. Raises SimError when none of ATTEMPTS succeeds.
    """
    for number in range(ATTEMPTS):
        rng = np.random.default_rng([*draws, number])
        conditions = draw_conditions(rng, sim.robot, settings.cameras, Ranges().scaled(settings.variety))
        sim.change_world(conditions.world)
        rows = tuple(attempt(rng, conditions))
        if task.success(sim):
            return Recorded(rows, number, conditions)
    raise SimError(f"seed {draws[0]}: the operator failed {ATTEMPTS} times; choose a smaller --push-rate")


def chore_features(robot: Robot, settings: ChoreSettings, things: Sequence[str]) -> Features:
    """`base_features` with the name of a thing as `aim`, and what only chores have.

    `goal`: where the fingertips go next, in all pictures, and the way there from the working hand's fingertips [m], in the base
    frame. `held`: 1 for a thing between the fingers of a hand. `progress`: points of the task's rubric.
    """
    goal = [*(f"{camera}.{n}" for camera in settings.cameras for n in SPOT), *WAY]
    return {
        **base_features(robot, settings.cameras, settings.size, things),
        "goal": named_numbers(goal),
        "held": named_numbers(things),
        "progress": {"dtype": "int64", "shape": (1,), "names": None},
    }


def finished_row(frame: Frame, robot: Robot, grip_goals: dict[str, float]) -> Row:
    """A frame of `DisturbedOperator` as a row: of a gripper, the action is where the fingers are to go, 0 closed or 1 open."""
    action = frame["action"].copy()
    for side in SIDES:
        action[robot.index[f"{side}_gripper"]] = grip_goals[side]
    return {**frame, "action": action, "perturbed": np.array([int(frame["perturbed"])], np.int64)}


def measured_state(sim: SimRobot) -> np.ndarray:
    """What the robot measures now, float32 [D] in its own order."""
    return state_vector(sim.robot, sim.measured()).astype(np.float32)


def spots(sim: SimRobot, cameras: Sequence[str], place: np.ndarray) -> list[float]:
    """Where a place [3] m in the world is in each picture, (x, y, visible) one after another; zeros where it is not seen."""
    found = [project(sim, camera, place) for camera in cameras]
    return [v for spot in found for v in ((*spot, 1.0) if spot is not None else (0.0, 0.0, 0.0))]


def knock(sim: SimRobot, name: str, rng: np.random.Generator) -> None:
    """Give a thing a push along the table, in a random direction."""
    angle, speed = rng.uniform(-np.pi, np.pi), rng.uniform(*KNOCK)
    at = int(sim.model.joint(f"{name}_free").dofadr[0])
    sim.data.qvel[at : at + 2] = speed * np.cos(angle), speed * np.sin(angle)
