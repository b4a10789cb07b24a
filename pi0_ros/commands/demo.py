"""The demo on the simulated robot: it gets a task, does it, and a person takes over once.

Runs the nodes that `pi0 up sim:=true` runs, and a demo director that starts scenes, takes over and measures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pi0_ros import bringup
from pi0_ros.commands._own_graph import joined_graph, own_graph
from pi0_ros.ros.environment import check_environment
from pi0_ros.supervisor import Program, Supervisor, node_program, stop_signals

CAMERA_RATE = 15.0
"""Pictures a second [Hz]: drawing them on the processor is what the demo costs most, and a plan is made every 0.4 s."""
LONGEST = 1e6
LATE_MS, MISSED_SHARE = 10.0, 0.05
"""From here on the computer is too busy for the demo: half a control period late, or one command in twenty missing."""
LAST_SEED = 2**31 - 1


class DemoError(RuntimeError):
    """The demo could not be run; the text says why."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `pi0 demo` to the command line."""
    parser = subparsers.add_parser("demo", help="the main job on the simulated robot", description=__doc__)
    parser.add_argument("--duration", type=float, default=0.0, help="seconds; 0 (default): until Ctrl-C")
    parser.add_argument("--seed", type=int, default=0, help="seed of scenes and of the policy's noise")
    parser.add_argument("--report", type=Path, help="JSON file for what was measured")
    parser.add_argument("--video", type=Path, help="MP4 file for what the cameras saw")
    parser.add_argument("--headless", action="store_true", help="no window, even if there is a display")
    parser.add_argument("--no-takeover", action="store_true", help="nobody takes over in the middle")
    parser.add_argument("--robot", default="mobile_bimanual", help="robot YAML: a file or a name")
    parser.add_argument(
        "--domain",
        type=int,
        help="join this ROS domain, on this machine alone; refused if anything listens to the robot's command topics."
        " Default: a domain of its own, whatever ROS_DOMAIN_ID says",
    )
    parser.add_argument("--checkpoint", default="pi05_reach_tiny", help="policy: a folder or a name")


def programs(args: argparse.Namespace, report: Path) -> list[Program]:
    """The simulated robot, the nodes, and the demo director, which everything waits for."""
    chosen = {"robot": args.robot, "checkpoint": args.checkpoint, "sim": "true", "seed": str(args.seed)}
    window = not args.headless and bool(os.environ.get("DISPLAY"))
    listed = []
    for node in bringup.nodes(chosen):
        extra = {"camera_rate": CAMERA_RATE, "viewer": window} if node.executable == "sim_robot" else {}
        made = bringup.Node(node.executable, {**node.parameters, **extra}, node.remappings, node.namespace)
        listed.append(node_program(made, required=True))
    demo_director = {
        "robot": args.robot,
        "duration": args.duration,
        "report": str(report.resolve()),
        "video": str(args.video.resolve()) if args.video else "",
        "takeover": not args.no_takeover,
    }
    return [*listed, node_program(bringup.Node("demo_director", demo_director), required=True)]


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 if it ran to its end and no program failed."""
    check(args)
    with tempfile.TemporaryDirectory() as folder:
        report = args.report or Path(folder) / "report.json"
        graph = own_graph(args.robot) if args.domain is None else joined_graph(args.robot, args.domain)
        failed = _supervise(programs(args, report), graph)
        if not report.is_file():
            raise DemoError("the demo ended before anything was measured; the lines above say why")
        outcome = json.loads(report.read_text(encoding="utf-8"))
    print("\n".join(summary(outcome)))
    if args.report:
        print(f"report: {args.report}")
    if args.video and args.video.is_file():
        print(f"video: {args.video}")
    elif args.video:
        raise DemoError(f"--video {args.video}: no video was written; the lines above say why")
    return int(failed)


def check(args: argparse.Namespace) -> None:
    """Refuse what the nodes would refuse, before any of them starts. Raises DemoError, UnusableEnvironment."""
    if not 0.0 <= args.duration <= LONGEST:  # not a number is not in there either
        raise DemoError(f"--duration {args.duration} must be from 0 to {LONGEST:g} seconds")
    if not 0 <= args.seed <= LAST_SEED:
        raise DemoError(f"--seed {args.seed} must be from 0 to {LAST_SEED}")
    if args.video and args.video.suffix.lower() != ".mp4":
        raise DemoError(f"--video {args.video}: the name of a video ends in .mp4")
    for option, file in (("--video", args.video), ("--report", args.report)):
        if file:
            _start_anew(option, file)
    check_environment()


def _start_anew(option: str, file: Path) -> None:
    """Make sure that a file can be written, and take away an older one, which would pass for this run's."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        file.unlink()
    except OSError as error:
        raise DemoError(f"{option} {file}: cannot be written: {error.strerror}") from None


def _supervise(listed: list[Program], graph: Mapping[str, str]) -> bool:
    """Run until the demo director has ended or somebody asks; returns whether a program failed."""
    supervisor = Supervisor(listed, env=graph)
    with stop_signals(lambda _: supervisor.interrupt()):
        supervisor.start()
        ended = supervisor.next_event()
        if ended is not None and ended.program.name != "demo_director":
            supervisor.output.say("demo", f"{ended}; stopping the others")
        killed = supervisor.stop()
    for program in killed:
        print(f"{program.name} did not stop by itself and was killed", file=sys.stderr)
    return bool(killed) or (ended is not None and (ended.code != 0 or ended.program.name != "demo_director"))


def summary(report: Mapping[str, Any]) -> list[str]:
    """A report as lines for a person."""
    control, policy, motion, tasks = (report[k] for k in ("control", "policy", "motion", "tasks"))
    error, own = control["period_error_ms"], control["executor"]["period_late_ms"]
    return [
        (
            f"{report['duration_s']:.0f} s, {control['commands']} commands at {control['rate_hz']:.2f} Hz,"
            f" period error p99 {error['p99']:.2f} ms, max {error['max']:.1f} ms, {control['missed']} missed"
        ),
        f"the executor by its own clock: late p99 {own['p99']:.2f} ms, max {own['max']:.1f} ms",
        (
            f"{policy['chunks']} chunks, inference p50 {policy['inference_ms']['p50']:.0f} ms,"
            f" observation to command p50 {policy['observation_to_command_ms']['p50']:.0f} ms"
        ),
        (
            f"{motion['limit_violations']} limit violations, {motion['underruns']} underruns,"
            f" {report['takeovers']} takeovers"
        ),
        f"{tasks['succeeded']} of {tasks['attempted']} blocks touched",
        *(f"fault: {text}" for text in report["faults"]),
        *too_busy(own["p99"], control["missed"], control["commands"]),
    ]


def too_busy(late_ms: float, missed: int, commands: int) -> list[str]:
    """A line for a person if the computer, and not the robot, is why little was done.

    late_ms: 99th percentile of how late the executor's periods began. missed: of so many `commands` that did arrive.
    """
    if late_ms < LATE_MS and missed <= MISSED_SHARE * commands:
        return []
    text = f"periods began {late_ms:.0f} ms late, {missed} commands did not come in time"
    return [f"this computer was too busy for the demo: {text}. It wants two idle processor cores: end other programs"]
