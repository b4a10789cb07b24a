"""kill -9 of policy, high_level and simulator, each at a random moment of autonomy: does the robot hold, and does it stay?

`python -m bench kill [--times 50] [--victims policy high_level sim_robot] [--seed 0] [--quick]`

The executor runs on. It has to notice and say why; from one period later on the commands have to come to rest as fast as
the limits allow; and when the victim is back nothing may move, and no mode may be left, until a person asks.

Until the plan or the subtask is too old the robot goes on, and may meet something: then the executor holds for a tracking
error, as it should with nobody killed. Such a kill is counted as one more and made again; of it, only limits and what
happens after the victim is back are judged.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import rclpy
from pi0_ros.msg import ActionChunk, ExecutorState

from bench._stack import BenchError, Stack, Watcher, prepare
from pi0_ros import bringup
from pi0_ros.robot import Robot, load_robot
from pi0_ros.robot.spec import Group, Kind
from pi0_ros.ros.clock import seconds
from pi0_ros.ros.command_monitor import GroupMonitor
from pi0_ros.ros.qos import EVENTS

VICTIMS = ("policy", "high_level", "sim_robot")
EXPECTED = {
    "policy": ("policy silent",),
    "high_level": ("policy silent",),
    "sim_robot": ("no fresh measurement", "measurements are frozen", "measurements lost"),
}
EARLIEST, LATEST = 0.5, 3.5  # [s] of autonomy before a kill
TRACKING = "TRACKING"
PATIENCE = 60.0
WATCHED = 1.5  # [s] that a victim has been back for
SILENCE = 5  # periods without a command, after which the next one starts anew
STILL = 1e-6


class Observer(Watcher):
    """Also counts chunks."""

    def __init__(self, robot: Robot) -> None:
        self.chunks = 0
        super().__init__(robot, [g.name for g in robot.groups])
        self.create_subscription(ActionChunk, "action_chunk", self._on_chunk, EVENTS)

    def _on_chunk(self, message: ActionChunk) -> None:
        self.chunks += 1
        self.notify()


@dataclass
class Verdict:
    """What one kill led to: times [s] from the kill on, and everything that was wrong."""

    noticed: float = math.nan
    held: float = math.nan
    reason: str = ""
    broken: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)

    @property
    def tracking(self) -> bool:
        """The executor held for a tracking error before it could notice that somebody was gone."""
        return self.reason.startswith(TRACKING)

    @property
    def good(self) -> bool:
        """Nothing was wrong."""
        return not self.broken and not self.resumed


# --- judging what was commanded, without a clock -------------------------------------------------------------------


def stopping_time(group: Group, before: np.ndarray, period: float) -> float:
    """The longest [s] that a jerk-limited stop takes from three commands [3, D]: |a|/j + (|v| + a^2/2j) / amax + amax/j."""
    rates = np.diff(before, axis=0) / period
    limits = [c.limits for c in group.channels]
    most, jerk = np.array([m.acceleration for m in limits]), np.array([m.jerk for m in limits])
    if group.kind is Kind.VELOCITY:  # the value is the velocity and has to go to zero
        speed, push = np.abs(before[-1]), np.abs(rates[-1])
    else:
        speed, push = np.abs(rates[-1]), np.abs(rates[-1] - rates[-2]) / period
    push = np.minimum(push, most)
    return float(np.max(push / jerk + (speed + push**2 / (2.0 * jerk)) / most + most / jerk))


def stops(group: Group, seen: Sequence[tuple[float, tuple[float, ...]]], noticed: float, period: float) -> str:
    """How the commands [(time, values)] of a group go on after `noticed` [s], one period and a stop; "" if they do not.

    The last one before a silence ends what is judged: what comes after it starts anew where the robot then is.
    """
    times = np.array([at for at, _ in seen])
    values = np.array([v for _, v in seen])
    first = int(np.searchsorted(times, noticed - 0.5 * period))
    if first < 3 or first >= len(times):
        return f"{group.name}: no commands around the moment"
    silent = np.flatnonzero(np.diff(times[first:]) > SILENCE * period)
    last = first + int(silent[0]) if len(silent) else len(times) - 1
    allowed = stopping_time(group, values[first - 3 : first], period) + 2.0 * period
    moving = np.abs(np.diff(values[first - 1 : last + 1], axis=0)).max(axis=1) > STILL
    if group.kind is Kind.VELOCITY:
        moving |= np.abs(values[first : last + 1]).max(axis=1) > STILL
    late = np.flatnonzero(moving)
    if not len(late):
        return ""
    took = float(times[first + int(late[-1])] - times[first])
    return (
        f"{group.name} moved until {took:.3f} s after the notice, {allowed:.3f} s were enough" if took > allowed else ""
    )


def moves_again(group: Group, seen: Sequence[tuple[float, tuple[float, ...]]], since: float, period: float) -> str:
    """Whether a group's commands change after `since` [s], but for a new start after a silence; "" if not."""
    kept = [(at, np.array(v)) for at, v in seen if at >= since]
    for (before, old), (at, new) in pairwise(kept):
        if at - before <= SILENCE * period and np.abs(new - old).max() > STILL:
            return f"{group.name} moved again {at - since:.2f} s after it had been at rest"
    return ""


