"""Attacks on a running executor: `python -m bench faults` runs them on a real graph and says what the robot did.

Each kind sends what no honest neighbour would, while an executor, a process of its own, is in autonomy along an honest plan.
"""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "nodes"))

SECONDS = 4.0  # of each attack
CALM = 1.0  # before it


@dataclass(frozen=True)
class Outcome:
    """What an attack did: commands per second and the largest gap between two [s], the largest step on the wire over its
    limit, how far the arm went from the honest plan [rad], chunks and messages refused, how long `stop` took at its end [s],
    control periods missed during the attack and while the black box of that stop was written, black boxes, the executor's growth
    [MB], and how long after its beginning the executor held by itself [s] (-1: it did not)."""

    rate: float
    gap: float
    step_share: float
    strayed: float
    refused: int
    stop: float
    missed: int
    missed_writing: int
    boxes: int
    grown: float
    held: float


def attacks() -> dict[str, Callable[..., Iterator[Callable[[], None]]]]:
    """Kinds of attack: each yields what is to be done, as often as it is asked."""
    from pi0_ros.msg import ActionChunk
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image, JointState
    from std_msgs.msg import Bool, String
    from std_srvs.srv import Trigger

    from pi0_ros.ros.commands import COMMAND_TYPES
    from pi0_ros.ros.qos import SENSOR

    def chunks(node, change, quality=10):
        publisher = node.create_publisher(ActionChunk, "action_chunk", quality)

        def send() -> None:
            message = node.chunk()
            if message is not None:
                change(message)
                publisher.publish(message)

        while True:
            yield send

    def far(message):
        values = np.array(message.values).reshape(-1, len(message.channels))
        values[:, message.channels.index("left_joint2")] += 1.5
        message.values = array("f", values.ravel())

    def huge(message):
        message.values = array("f", [3e38] * len(message.values))

    def stamp(message):
        message.header.stamp.sec, message.header.stamp.nanosec = 2**31 - 1, 2**32 - 1

    def frozen(message):
        message.frozen_rows = 10**9

    def last_number(message):
        message.sequence, message.source = 2**64 - 1, "somebody else"

    def ten_megabytes(message):
        message.values = array("f", bytes(10_000_000))

    def million(message):
        message.values = array("f", [0.5] * 3_000_000)

    def spoken(message):
        message.subtask = "x" * 10_000_000

    def joints(node):
        publisher = node.create_publisher(JointState, "joint_states", SENSOR)
        names = [f"joint{k}" for k in range(200_000)]
        message = JointState(name=names, position=[0.0] * len(names))
        while True:
            yield lambda: publisher.publish(message)

    def pictures(node):
        publisher = node.create_publisher(Image, node.robot.cameras[0].topic, SENSOR)
        bomb = Image(height=30000, width=30000, step=90000, encoding="rgb8", data=array("B", bytes(1000)))
        while True:
            yield lambda: publisher.publish(bomb)

    def texts(node):
        publisher = node.create_publisher(String, "policy_state", 2)
        while True:
            yield lambda: publisher.publish(String(data="\x1b[2J\n" * 2_000_000))

    def second_publisher(node):
        group = node.robot.group("left_arm")
        kind = COMMAND_TYPES[group.command.type].message
        publisher = node.create_publisher(kind, group.command.topic, 10)

        def meddle() -> None:
            values = [float(v) + 0.15 for v in node.last_command()]
            publisher.publish(kind(data=array("d", values)))

        while True:
            yield meddle

    def second_executor(node):
        node.start_second()
        while True:
            yield lambda: None

    def storm(node):
        clients = [node.create_client(Trigger, "executor/autonomy") for _ in range(4)]
        while True:
            yield lambda: [client.call_async(Trigger.Request()) for client in clients]

    def stops(node):
        best_effort = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE
        )
        publisher = node.create_publisher(Bool, "estop", best_effort)
        while True:
            yield lambda: publisher.publish(Bool(data=True))

    def nothing(node):
        while True:
            yield lambda: None

    return {
        "nothing": nothing,
        "far_start": lambda node: chunks(node, far),
        "huge_rows": lambda node: chunks(node, huge),
        "absurd_stamps": lambda node: chunks(node, stamp),
        "absurd_frozen_rows": lambda node: chunks(node, frozen),
        "last_sequence": lambda node: chunks(node, last_number),
        "flood": lambda node: chunks(node, lambda message: None),
        "ten_megabytes": lambda node: chunks(node, ten_megabytes, 1),
        "three_million_values": lambda node: chunks(node, million, 1),
        "text_of_ten_megabytes": lambda node: chunks(node, spoken, 1),
        "joint_names": joints,
        "picture_bomb": pictures,
        "texts": texts,
        "second_publisher": second_publisher,
        "second_executor": second_executor,
        "service_storm": storm,
        "best_effort_estop": stops,
    }


