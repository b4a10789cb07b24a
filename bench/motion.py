"""Splice strategies side by side on the same seeds, in virtual time, over policy latencies.

`python -m bench motion [--quick] [--episodes N] [--checkpoint C] [--plot DIR]`
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from pi0_ros.closed_loop.harness import Episode, Harness, Trial
from pi0_ros.closed_loop.latency import Latency
from pi0_ros.closed_loop.metrics import motion_of
from pi0_ros.closed_loop.planners import PolicyPlanner
from pi0_ros.control import ExecutorSettings
from pi0_ros.robot import Robot, load_robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.seeds import FIRST_UNSEEN_SEED
from pi0_ros.sim.tasks import make_task
from pi0_ros.touch.planners import OperatorPlanner

JITTER = 0.3
LATENCIES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
STRATEGIES = ("replace", "blend", "ensemble", "rtc", "auto")
UNITS = {
    "rms_jerk": "rad/s^3",
    "seam_position": "rad",
    "seam_velocity": "rad/s",
    "seam_share": "of the velocity limit",
    "holding": "s",
    "underruns": "count",
    "tracking": "rad",
    "delay": "s",
    "violations": "count",
}


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(prog="python -m bench motion", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two latencies, three strategies, few episodes")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--checkpoint", default="pi05_reach_tiny", help="folder, name, or `operator`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="folder for a picture of the same seed under every strategy")
    args = parser.parse_args(argv)
    latencies, strategies = ((0.0, 0.2), ("replace", "blend", "auto")) if args.quick else (LATENCIES, STRATEGIES)
    robot = load_robot("mobile_bimanual")
    planner = _planner(args, robot)
    for latency in latencies:
        runs = {}
        for strategy in strategies:
            trial = _trial(latency, strategy, args.checkpoint)
            episodes = list(_episodes(Harness(SimRobot(robot), planner, trial), 4 if args.quick else args.episodes))
            runs[strategy] = episodes[0]
            _report(robot, latency, strategy, episodes)
        if args.plot:
            _plot(robot, runs, args.plot / f"motion_{round(latency * 1e3)}ms.png")
    return 0


def _planner(args, robot: Robot):  # type: ignore[no-untyped-def]
    if args.checkpoint == "operator":
        return OperatorPlanner
    from pi0_ros.policy import load_policy

    policy = load_policy(args.checkpoint, robot, "cpu", args.threads)
    return lambda sim: PolicyPlanner(policy)


def _trial(latency: float, strategy: str, checkpoint: str) -> Trial:
    """Only `rtc` and `auto` give the policy the running plan; the scripted operator takes none."""
    told = strategy in ("rtc", "auto") and checkpoint != "operator"
    return Trial(
        latency=Latency(latency, JITTER if latency else 0.0),
        executor=ExecutorSettings(strategy=strategy),
        rtc="identity" if told else "none",
    )


def _episodes(harness: Harness, count: int) -> Iterator[Episode]:
    task = make_task("reach")
    for i in range(count):
        print(f"{harness.trial.executor.strategy} {harness.trial.latency.mean:g} s: {i + 1}/{count}", file=sys.stderr)
        yield harness.run(task, FIRST_UNSEEN_SEED + i)
    harness.close()


def _report(robot: Robot, latency: float, strategy: str, episodes: list[Episode]) -> None:
    where = {"latency_s": latency, "strategy": strategy, "episodes": len(episodes)}
    success = sum(e.success for e in episodes) / len(episodes)
    lines = [("success", success, "share"), ("seconds", sum(e.seconds for e in episodes) / len(episodes), "s")]
    lines += [(name, value, UNITS[name]) for name, value in asdict(motion_of(robot, episodes)).items()]
    for metric, value, unit in lines:
        print(json.dumps({"bench": "motion", "metric": metric, "value": value, "unit": unit, **where}), flush=True)


def _plot(robot: Robot, runs: dict[str, Episode], file: Path) -> None:
    from pi0_ros.closed_loop.plots import busiest, plot_commands

    file.parent.mkdir(parents=True, exist_ok=True)
    first = next(iter(runs.values()))
    arms = [c for c in busiest(robot, first, 8) if "joint" in c][:2]
    plot_commands(robot, runs, arms, file)


if __name__ == "__main__":
    raise SystemExit(main())