def beyond_limits(group: Group, seen: Sequence[tuple[float, tuple[float, ...]]], period: float) -> str:
    """Whether a command is outside the limits or too far from the one before; "" if none is."""
    monitor, last = GroupMonitor(group, period), -math.inf
    for at, values in seen:
        monitor = GroupMonitor(group, period) if at - last > SILENCE * period else monitor
        last = at
        if broken := monitor.see(at, values):
            return f"a command of {group.name} broke a limit: {broken}"
    return ""


# --- one kill ------------------------------------------------------------------------------------------------------


def kill(stack: Stack, seen: Observer, victim: str, moment: float) -> Verdict:
    """Kill after `moment` [s] of autonomy in a new scene, watch, bring the victim back, watch on."""
    seen.lay_out_anew()
    seen.engage(PATIENCE)
    while seen.happens(lambda: seen.mode != "autonomy", moment):  # autonomy ended for another reason
        seen.engage(PATIENCE)
    seen.forget()
    verdict, before, at = Verdict(), seen.state, stack.kill(victim)

    def reactions() -> list[tuple[float, ExecutorState]]:
        return [(t, s) for t, s in seen.states if t >= at and noticed(s, before)]

    seen.wait(reactions, f"a reaction to the end of {victim}", PATIENCE)
    when, first = reactions()[0]
    verdict.noticed = when - at
    seen.wait(lambda: seen.mode != "autonomy", f"the end of autonomy without {victim}", PATIENCE)
    when, ended = next((t, s) for t, s in seen.states if t >= at and s.mode != s.AUTONOMY)
    verdict.held, verdict.reason = when - at, ended.reason
    seen.happens(lambda: False, WATCHED)
    rest = max(t for t, _ in seen.commands[seen.robot.groups[0].name])
    stack.start(victim)
    come_back(seen, victim)
    seen.happens(lambda: False, WATCHED)
    judge(seen, victim, verdict, seconds(first.header.stamp), rest, at)
    return verdict


def noticed(state: ExecutorState, before: ExecutorState) -> bool:
    """Whether the executor says that something is wrong that was not so before."""
    return state.mode != state.AUTONOMY or state.underruns > before.underruns


def come_back(seen: Observer, victim: str) -> None:
    """Wait until the victim does its work again: plans, or a robot that is commanded."""
    if victim == "sim_robot":
        name, now = seen.robot.groups[0].name, time.time()
        seen.wait(lambda: seen.commands[name][-1][0] > now, "commands for the robot that is back")
    else:
        before = seen.chunks
        seen.wait_for_plans(lambda: seen.chunks > before + 1, f"chunks after {victim} is back")