RATES = {"flood": 650.0, "service_storm": 200.0, "ten_megabytes": 5.0, "three_million_values": 3.0,
         "text_of_ten_megabytes": 3.0, "joint_names": 5.0, "texts": 5.0, "second_publisher": 50.0}  # fmt: skip
"""How often an attack is made [1/s]; 10 where nothing is said."""
ELSEWHERE = (
    "import os; from pi0_ros.nodes import executor; "
    "executor.RobotLock = type('Elsewhere', (), {'__init__': lambda *_: None, 'release': lambda _: None}); "
    "raise SystemExit(executor.main())"
)
"""An executor as on another machine: it cannot see the lock."""


def run(name: str, attack: Callable[..., Iterator[Callable[[], None]]]) -> Outcome:
    """One attack on an executor of its own."""
    import rclpy
    from rclpy.node import Node
    from stand_in import Driver, Graph, Person, Planner, nod, patient_robot

    rclpy.init()
    graph = Graph()
    try:
        with TemporaryDirectory() as folder:
            robot, file = patient_robot("mobile_bimanual", Path(folder))
            driver, person = graph.node(Driver, robot), graph.node(Person, robot)
            planner = graph.node(Planner, robot, nod)
            words = (f"robot:={file}", f"black_box:={folder}/boxes", "engage_time:=0.2", "tracking_error:=1.0")
            process = graph.start("executor", *words)
            graph.wait(lambda: driver.commands["lift"] and person.mode == "hold", "hold")
            person.insist("autonomy", lambda: person.state.chunks_accepted > 2, "accepted chunks")
            attacker = graph.add(Node("attacker"))
            attacker.robot, attacker.last_command = robot, lambda: driver.commands["left_arm"][-1][1]
            flat = [part for word in words[:1] for part in ("-p", word)]
            attacker.start_second = lambda: graph.run_script(
                "-c", ELSEWHERE, "--ros-args", *flat, "-p", "black_box:=''"
            )
            honest, latest = planner.spoil, []
            planner.spoil = lambda message: latest.append(message) or honest(message)
            attacker.chunk = lambda: _renewed(attacker, latest[-1]) if latest else None
            graph.wait(lambda: latest, "a plan")
            before, memory = _overruns(graph, person), _memory(process.pid)
            sent, held = len(driver.commands["left_arm"]), -1.0
            actions, period, begun = attack(attacker), 1.0 / RATES.get(name, 10.0), time.monotonic()
            while time.monotonic() - begun < SECONDS:
                next(actions)()
                time.sleep(period)
                if person.mode != "autonomy" and held < 0.0:
                    held = time.monotonic() - begun
            commands, grown = driver.commands["left_arm"][sent:], _memory(process.pid) - memory
            attacked = _overruns(graph, person)
            asked = time.monotonic()
            done = _stop(person, graph)
            boxes = Path(folder) / "boxes"
            graph.happens(lambda: list(boxes.rglob("*.mcap")) and not list(boxes.rglob("*.part")), 10.0)
            written = _overruns(graph, person)
            refused = person.state.chunks_rejected + int(float(person.health["executor"][2]["messages_refused"]))
            rest = refused, done - asked, attacked - before, written - attacked, len(list(boxes.rglob("*.mcap")))
            return _judge(robot, commands, *rest, grown, held)
    finally:
        graph.close()
        rclpy.shutdown()


def _overruns(graph, person) -> int:
    """Control periods missed so far, by the next diagnostics."""
    before = person.health.get("executor")
    graph.wait(lambda: person.health.get("executor") not in (None, before), "diagnostics")
    return int(float(person.health["executor"][2]["overruns"]))


def _memory(process: int) -> float:
    """Resident memory [MB] of a process."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1000.0


def _renewed(node, message):
    """An honest plan of now, as a process of another name would send it."""
    from copy import deepcopy

    copy = deepcopy(message)
    copy.header.stamp = node.get_clock().now().to_msg()
    copy.sequence += 1
    return copy


def _stop(person, graph) -> float:
    person.ask("stop")
    graph.wait(lambda: person.mode == "stopped", "stopped")
    return time.monotonic()


def _judge(robot, commands, *rest) -> Outcome:
    limits = [c.limits for c in robot.group("left_arm").channels]
    times, values = np.array([t for t, _ in commands]), np.array([v for _, v in commands])
    most = np.array([m.velocity for m in limits]) / robot.control_rate
    return Outcome(
        float((len(times) - 1) / (times[-1] - times[0])),
        float(np.diff(times).max()),
        float((np.abs(np.diff(values, axis=0)) / most).max()),
        float(np.ptp(values[:, 1])),
        *rest,
    )
