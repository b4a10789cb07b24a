"""A person takes over and gives back, again and again, at random moments: does anything jump, and how soon does it work?

`python -m bench takeover [--quick] [--switches N] [--seed S] [--robot R]`

Virtual time: the real executor, a robot that follows, a policy and a leader that wander on their own. A request falls
anywhere between two control periods; the delay counts from it to the first command that teleoperation owns.
"""

import argparse
import json

import numpy as np

from pi0_ros.control import Chunk, Executor
from pi0_ros.control.audit import violations
from pi0_ros.robot import Kind, Robot, load_robot

EPOCH = 1000.0  # ROS time when the steady clock reads 0
CHUNK_EVERY, ROWS, PERIOD = 0.4, 16, 0.1


class Stage:
    """Both clocks, a robot that is where it was told to be, a wandering policy and a wandering leader."""

    def __init__(self, robot: Robot, seed: int) -> None:
        self.robot, self.executor, self.rng = robot, Executor(robot), np.random.default_rng(seed)
        self.period, self.steady = 1.0 / robot.control_rate, 0.0
        self.velocity = np.array([c.kind is Kind.VELOCITY for c in robot.channels])
        self.middle = np.array([0.5 * (c.limits.lower + c.limits.upper) for c in robot.channels])
        half = np.array([0.5 * (c.limits.upper - c.limits.lower) for c in robot.channels])
        self.swing, self.phase = np.minimum(0.6 * half, 0.5), self.rng.uniform(0.0, 6.3, (2, len(half)))
        self.measured = np.where(self.velocity, 0.0, self.middle)
        self.step = self.executor.step(-1.0, EPOCH - 1.0)
        self.commands: list[np.ndarray] = []
        self.sequence, self.planned = 0, -1.0

    def wander(self, who: int, time: float) -> np.ndarray:
        """Where policy (0) or leader (1) want to be at a time."""
        return self.middle + self.swing * np.sin((1.0 + 0.4 * who) * time + self.phase[who])

    def advance(self) -> None:
        """One control period."""
        self.steady += self.period
        now, positions = EPOCH + self.steady, {}
        for group in self.robot.groups:
            for channel in group.channels:
                joint, value = (
                    self.robot.joint_of_channel.get(channel.name),
                    self.measured[self.robot.index[channel.name]],
                )
                if joint is not None:
                    grip = group.gripper
                    positions[joint] = grip.closed + value * (grip.open - grip.closed) if grip else float(value)
        self.executor.on_state(self.steady, now, now, positions)
        self.executor.on_odometry(self.steady, now, now, 0.0, 0.0, 0.0)
        self.lead()
        self.plan(now)
        self.step = self.executor.step(self.steady, now)
        if self.step.command is not None:
            self.commands.append(self.step.command.values)
            self.measured = np.where(self.velocity, 0.0, self.step.command.values)

    def lead(self) -> None:
        """The leader's devices speak every period, whoever owns the robot."""
        goal = self.wander(1, self.steady)
        for group in self.robot.groups:
            names = tuple(c.name for c in group.channels)
            self.executor.on_teleop(self.steady, group.name, names, tuple(goal[[self.robot.index[n] for n in names]]))

    def plan(self, now: float) -> None:
        """A chunk now and then, from where the robot is towards where the policy wants to be."""
        if self.steady < self.planned:
            return
        self.planned = self.steady + CHUNK_EVERY * self.rng.uniform(0.7, 1.3)
        start = now - self.rng.uniform(0.03, 0.2)
        times = np.arange(ROWS) * PERIOD
        here = self.commands[-1] if self.commands else self.measured
        share = np.clip(times / times[-1], 0.0, 1.0)[:, None]
        rows = here + (self.wander(0, self.steady + 1.0) - here) * share * share * (3.0 - 2.0 * share)
        rows += self.rng.normal(0.0, 0.002, rows.shape)
        self.sequence += 1
        epoch = self.step.epoch
        chunk = Chunk(start, PERIOD, self.robot.channel_names, rows, self.sequence, epoch, "bench")
        self.executor.on_chunk(self.steady, now, chunk)


def switch(stage: Stage, to: str) -> float:
    """Ask at a random moment of a period; seconds until the first command of the new owner."""
    stage.steady += (moment := stage.rng.uniform(0.0, 1.0) * stage.period)
    answer = stage.executor.request(stage.steady, EPOCH + stage.steady, to)
    asked = stage.steady
    stage.steady -= moment
    if not answer.ok:
        raise RuntimeError(f"{to} was refused: {answer.message}")
    owner = {"teleop": "teleop", "autonomy": "policy"}[to]
    stage.planned = stage.planned if to == "teleop" else stage.steady
    while True:
        stage.advance()
        if stage.step.owner == owner:
            return stage.steady - asked


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object a line; 1 if a command broke a limit."""
    parser = argparse.ArgumentParser(prog="python -m bench takeover", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 switches")
    parser.add_argument("--switches", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--robot", default="mobile_bimanual")
    args = parser.parse_args(argv)
    robot, count = load_robot(args.robot), 100 if args.quick else args.switches
    stage = Stage(robot, args.seed)
    delays: dict[str, list[float]] = {"teleop": [], "autonomy": []}
    for _ in range(10):
        stage.advance()
    for k in range(count):
        to = "autonomy" if k % 2 == 0 else "teleop"
        delays[to].append(switch(stage, to))
        for _ in range(int(stage.rng.integers(5, 60))):
            stage.advance()
    broken = violations(robot, np.array(stage.commands), stage.period)
    for metric, value, unit in (
        ("switches", count, "count"),
        ("commands", len(stage.commands), "count"),
        ("violations", len(broken), "count"),
        ("takeover_p50", 1e3 * np.percentile(delays["teleop"], 50), "ms"),
        ("takeover_p99", 1e3 * np.percentile(delays["teleop"], 99), "ms"),
        ("takeover_max", 1e3 * max(delays["teleop"]), "ms"),
        ("give_back_p99", 1e3 * np.percentile(delays["autonomy"], 99), "ms"),
    ):
        print(json.dumps({"bench": "takeover", "metric": metric, "value": round(float(value), 3), "unit": unit}))
    return int(bool(broken))