def judge(seen: Observer, victim: str, verdict: Verdict, told: float, rest: float, killed: float) -> None:
    """Write down what was wrong."""
    period = 1.0 / seen.robot.control_rate
    reasons = [s.reason for t, s in seen.states if t >= killed and s.mode != s.AUTONOMY]
    if not verdict.tracking and not any(part in reason for reason in reasons for part in EXPECTED[victim]):
        verdict.broken.append(f"the reason does not say what happened: {sorted(set(reasons))}")
    for group in seen.robot.groups:
        commands = seen.commands[group.name]
        late = "" if verdict.tracking else stops(group, commands, told, period)
        for problem in (late, beyond_limits(group, commands, period)):
            if problem:
                verdict.broken.append(problem)
        if problem := moves_again(group, commands, rest, period):
            verdict.resumed.append(problem)
    after = [mode for t, mode in seen.modes if t >= killed]
    verdict.resumed += [f"the mode became {mode}" for mode in after if mode in ("autonomy", "teleop")]


# --- the bench -----------------------------------------------------------------------------------------------------


def nodes(args: argparse.Namespace, folder: str) -> list[bringup.Node]:
    """What `pi0 up sim:=true` runs, policy and high_level in processes of their own."""
    given = {"robot": args.robot, "checkpoint": args.checkpoint, "sim": "true", "task": args.task, "log_level": "error"}
    listed = []
    for node in bringup.nodes(given):
        names = ("policy", "high_level") if node.executable == "brain" else (node.executable,)
        for name in names:
            extra = {"black_box": folder} if name == "executor" else {}
            parameters = {**node.parameters, **extra}
            listed.append(bringup.Node(name, parameters, log_level=node.log_level, required=node.required))
    return listed


def tell(victim: str, metric: str, value: float, unit: str, **more: object) -> None:
    """One result."""
    line = {"bench": "kill", "victim": victim, "metric": metric, "value": round(float(value), 3), "unit": unit}
    print(json.dumps(line | more), flush=True)


def report(victim: str, verdicts: list[Verdict]) -> None:
    """The results of one victim."""
    asked = [v for v in verdicts if not v.tracking]
    tell(victim, "kills", len(asked), "count")
    tell(victim, "ok", sum(v.good for v in asked), "count", goal=len(asked))
    tell(victim, "held_for_tracking_before", len(verdicts) - len(asked), "count")
    tell(victim, "violations", sum(len(v.broken) for v in verdicts), "count", goal=0)
    tell(victim, "wrong_resumptions", sum(len(v.resumed) for v in verdicts), "count", goal=0)
    for name in ("noticed", "held"):
        for metric, value in zip(
            ("p50", "p99", "max"), np.quantile([getattr(v, name) for v in asked], (0.5, 0.99, 1.0)), strict=True
        ):
            tell(victim, f"{name}_{metric}", value, "s")
    tell(victim, "reasons", len({v.reason for v in verdicts}), "count", texts=sorted({v.reason for v in verdicts}))


def run(args: argparse.Namespace, folder: str) -> bool:
    """All kills of all victims; whether all was well."""
    robot, rng, good = load_robot(args.robot), np.random.default_rng(args.seed), True
    stack, seen = Stack(nodes(args, folder)), Observer(robot)
    try:
        stack.start()
        seen.wait_for_plans(lambda: seen.chunks > 1, "the first chunks")
        for victim in args.victims:
            verdicts: list[Verdict] = []
            times = 2 if args.quick else args.times
            while sum(not v.tracking for v in verdicts) < times:
                if len(verdicts) >= 2 * times:
                    raise BenchError(f"{victim} was killed {len(verdicts)} times, half of them too late to matter")
                verdicts.append(kill(stack, seen, victim, rng.uniform(EARLIEST, LATEST)))
                wrong = "; ".join([*verdicts[-1].broken, *verdicts[-1].resumed]) or "ok"
                print(f"{victim} {len(verdicts)}: {verdicts[-1].reason}: {wrong}", file=sys.stderr)
            report(victim, verdicts)
            good = good and all(v.good for v in verdicts)
    finally:
        stack.stop()
        seen.close()
    return good


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object a line; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench kill", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two kills of each")
    parser.add_argument("--times", type=int, default=50, help="kills of each victim")
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--robot", default="mobile_bimanual")
    parser.add_argument("--checkpoint", default="pi05_reach_tiny")
    parser.add_argument("--task", default="touch every block")
    args = parser.parse_args(argv)
    prepare()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return int(not run(args, folder))
    except BenchError as error:
        print(f"bench kill: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
