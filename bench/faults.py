"""The 44 faults of docs/faults.md with their outcome, and what any input whatsoever does to the control core.

`python -m bench faults [--quick] [--inputs N] [--seed S]`

The rows are run as their tests; a row without a test, or with one that fails or is skipped, has not the expected
outcome. `--quick` runs the rows of the pure core and 5,000 inputs. Then `bench/_hostile.py` attacks an executor on a real graph: plans
that start far away, huge rows, absurd stamps, floods, a storm of requests, an e-stop of another quality of service.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from bench._hostile import run as run_attack
from bench.takeover import EPOCH, Stage
from pi0_ros.control import Chunk
from pi0_ros.control.audit import violations
from pi0_ros.robot import load_robot

ROOT = Path(__file__).resolve().parents[1]
UNITS = {
    "rate": "Hz", "gap": "s", "step_share": "of the velocity limit", "strayed": "rad", "refused": "count", "stop": "s",
    "missed": "periods", "missed_writing": "periods", "boxes": "count", "grown": "MB", "held": "s", "seen_for": "s",
}  # fmt: skip
ODD = (0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e308, 5e-324)


def rows() -> dict[int, list[str]]:
    """Number of each fault and the tests that hold it, from docs/faults.md."""
    table = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]*) \|$", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)
    return {int(number): [t.strip(" `") for t in tests.split("<br>") if t.strip()] for number, tests in table}


def run_tests(tests: list[str]) -> dict[str, str]:
    """Outcome (passed, failed, skipped) of every test function, parametrised ones together, worst first."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
        subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
        cases = ElementTree.parse(report).iter("testcase") if report.exists() else ()
        outcomes: dict[str, str] = {}
        for case in cases:
            name = f"{(case.get('classname') or '').replace('.', '/')}.py::{(case.get('name') or '').split('[')[0]}"
            kinds = {child.tag for child in case}
            found = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            outcomes[name] = min(found, outcomes.get(name, "skipped" if found == "skipped" else "passed"))
        return outcomes


def fuzz(inputs: int, seed: int) -> dict[str, int]:
    """Throw `inputs` messages at the executor, a control period after every third; count what went wrong."""
    stage, crashes, broken, commands = Stage(load_robot("mobile_bimanual"), seed), 0, 0, 0
    run: list[np.ndarray] = []
    for k in range(inputs):
        if k % 5000 == 4999:
            broken += len(violations(stage.robot, np.array(run), stage.period)) if run else 0
            stage, run = Stage(load_robot("mobile_bimanual"), seed + k), []
        try:
            anything(stage)
            if k % 3 == 0:
                before = len(stage.commands)
                stage.advance()
                fresh = stage.commands[before:]
                if not fresh and run:  # silent: the next command starts anew where the robot is
                    broken += len(violations(stage.robot, np.array(run), stage.period))
                    run = []
                run, commands = [*run, *fresh], commands + len(fresh)
        except Exception as error:  # noqa: BLE001 (crashes are what is being counted)
            crashes += 1
            print(f"input {k}: {type(error).__name__}: {error}", file=sys.stderr)
    broken += len(violations(stage.robot, np.array(run), stage.period)) if run else 0
    return {"inputs": inputs, "commands": commands, "crashes": crashes, "violations": broken}


def anything(stage: Stage) -> None:
    """One random message, service call or fault."""
    rng, executor = stage.rng, stage.executor
    steady, ros = stage.steady, EPOCH + stage.steady
    kind = rng.integers(9)
    if kind <= 2:
        executor.on_chunk(steady, ros, any_chunk(stage, ros))
    elif kind == 3:
        groups = [g.name for g in stage.robot.groups] + ["tail"]
        values = [any_number(rng) for _ in range(rng.integers(0, 8))]
        names = list(stage.robot.channel_names[: len(values)]) + ["x"] * int(rng.integers(0, 2))
        executor.on_teleop(steady, str(rng.choice(groups)), names, values)
    elif kind == 4:
        joints = {j: any_number(rng) for j in rng.choice([*stage.robot.joint_of_channel.values(), "x"], 2)}
        executor.on_state(steady, ros, any_number(rng), joints)
    elif kind == 5:
        executor.on_odometry(steady, ros, any_number(rng), any_number(rng), any_number(rng), any_number(rng))
    elif kind == 6:
        names = [*["autonomy"] * 6, *["teleop"] * 3, *["reset"] * 4, "hold", "stop", "", "dance"]
        executor.request(steady, ros, str(rng.choice(names)))
    elif kind == 7:
        executor.on_estop(steady, bool(rng.random() < 0.03))
        executor.on_deadman(steady, bool(rng.integers(2)))
    else:
        executor.running_plan(any_number(rng))
        # The steady clock does not jump ahead; everything else that a caller could get wrong is tried.
        executor.step(float(rng.choice([math.nan, math.inf, -math.inf, steady, steady - 1.0])), any_number(rng))


