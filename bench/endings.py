"""How an executor ends: every cause in every state; the last command, the exit code, and how long it takes.

`python -m bench endings [--quick] [--cause CAUSE]` (quick: two signals)

Causes: signals; `terminal`, the terminal it was started in goes away; `deactivate`, a request to deactivate and SIGINT right
after it. States: `stopping` has had a SIGTERM and brakes, so that the cause is the second one; `loading` is before the node is
there, `configuring` as soon as it is.

A driver that echoes commands, a planner and a person's joystick live in this process; the executor is a process of its own.
"""

from __future__ import annotations

import argparse
import array
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence

import rclpy
from geometry_msgs.msg import TwistStamped
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from pi0_ros.msg import ActionChunk
from sensor_msgs.msg import JointState

from bench._stack import BenchError, Watcher, prepare
from pi0_ros import bringup
from pi0_ros.robot import Robot, load_robot
from pi0_ros.robot.spec import Kind
from pi0_ros.robot.wire import to_wire
from pi0_ros.ros.qos import RELIABLE, SENSOR

CAUSES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "terminal", "deactivate", "SIGKILL")
STATES = ("hold", "autonomy", "teleop", "stopping", "configuring", "loading")
LOADING = 0.4  # [s] after the start, when Python or the libraries under the node are being loaded
DEACTIVATE = 4
SPEED, FAST_ENOUGH = 0.2, 0.15  # [m/s]
ROWS, PERIOD = 20, 0.1


class Surroundings(Watcher):
    """The robot, which does what it is told, a policy and a joystick that drive the base."""

    def __init__(self, robot: Robot) -> None:
        super().__init__(robot, [g.name for g in robot.groups])
        self.home = {c.name: 0.5 * (c.limits.lower + c.limits.upper) for c in robot.channels}
        self.home |= {c.name: 0.0 for g in robot.groups if g.kind is Kind.VELOCITY for c in g.channels}
        self._joints = self.create_publisher(JointState, "joint_states", SENSOR)
        self._odometry = self.create_publisher(Odometry, "odom", SENSOR)
        self._chunks = self.create_publisher(ActionChunk, "action_chunk", RELIABLE)
        self._joystick = self.create_publisher(TwistStamped, "teleop/cmd_vel", SENSOR)
        self._sequence = 0
        self.create_timer(0.02, self._measure)
        self.create_timer(0.2, self._plan)

    def values(self, group: str) -> list[float]:
        """The newest command of a group; its home position before the first."""
        heard = self.commands[group]
        return list(heard[-1][1]) if heard else [self.home[c.name] for c in self.robot.group(group).channels]

    @property
    def speed(self) -> float:
        """The newest command for the base, forwards [m/s]."""
        return abs(self.values("base")[0])

    def deactivate(self) -> None:
        """Ask the executor to deactivate, and wait for no answer."""
        client = self.create_client(ChangeState, "executor/change_state")
        self.wait(client.service_is_ready, "the executor's lifecycle", 60.0)
        request = ChangeState.Request()
        request.transition.id = DEACTIVATE
        client.call_async(request)

    def _measure(self) -> None:
        stamp, joints = self.get_clock().now().to_msg(), JointState()
        for group in self.robot.groups:
            names = [self.robot.joint_of_channel.get(c.name) for c in group.channels]
            if all(names):
                joints.name += names
                joints.position += array.array("d", to_wire(group, self.values(group.name)))
        odometry = Odometry()
        odometry.twist.twist.linear.x = float(self.values("base")[0])
        joints.header.stamp = odometry.header.stamp = stamp
        self._joints.publish(joints)
        self._odometry.publish(odometry)
        push = TwistStamped()
        push.header.stamp, push.twist.linear.x = stamp, SPEED
        self._joystick.publish(push)

    def _plan(self) -> None:
        if self.state is None:
            return
        self._sequence += 1
        chunk = ActionChunk(source="bench", epoch=self.state.epoch, sequence=self._sequence, period=PERIOD)
        chunk.header.stamp = self.get_clock().now().to_msg()
        row = dict(self.home) | {"base_vx": SPEED}
        row |= {
            c.name: v
            for g in self.robot.groups
            if g.kind is not Kind.VELOCITY
            for c, v in zip(g.channels, self.values(g.name), strict=True)
        }
        chunk.channels = list(self.robot.channel_names)
        chunk.values = array.array("f", [row[n] for n in chunk.channels] * ROWS)
        self._chunks.publish(chunk)


