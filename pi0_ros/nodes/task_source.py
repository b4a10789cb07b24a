"""task_source: says on `task`, latched, what the bring-up's argument `task` says."""

from __future__ import annotations

from rclpy.node import Node
from std_msgs.msg import String

from pi0_ros.ros.parameters import Parameter, Parameters
from pi0_ros.ros.qos import LATCHED
from pi0_ros.ros.run import Signals, run


class TaskSourceNode(Node):
    """Latches one text for as long as it runs."""

    table = (Parameter("task", "", "what to do, in words", required=True),)

    def __init__(self) -> None:
        super().__init__("task_source")
        self._task = Parameters(self, self.table).values().task
        self._publisher = self.create_publisher(String, "task", LATCHED)

    def bring_up(self) -> bool:
        """Say it."""
        self._publisher.publish(String(data=self._task))
        self.get_logger().info(f"task: {self._task}")
        return True

    def shut_down(self, reason: str) -> None:
        """Who comes later does not hear the task any more."""
        self.get_logger().info(f"ends: {reason}")


def make(_: Signals) -> list[Node]:
    """The node of this process."""
    return [TaskSourceNode()]


def main() -> int:
    """Run the node."""
    return run(make)


if __name__ == "__main__":
    raise SystemExit(main())
