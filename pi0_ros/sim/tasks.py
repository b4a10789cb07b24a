"""The tasks of the simulated robot, by name: those of this package, and those that installed packages or a module bring.

A task has a seed, an instruction and a success test that reads the physics (protocol `pi0_ros.closed_loop.robot.Task`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

import mujoco

from pi0_ros.closed_loop.harness import Planner
from pi0_ros.closed_loop.robot import Task
from pi0_ros.robot import Robot
from pi0_ros.sim.changes import WorldChange
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.robot import SimRobot

GROUP = "pi0_ros.tasks"
"""Entry points of this group are tasks: name = module:Class."""
OWN: Mapping[str, str] = {
    "reach": "pi0_ros.touch.tasks:Reach",
    "touch_all": "pi0_ros.touch.tasks:TouchAll",
    "pick_place": "pi0_ros.chores.tasks:PickPlace",
    "drive_to": "pi0_ros.chores.drive_task:DriveTo",
    "tidy": "pi0_ros.chores.tidy_task:Tidy",
}
NEEDS = ("name", "time_limit", "reset", "success", "failed", "subtask", "progress")
"""What the class of a task has."""
SimTask = Task[SimRobot]


@runtime_checkable
class FurnishedTask(Protocol):
    """A task that brings the things on its table."""

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Put them into a world that is being built."""


@runtime_checkable
class ScriptedTask(Protocol):
    """A task that brings a script which solves it."""

    def operator(self, sim: SimRobot) -> Planner:
        """The script, for this simulation."""


@runtime_checkable
class KeepsUnseen(Protocol):
    """A task that keeps kinds of words, things or places for evaluation, which its training data do not have."""

    def choose_unseen(self, kinds: Collection[str]) -> None:
        """Draw these kinds from what is kept. Raises SimError for an unknown kind."""


def robot_before(
    task: SimTask, robot: Robot, seed: int = 0, change: WorldChange | None = None, kind: type[SimRobot] = SimRobot
) -> SimRobot:
    """The simulated robot of that kind before the table of a task. Raises SimError when the world cannot be built."""
    return kind(robot, seed, change, task.furnish if isinstance(task, FurnishedTask) else None)


def task_places() -> dict[str, str]:
    """Where each task with a name is: `module:Class`. Names of this package are never taken by others."""
    return {**{found.name: found.value for found in entry_points(group=GROUP)}, **OWN}


def make_task(name: str) -> SimTask:
    """The task of that name, or of a class given as `module:Class`.

    Raises: SimError listing the tasks there are, or saying what is wrong with the class.
    """
    places = task_places()
    place = name if ":" in name else places.get(name)
    if place is None:
        raise SimError(f"there is no task {name!r}; there are {', '.join(places)}, or give module:Class")
    task: SimTask = _class(name, place)()
    return task


def choose_unseen(task: SimTask, kinds: Collection[str]) -> None:
    """Let a task draw these kinds from what it keeps for evaluation. Raises SimError if it keeps none."""
    if not kinds:
        return
    if not isinstance(task, KeepsUnseen):
        raise SimError(f"--unseen {','.join(kinds)}: task {task.name} keeps nothing for evaluation but the seeds")
    task.choose_unseen(kinds)


def _class(name: str, place: str) -> type[SimTask]:
    module, _, attribute = place.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as problem:
        raise SimError(f"task {name}: {place} cannot be imported: {problem}; is its folder on PYTHONPATH?") from problem
    lost = [need for need in NEEDS if not hasattr(found, need)]
    if not isinstance(found, type) or lost:
        raise SimError(f"task {name}: {place} is no task; it lacks {', '.join(lost) or 'a class'}")
    return found
