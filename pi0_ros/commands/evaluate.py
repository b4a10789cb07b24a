"""Measure a checkpoint's success rate in simulation, in virtual time."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pi0_ros.commands._numbers import SEEDS, number, whole
from pi0_ros.control.settings import STRATEGIES
from pi0_ros.sim.seeds import FIRST_UNSEEN_SEED

if TYPE_CHECKING:
    from pi0_ros.closed_loop.harness import Episode, Harness
    from pi0_ros.robot import Robot
    from pi0_ros.sim.robot import SimRobot
    from pi0_ros.sim.tasks import SimTask


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 evaluate`."""
    parser = subparsers.add_parser("evaluate", help=__doc__, description=__doc__)
    parser.add_argument(
        "--checkpoint", required=True, help="folder, a name under checkpoints/, or `operator`: the script"
    )
    parser.add_argument(
        "--task",
        default="reach",
        help="reach, touch_all, pick_place, drive_to, tidy, a task of an installed package, or module:Class (default: reach)",
    )
    parser.add_argument("--episodes", type=whole(1, 10**6), default=100, help="how many (default: 100)")
    parser.add_argument(
        "--seed", type=whole(0, SEEDS), default=0, help="first scene; scenes are disjoint from the training data's"
    )
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument(
        "--videos", type=Path, help="folder for a film of each episode that fails: all cameras, 10 pictures a second"
    )
    parser.add_argument(
        "--latency", type=number(0, 59), default=0.1, help="observation to chunk, seconds (default: 0.1)"
    )
    parser.add_argument(
        "--jitter", type=number(0, 1), default=0.0, help="share by which the latency varies (default: 0)"
    )
    parser.add_argument("--drop", type=number(0, 1), default=0.0, help="share of chunks that never arrive (default: 0)")
    parser.add_argument("--strategy", default="auto", choices=STRATEGIES, help="how chunks are joined (default: auto)")
    parser.add_argument(
        "--rtc", default="identity", choices=("none", "identity", "vjp", "prefix"), help="real-time chunking"
    )
    parser.add_argument("--robot", default="mobile_bimanual", help="robot YAML or name")
    parser.add_argument(
        "--world", default="", help="YAML file or name under config/worlds: cameras moved, another light"
    )
    parser.add_argument(
        "--unseen",
        default="",
        help="draw these, comma between, from what training data never have; chores: words, objects, places",
    )
    parser.add_argument(
        "--high-level", type=number(0.01, 3600), help="seconds between subtask questions (default: 1 for touch_all and tidy)"
    )
    parser.add_argument("--oracle", action="store_true", help="subtasks come from the scene, not from the network")
    parser.add_argument("--blind", action="store_true", help="black out every camera")
    parser.add_argument(
        "--instruction",
        default="",
        help="say this to the policy instead of the task's own words; 'red=tomato, yellow=banana' changes those words alone",
    )
    parser.add_argument(
        "--threads",
        type=whole(1, 1024),
        default=1,
        help="of the network (default: 1; more help a large one on idle cores)",
    )
    parser.add_argument("--device", default="cpu", help="where the network runs (default: cpu)")


def run(args: argparse.Namespace) -> int:
    """Run the episodes; 0 when all of them ran."""
    from pi0_ros.robot import load_robot
    from pi0_ros.robot.disk import check_writable
    from pi0_ros.robot.replacing import write_whole
    from pi0_ros.sim.errors import SimError
    from pi0_ros.sim.film import FilmedRobot
    from pi0_ros.sim.tasks import choose_unseen, make_task

    if args.episodes < 1:
        raise SimError(f"--episodes {args.episodes}: at least one is needed")
    if args.seed < 0:
        raise SimError(f"--seed {args.seed}: scenes below 0 are those that policies are trained on; give 0 or more")
    if args.json:
        check_writable(args.json)
    task = make_task(args.task)
    choose_unseen(task, [kind for kind in args.unseen.split(",") if kind])
    harness = _harness(args, task, load_robot(args.robot))
    check_words(
        args.instruction, (task.reset(harness.sim, FIRST_UNSEEN_SEED + args.seed + i) for i in range(args.episodes))
    )
    rows, began = [], time.monotonic()
    for i in range(args.episodes):
        episode = harness.run(task, FIRST_UNSEEN_SEED + args.seed + i)
        rows.append(_row(episode, args.seed + i))
        if isinstance(harness.sim, FilmedRobot) and not episode.success:
            harness.sim.write(args.videos / f"{args.task.rpartition(':')[2]}-{args.seed + i}.mp4")
        _progress(rows, args.episodes, began)
    harness.close()
    good, interval, done = _counted(rows)
    print(
        f"{args.task}: {good} of {len(rows)} episodes, {good / len(rows):.1%} "
        f"(95 % interval {interval[0]:.1%} to {interval[1]:.1%}), {done:.1%} of their steps"
    )
    if args.json:
        write_whole(args.json, json.dumps(_result(args, rows), indent=1) + "\n")
    if not any(row["chunks_accepted"] for row in rows):
        print(f"no chunk was accepted: {rows[-1]['last_refusal'] or 'none came'}")
    return 0


