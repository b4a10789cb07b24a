"""Public robots: their URDFs loaded, their limits compared with another reader's, driven on an echo driver.

`python -m bench robots [--data FOLDER] [--only NAME ...] [--quick]`

Needs the robots of the package example-robot-data (`pip install example-robot-data`, or `--data` with the folder `robots`
of it) and the reader urdf_parser_py (`pip install urdf-parser-py`); neither is a dependency of this package. Each robot runs
its own executor process; the driver reports what was commanded. Every command has to be inside the limits that the other
reader says, no step faster than its velocity, and the robot has to arrive.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import sysconfig
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rclpy
from pi0_ros.msg import ActionChunk
from rclpy.node import Node
from sensor_msgs.msg import JointState

from bench._stack import BenchError, Stack, Watcher, prepare
from pi0_ros import bringup
from pi0_ros.control import Chunk
from pi0_ros.robot import Robot, load_robot
from pi0_ros.ros.commands import COMMAND_TYPES
from pi0_ros.ros.conversions import channel_values, chunk_message
from pi0_ros.ros.qos import EVENTS, RELIABLE, SENSOR

PERIOD = 0.04  # [s] between rows of a plan
ROWS = 25
SHARE = 0.3  # of a joint's range that it is moved by, at most half a radian or metre
SPEED = 0.5  # of its velocity limit
ARRIVED = 0.02  # [rad or m]
LIMITS = "{source: urdf, acceleration: 3.0, jerk: 60.0}"


@dataclass(frozen=True)
class PublicRobot:
    """A URDF of example-robot-data, and its arms: group to the first and last joints' pattern, `{}` standing for a number."""

    name: str
    urdf: str
    arms: dict[str, tuple[str, ...]]
    speed: float = math.inf  # [rad/s] what the YAML says, where the URDF says 100, which no joint of an arm can mean


def _numbered(pattern: str, last: int) -> tuple[str, ...]:
    return tuple(pattern.format(i) for i in range(1, last + 1))


def _sides(pattern: str, joints: tuple[str, ...], sides: tuple[str, str]) -> dict[str, tuple[str, ...]]:
    return {side: tuple(pattern.format(side=side, joint=joint) for joint in joints) for side in sides}


_BAXTER = ("s0", "s1", "e0", "e1", "w0", "w1", "w2")
_G1 = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")
_PR2 = ("shoulder_pan", "shoulder_lift", "upper_arm_roll", "elbow_flex", "forearm_roll", "wrist_flex", "wrist_roll")
_ICUB = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_prosup", "wrist_pitch", "wrist_yaw")
_ROMEO = ("ShoulderPitch", "ShoulderYaw", "ElbowRoll", "ElbowYaw", "WristRoll", "WristYaw", "WristPitch")
_ALEX = ("ShoulderPitch", "ShoulderRoll", "ShoulderYaw", "ElbowPitch", "WristYaw", "WristRoll", "GripperYaw")
_UR = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")