def executor_command(robot: str = "mobile_bimanual") -> list[str]:
    """The command line of an executor for a robot."""
    parameters = {"robot": robot, "black_box": "", "tracking_error": 6.0}
    return bringup.command(bringup.Node("executor", parameters))


def reach(around: Surroundings, state: str) -> None:
    """Bring the executor, which has just been started, into a state."""
    around.wait(lambda: around.commands["base"] and around.state is not None, "the first command", 60.0)
    if state == "hold":
        return
    request = "teleop" if state == "teleop" else "autonomy"
    for _ in range(20):
        if around.mode == "stopped":
            around.ask("executor/reset")
        around.ask(f"executor/{request}")
        if around.happens(lambda: around.mode == request and around.speed > FAST_ENOUGH, 5.0):
            return
    raise BenchError(f"no {request}: {around.mode}, {around.reason}")


def take_terminal() -> None:
    """Make stdin the terminal of this process, which SIGHUP ends as in a shell, also if the bench was begun with nohup."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class StartedProgram:
    """An executor in a terminal of its own."""

    def __init__(self) -> None:
        self._terminal, inside = pty.openpty()
        self.process = subprocess.Popen(
            executor_command(),
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            preexec_fn=take_terminal,  # noqa: PLW1509 - two calls of the kernel
        )
        os.close(inside)

    def hang_up(self) -> None:
        """The terminal goes away."""
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1


def happen(around: Surroundings, started: StartedProgram, cause: str, state: str) -> None:
    """Let it come to an end."""
    if cause == "terminal":
        started.hang_up()
        return
    if cause == "deactivate":
        if state not in ("loading", "configuring"):
            around.deactivate()
        cause = "SIGINT"
    started.process.send_signal(signal.Signals[cause])


def ending(around: Surroundings, cause: str, state: str) -> dict[str, float]:
    """Start an executor, bring it into a state, end it: base speed at that moment and at last, exit code, time."""
    around.commands.clear()
    around.state = None
    if state == "configuring":  # one that was killed counts until the network forgets it
        around.wait_often(lambda: "executor" not in around.get_node_names(), "the executor before to be forgotten")
    started = StartedProgram()
    process = started.process
    try:
        if state == "loading":
            time.sleep(LOADING)
        elif state == "configuring":
            around.wait_often(lambda: "executor" in around.get_node_names(), "the node")
        else:
            reach(around, state)
        if state == "stopping":
            process.send_signal(signal.SIGTERM)
            before = around.speed
            around.happens(lambda: around.speed < before - 0.02, 2.0)
        before, at = around.speed, time.monotonic()
        happen(around, started, cause, state)
        code = process.wait(60.0)
        took = time.monotonic() - at
    finally:
        process.kill()
        started.hang_up()
    around.happens(lambda: False, 1.0)  # what is under way arrives
    return {"speed before": before, "last speed": around.speed, "exit code": code, "seconds": took}


def good(found: dict[str, float], cause: str, state: str) -> bool:
    """Whether it ended as it should: at rest and with 0. Who is killed has no choice."""
    if cause == "SIGKILL":
        return True
    codes = [0.0]
    if state == "loading":  # before the program's first line Python answers by itself, with the signal's code or with 1
        codes += [1.0, *(-float(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT))]
    return found["last speed"] == 0.0 and found["exit code"] in codes


def main(argv: Sequence[str]) -> int:
    """0 if every ending with a choice left the base at rest."""
    parser = argparse.ArgumentParser(prog="bench endings", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cause", action="append", choices=CAUSES, help="only this one; may be given several times")
    args = parser.parse_args(argv)
    prepare()
    around, failed = Surroundings(load_robot("mobile_bimanual")), False
    try:
        for cause in CAUSES[1:3] if args.quick else args.cause or CAUSES:
            for state in STATES:
                found = ending(around, cause, state)
                for metric, value in found.items():
                    unit = {"seconds": "s", "exit code": "1"}.get(metric, "m/s")
                    tell(f"{cause} {state} {metric}", value, unit)
                failed = failed or not good(found, cause, state)
    except BenchError as error:
        print(f"endings: {error}", file=sys.stderr)
        failed = True
    around.close()
    rclpy.try_shutdown()
    return int(failed)


def tell(metric: str, value: float, unit: str) -> None:
    """Print one JSON object."""
    line = {"bench": "endings", "metric": metric, "value": round(value, 3), "unit": unit}
    print(json.dumps(line), flush=True)
