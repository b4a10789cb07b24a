"""Random lifecycle requests to a running executor, possible ones and others: does it answer each as the table says, and live?

`python -m bench lifecycle [--sequences 200] [--length 5] [--seed 0] [--quick]`

After every sequence the executor is made active, and has to hold the robot where it is, grant autonomy and drive the base.
Every request is answered in every state. Memory, threads, sockets and files are read after each sequence; their growth is
that of a straight line through all but the first tenth, for a hundred sequences.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import rclpy
from lifecycle_msgs.srv import ChangeState

from bench._stack import BenchError, patient_robot, prepare
from bench.endings import FAST_ENOUGH, Surroundings, executor_command
from bench.soak import growth, process_sample
from pi0_ros.robot import load_robot

CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4
TABLE = {
    ("unconfigured", CONFIGURE): "inactive",
    ("inactive", ACTIVATE): "active",
    ("inactive", CLEANUP): "unconfigured",
    ("active", DEACTIVATE): "inactive",
}
"""What is possible (design.ros2.org, node lifecycle); anything else is refused and changes nothing."""
REQUESTS = ("executor/hold", "executor/stop", "executor/reset", "executor/autonomy")


class Manager(Surroundings):
    """Also changes the executor's state."""

    def change(self, number: int) -> bool:
        """Ask for a transition; whether it was made."""
        name = "executor/change_state"
        client = self._asked.get(name) or self._asked.setdefault(name, self.create_client(ChangeState, name))
        self.wait(client.service_is_ready, "the executor's lifecycle", 60.0)
        request = ChangeState.Request()
        request.transition.id = number
        future = client.call_async(request)
        future.add_done_callback(lambda _: self.notify())
        self.wait(future.done, f"an answer to transition {number}", 60.0)
        return bool(future.result().success)


def sequence(manager: Manager, chance: random.Random, length: int, state: str) -> tuple[str, int]:
    """Random requests from a state on; the state they lead to, and how many were answered wrongly."""
    wrong = 0
    for _ in range(length):
        number = chance.choice((CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE))
        after = TABLE.get((state, number))
        wrong += manager.change(number) != (after is not None)
        state = after or state
        if chance.random() < 0.3:
            granted, _ = manager.ask(chance.choice(REQUESTS))
            wrong += granted and state != "active"
    return state, wrong


def works(manager: Manager, state: str) -> None:
    """Make it active and have it drive the base. Raises BenchError if that cannot be done."""
    for number, before in ((CONFIGURE, "unconfigured"), (ACTIVATE, "inactive")):
        if state == before and manager.change(number):
            state = TABLE[state, number]
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        if manager.mode == "stopped":
            manager.ask("executor/reset")
        manager.ask("executor/autonomy")
        if manager.happens(lambda: manager.mode == "autonomy" and manager.speed > FAST_ENOUGH, 4.0):
            return
    raise BenchError(f"no motion: {manager.mode}, {manager.reason}")


def main(argv: Sequence[str]) -> int:
    """0 if every request was answered as the table says and the executor worked after every sequence."""
    parser = argparse.ArgumentParser(prog="bench lifecycle", description=__doc__)
    parser.add_argument("--sequences", type=int, default=200)
    parser.add_argument("--length", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="five sequences")
    args = parser.parse_args(argv)
    prepare()
    with tempfile.TemporaryDirectory() as folder:
        return _run(str(patient_robot(Path(folder))), 5 if args.quick else args.sequences, args.length, args.seed)


def _run(robot: str, sequences: int, length: int, seed: int) -> int:
    manager, chance = Manager(load_robot(robot)), random.Random(seed)
    process = subprocess.Popen(executor_command(robot), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    done = wrong = 0
    samples: list[dict[str, float]] = []
    error = ""
    try:
        manager.wait(lambda: manager.commands["base"], "the first command", 60.0)
        while done < sequences:
            done += 1
            state, more = sequence(manager, chance, length, "active")
            wrong += more
            works(manager, state)
            samples.append(process_sample(process.pid))
            manager.forget()
            if process.poll() is not None:
                raise BenchError("the executor ended")
    except (BenchError, KeyboardInterrupt) as problem:
        error = f"sequence {done}: {problem!r}"
    process.terminate()
    code = process.wait(60.0)
    tell(samples, {"sequences": done - bool(error), "requests answered wrongly": wrong, "exit code": code})
    if error:
        print(f"lifecycle: {error}", file=sys.stderr)
    manager.close()
    rclpy.try_shutdown()
    return int(bool(error or wrong or code))


def tell(samples: Sequence[dict[str, float]], results: dict[str, float]) -> None:
    """Print one JSON object a line."""
    for key in samples[0] if samples else ():
        values = [sample[key] for sample in samples]
        kept = values[len(values) // 10 :]
        slope = growth(range(len(kept)), kept) / 36.0  # from 3600 to 100
        results |= {f"{key} first": values[0], f"{key} last": values[-1], f"{key} growth in 100 sequences": slope}
    for metric, value in results.items():
        print(json.dumps({"bench": "lifecycle", "metric": metric, "value": round(value, 2), "unit": "1"}), flush=True)