def check_words(wanted: str, instructions: Iterable[str]) -> None:
    """Raises SimError if no word that is to be changed is in any instruction: they would be measured as they are.

    Words that some of several pairs look for in vain are said on stderr.
    """
    from pi0_ros.closed_loop.harness import changed_words
    from pi0_ros.sim.errors import SimError

    changes = changed_words(wanted)
    if not all(old and new for old, new in changes.items()):
        raise SimError(f"--instruction {wanted!r}: needs a word on both sides of each =")
    missing, last = set(changes), ""
    for last in instructions if missing else ():
        missing -= set(last.split())
        if not missing:
            return
    if missing:
        said = (
            f"--instruction {wanted!r}: no scene asks with {' or '.join(map(repr, sorted(missing)))}; one asks {last!r}"
        )
        if missing == set(changes):
            raise SimError(said)
        print(said, file=sys.stderr, flush=True)


def _harness(args: argparse.Namespace, task: SimTask, robot: Robot) -> Harness[SimRobot]:
    from pi0_ros.closed_loop.harness import Harness, Trial
    from pi0_ros.closed_loop.latency import Latency
    from pi0_ros.closed_loop.planners import PolicyPlanner
    from pi0_ros.control import ExecutorSettings
    from pi0_ros.sim.changes import load_world
    from pi0_ros.sim.film import FilmedRobot
    from pi0_ros.sim.robot import SimRobot
    from pi0_ros.sim.tasks import ScriptedTask, robot_before
    from pi0_ros.touch.planners import OperatorPlanner

    high_level = args.high_level if args.high_level is not None else (1.0 if args.task in ("touch_all", "tidy") else 0.0)
    trial = Trial(
        latency=Latency(args.latency, args.jitter, args.drop),
        executor=ExecutorSettings(strategy=args.strategy),
        rtc="none" if args.checkpoint == "operator" else args.rtc,
        high_level=high_level,
        oracle=args.oracle,
        blind=args.blind,
        instruction=args.instruction,
    )
    kind = FilmedRobot if args.videos else SimRobot
    body = robot_before(task, robot, change=load_world(args.world), kind=kind)
    if args.checkpoint == "operator":
        return Harness(body, task.operator if isinstance(task, ScriptedTask) else OperatorPlanner, trial)
    from pi0_ros.policy import Policy, load_policy
    from pi0_ros.sim.errors import SimError

    policy = load_policy(args.checkpoint, robot, args.device, args.threads)
    if not isinstance(policy, Policy):
        raise SimError(
            f"--checkpoint {args.checkpoint}: a server's policy is not evaluated in virtual time; give its checkpoint"
        )
    return Harness(body, lambda sim: PolicyPlanner(policy), trial)


def _row(episode: Episode, seed: int) -> dict[str, object]:
    return {
        "seed": seed,
        "instruction": episode.instruction,
        "success": episode.success,
        "seconds": round(episode.seconds, 3),
        "done": episode.done,
        "total": episode.total,
        "chunks_accepted": episode.steps[-1].counters.chunks_accepted,
        "chunks_refused": episode.steps[-1].counters.chunks_rejected,
        "last_refusal": episode.refusal,
    }


def _counted(rows: Sequence[Mapping[str, object]]) -> tuple[int, tuple[float, float], float]:
    """Successes, the 95 % interval of their share, and the share of all steps that was done."""
    from pi0_ros.closed_loop.intervals import wilson

    good = sum(bool(r["success"]) for r in rows)
    done = sum(int(str(r["done"])) for r in rows) / sum(int(str(r["total"])) for r in rows)
    return good, wilson(good, len(rows)), done


def _result(args: argparse.Namespace, rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    good, interval, done = _counted(rows)
    return {
        "task": args.task,
        "world": args.world,
        "unseen": args.unseen,
        "episodes": len(rows),
        "successes": good,
        "interval": list(interval),
        "success_rate": good / len(rows),
        "steps_done": done,
        "per_episode": rows,
        "latency_s": args.latency,
        "strategy": args.strategy,
    }


def _progress(rows: list[dict[str, object]], total: int, began: float) -> None:
    good = sum(bool(r["success"]) for r in rows)
    left = (time.monotonic() - began) / len(rows) * (total - len(rows))
    end = "\n" if len(rows) == total else "\r"
    print(f"{len(rows)}/{total} episodes, {good} successful, {left:.0f} s left ", end=end, file=sys.stderr, flush=True)
