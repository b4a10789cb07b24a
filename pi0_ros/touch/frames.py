"""Training frames straight from the simulator: the scripted operator, disturbed and sent from block to block.

An episode is several segments. A segment has an instruction, may begin with a push that is not recorded, and is then
recorded every few periods; what the operator commanded afterwards is the chunk. Between segments the blocks, the lamps
and the base are put elsewhere while the arms stay where they are, unless a fingertip is low among the blocks. Thus most
segments are a scene of their own, and lamps and arms come in all states that a policy meets, also those it gets itself
into.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pi0_ros.policy.resize import pil_bilinear
from pi0_ros.robot import Robot
from pi0_ros.sim.robot import SimRobot, state_vector
from pi0_ros.sim.scene import Scene, sample_scene
from pi0_ros.sim.world import BLOCK_TOP, COLOURS, SIDES
from pi0_ros.touch.grounding import LIT, NONE, UNLIT, Grounding, place_number, way_numbers
from pi0_ros.touch.localise import project
from pi0_ros.touch.operator import Operator
from pi0_ros.touch.tasks import next_subtask, parse_subtask, subtask_text
from pi0_ros.touch.words import DONE, TOUCH_ALL
from pi0_ros.train.frames import Frames
from pi0_ros.train.made_frames import write_made_frames

CAMERAS = ("base", "left_wrist", "right_wrist")
TASK_CAMERA = "base"
WRISTS = tuple(f"{side}_wrist" for side in SIDES)
Look = dict[str, NDArray[np.generic] | int]
"""A row of `Frames` by the name of the column, without the episode's number."""


@dataclass(frozen=True)
class SimFrameSettings:
    """How frames are made. Seconds, radians, metres; `every`: periods from one frame to the next."""

    period: float = 0.1
    horizon: int = 16
    size: int = 96
    segments: int = 6
    every: int = 4
    shortest: float = 0.8
    longest: float = 4.5
    push_chance: float = 0.6
    push: float = 0.16  # standard deviation of a joint's push
    clear: float = 0.03  # fingertips this high above the blocks let them be moved
    control: float = 0.02


class Recorder:
    """Makes frames, episode after episode, in one simulator."""

    def __init__(self, robot: Robot, settings: SimFrameSettings | None = None) -> None:
        self.robot, self.settings = robot, settings or SimFrameSettings()
        self.sim = SimRobot(robot)
        self.operator = Operator(robot, self.sim, self.settings.control)
        self.texts = [DONE, TOUCH_ALL, *(subtask_text(c, s) for c in COLOURS for s in SIDES)]
        self._arms = [i for i, c in enumerate(robot.channels) if c.group.endswith("_arm")]

    def episode(self, seed: int) -> list[Look]:
        """Frames of one episode, as rows of `Frames` without the episode number."""
        rng = np.random.default_rng(seed)
        self.sim.load(_scene(rng))
        self.operator.sync()
        rows = self._segment(rng)
        for _ in range(self.settings.segments - 1):
            self._move_blocks(rng)
            rows += self._segment(rng)
        return rows

    def _move_blocks(self, rng: np.random.Generator) -> None:
        """Another scene around the same arms, if no fingertip is in the way."""
        lowest = min(float(tip[2]) for tip in self.operator.fingertips().values())
        if lowest > BLOCK_TOP + self.settings.clear:
            now = self.sim.measured()
            start = {c: now[c] for c in self.robot.joint_of_channel}
            self.sim.load(replace(_scene(rng), start=start))
            self.operator.sync()

    def _segment(self, rng: np.random.Generator) -> list[Look]:
        s = self.settings
        text = DONE if rng.random() < 0.05 else subtask_text(str(rng.choice(COLOURS)), str(rng.choice(SIDES)))
        if rng.random() < s.push_chance:
            self._push(rng)
        recorded, first = round(rng.uniform(s.shortest, s.longest) / s.period), int(rng.integers(s.every))
        looks = range(first, recorded, s.every)
        rows, commands = [], []
        for step in range(looks[-1] + s.horizon):
            if step in looks:
                rows.append(self._look(text))
            commands.append(self._drive(text))
        for k, row in zip(looks, rows, strict=True):
            row["chunk"] = np.stack(commands[k : k + s.horizon]).astype(np.float32)
        return rows

    def _drive(self, text: str) -> NDArray[np.float64]:
        """One period of the operator; the command it was at the beginning."""
        now = self.operator.command.copy()
        for _ in range(round(self.settings.period / self.settings.control)):
            self.sim.set_command(self.robot.channel_names, self.operator.act(text))
            self.sim.advance(self.settings.control)
        return now

    def _push(self, rng: np.random.Generator) -> None:
        """Move both arms off in 0.3 s; the operator goes on from wherever they are."""
        goal = self.operator.command.copy()
        goal[self._arms] += rng.normal(0.0, self.settings.push, len(self._arms)) * rng.uniform(0.0, 1.0)
        start, steps = self.operator.command.copy(), 15
        for k in range(1, steps + 1):
            self.sim.set_command(self.robot.channel_names, start + (goal - start) * k / steps)
            self.sim.advance(self.settings.control)
        self.operator.set_command(np.clip(goal, self.operator.arms.lower, self.operator.arms.upper))

    def _look(self, text: str) -> Look:
        size = self.settings.size
        pictures = [pil_bilinear(self.sim.render(c), (size, size)) for c in CAMERAS]
        return {
            "images": np.stack(pictures),
            "state": state_vector(self.robot, self.sim.measured()).astype(np.float32),
            "task": self.texts.index(text),
            "high_task": self.texts.index(TOUCH_ALL),
            "high_target": self.texts.index(next_subtask(self.sim)),
            "facts": grounding(self.sim, text).numbers(),
        }


