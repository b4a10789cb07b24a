"""A scripted operator in a room: where every joint and the base should go next, from what can be seen now."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pi0_ros.chores.driving import DriveSettings, Twist, drive_velocity, slewed
from pi0_ros.chores.grasping import Motion, View, put, take
from pi0_ros.chores.measure import block_shape, hand_opening, holders, inside, over
from pi0_ros.chores.operator import ChoreOperator
from pi0_ros.chores.plane import PlanarPose
from pi0_ros.chores.room import SHELF, SPOTS, TABLE_BIN, base_pose, look_of, place_of, places
from pi0_ros.chores.room_measure import standing, things_in, whereabouts
from pi0_ros.chores.room_words import DONE, PUT_DOWN, parse_drive, parse_take, parse_wish
from pi0_ros.chores.scenery import BIN_RIM
from pi0_ros.chores.tidying import free_spot, next_subtask
from pi0_ros.policy import Observation, Plan, PlanPrefix
from pi0_ros.robot import Robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.scene import LIFT_HOME
from pi0_ros.sim.world import SIDES

GRIPPED = 0.004  # m by which fingers stay open farther than they are commanded if there is something between them
LIFT_DOWN = 0.01  # m: the lift while a thing is taken from the shelf
LIFT_NEAR = 0.03  # m off there: the arm may begin
BESIDE = 0.06  # m from the fingertips to a thing that was let go in a bin
CLEAR = BIN_RIM + 0.08  # height of the fingertips below which the base waits for them, m


@dataclass(frozen=True)
class Errand:
    """What one arm does to one thing before the table with that frame: take it or, with `spot`, let it go there in the bin. low: from the
    shelf, for which the lift goes down."""

    name: str
    side: str
    frame: PlanarPose
    spot: tuple[float, float] | None = None
    low: bool = False


class RoomOperator(ChoreOperator):
    """Drives to the table that a text names, takes the thing that it names, or puts down what it holds. An idle arm goes home, and
    a hand that grips something goes on gripping."""

    command: np.ndarray
    _velocity: np.ndarray

    def __init__(self, robot: Robot, sim: SimRobot, period: float = 0.02, drive: DriveSettings | None = None) -> None:
        """An operator called every `period` seconds."""
        super().__init__(robot, sim, period)
        self.drive = drive or DriveSettings()
        self._wheels = [robot.index[name] for name in ("base_vx", "base_vy", "base_wz")]

    def act(self, subtask: str) -> np.ndarray:
        """The next command [D] in robot units, one period later. Any other text brings the base to rest and the arms home."""
        self.arms.place(self.command)
        errand = self.errand(subtask)
        return self._move(self.destination(subtask), base_pose(self.sim), errand, self._view(errand))

    def plan(self, subtask: str, rows: int, period: float) -> np.ndarray:
        """The commands of the next `rows` periods [rows, D] without physics; row 0 is what `act` would return now.

        The base is where its commands bring it, and a thing moves with the hand that holds it. The own command is left as it was.
        """
        command, velocity = self.command.copy(), self._velocity.copy()
        self.arms.place(self.command)
        base, errand, table = base_pose(self.sim), self.errand(subtask), self.destination(subtask)
        view, planned = self._view(errand), []
        for row in range(rows):
            for _ in range(1 if row == 0 else max(1, round(period / self.period))):
                self._move(table, base, errand, view)
                base = base.moved(self._twist(), self.period)
                self.arms.place(self.command)
                if errand and view:
                    view = self._imagined(errand.name, errand.side, view, TABLE_BIN, errand.frame)
            planned.append(self.command.copy())
        self.command, self._velocity = command, velocity
        return np.stack(planned)

    def set_command(self, command: np.ndarray) -> None:
        """Go on from this command [D], the base at its commanded velocity and all joints at rest."""
        super().set_command(command)
        self.command[self._wheels] = command[self._wheels]

    def errand(self, subtask: str) -> Errand | None:
        """What a text asks of an arm; None if it asks nothing that an arm could do now."""
        piece, frame = nearest(places(self.sim), base_pose(self.sim))
        taken = parse_take(subtask)
        if taken is not None:
            return Errand(*taken, frame, low=piece == SHELF) if taken[0] in things_in(self.sim) else None
        if subtask != PUT_DOWN:
            return None
        for name in things_in(self.sim):
            place = self.sim.data.body(f"{name}_body").xpos
            for side in SIDES:
                near = np.linalg.norm(self.sim.data.body(f"{side}_tip").xpos - place) < BESIDE
                if side in holders(self.sim, name) or (near and inside(frame.local_point(place), TABLE_BIN)):
                    return Errand(name, side, frame, self._free_spot(name, frame))
        return None

    def _free_spot(self, name: str, frame: PlanarPose) -> tuple[float, float]:
        others = [self.sim.data.body(f"{n}_body").xpos for n in things_in(self.sim) if n != name]
        places = [frame.local_point(place) for place in others]
        return free_spot(SPOTS, [(p[0], p[1]) for p in places if over(p, TABLE_BIN)])

    def _view(self, errand: Errand | None) -> View | None:
        return self._look(errand.name, errand.side, errand.frame) if errand else None

    def _twist(self) -> Twist:
        vx, vy, wz = (float(v) for v in self.command[self._wheels])
        return vx, vy, wz

    def _move(self, table: str | None, base: PlanarPose, errand: Errand | None, view: View | None) -> np.ndarray:
        twist = slewed(self._twist(), self._driven(table, base), self.period, self.drive)
        wanted, lift = np.zeros(len(self.command)), LIFT_HOME
        for side in SIDES:
            joints, motion = self.arms.joints[side], None
            if errand is not None and view is not None and errand.side == side:
                motion = self._decided(errand, view)
                if errand.low and not motion.done:
                    lift, down = LIFT_DOWN, self.command[self._lift] < LIFT_DOWN + LIFT_NEAR
                    motion = motion if down else None
            if motion is None or motion.done:
                tip = self._retreating(side, self.arms.tip(side))
                wanted[joints] = self.arms.joint_velocity(side, self.command, tip)
                self.grip_goal[side] = motion.grip if motion else 0.0 if self._grips(side) else 1.0
            else:
                over_table = errand.frame.vector(motion.tip) if errand else np.zeros(3)
                wanted[joints] = self.arms.joint_velocity(side, self.command, over_table, motion.spin)
                self.grip_goal[side] = motion.grip
        wanted[self._lift] = 1.5 * (lift - self.command[self._lift])
        grips = {grip: self._gripped(grip, self.grip_goal[side]) for side, grip in self._grip.items()}
        self._integrate(wanted)
        for grip, value in grips.items():
            self.command[grip] = value
        self.command[self._wheels] = twist
        return self.command.copy()

    def _decided(self, errand: Errand, view: View) -> Motion:
        shape = block_shape(self.sim, errand.name)
        if errand.spot is None:
            return take(view, shape, self.grasp)
        return put(view, shape, TABLE_BIN, errand.spot, self.grasp)

    def _driven(self, table: str | None, base: PlanarPose) -> Twist:
        """The twist towards a table. The base waits for hands that are low over one."""
        if table is None or any(self.arms.tip(side)[2] < CLEAR for side in SIDES):
            return 0.0, 0.0, 0.0
        tables = places(self.sim)
        return drive_velocity(base, tables[table], [at for side, at in tables.items() if side != table], self.drive)

    def destination(self, subtask: str) -> str | None:
        """The piece of furniture to which a text sends the base, if it sends it to one."""
        tables = {side: place_of(self.sim, side) for side in SIDES}
        began, _ = nearest(tables, PlanarPose(*self.sim.scene.base))
        return parse_drive(subtask, {side: look_of(self.sim, side) for side in SIDES}, began)

    def _grips(self, side: str) -> bool:
        commanded = self._commanded(side)
        return hand_opening(self.sim, side) > commanded + GRIPPED and commanded < self._widest[side] / 2


def nearest(to: Mapping[str, PlanarPose], base: PlanarPose) -> tuple[str, PlanarPose]:
    """The place that is nearest to where the base stands, and its name."""
    return min(to.items(), key=lambda place: math.dist((place[1].x, place[1].y), (base.x, base.y)))


class RoomPlanner:
    """The scripted operator as a policy and as its own high level: it reads the simulation instead of pictures, and makes no use of
    a prefix."""

    finished: tuple[str, ...] = (DONE,)
    cameras: tuple[str, ...] = ()
    high_level_cameras: tuple[str, ...] = ()

    def __init__(self, sim: SimRobot, horizon: int = 16, period: float = 0.1) -> None:
        self.sim, self.horizon, self.period = sim, horizon, period
        self._operator = RoomOperator(sim.robot, sim)

    def plan(self, observation: Observation, seed: int, prefix: PlanPrefix | None) -> Plan:
        """What the operator would command [horizon, D], from what the robot is commanded now or, if that is not known, from
        what is measured."""
        names = self.sim.robot.channel_names
        now = {**observation.state, **observation.command}
        self._operator.set_command(np.array([now[name] for name in names]))
        text = self.subtask(observation, observation.prompt)
        return Plan(self._operator.plan(text, self.horizon, self.period), names, self.period)

    def subtask(self, observation: Observation, task: str) -> str:
        """What a wish asks for next; any other task is one step."""
        wish = parse_wish(task)
        return task if wish is None else next_subtask(whereabouts(self.sim), standing(self.sim), wish)
