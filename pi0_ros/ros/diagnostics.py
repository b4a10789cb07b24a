"""/diagnostics at 1 Hz: what a node has to say about itself."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from pi0_ros.robot.quoting import escape
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.qos import EVENTS

MAX_TEXT = 1000
"""Characters of a sentence or value in /diagnostics; whatever came from outside is escaped."""

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(frozen=True)
class Health:
    """One line about a node: level, sentence and numbers."""

    level: bytes = OK
    message: str = "running"
    values: Mapping[str, object] = field(default_factory=dict)


class Rate:
    """How often something happens, over the last `window` seconds of the steady clock."""

    def __init__(self, window: float = 2.0) -> None:
        self._window = window
        self._times: deque[float] = deque(maxlen=4096)

    def tick(self, steady: float) -> None:
        """It happened at `steady` [s]."""
        self._times.append(steady)

    def hz(self, steady: float) -> float:
        """Events a second over the window that ends at `steady` [s]."""
        while self._times and self._times[0] < steady - self._window:
            self._times.popleft()
        return len(self._times) / self._window

    def age(self, steady: float) -> float:
        """Seconds since the last event within the window, infinity if there is none."""
        return steady - self._times[-1] if self._times else float("inf")


def shown(value: object) -> str:
    """A number with four digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Diagnostics:
    """Publishes what `report` says once a second, on the steady clock. A report that raises is itself an ERROR."""

    def __init__(self, node: Node, report: Callable[[], Health], clocks: Clocks) -> None:
        self._node, self._report, self._clocks = node, report, clocks
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", EVENTS)
        self._timer = clocks.timer(1.0, self.publish)

    def publish(self) -> None:
        """Publish now."""
        try:
            health = self._report()
        except Exception:  # noqa: BLE001 - a broken report must not take the node with it
            health = Health(ERROR, "the report itself failed: " + traceback.format_exc(limit=-1).strip())
        name = self._node.get_fully_qualified_name().lstrip("/")
        status = DiagnosticStatus(
            level=health.level, name=name, message=escape(health.message, MAX_TEXT), hardware_id="pi0_ros"
        )
        status.values = [KeyValue(key=k, value=escape(shown(v), MAX_TEXT)) for k, v in health.values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
