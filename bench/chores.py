"""Chores by the scripted operator, through the executor: success, time, and what is pressed on what.

`python -m bench chores [--task pick_place] [--episodes 50] [--latency 0.1] [--unseen words,objects,places] [--pictures FOLDER] [--quick]`

Contact forces are read in every step of the physics. `arm_on_table` counts arms and hands against tables and bins, `body_on_table` base,
column and head, sums over all contacts of a step. Pictures: of the room and of three cameras, at the moments at which the rubric goes on. A
minute on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np

from pi0_ros.chores.drive_task import DriveTo
from pi0_ros.chores.room import SPECTATOR
from pi0_ros.chores.tasks import PickPlace
from pi0_ros.chores.tidy_task import Tidy
from pi0_ros.closed_loop.harness import Harness, Trial
from pi0_ros.closed_loop.intervals import wilson
from pi0_ros.closed_loop.latency import Latency
from pi0_ros.control.audit import violations
from pi0_ros.robot import load_robot
from pi0_ros.sim.robot import TICK, SimRobot
from pi0_ros.sim.seeds import FIRST_UNSEEN_SEED
from pi0_ros.sim.tasks import SimTask, choose_unseen
from pi0_ros.sim.world import SIDES, TIMESTEP

TASKS: dict[str, type[PickPlace | DriveTo | Tidy]] = {"pick_place": PickPlace, "drive_to": DriveTo, "tidy": Tidy}


class ContactForces:
    """The greatest contact forces [N] and penetration [m] seen: `table` one arm on tables and bins, `body` base, column or head on
    them, `block` one arm on blocks (both fingers together), `arms` one arm on the other."""

    def __init__(self, sim: SimRobot) -> None:
        self.sim, self.copy = sim, mujoco.MjData(sim.model)
        self.parts = np.array([_part(sim.model.body(int(b)).name) for b in sim.model.geom_bodyid])
        self.robot = np.isin(self.parts, (*SIDES, "robot"))
        self.table = self.body = self.block = self.arms = self.depth = 0.0

    def look_ahead(self) -> None:
        """Read the steps that the simulation is about to make, on a copy."""
        mujoco.mj_copyData(self.copy, self.sim.model, self.sim.data)
        for _ in range(round(TICK / TIMESTEP)):
            mujoco.mj_step(self.sim.model, self.copy)
            self._read()

    def summary(self) -> str:
        """The greatest forces so far, in words."""
        return f"arm on table {self.table:.1f} N, body on table {self.body:.1f} N, hand on block {self.block:.1f} N"

    def _read(self) -> None:
        contacts, found, force = self.copy.contact, dict[tuple[str, str], float](), np.zeros(6)
        for i in np.flatnonzero(self.robot[contacts.geom].any(axis=1)):
            mujoco.mj_contactForce(self.sim.model, self.copy, i, force)
            one, other = sorted(self.parts[contacts.geom[i]].tolist())
            found[one, other] = found.get((one, other), 0.0) + float(np.linalg.norm(force[:3]))
        self.depth = max([self.depth, *-contacts.dist])
        self.table = max(self.table, *(found.get((side, "world"), 0.0) for side in SIDES))
        self.body = max(self.body, found.get(("robot", "world"), 0.0))
        self.arms = max(self.arms, found.get(("left", "right"), 0.0))
        self.block = max(self.block, *(found.get(("block", side), 0.0) for side in SIDES))


def _part(body: str) -> str:
    """left, right, block, world or robot."""
    side = next((s for s in SIDES if body.startswith(f"{s}_")), "")
    furniture = body == "world" or body.startswith("table_")
    return side or ("block" if body.endswith("_body") else "world" if furniture else "robot")


class WatchedRobot(SimRobot):
    """A simulated robot whose contacts are read in every step, and that takes pictures when a step of the rubric is new."""

    pressed: ContactForces | None = None
    task: SimTask | None = None
    folder: Path | None = None
    label = ""
    seen = 0

    def advance(self, seconds: float) -> None:
        """Let time pass, and look."""
        for _ in range(round(seconds / TICK)):
            if self.pressed is not None:
                self.pressed.look_ahead()
            super().advance(TICK)
        if self.task is not None and self.folder is not None:
            done, _ = self.task.progress(self)
            if done > self.seen:
                self.seen = done
                self._picture(f"{self.label}_{done}")

    def _picture(self, name: str) -> None:
        from PIL import Image

        room = (SPECTATOR,) if isinstance(self.task, DriveTo | Tidy) else ()
        views = [self.render(camera, 384) for camera in (*room, "base", *(f"{s}_wrist" for s in SIDES))]
        Image.fromarray(np.concatenate(views, axis=1)).save(self.folder / f"{name}.png")


def main(argv: Sequence[str]) -> int:
    """0 if every episode ran."""
    parser = argparse.ArgumentParser(prog="python -m bench chores", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--task", default="pick_place", choices=tuple(TASKS))
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--unseen", default="", help="comma between: words, objects, places")
    parser.add_argument("--latency", type=float, default=0.1, help="observation to chunk, s")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the first three episodes")
    parser.add_argument("--first", type=int, default=0, help="unseen seed of the first episode")
    parser.add_argument("--quick", action="store_true", help="two episodes")
    args = parser.parse_args(argv)
    args.episodes = 2 if args.quick else args.episodes
    task = TASKS[args.task]()
    choose_unseen(task, [kind for kind in args.unseen.split(",") if kind])
    sim = WatchedRobot(load_robot("mobile_bimanual"), furnish=task.furnish)
    sim.pressed, sim.task = ContactForces(sim), task
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
    asked = 1.0 if args.task == "tidy" else 0.0  # seconds between the high level's answers
    harness = Harness[SimRobot](sim, task.operator, Trial(latency=Latency(args.latency), rtc="none", high_level=asked))
    good, seconds, points, total, broken, began = 0, [], 0, 0, 0, time.monotonic()
    for number in range(args.episodes):
        sim.label, sim.seen = f"{number:02d}", 0
        sim.folder = args.pictures if number < 3 else None
        episode = harness.run(task, FIRST_UNSEEN_SEED + args.first + number)
        good, points, total = good + episode.success, points + episode.done, total + episode.total
        seconds.append(episode.seconds)
        broken += len(violations(sim.robot, episode.commands, 1.0 / sim.robot.control_rate))
        outcome = f"{episode.done} of {episode.total} points after {episode.seconds:.1f} s"
        print(
            f"seed {args.first + number}: {episode.instruction}: {outcome}, {sim.pressed.summary()}",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    took = time.monotonic() - began
    low, high = wilson(good, args.episodes)
    _say("success", good / args.episodes, "1", episodes=args.episodes, interval=[round(low, 3), round(high, 3)])
    _say("progress", points / total, "1")
    _say("seconds_p50", float(np.median(seconds)), "s", p95=round(float(np.quantile(seconds, 0.95)), 2))
    _say("limits_broken", broken, "1")
    _say("body_on_table", sim.pressed.body, "N")
    _say("arm_on_table", sim.pressed.table, "N")
    _say("hand_on_block", sim.pressed.block, "N")
    _say("arm_on_arm", sim.pressed.arms, "N")
    _say("penetration", sim.pressed.depth * 1e3, "mm")
    _say("simulated_per_wall", sum(seconds) / took, "1", note="with forces read, every step computed twice")
    return 0


def _say(metric: str, value: float, unit: str, **more: object) -> None:
    print(json.dumps({"bench": "chores", "metric": metric, "value": round(value, 4), "unit": unit, **more}), flush=True)
