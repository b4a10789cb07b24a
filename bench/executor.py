"""How well the executor keeps its time: with simulator and policy loading the machine, and at 200 Hz by itself.

`python -m bench executor [--minutes 10] [--rate 50] [--alone-minutes 2] [--alone-rate 200] [--parts step loaded alone] [--quick]`

step: processor time of the control core's own step, in virtual time, in this process. loaded: the nodes of
`pi0 up sim:=true` in their processes, following a policy. alone: the executor with joint states and chunks made up here.
Numbers are the executor's own (`/diagnostics`, of the worst minute) and those of a subscriber: when commands left it.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rclpy
from nav_msgs.msg import Odometry
from pi0_ros.msg import ActionChunk
from sensor_msgs.msg import JointState

from bench._floor import Floor
from bench._stack import BenchError, Stack, Watcher, prepare
from bench.takeover import EPOCH, Stage
from pi0_ros import bringup
from pi0_ros.control import Chunk
from pi0_ros.robot import Robot, load_robot
from pi0_ros.robot.measurement import joint_value
from pi0_ros.robot.spec import Kind
from pi0_ros.ros.commands import COMMAND_TYPES
from pi0_ros.ros.conversions import chunk_message
from pi0_ros.ros.qos import OBSERVED, RELIABLE, SENSOR

PARTS = ("step", "loaded", "alone")
WINDOW = 60.0  # [s] that the executor's own numbers are about
SETTLE = 5.0
SCENE = 18.0  # [s] until the blocks are put elsewhere
STATE_RATE, CHUNK_RATE = 100.0, 2.5


def tell(part: str, metric: str, value: float, unit: str, **more: object) -> None:
    """One result."""
    line = {"bench": "executor", "part": part, "metric": metric, "value": round(float(value), 4), "unit": unit}
    print(json.dumps(line | more), flush=True)


def spread(part: str, name: str, seconds: list[float] | np.ndarray) -> None:
    """Median, 99th percentile and maximum of times, in milliseconds."""
    for metric, value in zip(("p50", "p99", "max"), np.quantile(seconds, (0.5, 0.99, 1.0)), strict=True):
        tell(part, f"{name}_{metric}", 1e3 * value, "ms")


class Timekeeper(Watcher):
    """When commands of one group left the executor, and what it says of its own timing, minute by minute."""

    def __init__(self, robot: Robot) -> None:
        self.left: list[float] = []
        self.began, self.reports = math.inf, list[tuple[float, dict[str, str]]]()
        self.engaged = 0
        super().__init__(robot)
        group = robot.groups[0]
        kind = COMMAND_TYPES[group.command.type].message
        self.create_subscription(kind, group.command.topic, self._on_bytes, OBSERVED, raw=True)

    def _on_bytes(self, message: bytes, info: dict[str, int]) -> None:
        self.left.append(info["source_timestamp"] * 1e-9)

    def heard_health(self, name: str) -> None:
        """Keep what the executor says of itself once its window is all of what is measured."""
        if name.rsplit("/", 1)[-1] == "executor":
            self.reports.append((time.monotonic(), self.health[name][1]))

    def begin(self) -> None:
        """Measure from now on."""
        self.began, self.reports = time.monotonic(), self.reports[-1:]
        self.left.clear()

    def minutes(self) -> Iterator[dict[str, float]]:
        """The executor's numbers at the end of every whole minute and at the very end."""
        due = self.began + WINDOW
        for k, (at, values) in enumerate(self.reports):
            if at >= due or k == len(self.reports) - 1:
                due = at + WINDOW
                yield {n: float(v) for n, v in values.items() if "_ms_" in n}

    def counted(self, name: str) -> float:
        """How much one of the executor's counters has grown."""
        return float(self.reports[-1][1][name]) - float(self.reports[0][1][name])


