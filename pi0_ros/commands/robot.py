"""Work on a running robot: `measure-latency` moves one joint a little and prints how late the robot is."""

from __future__ import annotations

import argparse
import sys

from pi0_ros.commands._numbers import number, whole
from pi0_ros.robot import Robot
from pi0_ros.robot.spec import Group
from pi0_ros.ros.environment import check_environment


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `pi0 robot`."""
    parser = subparsers.add_parser("robot", help="work on a running robot", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    measure = actions.add_parser("measure-latency", help="how late does a group of joints follow its commands?")
    measure.add_argument(
        "--robot", default="mobile_bimanual", help="robot name, or its YAML; `pi0 up` has to run with it"
    )
    measure.add_argument("--group", required=True, help="group of kind position with a teleop input")
    measure.add_argument("--joint", default="", help="channel that moves (default: the group's last)")
    measure.add_argument(
        "--amplitude", type=number(1e-4, 10), default=0.1, help="how far it moves, in rad or m (default 0.1)"
    )
    measure.add_argument("--period", type=number(0.1, 600), default=2.0, help="seconds out and back (default 2)")
    measure.add_argument("--times", type=whole(1, 1000), default=3, help="how often (default 3)")
    measure.add_argument("--move", action="store_true", help="yes, the robot may move now")


def run(args: argparse.Namespace) -> int:
    """Measure; 0 if a latency was found."""
    from pi0_ros.robot import RobotError, load_robot

    robot = load_robot(args.robot)
    group = next((g for g in robot.groups if g.name == args.group), None)
    if group is None:
        raise RobotError(f"--group {args.group}: robot {robot.name} has {', '.join(g.name for g in robot.groups)}")
    names = [c.name for c in group.channels]
    joint = args.joint or names[-1]
    if joint not in names:
        raise RobotError(f"--joint {joint}: group {group.name} has {', '.join(names)}")
    if not (args.amplitude != 0.0 and args.period > 0.2 and args.times > 0):
        raise RobotError("--amplitude must not be 0, --period above 0.2 s, --times above 0")
    text = f"{joint} by {args.amplitude:g} and back, {args.times} times in {args.times * args.period:g} s"
    if not args.move:
        print(f"would take over by teleop and move {text}; add --move when the robot may move", file=sys.stderr)
        return 1
    return _measure(robot, group, names.index(joint), args, text)


def _measure(robot: Robot, group: Group, channel: int, args: argparse.Namespace, text: str) -> int:
    check_environment()  # before anything of ROS is loaded
    from pi0_ros.ros.latency_probe import probe_latency

    print(f"moving {text} …", file=sys.stderr)
    found = probe_latency(robot, group, channel, args.amplitude, args.period, args.times)
    print(f"{args.group}: {found.delay:.3f} s behind its commands ({found.error:.2g} left, moved {found.way:.3g})")
    print(f"put  command_latency: {found.delay:.2f}  in group {args.group} of the robot YAML")
    return 0
