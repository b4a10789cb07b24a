"""Requests to the running graph, for the command line: call a service, publish a text, read the newest state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

from pi0_ros.msg import ExecutorState
from pi0_ros.ros.conversions import MODE_NAMES
from pi0_ros.ros.qos import EVENTS, LATCHED, RELIABLE

NODE = "pi0_client"
LEVELS = {
    DiagnosticStatus.OK: "ok",
    DiagnosticStatus.WARN: "warn",
    DiagnosticStatus.ERROR: "error",
    DiagnosticStatus.STALE: "stale",
}


class GraphError(RuntimeError):
    """Nobody answered, or nobody subscribes; the text says what is missing and which domain was searched."""


@dataclass(frozen=True)
class Answer:
    """Of a Trigger service: whether it was granted, and why not."""

    ok: bool
    message: str


@dataclass(frozen=True)
class NodeStatus:
    """What one node says of itself in /diagnostics: level "ok", "warn", "error" or "stale", a sentence, values."""

    level: str
    message: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GraphState:
    """The newest of everything; `mode` is "" and `nodes` empty if nothing was received."""

    mode: str = ""
    reason: str = ""
    plan_left: float = 0.0
    nodes: dict[str, NodeStatus] = field(default_factory=dict)


class GraphClient:
    """A short-lived node for requests. `seconds`: how long it waits for others."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor, seconds: float) -> None:
        self._node, self._executor, self._seconds = node, executor, seconds

    def call(self, service: str) -> Answer:
        """Call a Trigger service. Raises GraphError if there is none, or no answer comes."""
        client = self._node.create_client(Trigger, service)
        if not self._until(client.service_is_ready):
            raise GraphError(f"no service {self._full(service)}: is its node running?{self._where()}")
        future = client.call_async(Trigger.Request())
        if not self._until(future.done):
            raise GraphError(f"service {self._full(service)} does not answer within {self._seconds:g} s")
        return Answer(future.result().success, future.result().message)

    def say(self, topic: str, text: str) -> int:
        """Publish a latched text and wait until it has arrived; how many listen. Raises GraphError if nobody does."""
        publisher = self._node.create_publisher(String, topic, LATCHED)
        if not self._until(lambda: publisher.get_subscription_count() > 0):
            raise GraphError(f"nobody listens to {self._full(topic)}: is pi0 up running?{self._where()}")
        publisher.publish(String(data=text))
        publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=self._seconds))
        return publisher.get_subscription_count()

    def state(self) -> GraphState:
        """What the executor and all nodes of this project say of themselves. Raises GraphError if nothing is received."""
        executor: list[ExecutorState] = []
        nodes: dict[str, NodeStatus] = {}
        self._node.create_subscription(ExecutorState, "executor_state", executor.append, RELIABLE)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: nodes.update(_statuses(m)), EVENTS)
        self._until(lambda: bool(executor and nodes))
        self._until(lambda: False, 1.2 if executor or nodes else 0.0)  # every node reports once per second
        if not executor and not nodes:
            raise GraphError(f"no node of pi0_ros answers: is pi0 up running?{self._where()}")
        if not executor:
            return GraphState(nodes=nodes)
        newest = executor[-1]
        return GraphState(MODE_NAMES.get(newest.mode, "unknown"), newest.reason, newest.plan_left, nodes)

    def _until(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        end = time.monotonic() + (self._seconds if seconds is None else seconds)
        while not condition():
            if time.monotonic() >= end:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True

    def _full(self, name: str) -> str:
        return self._node.resolve_topic_name(name)

    def _where(self) -> str:
        return f" (looked for {self._seconds:g} s on ROS domain {self._node.context.get_domain_id()})"


def _statuses(message: DiagnosticArray) -> dict[str, NodeStatus]:
    ours = (status for status in message.status if status.hardware_id == "pi0_ros")
    return {
        s.name: NodeStatus(LEVELS.get(s.level, "stale"), s.message, {v.key: v.value for v in s.values}) for s in ours
    }


@contextmanager
def graph_client(namespace: str, seconds: float) -> Iterator[GraphClient]:
    """A client in the graph that the environment names; it leaves when the context ends."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node(NODE, namespace=namespace, context=context, enable_rosout=False, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        yield GraphClient(node, executor, seconds)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