def processor() -> tuple[float, float, float]:
    """Busy, stolen and all processor time since the machine started, in ticks."""
    fields = [float(f) for f in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, fields[7], sum(fields)


def measure(part: str, seen: Timekeeper, stack: Stack, rate: float, seconds: float) -> None:
    """Let it run, in autonomy, and say what happened."""
    seen.wait(lambda: seen.reports, "the executor's diagnostics")
    seen.happens(lambda: False, SETTLE)
    before, end = processor(), time.monotonic() + seconds
    seen.begin()
    with Floor() as floor:
        go_on(part, seen, stack, end)
    reported = len(seen.reports)
    seen.wait(lambda: len(seen.reports) > reported, "the last diagnostics", 5.0)
    busy, stolen, whole = (b - a for a, b in zip(before, processor(), strict=True))
    tell(part, "cpu_busy", busy / whole, "share of all cores")
    tell(part, "cpu_stolen", stolen / whole, "share of all cores")
    report(part, seen, 1.0 / rate, floor)


def go_on(part: str, seen: Timekeeper, stack: Stack, end: float) -> None:
    """Keep it in autonomy until steady time `end` [s]; under load with new blocks every now and then."""
    while time.monotonic() < end:
        seen.happens(lambda: seen.mode in ("hold", "stopped"), min(SCENE, max(0.1, end - time.monotonic())))
        if stack.ended():
            raise BenchError(f"{', '.join(stack.ended())} ended")
        if part == "loaded" and seen.mode == "autonomy" and time.monotonic() < end:
            seen.lay_out_anew()
            seen.engage(60.0)
        if seen.mode in ("hold", "stopped") and time.monotonic() < end:
            print(f"autonomy ended, asking again: {seen.reason}", file=sys.stderr)
            seen.engaged += 1
            seen.engage(60.0)


def report(part: str, seen: Timekeeper, period: float, floor: Floor) -> None:
    """The numbers of one part: from outside, beside the machine's, and the executor's own."""
    left = np.array(seen.left)
    gaps = np.diff(left)
    tell(part, "commands", len(seen.left), "count")
    tell(part, "rate", len(gaps) / float(np.sum(gaps)), "Hz")
    tell(part, "missed_seen_outside", int(np.sum(np.maximum(np.rint(gaps / period) - 1, 0))), "count", goal=0)
    tell(part, "missed", seen.counted("overruns"), "count", goal=0)
    tell(part, "autonomy_asked_again", seen.engaged, "count")
    spread(part, "period_error", np.abs(gaps - period))
    # From the period before: what came late then makes the next gap short.
    own = ~floor.stood_still(left[:-2], left[2:])
    tell(part, "periods_while_the_machine_stood_still", int(np.sum(~own)), "count")
    spread(part, "own_period_error", np.abs(gaps[1:][own] - period))
    spread(part, "machine_late", floor.late)
    began = {s.plan_sequence: s.splice_delay for at, s in seen.states if at > seen.began and s.plan_sequence}
    if began:
        spread(part, "chunk_to_command" if part == "alone" else "observation_to_command", list(began.values()))
    minutes = list(seen.minutes())
    tell(part, "minutes", len(minutes), "count")
    for name in ("period_late_ms_p50", "period_late_ms_p99", "period_late_ms_max"):
        tell(part, f"worst_minute_{name.replace('_ms', '')}", max(m[name] for m in minutes), "ms")
    for name in ("work_ms_p50", "work_ms_p99", "work_ms_max"):
        tell(part, f"worst_minute_{name.replace('_ms', '')}", max(m[name] for m in minutes), "ms")
    tell(part, "middle_minute_work_p99", float(np.median([m["work_ms_p99"] for m in minutes])), "ms")
    tell(part, "work_p99", minutes[-1]["work_ms_p99_run"], "ms", goal=1)
    tell(part, "worst_minute_prepare_p99", max(m["prepare_ms_p99"] for m in minutes), "ms")


# --- the parts -----------------------------------------------------------------------------------------------------


def step(args: argparse.Namespace) -> None:
    """Processor time of `Executor.step` and of what comes in, at this robot's channels."""
    stage = Stage(load_robot(args.robot), 0)
    spent: dict[str, list[float]] = {"step": [], "on_chunk": [], "on_state": []}
    for name, times in spent.items():
        setattr(stage.executor, name, timed(getattr(stage.executor, name), times))
    for _ in range(10):
        stage.advance()
    stage.executor.request(stage.steady, EPOCH + stage.steady, "autonomy")
    for _ in range(100):
        stage.advance()
    gc.collect()
    gc.freeze()
    gc.disable()
    for times in spent.values():
        times.clear()
    for _ in range(2_000 if args.quick else 20_000):
        stage.advance()
    gc.enable()
    gc.unfreeze()
    tell("step", "channels", len(stage.robot.channels), "count")
    for name, times in spent.items():
        spread("step", f"{name}_cpu", times)


def timed(work, times: list[float]):  # type: ignore[no-untyped-def]
    """The same function; the processor time it takes is kept."""

    def measured(*args):  # type: ignore[no-untyped-def]
        began = time.thread_time()
        result = work(*args)
        times.append(time.thread_time() - began)
        return result

    return measured


def loaded(args: argparse.Namespace) -> None:
    """The whole stack in autonomy."""
    given = {"robot": args.robot, "checkpoint": args.checkpoint, "sim": "true", "task": args.task, "log_level": "warn"}
    listed = [with_parameters(n, {"executor": {"rate": args.rate}}) for n in bringup.nodes(given)]
    run("loaded", listed, args, args.rate, 20.0 if args.quick else 60.0 * args.minutes)


def alone(args: argparse.Namespace) -> None:
    """The executor, and a robot and a policy that cost nothing."""
    made_up = {"rate": args.alone_rate, "tracking_error": 6.0, "black_box": ""}
    given = {"robot": args.robot, "policy": "none", "log_level": "warn"}
    listed = [with_parameters(n, {"executor": made_up}) for n in bringup.nodes(given)]
    run("alone", listed, args, args.alone_rate, 10.0 if args.quick else 60.0 * args.alone_minutes)


def with_parameters(node: bringup.Node, changed: dict[str, dict[str, float]]) -> bringup.Node:
    """The node with other parameters."""
    parameters = {**node.parameters, **changed.get(node.executable, {})}
    return bringup.Node(
        node.executable, parameters, node.remappings, node.namespace, node.log_level, required=node.required
    )


def run(part: str, listed: list[bringup.Node], args: argparse.Namespace, rate: float, seconds: float) -> None:
    """Bring up, measure, take down."""
    robot = load_robot(args.robot)
    stack, seen = Stack(listed), Timekeeper(robot)
    feed = Feed(seen, robot) if part == "alone" else None
    try:
        stack.start()
        seen.wait(lambda: seen.state is not None or stack.ended(), "executor_state")
        seen.engage()
        measure(part, seen, stack, rate, seconds)
    finally:
        stack.stop()
        if feed is not None:
            feed.close()
        seen.close()


class Feed:
    """Joint states and odometry of a robot that is where it was told to be, and chunks that sway."""

    def __init__(self, seen: Watcher, robot: Robot) -> None:
        self._seen, self._robot, self._node = seen, robot, seen
        self._at = {c.name: 0.5 * (c.limits.lower + c.limits.upper) for c in robot.channels}
        self._home, self._sequence, self._epoch = dict(self._at), 0, -1
        self._publishers = [(s, self._publisher(s.type, s.topic)) for s in robot.state]
        self._chunks = seen.create_publisher(ActionChunk, "action_chunk", RELIABLE)
        self._phase, self._due = np.random.default_rng(0), 0.0
        self._timers = [
            seen.create_timer(1.0 / STATE_RATE, self._speak),
            seen.create_timer(0.002, self._plan),
        ]

    def _publisher(self, kind: str, topic: str):  # type: ignore[no-untyped-def]
        return self._node.create_publisher(Odometry if kind == "odometry" else JointState, topic, SENSOR)

    def close(self) -> None:
        """Fall silent."""
        for timer in self._timers:
            timer.cancel()

    def _now(self) -> float:
        return self._node.get_clock().now().nanoseconds * 1e-9

    def _speak(self) -> None:
        state, stamp = self._seen.state, self._node.get_clock().now().to_msg()
        if state is not None:
            told = zip(state.channels, state.command, strict=True)
            self._at |= {name: value for name, value in told if math.isfinite(value)}
        for source, publisher in self._publishers:
            message = Odometry() if source.type == "odometry" else JointState()
            message.header.stamp = stamp
            if isinstance(message, JointState):
                joints = self._joints(source.prefix)
                message.name = [name[len(source.prefix) :] for name in joints]
                message.position = array("d", joints.values())
            publisher.publish(message)

    def _joints(self, prefix: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for group in self._robot.groups:
            names = [self._robot.joint_of_channel.get(c.name) for c in group.channels]
            if all(names):
                found |= {n: joint_value(group, self._at[c.name]) for n, c in zip(names, group.channels, strict=True)}
        return {name: value for name, value in found.items() if name.startswith(prefix)}

    def _plan(self) -> None:
        """A chunk now and then, at no particular moment of the executor's period."""
        state = self._seen.state
        if state is None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._phase.uniform(0.9, 1.1) / CHUNK_RATE
        if state.epoch != self._epoch:
            self._epoch, self._home = state.epoch, dict(self._at)
        self._sequence += 1
        now = self._now()
        arms = [c.kind is Kind.POSITION for c in self._robot.channels]
        home = np.array([0.0 if c.kind is Kind.VELOCITY else self._home[c.name] for c in self._robot.channels])
        times = now + 0.1 * np.arange(16)
        rows = home + np.outer(0.02 * np.sin(times), arms)
        chunk = Chunk(now, 0.1, self._robot.channel_names, rows, self._sequence, state.epoch, "bench")
        self._chunks.publish(chunk_message(chunk))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench executor", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 s under load, 10 s alone")
    parser.add_argument("--minutes", type=float, default=10.0, help="under load")
    parser.add_argument("--rate", type=float, default=50.0, help="control rate under load [Hz]")
    parser.add_argument("--alone-minutes", type=float, default=2.0)
    parser.add_argument("--alone-rate", type=float, default=200.0, help="control rate alone [Hz]")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--robot", default="mobile_bimanual")
    parser.add_argument("--checkpoint", default="pi05_reach_tiny")
    parser.add_argument("--task", default="touch every block")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object a line; 1 if the stack did not run to the end."""
    args = arguments(argv)
    prepare()
    try:
        for part in args.parts:
            {"step": step, "loaded": loaded, "alone": alone}[part](args)
    except BenchError as error:
        print(f"bench executor: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    return 0
