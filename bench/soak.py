"""The whole stack for as long as you like: autonomy, holds, stops, lifecycle round trips; what grows, and what is missed.

`python -m bench soak [--minutes 60] [--seed 0] [--quick] [--attacked]`

Every ten seconds memory, threads, sockets and open files of every process are read from /proc, and what is in /dev/shm.
The growth is that of a straight line through the samples after the first fifth (warming up), for an hour; "late growth"
through those of the last half. `--samples FILE` keeps all of them. It fails if less than a tenth of the time was autonomy.
`--attacked`: beside it the attacks of `bench/_attacks.py` are made, one kind after the other; then autonomy may be shorter.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rclpy
from lifecycle_msgs.srv import ChangeState
from pi0_ros.msg import ExecutorState
from std_msgs.msg import Bool

from bench._stack import BenchError, Stack, Watcher, prepare
from pi0_ros import bringup
from pi0_ros.robot import Robot, load_robot
from pi0_ros.ros.qos import RELIABLE

SAMPLE_PERIOD = 10.0
ENGAGE = 30.0  # [s]
DRIVE = (4.0, 15.0)  # [s] of autonomy between two other things
DEACTIVATE, ACTIVATE = 4, 3
EACH = 15.0  # [s] of an attack
HEARTBEAT = 0.1  # [s] between two messages of the operator's own button
PAUSE = 0.5  # [s] before something is tried again
NODES = ("executor", "policy", "high_level")
LEAST_AUTONOMY = 0.1
SHM = Path("/dev/shm")


def process_sample(number: int) -> dict[str, float]:
    """Resident memory [MB], what it maps of /dev/shm [MB], threads, sockets and open files of a process."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{number}/status").read_text().splitlines() if ":" in line)
    links = []
    for entry in Path(f"/proc/{number}/fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except OSError:
            continue  # closed meanwhile
    mapped = {
        line.split()[-1]: line.split()[0]
        for line in Path(f"/proc/{number}/maps").read_text().splitlines()
        if "/dev/shm/" in line
    }
    return {
        "shm": sum(int(e, 16) - int(b, 16) for b, e in (span.split("-") for span in mapped.values())) / 1e6,
        "rss": int(status["VmRSS"].split()[0]) / 1024,
        "threads": int(status["Threads"]),
        "sockets": sum(link.startswith("socket:") for link in links),
        "files": len(links),
    }


def shm_megabytes() -> float:
    """What lies in /dev/shm [MB]."""
    return sum(f.stat().st_size for f in SHM.iterdir() if f.is_file()) / 1e6 if SHM.is_dir() else 0.0


def growth(times: Sequence[float], values: Sequence[float]) -> float:
    """Slope of a straight line through the samples, for an hour."""
    return float(np.polyfit(times, values, 1)[0] * 3600.0) if len(times) > 2 else 0.0


class Sampler:
    """Reads /proc in a thread of its own."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._ending = stack, threading.Event()
        self.times: list[float] = []
        self.samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._ending.wait(SAMPLE_PERIOD):
            found = {name: process_sample(number) for name, number in self._stack.processes().items()}
            self.times.append(time.monotonic() - began)
            machine = {"shm": shm_megabytes(), "load": os.getloadavg()[0]}
            for name, values in {**found, "machine": machine}.items():
                for key, value in values.items():
                    self.samples[name][key].append(value)


class Neighbours:
    """Bad ones: every kind of attack in turn, each for `EACH` seconds, in a process of its own."""

    def __init__(self, robot_file: str) -> None:
        self._file, self._ending = robot_file, threading.Event()
        self.made: dict[str, int] = defaultdict(int)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        from bench._attacks import ATTACKS, start

        kinds = [kind for kind in ATTACKS if kind not in ("nothing", "second_executor")]
        while True:
            for kind in kinds:
                if self._ending.is_set():
                    return
                try:
                    attacker = start(kind, self._file)
                except RuntimeError as problem:
                    print(f"soak: {problem}", file=sys.stderr)
                    continue
                attacker.stdin.write("now\n")  # type: ignore[union-attr]
                attacker.stdin.flush()  # type: ignore[union-attr]
                self._ending.wait(EACH)
                attacker.communicate("enough\n")
                self.made[kind] += 1


class Operator(Watcher):
    """Also changes the state of managed nodes, and adds up periods over activations."""

    def __init__(self, robot: Robot) -> None:
        self.periods, self._activation = {"ticks": 0, "overruns": 0}, {"ticks": 0, "overruns": 0}
        self.spent: dict[str, float] = defaultdict(float)  # [s] by mode
        self._since = time.monotonic()
        super().__init__(robot)

    def hold_the_button(self) -> None:
        """Have an e-stop button of its own that is not pressed: it releases what an attack has pressed."""
        button = self.create_publisher(Bool, "estop", RELIABLE)
        self.create_timer(HEARTBEAT, lambda: button.publish(Bool(data=False)))

    def _on_state(self, message: ExecutorState) -> None:
        super()._on_state(message)
        now = time.monotonic()
        self.spent[self.mode] += now - self._since
        self._since = now

    def heard_health(self, name: str) -> None:
        """Diagnostics count from each activation on."""
        values = self.health[name][1]
        if name == "executor" and "ticks" in values:
            now = {key: int(values[key]) for key in self._activation}
            if now["ticks"] < self._activation["ticks"]:
                self.add_up()
            self._activation = now

    def add_up(self) -> None:
        """An activation is over."""
        self.periods = {key: self.periods[key] + count for key, count in self._activation.items()}
        self._activation = dict.fromkeys(self._activation, 0)

    def change(self, node: str, number: int) -> bool:
        """Ask for a transition; whether it was made."""
        client = self._asked.setdefault(f"{node}/change_state", None) or self.create_client(
            ChangeState, f"{node}/change_state"
        )
        self._asked[f"{node}/change_state"] = client
        self.wait(client.service_is_ready, f"{node}'s lifecycle")
        request = ChangeState.Request()
        request.transition.id = number
        future = client.call_async(request)
        future.add_done_callback(lambda _: self.notify())
        self.wait(future.done, f"an answer of {node}", 60.0)
        return bool(future.result().success)


def live(operator: Operator, chance: random.Random, until: float, counts: dict[str, int]) -> None:
    """Drive, and do one other thing after the other, until a steady time [s]."""
    while time.monotonic() < until:
        try:
            operator.forget()
            once(operator, chance, counts)
        except BenchError as problem:  # on a busy machine the mode may have changed between a look and a request
            print(f"soak: once more: {problem}", file=sys.stderr)
            counts["had to be repeated"] += 1
            operator.happens(lambda: False, PAUSE)


def once(operator: Operator, chance: random.Random, counts: dict[str, int]) -> None:
    """Lay out blocks, drive, and end that in one way or another."""
    operator.lay_out_anew()
    operator.say("touch every block")
    try:
        operator.engage(ENGAGE)
    except BenchError:  # too busy a machine to plan: that is counted, and what else there is to do is done
        counts["no plan in time"] += 1
    operator.happens(lambda: operator.mode != "autonomy", chance.uniform(*DRIVE))
    counts["ended by themselves"] += operator.mode != "autonomy"
    what = chance.choice(("hold", "stop", "executor", "policy", "high_level"))
    counts[what] += 1
    if what in NODES:
        for number in (DEACTIVATE, ACTIVATE):
            if not operator.change(what, number):
                raise BenchError(f"{what} refused transition {number}")
        operator.wait(lambda: operator.mode in ("hold", "autonomy", "stopped"), "a mode")
    elif operator.mode != "stopped":
        operator.ask(f"executor/{what}")


def main(argv: Sequence[str]) -> int:
    """0 if nothing ended by itself and everything that was asked for was done."""
    parser = argparse.ArgumentParser(prog="bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one minute")
    parser.add_argument("--attacked", action="store_true", help="beside bad neighbours")
    parser.add_argument("--samples", help="file for every sample, as JSON")
    args = parser.parse_args(argv)
    prepare()
    robot = load_robot("mobile_bimanual")
    with tempfile.TemporaryDirectory() as folder:
        params = Path(folder) / "params.yaml"
        params.write_text(json.dumps({"/**": {"ros__parameters": {"black_box": folder}}}))
        stack = Stack(
            bringup.nodes(
                {"robot": "mobile_bimanual", "checkpoint": "pi05_reach_tiny", "sim": "true", "params_file": str(params)}
                | ({"record": f"{folder}/recorded"} if args.attacked else {})
            )
        )
        operator, counts = Operator(robot), defaultdict(int)
        began, error = time.monotonic(), ""
        try:
            stack.start()
            sampler = Sampler(stack)
            neighbours = Neighbours("mobile_bimanual") if args.attacked else None
            if args.attacked:
                operator.hold_the_button()
            live(operator, random.Random(args.seed), began + 60.0 * (1.0 if args.quick else args.minutes), counts)
        except BenchError as problem:
            error = str(problem)
        finally:
            ended = stack.ended()
            sampler.stop()
            if neighbours is not None:
                neighbours.stop()
                counts |= {f"attack {kind}": count for kind, count in neighbours.made.items()}
                if not neighbours.made:
                    error += " no attack was made"
            stack.stop()
            operator.close()
    if args.samples:
        Path(args.samples).write_text(json.dumps({"times": sampler.times, **sampler.samples}))
    share = report(sampler, time.monotonic() - began, counts, operator)
    if share < LEAST_AUTONOMY and not args.attacked:
        error += f" autonomy for {share:.0%} of the time only"
    if ended or error:
        print(f"soak: {error} {'ended by themselves: ' + ', '.join(ended) if ended else ''}", file=sys.stderr)
    rclpy.try_shutdown()
    return int(bool(ended or error))


def report(sampler: Sampler, seconds: float, counts: dict[str, int], operator: Operator) -> float:
    """Print one JSON object a line; returns the share of the time in autonomy."""

    def tell(metric: str, value: float, unit: str) -> None:
        print(json.dumps({"bench": "soak", "metric": metric, "value": round(value, 3), "unit": unit}), flush=True)

    tell("duration", seconds / 60.0, "min")
    for what, count in sorted(counts.items()):
        tell(f"times: {what}", count, "1")
    first = len(sampler.times) // 5
    for name, series in sorted(sampler.samples.items()):
        for key, values in sorted(series.items()):
            unit = {"rss": "MB", "shm": "MB"}.get(key, "1")
            kept = values[first:] or values
            tell(f"{name} {key} last", values[-1], unit)
            tell(f"{name} {key} max", max(kept), unit)
            tell(f"{name} {key} growth", growth(sampler.times[first:][: len(kept)], kept), f"{unit}/h")
            late = values[len(values) // 2 :]
            tell(f"{name} {key} late growth", growth(sampler.times[-len(late) :], late), f"{unit}/h")
    operator.add_up()
    tell("executor periods", operator.periods["ticks"], "1")
    tell("executor periods missed", operator.periods["overruns"], "1")
    total = sum(operator.spent.values())
    for mode, spent in operator.spent.items():
        tell(f"time in {mode}", spent / total, "1")
    return operator.spent["autonomy"] / total if total else 0.0
