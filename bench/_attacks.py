"""The attacker of `bench/_hostile.py`, a process of its own: `python -m bench._attacks KIND ROBOT_YAML`.

Each kind sends what no honest neighbour would, at its rate, until the process is ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import rclpy
from pi0_ros.msg import ActionChunk
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from pi0_ros.robot import load_robot
from pi0_ros.ros.bounded import listen
from pi0_ros.ros.commands import COMMAND_TYPES
from pi0_ros.ros.qos import EVENTS, SENSOR
from pi0_ros.ros.spinning import Spinner

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = (
    "import os; from pi0_ros.nodes import executor; "
    "executor.RobotLock = type('Elsewhere', (), {'__init__': lambda *_: None, 'release': lambda _: None}); "
    "raise SystemExit(executor.main())"
)
"""An executor as on another machine: it cannot see the lock."""
Act = Callable[[], object]
ATTACKS: dict[str, tuple[float, Callable[[Attacker], Act]]] = {}
"""Kinds of attack: how often one is made [1/s], and what makes it."""


class Attacker(Node):
    """Knows the newest honest chunk, and the newest command of the left arm."""

    def __init__(self, robot_file: str) -> None:
        super().__init__("attacker")
        self.file, self.robot = robot_file, load_robot(robot_file)
        self.honest: ActionChunk | None = None
        self.command: list[float] = []
        self.children: list[subprocess.Popen] = []
        self._sent: deque[tuple[int, int]] = deque(maxlen=4096)  # stamps of what is not honest
        listen(self, ActionChunk, "action_chunk", self._on_chunk, EVENTS)
        group = self.robot.group("left_arm")
        kind = COMMAND_TYPES[group.command.type].message
        self.create_subscription(kind, group.command.topic, self._on_command, 10)

    def _on_chunk(self, message: ActionChunk) -> None:
        if _stamp(message) not in self._sent:
            self.honest = message

    def _on_command(self, message: object) -> None:
        self.command = list(message.data)  # type: ignore[attr-defined]

    def renewed(self) -> ActionChunk:
        """An honest plan of now, as a process of another name would send it."""
        copy = deepcopy(self.honest) if self.honest is not None else self._standstill()
        copy.header.stamp = self.get_clock().now().to_msg()
        copy.sequence += 1
        return copy

    def _standstill(self) -> ActionChunk:
        """A plan of zeros, though no policy plans."""
        names = list(self.robot.channel_names)
        return ActionChunk(source="nobody", period=0.1, channels=names, values=array("f", [0.0]) * (16 * len(names)))

    def chunks(self, change: Callable[[ActionChunk], None], depth: int = 10) -> Act:
        """Sends an honest chunk, changed."""
        publisher = self.create_publisher(ActionChunk, "action_chunk", depth)

        def send() -> None:
            message = self.renewed()
            change(message)
            self._sent.append(_stamp(message))
            publisher.publish(message)

        return send


def _stamp(message: ActionChunk) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec


def attack(rate: float = 10.0) -> Callable[[Callable[[Attacker], Act]], Callable[[Attacker], Act]]:
    """A kind of attack, made `rate` times a second."""

    def note(make: Callable[[Attacker], Act]) -> Callable[[Attacker], Act]:
        ATTACKS[make.__name__] = rate, make
        return make

    return note


@attack()
def nothing(_: Attacker) -> Act:
    """For comparison."""
    return lambda: None


@attack()
def far_start(node: Attacker) -> Act:
    """Chunks that begin 1.5 rad away."""

    def change(message: ActionChunk) -> None:
        values = np.array(message.values).reshape(-1, len(message.channels))
        values[:, message.channels.index("left_joint2")] += 1.5
        message.values = array("f", values.ravel())

    return node.chunks(change)


@attack()
def huge_rows(node: Attacker) -> Act:
    """Values at the end of what a float can be."""

    def change(message: ActionChunk) -> None:
        message.values = array("f", [3e38] * len(message.values))

    return node.chunks(change)


@attack()
def absurd_stamps(node: Attacker) -> Act:
    """Chunks of the year 2038, with four seconds' worth of nanoseconds."""

    def change(message: ActionChunk) -> None:
        message.header.stamp.sec, message.header.stamp.nanosec = 2**31 - 1, 2**32 - 1

    return node.chunks(change)


@attack()
def absurd_frozen_rows(node: Attacker) -> Act:
    """More frozen rows than there are rows."""

    def change(message: ActionChunk) -> None:
        message.frozen_rows = 10**9

    return node.chunks(change)


@attack()
def last_sequence(node: Attacker) -> Act:
    """The last number there is, of somebody else."""

    def change(message: ActionChunk) -> None:
        message.sequence, message.source = 2**64 - 1, "somebody else"

    return node.chunks(change)


@attack(650.0)
def flood(node: Attacker) -> Act:
    """Sound chunks, far too many."""
    return node.chunks(lambda message: None)


def _values(node: Attacker, values: array) -> Act:
    def change(message: ActionChunk) -> None:
        message.values = values

    return node.chunks(change, 1)


@attack(5.0)
def ten_megabytes(node: Attacker) -> Act:
    """Chunks of 2.5 million zeros."""
    return _values(node, array("f", bytes(10_000_000)))


