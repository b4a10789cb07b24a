"""Attacks on a running executor: `python -m bench faults` runs them on a real graph and says what the robot did.

Each kind (`bench/_attacks.py`) sends what no honest neighbour would, from a process of its own, while an executor, another
process, is in autonomy along an honest plan.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test" / "nodes"))

SECONDS = 4.0  # of each attack
OTHERS = ("second_executor", "second_publisher")  # watched until the running executor has held because of it
PATIENCE = 60.0  # [s] for that: the other one may take long to start


@dataclass(frozen=True)
class Outcome:
    """What an attack did: commands per second and the largest gap between two [s], by the stamps of the sender; the largest
    step on the wire over its limit, how far the arm went from the honest plan [rad], chunks and messages refused, how long
    `stop` took at its end [s], control periods missed during the attack and while the black box of that stop was written,
    black boxes, the executor's growth [MB], how long after its beginning the executor held by itself [s] (-1: it did not),
    and how long before that, if so, the other one could be seen [s]."""

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
    seen_for: float


class Wire:
    """What goes to the left arm: (time of sending [s], values) of every command; who publishes it, and since when."""

    def __init__(self, node, robot) -> None:
        from pi0_ros.ros.commands import COMMAND_TYPES

        group = robot.group("left_arm")
        self.commands: list[tuple[float, np.ndarray]] = []
        self.topic, self._node, self.two_since = group.command.topic, node, 0.0
        node.create_subscription(COMMAND_TYPES[group.command.type].message, self.topic, self._on_command, 200)

    def _on_command(self, message, info) -> None:
        self.commands.append((info["source_timestamp"] * 1e-9, np.array(message.data)))

    def look(self) -> None:
        """Note when a second publisher is there."""
        if not self.two_since and self._node.count_publishers(self.topic) > 1:
            self.two_since = time.monotonic()


def run(name: str) -> Outcome:
    """One attack on an executor of its own."""
    import rclpy
    from rclpy.node import Node
    from stand_in import Driver, Graph, Person, Planner, nod, patient_robot

    from bench._attacks import start

    rclpy.init()
    graph, attacker = Graph(), None
    try:
        with TemporaryDirectory() as folder:
            robot, file = patient_robot("mobile_bimanual", Path(folder))
            driver, person = graph.node(Driver, robot), graph.node(Person, robot)
            deafen(person, "action_chunk")
            graph.node(Planner, robot, nod)
            words = (f"robot:={file}", f"black_box:={folder}/boxes", "engage_time:=0.2", "tracking_error:=1.0")
            process = graph.start("executor", *words)
            graph.wait(lambda: driver.commands["lift"] and person.mode == "hold", "hold")
            person.insist("autonomy", lambda: person.state.chunks_accepted > 2, "accepted chunks")
            wire = Wire(graph.add(Node("wire")), robot)
            attacker = start(name, file)
            graph.wait(lambda: wire.commands, "commands")
            chunks = person.state.chunks_accepted  # the attacker has the next ones too
            graph.wait(lambda: person.state.chunks_accepted > chunks + 1, "honest plans")
            before, memory = _overruns(graph, person), _memory(process.pid)
            sent, held, begun = len(wire.commands), -1.0, time.monotonic()
            attacker.stdin.write("now\n")
            attacker.stdin.flush()
            while (since := time.monotonic() - begun) < SECONDS or (name in OTHERS and held < 0.0 and since < PATIENCE):
                graph.happens(lambda: False, 0.002)
                wire.look()
                if person.mode != "autonomy" and held < 0.0 and (name not in OTHERS or wire.two_since):
                    held = time.monotonic() - begun
                    print(f"{name}: {person.mode}: {person.state.reason}", file=sys.stderr)
            commands, grown = wire.commands[sent:], _memory(process.pid) - memory
            attacked = _overruns(graph, person)
            asked = time.monotonic()
            done = _stop(person, graph)
            boxes = Path(folder) / "boxes"
            graph.happens(lambda: list(boxes.rglob("*.mcap")) and not list(boxes.rglob("*.part")), 10.0)
            written = _overruns(graph, person)
            refused = person.state.chunks_rejected + int(float(person.health["executor"][2]["messages_refused"]))
            rest = refused, done - asked, attacked - before, written - attacked, len(list(boxes.rglob("*.mcap")))
            seen_for = begun + held - wire.two_since if held >= 0.0 and wire.two_since else -1.0
            return _judge(robot, commands, *rest, grown, held, seen_for)
    finally:
        if attacker is not None:
            attacker.communicate("enough\n")
        graph.close()
        rclpy.shutdown()


def deafen(node, topic: str) -> None:
    """End a node's subscription: who measures does not parse what the attacked has to."""
    for subscription in list(node.subscriptions):
        if subscription.topic_name.endswith(topic):
            node.destroy_subscription(subscription)


def _overruns(graph, person) -> int:
    """Control periods missed so far, by the next diagnostics."""
    before = person.health.get("executor")
    graph.wait(lambda: person.health.get("executor") not in (None, before), "diagnostics")
    return int(float(person.health["executor"][2]["overruns"]))


def _memory(process: int) -> float:
    """Resident memory [MB] of a process."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1000.0


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