def _scene(rng: np.random.Generator) -> Scene:
    return sample_scene(rng, lit_chance=float(rng.choice([0.0, 0.3, 0.6, 0.9])))


def grounding(sim: SimRobot, text: str) -> Grounding:
    """Where things are. NONE if it cannot be said: out of the picture, or no target."""
    goal = parse_subtask(text)
    tops = sim.block_positions
    blocks = np.array([place(sim, TASK_CAMERA, tops[c]) for c in COLOURS], np.int16)
    target, wrist, way = (NONE, NONE), (NONE, NONE), [NONE, NONE, NONE]
    if goal is not None:
        colour, side = goal
        target, wrist = place(sim, TASK_CAMERA, tops[colour]), place(sim, f"{side}_wrist", tops[colour])
        turn = sim.data.body("base_link").xmat.reshape(3, 3)
        away = turn.T @ (tops[colour] - sim.data.body(f"{side}_tip").xpos)
        way = way_numbers(away)
    lamps = [NONE if spot[0] < 0 else LIT if c in sim.lit else UNLIT for c, spot in zip(COLOURS, blocks, strict=True)]
    others = [[place(sim, camera, tops[c]) for c in COLOURS] for camera in WRISTS]
    arrays = (np.array(v, np.int16) for v in (target, wrist, way, blocks, lamps, others))
    return Grounding(*arrays)


def place(sim: SimRobot, camera: str, point: NDArray[np.float64]) -> tuple[int, int]:
    """(row, column) of a world point in a camera's picture, in 1024ths; (-1, -1) outside."""
    spot = project(sim, camera, point)
    return (-1, -1) if spot is None else (place_number(spot[1]), place_number(spot[0]))


def make_frames(robot: Robot, seeds: range, settings: SimFrameSettings | None = None) -> Frames:
    """Frames of the episodes with these seeds."""
    recorder = Recorder(robot, settings)
    rows, episode = [], []
    for number, seed in enumerate(seeds):
        new = recorder.episode(seed)
        rows += new
        episode += [number] * len(new)
    recorder.sim.close()
    columns = {k: np.stack([row[k] for row in rows]) for k in rows[0]}
    for name in ("task", "high_task", "high_target"):
        columns[name] = columns[name].astype(np.int32)
    texts, names = tuple(recorder.texts), robot.channel_names
    period = recorder.settings.period
    whole = np.full(len(rows), columns["chunk"].shape[1], np.int32)  # plans are made, so none runs over an end
    return Frames(CAMERAS, names, period, texts, **columns, episode=np.array(episode, np.int32), valid=whole)


def write_frames(
    robot: Robot, folder: Path, first: int, episodes: int, settings: SimFrameSettings | None = None, workers: int = 1
) -> None:
    """Write shards until seeds first .. first + episodes - 1 are on disk; those there are kept."""
    write_made_frames(partial(make_frames, robot, settings=settings), folder, first, episodes, workers=workers)
