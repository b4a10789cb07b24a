"""The task of putting things away in a room. Success and progress read the physics and nothing else."""

from __future__ import annotations

import mujoco
import numpy as np

from pi0_ros.chores.room import furnish_room
from pi0_ros.chores.room_layout import sample_room_layout
from pi0_ros.chores.room_measure import standing, whereabouts
from pi0_ros.chores.room_operator import RoomPlanner
from pi0_ros.chores.room_words import SEEN_WISHES, UNSEEN_WISHES, Wish, wish_text
from pi0_ros.chores.tidying import Whereabouts, asked_for, is_away, next_subtask
from pi0_ros.chores.unseen import DrawsUnseen, Unseen
from pi0_ros.closed_loop.harness import Planner
from pi0_ros.closed_loop.rubric import load_rubric
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.world import SIDES


class Tidy(DrawsUnseen):
    """Put all things, or those of one colour, into the bins of the tables, or bring all of them to one table."""

    name = "tidy"
    time_limit = 240.0

    def __init__(self) -> None:
        """Raises RubricError when the rubric of the task cannot be read."""
        self.wish = Wish()
        self.instruction = wish_text(self.wish)
        self.rubric = load_rubric(self.name)
        self._steps: dict[str, int] = {}
        self._things: dict[str, Whereabouts] = {}
        self._standing, self._judged = "", b""

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """The room."""
        furnish_room(spec)

    def operator(self, sim: SimRobot) -> Planner:
        """The script that solves it."""
        return RoomPlanner(sim)

    def reset(self, sim: SimRobot, seed: int) -> str:
        """A random room and wish, in the usual words or, where words are unseen, in those kept for evaluation."""
        rng = np.random.default_rng(seed)
        layout = sample_room_layout(rng, self.unseen)
        colours = sorted({name.partition("_")[0] for name in layout.on})
        self.wish = (Wish(), Wish(colour=colours[rng.integers(len(colours))]), Wish(table=SIDES[rng.integers(2)]))[
            rng.integers(3)
        ]
        layout.load(sim)
        phrases, number = (UNSEEN_WISHES, int(rng.integers(100))) if Unseen.WORDS in self.unseen else (SEEN_WISHES, 0)
        self.instruction = wish_text(self.wish, phrases, number)
        self._steps, self._judged = {}, b""
        return self.instruction

    def say(self, number: int) -> str:
        """Another way to say the same to whoever records: phrase `number`, counted round, of those that training data have."""
        self.instruction = wish_text(self.wish, SEEN_WISHES, number)
        return self.instruction

    def success(self, sim: SimRobot) -> bool:
        """All things that are asked for lie where they belong, in time, and no other thing was put into a bin or lost."""
        self._judge(sim)
        asked = [there for name, there in self._things.items() if asked_for(name, self.wish)]
        return sim.time <= self.time_limit and all(is_away(there, self.wish) for there in asked) and not self._spoilt()

    def failed(self, sim: SimRobot) -> bool:
        """A thing fell off a table, one that is not asked for lies in a bin, or time is over."""
        self._judge(sim)
        return self._spoilt() or (sim.time >= self.time_limit and not self.success(sim))

    def subtask(self, sim: SimRobot) -> str:
        """What to do next."""
        self._judge(sim)
        return next_subtask(self._things, self._standing, self.wish)

    def progress(self, sim: SimRobot) -> tuple[int, int]:
        """(points of the rubric over all things that are asked for, all of them): of the farthest step of each that was seen when
        anything was asked. What lies where it belongs from the start counts for nothing."""
        self._judge(sim)
        return sum(self._steps.values()), self.rubric.total * len(self._steps)

    def _spoilt(self) -> bool:
        lost = any(not there.table and not there.held for there in self._things.values())
        wrong = any(t.binned and t.settled for name, t in self._things.items() if not asked_for(name, self.wish))
        return lost or wrong

    def _judge(self, sim: SimRobot) -> None:
        """Read the physics, once a state."""
        state = np.concatenate([(sim.time,), sim.data.qpos, sim.data.qvel]).tobytes()
        if state == self._judged:
            return
        first, self._judged = not self._judged, state
        self._things, self._standing = whereabouts(sim), standing(sim)
        if first:
            asked = [name for name in self._things if asked_for(name, self.wish)]
            self._steps = {name: 0 for name in asked if not is_away(self._things[name], self.wish)}
        for name, points in self._steps.items():
            self._steps[name] = max(points, self.rubric.points_of(self._step(self._things[name])))

    def _step(self, there: Whereabouts) -> str | None:
        """The farthest step of the rubric that holds of a thing now."""
        if is_away(there, self.wish):
            return "away"
        if there.held:
            return "brought" if self._standing and self._standing == (self.wish.table or self._standing) else "taken"
        return "reached" if self._standing and there.table == self._standing else None
