"""Attacks on a running executor: `python -m bench faults` runs them on a real graph and says what the robot did.

Each kind sends what no honest neighbour would, while the executor of a simulated driver is in autonomy along an honest plan.
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
    """What an attack did: commands per second and the largest gap between two [s], the largest step over its limit, how far
    the arm went from the honest plan [rad], chunks and messages refused, and how long `stop` took at its end [s]."""

    rate: float
    gap: float
    step_share: float
    strayed: float
    refused: int
    stop: float


def attacks() -> dict[str, Callable[..., Iterator[Callable[[], None]]]]:
    """Kinds of attack: each yields what is to be done, as often as it is asked."""
    from pi0_ros.msg import ActionChunk
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from std_msgs.msg import Bool
    from std_srvs.srv import Trigger

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

    return {
        "far_start": lambda node: chunks(node, far),
        "huge_rows": lambda node: chunks(node, huge),
        "absurd_stamps": lambda node: chunks(node, stamp),
        "absurd_frozen_rows": lambda node: chunks(node, frozen),
        "last_sequence": lambda node: chunks(node, last_number),
        "flood": lambda node: chunks(node, lambda message: None),
        "ten_megabytes": lambda node: chunks(node, ten_megabytes, 1),
        "service_storm": storm,
        "best_effort_estop": stops,
    }


RATES = {"flood": 650.0, "service_storm": 200.0, "ten_megabytes": 5.0}
"""How often an attack is made [1/s]; 10 where nothing is said."""


def run(name: str, attack: Callable[..., Iterator[Callable[[], None]]]) -> Outcome:
    """One attack on an executor of its own."""
    import rclpy
    from rclpy.node import Node
    from stand_in import Driver, Graph, Person, Planner, nod, patient_robot

    from pi0_ros.nodes.executor import ExecutorNode

    rclpy.init()
    graph = Graph()
    try:
        with TemporaryDirectory() as folder:
            robot, file = patient_robot("mobile_bimanual", Path(folder))
            driver, person = graph.node(Driver, robot), graph.node(Person, robot)
            planner = graph.node(Planner, robot, nod)
            executor = graph.managed(ExecutorNode, robot=file, black_box="", engage_time=0.2)
            graph.wait(lambda: driver.commands["lift"] and person.mode == "hold", "hold")
            person.insist("autonomy", lambda: person.state.chunks_accepted > 2, "accepted chunks")
            attacker = graph.add(Node("attacker"))
            honest = planner.spoil
            latest = []
            planner.spoil = lambda message: latest.append(message) or honest(message)
            attacker.chunk = lambda: _renewed(attacker, latest[-1]) if latest else None
            graph.wait(lambda: latest, "a plan")
            actions, period, begun = attack(attacker), 1.0 / RATES.get(name, 10.0), time.monotonic()
            sent = len(driver.commands["left_arm"])
            while time.monotonic() - begun < SECONDS:
                next(actions)()
                time.sleep(period)
            commands = driver.commands["left_arm"][sent:]
            asked = time.monotonic()
            done = _stop(person, graph)
            refused = person.state.chunks_rejected + executor._inputs.refused
            return _judge(robot, commands, refused, done - asked)
    finally:
        graph.close()
        rclpy.shutdown()


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


def _judge(robot, commands, refused: int, stop: float) -> Outcome:
    limits = [c.limits for c in robot.group("left_arm").channels]
    times, values = np.array([t for t, _ in commands]), np.array([v for _, v in commands])
    most = np.array([m.velocity for m in limits]) / robot.control_rate
    return Outcome(
        rate=float((len(times) - 1) / (times[-1] - times[0])),
        gap=float(np.diff(times).max()),
        step_share=float((np.abs(np.diff(values, axis=0)) / most).max()),
        strayed=float(np.ptp(values[:, 1])),
        refused=int(refused),
        stop=stop,
    )