def any_number(rng: np.random.Generator) -> float:
    """A plain number, or an odd one."""
    return float(rng.choice(ODD)) if rng.random() < 0.2 else float(rng.normal(0.0, 2.0))


def any_chunk(stage: Stage, ros: float) -> Chunk:
    """A chunk that is good, noisy, wild or broken."""
    rng, robot = stage.rng, stage.robot
    stage.sequence += 1
    here = stage.commands[-1] if stage.commands else stage.measured
    noise = rng.normal(0.0, rng.choice([0.0, 0.003, 0.1, 3.0, 1e9]), (int(rng.integers(1, 24)), len(here)))
    chunk = Chunk(
        ros - rng.uniform(0.0, 0.3), 0.1, robot.channel_names, here + noise, stage.sequence, stage.step.epoch, "fuzz"
    )
    change = rng.integers(12)
    if change == 0:
        return replace(chunk, values=noise[:, :-1])
    if change == 1:
        return replace(chunk, values=noise + rng.choice(ODD, noise.shape))
    if change == 2:
        return replace(chunk, start=any_number(rng), period=any_number(rng))
    if change == 3:
        return replace(chunk, epoch=int(rng.integers(100)), sequence=int(rng.integers(10)))
    if change == 4:
        return replace(chunk, names=tuple(rng.permutation(robot.channel_names).tolist()))
    if change == 5:
        return replace(chunk, period=float(rng.choice([0.002, 0.02, 1.0])), frozen_rows=int(rng.integers(-1, 9)))
    return chunk


def kinds_of_attack() -> list[str]:
    """All of them; what is named here needs ROS."""
    from bench._attacks import ATTACKS

    return list(ATTACKS)


def tell_attacks(names: list[str]) -> None:
    """Make these attacks and print what became of each."""
    for name in names:
        for metric, value in vars(run_attack(name)).items():
            line = {"bench": "faults", "metric": f"attack_{name}_{metric}", "value": value, "unit": UNITS[metric]}
            print(json.dumps(line), flush=True)


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object a line; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the pure core's rows and 5,000 inputs")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attacks", nargs="*", metavar="KIND", help="only these attacks (none named: all)")
    args = parser.parse_args(argv)
    if args.attacks is not None:
        tell_attacks(args.attacks or kinds_of_attack())
        return 0
    table = rows()
    if args.quick:
        table = {n: [t for t in tests if t.startswith("test/control/test_checklist")] for n, tests in table.items()}
        table = {n: tests for n, tests in table.items() if tests}
    outcomes = run_tests(sorted({t for tests in table.values() for t in tests}))
    expected = 0
    for number, tests in table.items():
        good = bool(tests) and all(outcomes.get(t) == "passed" for t in tests)
        expected += good
        line = {"bench": "faults", "metric": f"row_{number:02d}", "value": int(good), "unit": "expected outcome"}
        print(json.dumps(line | {"tests": {t: outcomes.get(t, "missing") for t in tests}}), flush=True)
    result = fuzz(5000 if args.quick else args.inputs, args.seed)
    if not args.quick:
        tell_attacks(kinds_of_attack())
    for metric, value in {"rows": len(table), "expected": expected, **result}.items():
        print(json.dumps({"bench": "faults", "metric": metric, "value": value, "unit": "count"}), flush=True)
    return int(expected < len(table) or result["crashes"] + result["violations"] > 0)