@attack(3.0)
def three_million_values(node: Attacker) -> Act:
    """Chunks of three million values."""
    return _values(node, array("f", [0.5]) * 3_000_000)


@attack(3.0)
def text_of_ten_megabytes(node: Attacker) -> Act:
    """Chunks whose subtask is a novel."""
    novel = "x" * 10_000_000

    def change(message: ActionChunk) -> None:
        message.subtask = novel

    return node.chunks(change, 1)


@attack(5.0)
def joint_names(node: Attacker) -> Act:
    """A joint state of 200,000 names."""
    publisher = node.create_publisher(JointState, "joint_states", SENSOR)
    names = [f"joint{k}" for k in range(200_000)]
    message = serialize_message(JointState(name=names, position=[0.0] * len(names)))
    return lambda: publisher.publish(message)


@attack()
def picture_bomb(node: Attacker) -> Act:
    """Pictures that say they are of 900 million pixels."""
    publisher = node.create_publisher(Image, node.robot.cameras[0].topic, SENSOR)
    bomb = Image(height=30000, width=30000, step=90000, encoding="rgb8", data=array("B", bytes(1000)))
    return lambda: publisher.publish(bomb)


@attack(5.0)
def texts(node: Attacker) -> Act:
    """Ten megabytes of text on a topic on which a few words are read."""
    publisher = node.create_publisher(String, "policy_state", 2)
    message = serialize_message(String(data="\x1b[2J\n" * 2_000_000))
    return lambda: publisher.publish(message)


@attack(3.0)
def forty_megabytes(node: Attacker) -> Act:
    """Texts of 40 MB."""
    publisher = node.create_publisher(String, "policy_state", 1)
    message = serialize_message(String(data="x" * 40_000_000))
    return lambda: publisher.publish(message)


@attack(5.0)
def false_buttons(node: Attacker) -> Act:
    """Ten megabytes on a topic on which a button sends one byte."""
    publisher = node.create_publisher(Bool, "estop", 2)
    message = serialize_message(Bool()) + bytes(10_000_000)
    return lambda: publisher.publish(message)


@attack(50.0)
def second_publisher(node: Attacker) -> Act:
    """Commands of somebody else, on the arm's topic."""
    group = node.robot.group("left_arm")
    kind = COMMAND_TYPES[group.command.type].message
    publisher = node.create_publisher(kind, group.command.topic, 10)
    return lambda: publisher.publish(kind(data=array("d", [float(v) + 0.15 for v in node.command])))


@attack()
def second_executor(node: Attacker) -> Act:
    """An executor of another machine for the same robot."""
    words = ("--ros-args", "-p", f"robot:={node.file}", "-p", "black_box:=''")
    node.children.append(subprocess.Popen([sys.executable, "-c", ELSEWHERE, *words], stdout=subprocess.DEVNULL))
    return lambda: None


@attack(200.0)
def service_storm(node: Attacker) -> Act:
    """Four times as many requests a second."""
    clients = [node.create_client(Trigger, "executor/autonomy") for _ in range(4)]
    return lambda: [client.call_async(Trigger.Request()) for client in clients]


@attack(3.0)
def parameters_of_ten_megabytes(node: Attacker) -> Act:
    """Requests to set a parameter to ten megabytes of text."""
    client = node.create_client(SetParameters, "executor/set_parameters")
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="x" * 10_000_000)
    request = SetParameters.Request(parameters=[Parameter(name="strategy", value=value)])
    return lambda: client.call_async(request)


@attack()
def parameters_of_a_million_texts(node: Attacker) -> Act:
    """The same size as an array of short texts, of which each becomes an object of Python."""
    client = node.create_client(SetParameters, "executor/set_parameters")
    value = ParameterValue(type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=["abc"] * 1_250_000)
    request = SetParameters.Request(parameters=[Parameter(name="strategy", value=value)])
    return lambda: client.call_async(request)


@attack()
def best_effort_estop(node: Attacker) -> Act:
    """An e-stop of another quality of service: it must be heard."""
    quality = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)
    publisher = node.create_publisher(Bool, "estop", quality)
    return lambda: publisher.publish(Bool(data=True))


def start(kind: str, robot_file: str, patience: float = 60.0) -> subprocess.Popen:
    """An attacker that has heard a command and begins with the next line that it gets; another line ends it."""
    command = [sys.executable, "-m", "bench._attacks", kind, robot_file, str(patience)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
    if process.stdout.readline() != "ready\n":  # type: ignore[union-attr]
        process.kill()
        raise RuntimeError(f"the attacker {kind} heard of no command")
    return process


def main(kind: str, robot_file: str, patience: str) -> int:
    """Attack until a line comes in, having said "ready" once the robot is commanded."""
    rate, make = ATTACKS[kind]
    rclpy.init()
    node, spinner = Attacker(robot_file), Spinner()
    spinner.add(node)
    spinner.start()
    until = time.monotonic() + float(patience)
    while not node.command:
        time.sleep(0.02)
        if time.monotonic() > until:
            os._exit(1)
    print("ready", flush=True)
    sys.stdin.readline()
    act = make(node)
    os.set_blocking(sys.stdin.fileno(), False)
    try:
        while sys.stdin.readline() == "":
            act()
            time.sleep(1.0 / rate)
    finally:
        for child in node.children:
            child.kill()
            child.wait()
    os._exit(0)  # nothing of an attacker has to be tidied up


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
