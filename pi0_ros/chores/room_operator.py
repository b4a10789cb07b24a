"""A scripted operator in a room: where every joint and the base should go next, from what can be seen now."""

from __future__ import annotations

import numpy as np

from pi0_ros.chores.driving import DriveSettings, Twist, drive_velocity, slewed
from pi0_ros.chores.measure import hand_opening
from pi0_ros.chores.plane import PlanarPose
from pi0_ros.chores.room import base_pose, look_of, places
from pi0_ros.chores.room_words import parse_drive
from pi0_ros.policy import Observation, Plan, PlanPrefix
from pi0_ros.robot import Robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.scene import LIFT_HOME
from pi0_ros.sim.world import SIDES
from pi0_ros.touch.funnel import bounded
from pi0_ros.touch.operator import Operator

GRIPPED = 0.004  # m by which fingers stay open farther than they are commanded if there is something between them


class RoomOperator(Operator):
    """Drives to the table that a text names, with both arms at home. A hand that grips something goes on gripping."""

    def __init__(self, robot: Robot, sim: SimRobot, period: float = 0.02, drive: DriveSettings | None = None) -> None:
        """An operator called every `period` seconds."""
        super().__init__(robot, sim, period)
        self.drive = drive or DriveSettings()
        self._wheels = [robot.index[name] for name in ("base_vx", "base_vy", "base_wz")]
        grippers = {g.channels[0].name: g.gripper for g in robot.groups if g.gripper is not None}
        self._widest = {s: 2 * abs(grippers[f"{s}_gripper"].open - grippers[f"{s}_gripper"].closed) for s in SIDES}
        self.grip_goal = dict.fromkeys(SIDES, 1.0)
        """Where the fingers of each hand are to go since the last `act`: 0 closed .. 1 open."""

    def act(self, subtask: str) -> np.ndarray:
        """The next command [D] in robot units, one period later. Any text that names no table brings the base to rest."""
        self.arms.place(self.command)
        return self._work(subtask, base_pose(self.sim))

    def plan(self, subtask: str, rows: int, period: float) -> np.ndarray:
        """The commands of the next `rows` periods [rows, D] without physics; row 0 is what `act` would return now.

        The base is where its commands bring it. The own command is left as it was.
        """
        command, velocity = self.command.copy(), self._velocity.copy()
        base, planned = base_pose(self.sim), []
        for row in range(rows):
            for _ in range(1 if row == 0 else max(1, round(period / self.period))):
                self.arms.place(self.command)
                self._work(subtask, base)
                base = base.moved(self._twist(), self.period)
            planned.append(self.command.copy())
        self.command, self._velocity = command, velocity
        return np.stack(planned)

    def set_command(self, command: np.ndarray) -> None:
        """Go on from this command [D], the base at its commanded velocity and all joints at rest."""
        super().set_command(command)
        self.command[self._wheels] = command[self._wheels]

    def _twist(self) -> Twist:
        vx, vy, wz = (float(v) for v in self.command[self._wheels])
        return vx, vy, wz

    def _work(self, subtask: str, base: PlanarPose) -> np.ndarray:
        twist = slewed(self._twist(), self._driven(subtask, base), self.period, self.drive)
        wanted = np.zeros(len(self.command))
        for side in SIDES:
            joints = self.arms.joints[side]
            wanted[joints] = self.arms.joint_velocity(side, self.command, self._retreating(side, self.arms.tip(side)))
            self.grip_goal[side] = 0.0 if self._grips(side) else 1.0
        wanted[self._lift] = 1.5 * (LIFT_HOME - self.command[self._lift])
        grips = {grip: self._gripped(grip, self.grip_goal[side]) for side, grip in self._grip.items()}
        self._integrate(wanted)
        for grip, value in grips.items():
            self.command[grip] = value
        self.command[self._wheels] = twist
        return self.command.copy()

    def _driven(self, subtask: str, base: PlanarPose) -> Twist:
        """The twist that a text asks for."""
        tables = places(self.sim)
        name = parse_drive(subtask, {side: look_of(self.sim, side) for side in tables}, self._began_before(tables))
        if name is None:
            return 0.0, 0.0, 0.0
        return drive_velocity(base, tables[name], [at for side, at in tables.items() if side != name], self.drive)

    def _began_before(self, tables: dict[str, PlanarPose]) -> str:
        """Side of the table before which the base began this episode, the nearest one."""
        start = PlanarPose(*self.sim.scene.base)
        return min(tables, key=lambda side: abs(tables[side].local(start).x) + abs(tables[side].local(start).y))

    def _grips(self, side: str) -> bool:
        commanded = float(self.command[self._grip[side]]) * self._widest[side]
        return hand_opening(self.sim, side) > commanded + GRIPPED and commanded < self._widest[side] / 2

    def _gripped(self, grip: int, goal: float) -> float:
        """The next opening of a hand, as fast as it may."""
        step = float(self._fastest[grip]) * self.period
        now = float(self.command[grip])
        return now + bounded(goal - now, -step, step)


class RoomPlanner:
    """The scripted operator as a policy: it reads the simulation instead of pictures, and makes no use of a prefix."""

    def __init__(self, sim: SimRobot, horizon: int = 16, period: float = 0.1) -> None:
        self.sim, self.horizon, self.period = sim, horizon, period
        self.finished: tuple[str, ...] = ()
        self.cameras: tuple[str, ...] = ()
        self.high_level_cameras: tuple[str, ...] = ()
        self._operator = RoomOperator(sim.robot, sim)

    def plan(self, observation: Observation, seed: int, prefix: PlanPrefix | None) -> Plan:
        """What the operator would command [horizon, D], from what the robot is commanded now or, if that is not known, from
        what is measured."""
        names = self.sim.robot.channel_names
        now = {**observation.state, **observation.command}
        self._operator.set_command(np.array([now[name] for name in names]))
        return Plan(self._operator.plan(observation.prompt, self.horizon, self.period), names, self.period)

    def subtask(self, observation: Observation, task: str) -> str:
        """The task is one step."""
        return task
