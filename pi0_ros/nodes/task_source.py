"""task_source: keeps the newest task latched on `task`, beginning with what the bring-up's argument `task` says.

A task that a person publishes once is known to whoever listens at that moment; a policy that starts again later hears it
from here.
"""

from __future__ import annotations

import time

from rclpy.node import Node
from std_msgs.msg import String

from pi0_ros.ros.parameters import Parameter, Parameters
from pi0_ros.ros.qos import LATCHED
from pi0_ros.ros.run import run

ECHO = 1.0
"""Seconds in which the previous task, received again, is the echo of another node like this one, and not a person's."""


class TaskSourceNode(Node):
    """Latches the newest text for as long as it runs."""

    table = (Parameter("task", "", "what to do, in words", required=True),)

    def __init__(self) -> None:
        super().__init__("task_source")
        self._task = Parameters(self, self.table).values().task
        self._before, self._changed = "", float("-inf")
        self._publisher = self.create_publisher(String, "task", LATCHED)
        self.create_subscription(String, "task", self._on_task, LATCHED)

    def bring_up(self) -> bool:
        """Say it."""
        self._publisher.publish(String(data=self._task))
        self.get_logger().info(f"task: {self._task}")
        return True

    def _on_task(self, message: String) -> None:
        now, text = time.monotonic(), message.data
        if text == self._task or (text == self._before and now - self._changed < ECHO):
            return
        self._before, self._task, self._changed = self._task, text, now
        self._publisher.publish(String(data=text))
        self.get_logger().info(f"task, as somebody says: {text!r:.80}")

    def shut_down(self, reason: str) -> None:
        """A node that starts later does not get the task any more."""
        self.get_logger().info(f"ends: {reason}")


def main() -> int:
    """Run the node."""
    return run(lambda _: [TaskSourceNode()])


if __name__ == "__main__":
    raise SystemExit(main())
