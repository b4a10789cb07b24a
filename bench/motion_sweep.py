"""Whatever a policy sends: how far the command is from a motion that could be followed, and what it breaks.

Horizon x rate of rows x delay x strategy x noise, smooth and sharp paths, robots that follow late. The judge is a few lines of
numpy and scipy of its own: it differences the commands and knows nothing of plans. What can be known between rows are the two
usual curves through them: the natural cubic spline and the monotone one (PCHIP; Fritsch and Carlson, 1980). The command is to be
between those of the rows that have arrived, at the moments which such rows have covered for `COVERED` seconds; if no row is,
there is nothing to follow. Noise is compared with the rows that were due while the command was judged.

`python -m bench motion_sweep [--quick] [--jobs N] [--file F]` With a file what was done is kept, and a run that was ended goes on.
"""

import argparse
import itertools
import json
import multiprocessing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

from pi0_ros.control import Chunk, Executor, ExecutorSettings
from pi0_ros.robot import load_robot
from pi0_ros.robot.spec import Kind

JOINT, SIZE, SETTLED = "left_joint2", 0.1, 3.0  # [rad] of the path; [s] after which the command is judged
START = 1000.0
CAUGHT_UP = 4.0  # times the delay: it is made up for at no more than 1.3 times the speed of the rows
NOISY_ROWS = 300  # rows after which an RMS is known to 4 %
COVERED = 0.6  # [s] after which a command that had nothing to follow is on its path again; rows that old may still fade


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object a line, the failures among them."""
    parser = argparse.ArgumentParser(prog="python -m bench motion_sweep", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few of each")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument(
        "--file", type=Path, help="JSON lines of the runs that are done; those in it are not made again"
    )
    args = parser.parse_args(argv)
    cases = list(cases_of(args.quick))
    done = {}
    if args.file is not None and args.file.exists():
        done = {json.dumps(line["case"]): line for line in map(json.loads, args.file.read_text().splitlines())}
    waiting = [case for case in cases if json.dumps(case) not in done]
    with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
        for line in pool.imap_unordered(judge, waiting):
            done[json.dumps(line["case"])] = line
            if args.file is not None:
                with args.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
    summary([done[json.dumps(case)] for case in cases])
    return 0


def cases_of(quick):  # type: ignore[no-untyped-def]
    """All runs, each a dictionary."""
    grid = {
        "rows": (4, 8, 16, 50, 100), "rate": (5, 10, 20, 50), "delay": (0.0, 0.1, 0.3, 1.0),
        "strategy": ("auto", "replace", "ensemble"), "noise": (0.0, 0.002, 0.005), "shape": ("sine", "steps", "stay"),
    }  # fmt: skip
    if quick:
        grid |= {"rows": (8, 50), "rate": (10, 50), "delay": (0.1, 0.3), "strategy": ("auto",), "noise": (0.0, 0.002)}
    runs = 0
    for case in itertools.product(*grid.values()):
        named = dict(zip(grid, case, strict=True))
        if named["delay"] > 0.6 * named["rows"] / named["rate"] or named["shape"] == "stay" and not named["noise"]:
            continue  # the robot would stand and wait: another question
        runs += 1
        yield named | {"lag": 0.05 * (runs % 3)}


def judge(case):  # type: ignore[no-untyped-def]
    """One run: its case, what was found, what is broken."""
    found, broken = judged(**case)
    return {"case": case, "found": found, "broken": broken}


def summary(lines) -> None:  # type: ignore[no-untyped-def]
    """Failures, and the worst of everything."""
    worst: dict[str, tuple[float, dict[str, object]]] = {}
    for line in lines:
        for key, value in line["found"].items():
            if value > worst.get(key, (-1.0, {}))[0]:
                worst[key] = value, line["case"]
        if line["broken"]:
            tell("failure", 1, "", **line["case"], broken=line["broken"], **line["found"])
    tell("runs", len(lines), "")
    tell("failures", sum(bool(line["broken"]) for line in lines), "")
    for key, (value, case) in worst.items():
        unit = {
            "distance": "rad",
            "off_the_sine": "rad",
            "overshoot": "rad",
            "backward": "rad",
            "seam": "of the velocity limit",
        }.get(key, "times")
        tell(f"worst_{key}", value, unit, case=case)


def tell(metric: str, value: float, unit: str, **more: object) -> None:
    """One line."""
    print(json.dumps({"bench": "motion_sweep", "metric": metric, "value": value, "unit": unit, **more}), flush=True)


def path_of(shape: str):  # type: ignore[no-untyped-def]
    """A path [rad] over time [s]: a slow sine, smooth steps up and down, or nothing."""
    if shape == "sine":
        return lambda t: SIZE * np.sin(np.pi * np.asarray(t))
    if shape == "steps":
        return lambda t: SIZE * (np.floor(np.asarray(t)) % 2)
    return lambda t: 0.0 * np.asarray(t)


def judged(rows, rate, delay, strategy, noise, shape, lag):  # type: ignore[no-untyped-def]
    """What one run did, and what of it is not right."""
    path, robot, rng = path_of(shape), load_robot("mobile_bimanual"), np.random.default_rng(rows * rate)
    run = drive(robot, path, rows, rate, delay, strategy, noise, lag, rng)
    column, period = robot.index[JOINT], 1.0 / robot.control_rate
    limit = robot.channels[column].limits
    moved, seam = run.commands[:, column], run.seam
    judged_from = round((SETTLED + CAUGHT_UP * delay) / period)
    late = moved[judged_from:]
    found = {
        "velocity": float(np.abs(np.diff(moved)).max() / period / limit.velocity),
        "acceleration": float(np.abs(np.diff(moved, 2)).max() / period**2 / limit.acceleration),
        "jerk": float(np.abs(np.diff(moved, 3)).max() / period**3 / limit.jerk),
        "seam": seam,
    }
    broken = [name for name in ("velocity", "acceleration", "jerk") if found[name] > 1.0 + 1e-6]
    if seam > 0.05:
        broken.append("seam")
    if shape == "stay":
        off, due = late - middle(robot)[column], run.due[judged_from:] - middle(robot)[column]
        known = np.isfinite(due)
        found["noise_gain"] = float(np.sqrt(np.mean(off**2) / np.mean(due[known] ** 2)))
        # A tenth of a milliradian is what a plan may leave its rows by.
        found["noise_peak"] = float((np.abs(off).max() - 1e-4) / run.largest_noise)
        broken += [name for name in ("noise_gain", "noise_peak") if found[name] > 1.0 + 1e-6]
    elif shape == "sine" and not noise:
        low, high = run.low[judged_from:], run.high[judged_from:]
        there = np.isfinite(low) & run.covered[judged_from:]
        found["judged"] = float(there.mean())
        if there.any():
            found["off_the_sine"] = float(np.abs(late - run.wanted[judged_from:])[there].max())
            found["distance"] = float(np.maximum(low - late, late - high)[there].max(initial=0.0))
            broken += ["distance"] if found["distance"] > 0.002 else []
    elif shape == "steps" and not noise:
        over = max(float(moved.max()) - middle(robot)[column] - SIZE, middle(robot)[column] - float(moved.min()))
        found["overshoot"] = max(over, 0.0)
        found["backward"] = backward(moved)
        broken += [name for name in ("overshoot", "backward") if found[name] > 0.002]
    return {name: round(float(value), 6) for name, value in found.items()}, broken


class Run(NamedTuple):
    """What a run did, and at each of its N commands what could be known of where it should be."""

    commands: np.ndarray  # [N, D]
    seam: float
    largest_noise: float  # [rad]
    wanted: np.ndarray  # [N] the path itself
    low: np.ndarray  # [N] least and most of the curves through what has arrived, nan if no row is
    high: np.ndarray
    due: np.ndarray  # [N] the row of the newest chunk that is due, nan if none is
    covered: np.ndarray  # [N] whether rows have been there for a while


class Curves:
    """The curves through the rows that have arrived."""

    def __init__(self, column: int, every: bool) -> None:
        """`every`: all chunks count however old, as in an ensemble."""
        self._column, self._every, self._known = column, every, []

    def add(self, ros: float, chunk: Chunk) -> None:
        """A chunk that was accepted at `ros`."""
        times, rows = chunk.start + chunk.period * np.arange(len(chunk.values)), chunk.values[:, self._column]
        curves = CubicSpline(times, rows, bc_type="natural"), PchipInterpolator(times, rows)
        self._known = [*self._known[-20:], (ros, times, rows, curves)]

    def at(self, ros: float) -> tuple[float, float, float]:
        """Lowest and highest curve at `ros`, and the row that is due."""
        values, due = [], np.nan
        for k, (arrived, times, rows, curves) in enumerate(self._known):
            recent = self._every or k == len(self._known) - 1 or arrived > ros - COVERED
            if recent and times[0] <= ros <= times[-1]:
                values += [float(curve(ros)) for curve in curves]
                due = rows[int((ros - times[0]) / (times[1] - times[0]) + 1e-6)]
        return (min(values), max(values), due) if values else (np.nan, np.nan, np.nan)


def backward(moved):  # type: ignore[no-untyped-def]
    """How far [rad] a command between two levels ever goes back before it has arrived."""
    low, high = moved.min(), moved.max()
    level = np.where(moved < low + 0.1 * (high - low), -1, np.where(moved > high - 0.1 * (high - low), 1, 0))
    worst, begin = 0.0, 0
    for k in range(1, len(moved)):
        if level[k] and level[k] != level[begin]:
            way = moved[begin : k + 1] * level[k]
            worst = max(worst, float(np.max(np.maximum.accumulate(way) - way)))
        if level[k]:
            begin = k
    return worst


def middle(robot):  # type: ignore[no-untyped-def]
    """Where every channel starts [D]."""
    limits = [c.limits for c in robot.channels]
    return np.array(
        [
            0.0 if c.kind is Kind.VELOCITY else 0.5 * (m.lower + m.upper)
            for c, m in zip(robot.channels, limits, strict=True)
        ]
    )


def drive(robot, path, rows, rate, delay, strategy, noise, lag, rng):  # type: ignore[no-untyped-def]
    """One run."""
    executor, period = Executor(robot, ExecutorSettings(strategy=strategy, chunk_max_age=3.0)), 1.0 / robot.control_rate
    measured, column = middle(robot), robot.index[JOINT]
    base, sent, judged, largest = measured.copy(), [], [], 0.0
    asked, pending, sequence, seam, step = -1e9, None, 0, 0.0, None
    ends, covered = -1e9, 0.0  # until when rows have come; from when on the command is on them again
    curves = Curves(column, strategy == "ensemble")
    # Enough rows for their RMS to be known.
    seconds = SETTLED + CAUGHT_UP * delay + max(3.0, NOISY_ROWS / rate if noise else 0.0)
    for k in range(round(seconds / period)):
        steady = k * period
        ros = START + steady
        executor.on_state(steady, ros, ros, joints_of(robot, measured))
        executor.on_odometry(steady, ros, ros, 0.0, 0.0, 0.0)
        if k == 10:
            executor.request(steady, ros, "autonomy")
        if pending is not None and pending[0] <= ros + 1e-9:
            if executor.on_chunk(steady, ros, pending[1]).accepted:
                ends = max(ends, pending[1].end)
                curves.add(ros, pending[1])
            pending = None
        if ends < ros:  # a period without rows, made up for as the delay is
            covered = max(covered, ros + COVERED) + CAUGHT_UP * period
        step = executor.step(steady, ros)
        if k > 50:
            seam = max(seam, step.seam.velocity_share)
        if step.command is not None:
            measured = measured + (1.0 if lag <= 0 else 1.0 - np.exp(-period / lag)) * (step.command.values - measured)
            sent.append(step.command.values)
            judged.append((base[column] + float(path(steady)), *curves.at(ros), ros > covered))
        ending = step.plan_left < delay + 0.1 and ros - asked >= delay
        if k > 10 and pending is None and (ros - asked >= 0.4 - 1e-9 or ending):
            asked, sequence = ros, sequence + 1
            shaken = np.clip(rng.normal(0.0, noise, rows), -3.0 * noise, 3.0 * noise) if noise else np.zeros(rows)
            largest = max(largest, float(np.abs(shaken).max()))
            values = np.tile(base, (rows, 1))
            values[:, column] += path(steady + np.arange(rows) / rate) + shaken
            late = delay * (1.0 + 0.3 * rng.uniform(-1.0, 1.0))
            chunk = Chunk(ros, 1.0 / rate, robot.channel_names, values, sequence, step.epoch, "policy")
            pending = (ros + late, chunk)
    wanted, low, high, due, covered = np.array(judged, dtype=float).T
    return Run(np.array(sent), seam, largest, wanted, low, high, due, covered > 0.5)


def joints_of(robot, values):  # type: ignore[no-untyped-def]
    """Joint positions of channel `values` [D], by joint."""
    joints = {}
    for group in robot.groups:
        for c in group.channels:
            if (joint := robot.joint_of_channel.get(c.name)) is not None:
                value, grip = float(values[robot.index[c.name]]), group.gripper
                joints[joint] = grip.closed + value * (grip.open - grip.closed) if grip else value
    return joints


if __name__ == "__main__":
    raise SystemExit(main())