ROBOTS = (
    PublicRobot("panda", "panda_description/urdf/panda.urdf", {"arm": _numbered("panda_joint{}", 7)}),
    PublicRobot("ur5", "ur_description/urdf/ur5_robot.urdf", {"arm": tuple(f"{joint}_joint" for joint in _UR)}),
    PublicRobot("kinova", "kinova_description/robots/kinova.urdf", {"arm": _numbered("j2s6s200_joint_{}", 6)}),
    PublicRobot("xarm7", "xarm_description/urdf/xarm7.urdf", {"arm": _numbered("joint{}", 7)}),
    PublicRobot("z1", "z1_description/urdf/z1.urdf", {"arm": _numbered("joint{}", 6)}),
    PublicRobot(
        "so101",
        "so_arm_description/urdf/so101.urdf",
        {"arm": ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")},
    ),
    PublicRobot(
        "tiago",
        "tiago_description/robots/tiago.urdf",
        {"lift": ("torso_lift_joint",), "head": _numbered("head_{}_joint", 2), "arm": _numbered("arm_{}_joint", 7)},
    ),
    PublicRobot("baxter", "baxter_description/urdf/baxter.urdf", _sides("{side}_{joint}", _BAXTER, ("left", "right"))),
    PublicRobot(
        "talos",
        "talos_data/robots/talos_full_v2.urdf",
        {side: _numbered(f"arm_{side}_{{}}_joint", 7) for side in ("left", "right")},
    ),
    PublicRobot(
        "g1", "g1_description/urdf/g1_29dof_rev_1_0.urdf", _sides("{side}_{joint}_joint", _G1, ("left", "right"))
    ),
    PublicRobot("pr2", "pr2_description/urdf/pr2.urdf", _sides("{side}_{joint}_joint", _PR2, ("l", "r"))),
    PublicRobot("icub", "icub_description/robots/icub.urdf", _sides("{side}_{joint}", _ICUB, ("l", "r")), 1.7),
    PublicRobot("romeo", "romeo_description/urdf/romeo.urdf", _sides("{side}{joint}", _ROMEO, ("L", "R"))),
    PublicRobot(
        "centauro",
        "centauro_description/urdf/centauro.urdf",
        {f"arm{side}": _numbered(f"j_arm{side}_{{}}", 6) for side in (1, 2)},
    ),
    PublicRobot(
        "tiago_pro",
        "tiago_pro_description/robots/tiago_pro.urdf",
        {side: _numbered(f"arm_{side}_{{}}_joint", 7) for side in ("left", "right")},
    ),
    PublicRobot(
        "alex", "alex_description/urdf/alex_sake_hands.urdf", _sides("{side}{joint}", _ALEX, ("Left", "Right")), 2.0
    ),
)


def yaml_of(public: PublicRobot, urdf: Path) -> str:
    """A robot YAML as a user writes it: one group for each arm, limits from the URDF."""
    lines = [f"robot: {public.name}", f"urdf: {urdf}", "cameras: {}", "state:"]
    lines += ["  - {topic: joint_states, type: joint_state, max_age: 1.0}", "groups:"]
    limits = LIMITS if math.isinf(public.speed) else LIMITS.replace("}", f", velocity: {public.speed}}}")
    for group, joints in public.arms.items():
        lines += [f"  {group}:", "    kind: position", f"    channels: [{', '.join(joints)}]"]
        lines += [f"    command: {{topic: {group}/commands, type: joint_state}}", f"    limits: {limits}"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Independent:
    """A joint's limits as urdf_parser_py reads them; infinite bounds for a continuous joint."""

    lower: float
    upper: float
    velocity: float


def independent_limits(urdf: Path, speed: float = math.inf) -> dict[str, Independent]:
    """Every movable joint of a URDF, by urdf_parser_py, no faster than `speed`; soft limits narrow the bounds, as docs/howto/groups.md says."""
    from urdf_parser_py.urdf import URDF

    root, found = ElementTree.parse(urdf).getroot(), {}
    # That reader refuses PR2's transmissions and iCub's materials, which say nothing of limits.
    for element in list(root):
        if element.tag == "link":
            element[:] = []
        elif element.tag != "joint":
            root.remove(element)
    for joint in URDF.from_xml_string(ElementTree.tostring(root)).joints:
        if joint.limit is None or joint.type not in ("revolute", "prismatic", "continuous"):
            continue
        lower, upper = joint.limit.lower or 0.0, joint.limit.upper or 0.0
        soft = joint.safety_controller
        if soft is not None and (soft.soft_lower_limit or 0.0) < (soft.soft_upper_limit or 0.0):
            lower, upper = max(lower, soft.soft_lower_limit), min(upper, soft.soft_upper_limit)
        if joint.type == "continuous":
            lower, upper = -math.inf, math.inf
        found[joint.name] = Independent(lower, upper, min(joint.limit.velocity, speed))
    return found


def worst_difference(robot: Robot, other: dict[str, Independent]) -> float:
    """The largest difference of any bound or speed from the other reader's; joints without ends must have none."""
    worst = 0.0
    for channel in robot.channels:
        limits, theirs = channel.limits, other[channel.name]
        if math.isinf(theirs.lower):
            worst = max(worst, 0.0 if channel.continuous and limits.lower <= -1e6 <= 1e6 <= limits.upper else math.inf)
        else:
            worst = max(worst, abs(limits.lower - theirs.lower), abs(limits.upper - theirs.upper))
        worst = max(worst, abs(limits.velocity - theirs.velocity))
    return worst


class EchoDriver(Node):
    """A robot that is at once where it is commanded to be, and reports it at 100 Hz."""

    def __init__(self, robot: Robot) -> None:
        super().__init__("echo_driver")
        self._lock = threading.Lock()
        self.values = {c.name: _middle(c.limits.lower, c.limits.upper) for c in robot.channels}
        self._states = self.create_publisher(JointState, "joint_states", SENSOR)
        for group in robot.groups:
            kind = COMMAND_TYPES[group.command.type].message
            self.create_subscription(kind, group.command.topic, partial(self._on_command, group), EVENTS)
        self.create_timer(0.01, self._report)

    def _on_command(self, group: object, message: object) -> None:
        with self._lock:
            names = [channel.name for channel in group.channels]
            self.values.update(zip(names, channel_values(group, message, group.command), strict=True))

    def _report(self) -> None:
        with self._lock:
            state = JointState(name=list(self.values), position=list(self.values.values()))
        state.header.stamp = self.get_clock().now().to_msg()
        self._states.publish(state)


def _middle(lower: float, upper: float) -> float:
    return 0.0 if lower <= 0.0 <= upper else (lower + upper) / 2.0


def goals_of(robot: Robot, start: dict[str, float]) -> dict[str, float]:
    """Where each joint is to go: towards its further end."""
    found = {}
    for channel in robot.channels:
        lower, upper, at = channel.limits.lower, channel.limits.upper, start[channel.name]
        room = max(upper - at, at - lower)
        step = min(SHARE * room, 0.5)
        found[channel.name] = at + step if upper - at >= at - lower else at - step
    return found


def plan(robot: Robot, start: dict[str, float], goal: dict[str, float]) -> np.ndarray:
    """Rows [ROWS, D] from rest at the start to rest at the goal, at SPEED of what the slowest joint can do at most."""
    a, b = (np.array([ends[name] for name in robot.channel_names]) for ends in (start, goal))
    way, limits = np.abs(b - a), [channel.limits for channel in robot.channels]
    cruise = (way / [one.velocity for one in limits]).max() / SPEED
    brake = 2.5 * np.sqrt(way / [one.acceleration for one in limits]).max()
    duration = max(float(cruise), float(brake), PERIOD)
    share = np.clip(PERIOD * np.arange(ROWS) / duration, 0.0, 1.0)
    return a + (share**2 * (3.0 - 2.0 * share))[:, None] * (b - a)


def steps_too_fast(commands: list[tuple[float, tuple[float, ...]]], speeds: np.ndarray, period: float) -> int:
    """How many steps between commands are longer than the speeds allow in the periods between them."""
    wrong = 0
    for (t0, before), (t1, after) in pairwise(commands):
        periods = max(1, round((t1 - t0) / period))
        wrong += bool((np.abs(np.subtract(after, before)) > speeds * period * periods * 1.0001 + 1e-9).any())
    return wrong


def drive(robot: Robot, file: Path, other: dict[str, Independent]) -> dict[str, float]:
    """Run an executor on an echo driver until the robot has arrived; what was seen."""
    stack = Stack([bringup.Node("executor", {"robot": str(file)}, required=True)])
    seen = Watcher(robot, [group.name for group in robot.groups])
    driver = EchoDriver(robot)
    seen._spinner.add(driver)
    goal, source = goals_of(robot, driver.values), f"bench {robot.name}"
    chunks = seen.create_publisher(ActionChunk, "action_chunk", RELIABLE)
    try:
        stack.start()
        seen.wait(lambda: seen.state is not None and np.isfinite(seen.state.measured).all(), "the first measurement")
        sequence, end = 0, time.monotonic() + 60.0
        while not _arrived(driver, goal):
            if time.monotonic() > end:
                raise BenchError(f"{robot.name} did not arrive: {seen.mode}: {seen.reason}")
            if seen.mode != "autonomy":
                seen.ask("executor/reset" if seen.mode == "stopped" else "executor/autonomy")
            rows, sequence = plan(robot, dict(driver.values), goal), sequence + 1
            stamp = seen.get_clock().now().nanoseconds * 1e-9
            chunks.publish(
                chunk_message(
                    Chunk(stamp, PERIOD, robot.channel_names, rows, sequence, seen.state.epoch, source=source)
                )
            )
            seen.happens(lambda: _arrived(driver, goal), 0.6)
        return judge(robot, seen, other, goal, driver)
    finally:
        stack.stop()
        seen.close()
        driver.destroy_node()


def _arrived(driver: EchoDriver, goal: dict[str, float]) -> bool:
    return all(abs(driver.values[name] - value) < ARRIVED for name, value in goal.items())


def judge(
    robot: Robot, seen: Watcher, other: dict[str, Independent], goal: dict[str, float], driver: EchoDriver
) -> dict[str, float]:
    """Commands, those outside the other reader's bounds, steps above its speeds, and the largest distance to the goal."""
    count, outside, fast = 0, 0, 0
    for group in robot.groups:
        limits = [other[channel.name] for channel in group.channels]
        low, high = np.array([one.lower for one in limits]), np.array([one.upper for one in limits])
        commands = list(seen.commands[group.name])
        values = np.array([v for _, v in commands])
        count += len(commands)
        outside += int(((values < low - 1e-9) | (values > high + 1e-9)).any(axis=1).sum())
        fast += steps_too_fast(commands, np.array([one.velocity for one in limits]), 1.0 / robot.control_rate)
    far = max(abs(driver.values[name] - value) for name, value in goal.items())
    return {"commands": count, "outside": outside, "too_fast": fast, "distance": far}


def tell(robot: str, metric: str, value: float, unit: str, **more: object) -> None:
    """One result."""
    line = {"bench": "robots", "robot": robot, "metric": metric, "value": round(float(value), 9), "unit": unit}
    print(json.dumps(line | more), flush=True)


def run_one(public: PublicRobot, data: Path, folder: Path) -> bool:
    """Load, compare and drive one robot; whether all was well."""
    urdf, file = data / public.urdf, folder / f"{public.name}.yaml"
    file.write_text(yaml_of(public, urdf))
    robot, other = load_robot(file), independent_limits(urdf, public.speed)
    difference = worst_difference(robot, other)
    tell(public.name, "joints", len(robot.channels), "count")
    tell(public.name, "limit_difference", difference, "rad, m, rad/s, m/s", goal=0)
    found = drive(robot, file, other)
    tell(public.name, "commands", found["commands"], "count")
    tell(public.name, "commands_outside", found["outside"], "count", goal=0)
    tell(public.name, "steps_too_fast", found["too_fast"], "count", goal=0)
    tell(public.name, "distance_to_goal", found["distance"], "rad, m", goal=ARRIVED)
    return difference < 1e-9 and not found["outside"] and not found["too_fast"] and found["commands"] > 0


def data_folder(given: str) -> Path | None:
    """The folder of the robots: the given one, or that of the installed wheel."""
    installed = Path(sysconfig.get_paths()["purelib"], "cmeel.prefix", "share", "example-robot-data", "robots")
    folder = Path(given) if given else installed
    return folder if folder.is_dir() else None


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object a line; 1 if anything was wrong, 0 with a sentence if what it needs is not there."""
    parser = argparse.ArgumentParser(prog="python -m bench robots", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three robots")
    parser.add_argument("--data", default="", help="the folder `robots` of example-robot-data")
    parser.add_argument("--only", nargs="+", choices=[robot.name for robot in ROBOTS], default=())
    args = parser.parse_args(argv)
    data = data_folder(args.data)
    try:
        import urdf_parser_py  # noqa: F401
    except ImportError:
        data = None
    if data is None:
        print("bench robots: not run; pip install example-robot-data urdf-parser-py", file=sys.stderr)
        return 1 if args.data else 0
    chosen = [robot for robot in ROBOTS if not args.only or robot.name in args.only][: 3 if args.quick else None]
    prepare()
    good = 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            for public in chosen:
                try:
                    good += run_one(public, data, Path(folder))
                except BenchError as error:
                    print(f"bench robots: {error}", file=sys.stderr)
    finally:
        rclpy.try_shutdown()
    tell("all", "robots_ok", good, "count", goal=len(chosen))
    return int(good < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
