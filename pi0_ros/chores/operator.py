"""A scripted operator that picks and places: where every joint should go next, from what can be seen now."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pi0_ros.chores.grasping import GraspSettings, View, decide, grasps
from pi0_ros.chores.measure import block_pose, block_shape, hand_opening, holders, inside, tip_motion
from pi0_ros.chores.plane import WORLD, PlanarPose
from pi0_ros.chores.scenery import BIN_FLOOR, BINS, Bin
from pi0_ros.chores.words import parse_put
from pi0_ros.policy import Observation, Plan, PlanPrefix
from pi0_ros.robot import Robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.scene import LIFT_HOME
from pi0_ros.sim.world import SERVO_DELAY, SIDES, TABLE_TOP
from pi0_ros.touch.funnel import bounded
from pi0_ros.touch.operator import Operator

SLOWEST = 0.07  # m/s by which a plan counts on fingers to come together: an executor is later than the plan


class ChoreOperator(Operator):
    """Works with the arm on the side of the bin; the other one goes home.

    `act` reads the simulation's blocks; what is seen of the working arm is that of its own command, as `Operator` has it.
    """

    command: np.ndarray
    _velocity: np.ndarray

    def __init__(self, robot: Robot, sim: SimRobot, period: float = 0.02, grasp: GraspSettings | None = None) -> None:
        """An operator called every `period` seconds."""
        super().__init__(robot, sim, period)
        self.grasp = grasp or GraspSettings()
        self._last = {s: robot.index[f"{s}_joint6"] for s in SIDES}
        grippers = {g.channels[0].name: g.gripper for g in robot.groups if g.gripper is not None}
        self.grip_goal = dict.fromkeys(SIDES, 1.0)
        """Where the fingers of each hand are to go since the last `act`: 0 closed .. 1 open."""
        self._widest = {s: 2 * abs(grippers[f"{s}_gripper"].open - grippers[f"{s}_gripper"].closed) for s in SIDES}

    def act(self, subtask: str) -> np.ndarray:
        """The next command [D] in robot units, one period later. Any text that names no block sends both arms home."""
        goal = parse_put(subtask)
        self.arms.place(self.command)
        return self._work(goal, self._look(*goal) if goal else None)

    def plan(self, subtask: str, rows: int, period: float) -> np.ndarray:
        """The commands of the next `rows` periods [rows, D] without physics; row 0 is what `act` would return now.

        A block that is held now moves with the hand; one that is let go over the bin lies in it. Fingers that close stay where they
        are: only a hold that was measured is lifted. The own command is left as it was.
        """
        goal = parse_put(subtask)
        command, velocity = self.command.copy(), self._velocity.copy()
        self.arms.place(self.command)
        view = self._look(*goal) if goal else None
        planned = []
        for row in range(rows):
            for _ in range(1 if row == 0 else max(1, round(period / self.period))):
                self._work(goal, view)
                self.arms.place(self.command)
                if goal and view:
                    view = self._imagined(*goal, view, BINS[goal[1]])
            planned.append(self.command.copy())
        self.command, self._velocity = command, velocity
        return np.stack(planned)

    def _look(self, colour: str, side: str, frame: PlanarPose = WORLD) -> View:
        """What there is to see of a block and of the arm of that side, in a frame."""
        pose = block_pose(self.sim, colour)
        tip = self.arms.tip(side).copy()
        measured, velocity = tip_motion(self.sim, side)
        return View(
            tip=frame.local_point(tip), angle=self.arms.angle(side) - frame.yaw,
            wrist=float(self.command[self._last[side]]),
            opening=hand_opening(self.sim, side), commanded=self._commanded(side),
            block=frame.local_point(pose.place), turn=np.stack([frame.local_vector(axis) for axis in pose.turn.T], 1),
            held=side in holders(self.sim, colour),
            pressed=float(measured[2] + SERVO_DELAY * velocity[2] - tip[2]),
        )  # fmt: skip

    def _commanded(self, side: str) -> float:
        return float(self.command[self._grip[side]]) * self._widest[side]

    def _imagined(self, colour: str, side: str, before: View, container: Bin, frame: PlanarPose = WORLD) -> View:
        """The view one period later if the arm does what it is told, the hand comes late, and a block that is held moves with
        it. Fingers around a block stop at it; whether they hold it is for the next measurement to say."""
        tip, step = frame.local_point(self.arms.tip(side)), SLOWEST * self.period
        commanded = before.commanded + bounded(self._commanded(side) - before.commanded, -step, step)
        ways = grasps(block_shape(self.sim, colour), before.turn)
        width = min((way.width for way in ways), default=0.0)
        height = max((way.half_height for way in ways), default=0.0)
        around = np.linalg.norm(tip[:2] - before.block[:2]) < 2 * self.grasp.near and tip[2] < before.block[2] + height
        held = before.held and commanded < width
        block = before.block + (tip - before.tip if held else 0.0)
        if before.held and not held and inside(before.block, container):
            block = np.array([*block[:2], TABLE_TOP + BIN_FLOOR + height])
        clear = tip[2] > before.block[2] + height + self.grasp.hover / 2
        return replace(
            before, tip=tip, angle=self.arms.angle(side) - frame.yaw, wrist=float(self.command[self._last[side]]),
            opening=max(commanded, width) if held or around else commanded, commanded=commanded, block=block, held=held,
            pressed=0.0 if clear else before.pressed,
        )  # fmt: skip

    def _work(self, goal: tuple[str, str] | None, view: View | None) -> np.ndarray:
        wanted, opening = np.zeros(len(self.command)), {}
        for side in SIDES:
            motion = None
            if goal is not None and view is not None and goal[1] == side:
                motion = decide(view, block_shape(self.sim, goal[0]), side, self.grasp)
            joints = self.arms.joints[side]
            if motion is None or motion.done:
                tip = self._retreating(side, self.arms.tip(side))
                wanted[joints] = self.arms.joint_velocity(side, self.command, tip)
                opening[side] = 1.0
            else:
                wanted[joints] = self.arms.joint_velocity(side, self.command, motion.tip, motion.spin)
                opening[side] = motion.grip
        wanted[self._lift] = 1.5 * (LIFT_HOME - self.command[self._lift])
        self.grip_goal = opening
        grips = {grip: self._gripped(grip, opening[side]) for side, grip in self._grip.items()}
        self._integrate(wanted)
        for grip, value in grips.items():
            self.command[grip] = value
        return self.command.copy()

    def _gripped(self, grip: int, goal: float) -> float:
        """The next opening of a hand: as fast as it may, from the first period on, so that a plan that begins anew every few
        periods still closes it."""
        step = float(self._fastest[grip]) * self.period
        now = float(self.command[grip])
        return now + bounded(goal - now, -step, step)


class ChorePlanner:
    """The scripted operator as a policy: it reads the simulation instead of pictures, and makes no use of a prefix."""

    def __init__(self, sim: SimRobot, horizon: int = 16, period: float = 0.1) -> None:
        self.sim, self.horizon, self.period = sim, horizon, period
        self.finished: tuple[str, ...] = ()
        self.cameras: tuple[str, ...] = ()
        self.high_level_cameras: tuple[str, ...] = ()
        self._operator = ChoreOperator(sim.robot, sim)

    def plan(self, observation: Observation, seed: int, prefix: PlanPrefix | None) -> Plan:
        """What the operator would command [horizon, D], from what the robot is commanded now or, if that is not known, from
        what is measured. A closed gripper measures the block between its fingers."""
        names = self.sim.robot.channel_names
        now = {**observation.state, **observation.command}
        self._operator.set_command(np.array([now[name] for name in names]))
        return Plan(self._operator.plan(observation.prompt, self.horizon, self.period), names, self.period)

    def subtask(self, observation: Observation, task: str) -> str:
        """The task is one step."""
        return task
