"""Episodes of the scripted operator as frames: pictures, state, action, words, and where the blocks are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pi0_ros.robot import Robot
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.robot import SimRobot, state_vector
from pi0_ros.sim.scene import REGION_X, REGION_Y, Scene, sample_scene
from pi0_ros.sim.world import BLOCK_TOP, COLOURS, SIDES
from pi0_ros.touch.disturbance import DisturbedOperator, Frame, push
from pi0_ros.touch.localise import block_pixels
from pi0_ros.touch.operator import Operator
from pi0_ros.touch.tasks import next_subtask, parse_subtask, subtask_text
from pi0_ros.touch.words import DONE, TOUCH_ALL


@dataclass(frozen=True)
class CollectSettings:
    """What is recorded and how varied it is.

    `task`: reach (one to three random goals a scene), touch_all (the oracle's order until done) or mixed.
    `plan_rows`: rows of the operator's undisturbed plan added to every frame, 0 for none.
    """

    task: str = "mixed"
    cameras: tuple[str, ...] = ("base", "left_wrist", "right_wrist", "back")
    size: int = 224
    fps: int = 10
    touch_all_share: float = 0.25  # of mixed episodes
    wide_start: float = 0.5  # chance that an arm starts anywhere over the table instead of near home
    push_rate: float = 0.25  # disturbances a second
    plan_rows: int = 0


def check_cameras(robot: Robot, cameras: Sequence[str]) -> None:
    """Raise SimError for a camera that the robot lacks."""
    have = [camera.name for camera in robot.cameras]
    for name in cameras:
        if name not in have:
            raise SimError(f"robot {robot.name} has no camera {name!r}; it has {', '.join(have)}")


class Collector:
    """One simulation that is used for episode after episode."""

    def __init__(self, robot: Robot, settings: CollectSettings | None = None) -> None:
        """Build the simulation. Raises SimError for an unknown task or a camera the robot lacks."""
        self.robot, self.settings = robot, settings or CollectSettings()
        if self.settings.task not in ("reach", "touch_all", "mixed"):
            raise SimError(f"there is no task {self.settings.task!r} to collect; there are reach, touch_all, mixed")
        check_cameras(robot, self.settings.cameras)
        self.sim = SimRobot(robot)
        self.operator = Operator(robot, self.sim)

    def episode(self, seed: int) -> Iterator[Frame]:
        """`iter_episode` in this simulation."""
        return iter_episode(self.sim, self.operator, seed, self.settings)


def iter_episode(sim: SimRobot, operator: Operator, seed: int, settings: CollectSettings) -> Iterator[Frame]:
    """The frames of one episode, the same to the bit for the same seed. A frame is a dict of

    images: camera to uint8 [size, size, 3]; state, action: float32 [D] in robot units (action: what the operator means
    to send now, also while it is being pushed); subtask: the words it follows; task, target: the high-level task and
    the oracle's answer to it now; localisation: float32 [camera, 4, 3] of `block_pixels`; perturbed: the operator was
    disturbed between this frame and the one before, so no plan of an earlier frame holds from here on; time: s;
    plan: float32 [rows, D] if settings.plan_rows is not 0.
    """
    rng = np.random.default_rng([seed, 7919])
    whole = settings.task == "touch_all" or (settings.task == "mixed" and rng.random() < settings.touch_all_share)
    _start(sim, operator, rng, settings, lit_chance=0.0 if whole else 0.25)
    goals = _oracle_goals(sim) if whole else _random_goals(sim, rng, int(rng.integers(1, 4)))
    disturbed = DisturbedOperator(
        operator, sim, rng, settings.fps, settings.push_rate,
        disturb=lambda text: push(rng, sim.time, _pushed_side(rng, text)),
        look=lambda text: _observe(sim, operator, text, settings),
    )  # fmt: skip
    for subtask in goals:
        for _ in _until_done(sim, subtask, rng):
            if (frame := disturbed.step(subtask)) is not None:
                yield frame


def _start(
    sim: SimRobot, operator: Operator, rng: np.random.Generator, settings: CollectSettings, lit_chance: float
) -> None:
    """A random scene; each arm near home or, with settings.wide_start, anywhere over the table."""
    scene = sample_scene(rng, lit_chance)
    sim.load(scene)
    operator.sync()
    wide = [s for s in SIDES if rng.random() < settings.wide_start]
    for _ in range(10 if wide else 0):
        sim.load(_spread_arms(sim, operator, scene, rng, wide))
        operator.sync()
        if not sim.arm_contacts():
            return
        sim.load(scene)
        operator.sync()


def _spread_arms(sim: SimRobot, operator: Operator, scene: Scene, rng: np.random.Generator, sides: list[str]) -> Scene:
    """The scene with these arms' fingertips at random places over the table, left of right by 10 cm at least."""
    command = operator.command.copy()
    tips = operator.fingertips()
    low = (REGION_X[0] - 0.08, REGION_Y[0] - 0.10, BLOCK_TOP + 0.03)
    high = (REGION_X[1], REGION_Y[1] + 0.10, BLOCK_TOP + 0.20)
    for side in sides:
        trial = {**tips, side: rng.uniform(low, high)}
        if trial["left"][1] - trial["right"][1] < 0.10:
            continue
        reached = operator.arms.solve(side, trial[side], command)
        if reached is not None:
            command, tips = reached, trial
    for side in SIDES:
        command[sim.robot.index[f"{side}_gripper"]] = rng.uniform()
    start = {c: float(v) for c, v in zip(sim.robot.channel_names, command, strict=True) if c in scene.start}
    return replace(scene, start=start)


def _oracle_goals(sim: SimRobot) -> Iterator[str]:
    while (subtask := next_subtask(sim)) != DONE:
        yield subtask
    yield DONE


def _random_goals(sim: SimRobot, rng: np.random.Generator, count: int) -> Iterator[str]:
    for _ in range(count):
        unlit = [c for c in COLOURS if c not in sim.lit]
        if not unlit:
            yield DONE
            return
        yield subtask_text(unlit[rng.integers(len(unlit))], SIDES[rng.integers(2)])


def _until_done(sim: SimRobot, subtask: str, rng: np.random.Generator) -> Iterator[None]:
    """One item a tick while the subtask goes on: until a while after its touch, as a high level notices late."""
    goal = parse_subtask(subtask)
    end = sim.time + (1.5 if goal is None else 8.0)
    linger = float(rng.uniform(0.1, 1.0))
    before = len(sim.touches)
    touched = False
    while sim.time < end:
        yield
        if goal is not None and not touched and goal[0] in sim.lit and len(sim.touches) > before:
            touched, end = True, sim.time + linger


def _observe(sim: SimRobot, operator: Operator, subtask: str, settings: CollectSettings) -> Frame:
    frame: Frame = {
        "images": {c: sim.render(c, settings.size) for c in settings.cameras},
        "state": state_vector(sim.robot, sim.measured()).astype(np.float32),
        "subtask": subtask,
        "task": TOUCH_ALL,
        "target": next_subtask(sim),
        "localisation": block_pixels(sim, settings.cameras),
        "time": sim.time,
    }
    if settings.plan_rows:
        frame["plan"] = operator.plan(subtask, settings.plan_rows, 1.0 / settings.fps).astype(np.float32)
    return frame


def _pushed_side(rng: np.random.Generator, subtask: str) -> str:
    goal = parse_subtask(subtask)
    return goal[1] if goal is not None and rng.random() < 0.8 else SIDES[rng.integers(2)]
