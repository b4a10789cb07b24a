"""A robot that follows its commands, and a clock that is advanced: what the tests of the control core tell stories with."""

from dataclasses import replace

import numpy as np

from pi0_ros.control import Chunk, Executor, ExecutorSettings, Step
from pi0_ros.control.audit import violations
from pi0_ros.robot import load_robot
from pi0_ros.robot.spec import Kind, Robot, Takeover

START = (
    1_795_809_000.0  # ROS time when the steady clock reads 0; as large as those of robots, which are known to 0.24 us
)


def make_robot(name: str = "mobile_bimanual", takeover: Takeover | None = None, rate: float | None = None) -> Robot:
    robot = load_robot(name)
    return replace(robot, takeover=takeover or Takeover(), control_rate=rate or robot.control_rate)


def middle(robot: Robot) -> np.ndarray:
    return np.array([0.5 * (c.limits.lower + c.limits.upper) for c in robot.channels])


class Story:
    """Advances both clocks, measures, commands. What is switched off (`joints`, `follows`, ...) stays away."""

    def __init__(self, robot: Robot | None = None, settings: ExecutorSettings | None = None, start=None):
        self.robot = robot or make_robot()
        self.executor = Executor(self.robot, settings)
        self.period = 1.0 / self.robot.control_rate
        self.steady, self.offset = 0.0, START
        self.stalled: float | None = None  # the ROS time at which its clock stands still
        self.late = lambda: 0.0  # how late [s] the ROS clock is read
        self.velocity = np.array([c.kind is Kind.VELOCITY for c in self.robot.channels])
        self.measured = np.where(self.velocity, 0.0, middle(self.robot)) if start is None else np.array(start)
        self.joints, self.odometry, self.follows = True, True, True
        self.stamp_of = lambda ros: ros
        self.steps: list[Step] = []
        self.runs: list[list[np.ndarray]] = []
        self.stamps: list[float] = []
        self.sequence = 0

    @property
    def ros(self) -> float:
        return self.steady + self.offset if self.stalled is None else self.stalled

    @property
    def last(self) -> Step:
        return self.steps[-1]

    @property
    def values(self) -> np.ndarray:
        return self.last.command.values

    def at(self, channel: str) -> float:
        return float(self.values[self.robot.index[channel]])

    def sense(self) -> None:
        positions = {}
        grippers = {g.channels[0].name: g.gripper for g in self.robot.groups if g.gripper}
        for channel, joint in self.robot.joint_of_channel.items():
            value, grip = self.measured[self.robot.index[channel]], grippers.get(channel)
            positions[joint] = grip.closed + value * (grip.open - grip.closed) if grip else float(value)
        stamp = self.stamp_of(self.ros)
        if self.joints:
            self.executor.on_state(self.steady, self.ros, stamp, positions)
        if self.odometry:
            self.executor.on_odometry(self.steady, self.ros, stamp, 0.0, 0.0, 0.0)

    def tick(self, period: float | None = None) -> Step:
        """One control period: clocks on, measure, step, move."""
        self.steady += self.period if period is None else period
        self.sense()
        step = self.executor.step(self.steady, self.ros - self.late())
        self.steps.append(step)
        if step.command is None:
            self.runs.append([])
            return step
        if not self.runs:
            self.runs.append([])
        self.runs[-1].append(step.command.values)
        self.stamps.append(step.command.stamp)
        if self.follows:
            self.measured = np.where(self.velocity, 0.0, step.command.values)
        return step

    def run(self, seconds: float, each=None) -> "Story":
        """Ticks for `seconds`; `each(story)` before every one."""
        for _ in range(round(seconds / self.period)):
            if each is not None:
                each(self)
            self.tick()
        return self

    def chunk(self, goal=None, rows=16, period=0.1, delay=0.05, **other) -> Chunk:
        """A good chunk: smoothly from where the command is to `goal` [D] or by name, observed `delay` ago."""
        here = self.last.command.values if self.steps and self.last.command is not None else self.measured
        target = np.array(here)
        for name, value in (goal or {}).items():
            target[self.robot.index[name]] = value
        s = np.clip(np.arange(rows) / max(rows - 1, 1), 0.0, 1.0)[:, None]
        self.sequence += 1
        given = {
            "start": self.ros - delay,
            "period": period,
            "names": self.robot.channel_names,
            "values": here + (target - here) * s * s * (3.0 - 2.0 * s),
            "sequence": self.sequence,
            "epoch": self.steps[-1].epoch if self.steps else 0,
            "source": "policy",
        }
        return Chunk(**(given | other))

    def send(self, chunk: Chunk | None = None, **kwargs):
        return self.executor.on_chunk(self.steady, self.ros, chunk or self.chunk(**kwargs))

    def ask(self, name: str):
        return self.executor.request(self.steady, self.ros, name)

    def teleop(self, group: str, values) -> None:
        names = tuple(c.name for c in self.robot.group(group).channels)
        self.executor.on_teleop(self.steady, group, names, tuple(values))

    def autonomy(self, goal=None, **kwargs) -> "Story":
        """Started, measured, asked for autonomy, and driving along a first chunk."""
        self.run(0.1)
        assert self.ask("autonomy").ok
        self.tick()
        verdict = self.send(goal=goal, **kwargs)
        assert verdict.accepted, verdict.reason
        self.tick()
        assert self.last.owner == "policy", self.last.reason
        return self

    def names(self) -> list[str]:
        """Names of all events so far."""
        return [e.name for s in self.steps for e in s.events]

    def texts(self) -> str:
        return "\n".join(e.text for s in self.steps for e in s.events)

    def sound(self) -> "Story":
        """Every command was finite, within every limit relative to the one before, and stamps rose."""
        for run in self.runs:
            if run:
                found = violations(self.robot, np.array(run), self.period)
                assert not found, found
        assert all(b > a for a, b in zip(self.stamps, self.stamps[1:], strict=False)), "stamps must rise"
        return self

    def speed(self) -> float:
        """Largest rate in the newest command."""
        return float(np.max(np.abs(self.last.command.velocities)))
