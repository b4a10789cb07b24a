"""What `pi0 check` says of a robot alone, and of the same robot on the running graph."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from pi0_ros.robot import Robot
from pi0_ros.robot.report import report, report_lines, table


def print_robot(robot: Robot, as_json: bool) -> int:
    """Print what was found in the robot's YAML and URDF; 0, since a robot that loads can be brought up."""
    if as_json:
        print(json.dumps(report(robot), indent=1))
    else:
        print("\n".join(report_lines(robot)))
        print(f"{robot.file.name} can be brought up; compare the limits with the vendor's page")
    return 0


def print_live(robot: Robot, duration: float, namespace: str, use_sim_time: bool, as_json: bool) -> int:
    """Print what the running graph has of the robot's topics; 1 if something would keep it from working."""
    from pi0_ros.ros.environment import check_environment

    check_environment()  # before anything of ROS is loaded: it ends the process for an RMW that it does not have
    from pi0_ros.ros.live_check import watch
    from pi0_ros.ros.live_verdict import Level, problems_of, table_rows

    seen = watch(robot, duration, namespace, use_sim_time)
    problems = problems_of(robot, seen)
    bad = [problem for problem in problems if problem.level is Level.ERROR]
    if as_json:
        found = {"topics": [asdict(one) for one in seen], "problems": [asdict(problem) for problem in problems]}
        print(json.dumps(_finite(found), indent=1))
        return 1 if bad else 0
    print("\n".join(table(table_rows(seen))))
    for joint, (low, high) in sorted({j: r for one in seen for j, r in one.ranges.items()}.items()):
        print(f"  joint {joint}: {low:.4f} .. {high:.4f}")
    for problem in problems:
        print(f"{problem.level}  {problem.sentence}")
    if bad:
        print(f"pi0: {robot.name} is not ready; the lines with 'no' say why", file=sys.stderr)
        return 1
    print(f"{robot.name} is there; nothing was moved")
    return 0


def _finite(value: object) -> object:
    """JSON has no numbers that are not finite: null stands for them."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
