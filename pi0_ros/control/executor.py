"""From action chunks and a person's input to one limited, continuous command per period.

Inputs are stored here; once per period `control_period` decides what follows from them, with the pieces in `parts`.
Time is an argument, nothing here reads a clock, sleeps or raises for bad input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pi0_ros.control.blackbox import BlackBox, boxed_chunk, state_bytes
from pi0_ros.control.chunk import Chunk, Verdict
from pi0_ros.control.competitors import take_competitors
from pi0_ros.control.control_period import forget_ros_time, run_period
from pi0_ros.control.journal import Now
from pi0_ros.control.mode_keeper import ModeEvent
from pi0_ros.control.modes import REQUESTS, Mode, Trigger
from pi0_ros.control.parts import assemble
from pi0_ros.control.plan_making import AtOnce, Planner
from pi0_ros.control.policy_watch import PolicyWatch
from pi0_ros.control.report import already, reason
from pi0_ros.control.requests import nobody_may_drive, objection
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.step import Answer, Step
from pi0_ros.robot.spec import Robot


class Executor:
    """The one owner of a robot's command topics.

    All times are seconds as floats: `steady` is the steady clock (it paces and watches), `ros` the ROS clock (it stamps
    data and places plans). Call `step` once a control period; it never raises for what came in.
    """

    def __init__(
        self,
        robot: Robot,
        settings: ExecutorSettings | None = None,
        epoch: int = 0,
        planner: Planner | None = None,
        blackbox: BlackBox | None = None,
    ) -> None:
        """`epoch`: the first one. A late chunk of an executor that ran before must not meet its number again.
        `planner` makes plans; a node does that in another thread. `blackbox` records what passes; by default one of its own."""
        self.robot, self.blackbox = robot, BlackBox() if blackbox is None else blackbox
        self._parts = assemble(robot, settings or ExecutorSettings(), epoch, planner or AtOnce(), self.blackbox)

    @property
    def epoch(self) -> int:
        """The epoch that a chunk has to answer now."""
        return self._parts.modes.epoch

    # What comes in -------------------------------------------------------------------------------------------------

    def on_state(
        self,
        steady: float,
        ros: float,
        stamp: float,
        positions: Mapping[str, float],
        velocities: Mapping[str, float] | None = None,
        topic: str = "",
    ) -> None:
        """Take joint positions [rad, m] and velocities by the robot's joint names, from the source that reads `topic`;
        joints the robot does not name are skipped."""
        now, measured = Now(steady, ros), self._parts.inputs.measured
        problem = measured.update_joints(steady, ros, stamp, positions, velocities, topic)
        if problem:
            self._parts.journal.note(now, "warn", "joint_state", problem)
        self._parts.journal.record(now, "state", (stamp, dict(positions), topic), state_bytes(positions))

    def on_publishers(self, publishers: Mapping[str, tuple[str, ...]]) -> None:
        """Take the names of the nodes that publish on each topic of state."""
        self._parts.inputs.measured.publishers = publishers

    def on_odometry(
        self, steady: float, ros: float, stamp: float, vx: float, vy: float, wz: float, topic: str = ""
    ) -> None:
        """Take the base velocity in the base frame [m/s, rad/s] from the source that reads `topic`."""
        now = Now(steady, ros)
        problem = self._parts.inputs.measured.update_odometry(steady, ros, stamp, (vx, vy, wz), topic)
        if problem:
            self._parts.journal.note(now, "warn", "odometry", problem)
        self._parts.journal.record(now, "odometry", (stamp, (vx, vy, wz)), 64)

    def on_chunk(self, steady: float, ros: float, chunk: Chunk) -> Verdict:
        """Judge a chunk and, if it is good and autonomy is on, take it up at the next step."""
        now = Now(steady, ros)
        verdict = self._parts.gate.take(now, self._parts.pace.plan_time, chunk)
        self._parts.journal.record(now, "chunk", *boxed_chunk(chunk, verdict.accepted))
        return verdict

    def on_teleop(self, steady: float, group: str, names: Sequence[str], values: Sequence[float]) -> None:
        """Take a person's command for one group, by channel name, in robot units."""
        parts, now = self._parts, Now(steady, self._parts.pace.ros)
        teleop = parts.inputs.teleop
        if problem := teleop.hear(steady, group, names, values, parts.inputs.measured.command):
            parts.journal.count(refused=1)
            parts.journal.note(now, "warn", f"teleop {group}", problem)
            return
        if parts.modes.mode is Mode.TELEOP:
            if jump := teleop.jumped(group):
                parts.journal.note(now, "warn", f"teleop {group} jump", jump)
            return
        parts.journal.count(ignored=1)
        moved = teleop.leader_moved(steady, group) and teleop.enabled(steady)
        if moved and (devices := parts.inputs.competitors.get(Trigger.TWO_DEVICES)):
            parts.modes.fire(now, ModeEvent(Trigger.TWO_DEVICES, devices))
        elif moved and not nobody_may_drive(parts):
            parts.modes.fire(now, ModeEvent(Trigger.LEADER_MOVED, f"the leader of {group} was moved", "info"))

    def on_deadman(self, steady: float, pressed: bool) -> None:
        """Take the state of the deadman button (used only if the robot YAML names one)."""
        self._parts.inputs.teleop.update_button(steady, pressed)

    def on_estop(
        self, steady: float, pressed: bool, sender: bytes = b"", there: Mapping[bytes, str] | None = None
    ) -> None:
        """Take the heartbeat of an emergency stop. `sender` tells the button from others on the same topic, whose nodes'
        names are in `there` by sender, if that is known: what has left is forgotten."""
        estop = self._parts.inputs.estop.hear(steady, pressed, sender)
        self._parts.inputs.estop = estop.with_publishers({sender: "", **there}) if there else estop
        if pressed:
            now = Now(steady, self._parts.pace.ros)
            self._parts.modes.fire(now, ModeEvent(Trigger.ESTOP, "e-stop pressed"))

    def on_policy(self, change: Callable[[PolicyWatch], PolicyWatch]) -> None:
        """Take what is newly known of the policy."""
        self._parts.inputs.policy = change(self._parts.inputs.policy)

    def on_clock_jump(self, steady: float, ros: float) -> None:
        """The ROS clock was set: everything placed on it is void. Autonomy has to be asked for again."""
        forget_ros_time(self._parts, Now(steady, ros))

    def on_second_publisher(
        self, steady: float, ros: float, text: str, trigger: Trigger = Trigger.SECOND_PUBLISHER
    ) -> None:
        """Take who else publishes on the command topics, "" for nobody: nothing moves while somebody does.

        With TWO_DEVICES: which devices send on one topic of teleop; no person drives while they do.
        """
        take_competitors(self._parts, Now(steady, ros), trigger, text)

    def request(self, steady: float, ros: float, name: str) -> Answer:
        """A person asks for "hold", "teleop", "autonomy", "stop" or "reset"."""
        now, parts, trigger = Now(steady, ros), self._parts, REQUESTS.get(name)
        if trigger is None:
            return Answer(False, f"{name!r} is none of {', '.join(REQUESTS)}")
        if why := objection(parts, steady, trigger):
            if trigger is Trigger.ASK_TELEOP and (devices := parts.inputs.competitors.get(Trigger.TWO_DEVICES)):
                parts.modes.fire(now, ModeEvent(Trigger.TWO_DEVICES, devices))  # who cannot take over wants it held
            parts.journal.note(now, "warn", f"request {name}", f"{name} refused: {why}", throttle=0.0)
            return Answer(False, f"refused: {why}")
        epoch = parts.modes.epoch
        parts.modes.fire(now, ModeEvent(trigger, f"{name} requested", "info"))
        return Answer(True, (already if parts.modes.epoch == epoch else reason)(parts, steady))

    # What goes out -------------------------------------------------------------------------------------------------

    def step(self, steady: float, ros: float) -> Step:
        """One control period. `command` in the result is None before the robot is known, after a fault at rest, and
        when called again too soon (less than half a period after the last time)."""
        return run_period(self._parts, Now(steady, ros))

    def running_plan(self, ros: float) -> Chunk | None:
        """What is left of the plan from ROS time `ros` on, on the plan's own period; None if nothing is left."""
        return self._parts.plans.rest(ros)
