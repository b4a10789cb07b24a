"""sim_operator: the person beside a simulated robot, scripted. It lets the policy work, takes over through the teleop topics
if it goes wrong, drives to the end and gives back, scene after scene.

It knows where the blocks were laid, and sees of the robot what anybody sees: joint states, odometry, the executor's state.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rclpy.node import Node

from pi0_ros.nodes.operator_script import OperatorScript
from pi0_ros.robot import RobotError, load_robot
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.parameters import Overrides, Parameter, ParameterError, Parameters
from pi0_ros.ros.run import run
from pi0_ros.ros.signals import Signals
from pi0_ros.touch.bystander import Bystander

TICK = 0.02


class SimOperatorNode(Node):
    """Runs the script of a person who watches, takes over and gives back."""

    table = (
        Parameter("robot", "mobile_bimanual", "robot YAML: a file, or a name under config/robots", required=True),
        Parameter("corrections", 30, "scenes in which somebody took over, after which it ends", low=1, high=100_000),
        Parameter("scenes", 1000, "scenes after which it ends at the latest", low=1, high=1_000_000),
    )

    def __init__(self, signals: Signals, parameter_overrides: Overrides = None) -> None:
        super().__init__("sim_operator", parameter_overrides=parameter_overrides)
        self._signals, self.clocks = signals, Clocks(self)
        values = Parameters(self, self.table).values()
        try:
            robot = load_robot(values.robot)
        except RobotError as error:
            raise ParameterError(f"parameter robot: {error}") from None
        watcher = Bystander(robot, period=TICK)
        self.script = OperatorScript(self, self.clocks, robot, watcher, values.corrections, values.scenes)
        self._playing, self._finished = self.script.play(), False
        self._waits: tuple[Callable[[], bool], float] = (lambda: True, math.inf)
        self.clocks.timer(TICK, self._tick)

    def bring_up(self) -> bool:
        """Nothing to do: the script starts with the first tick."""
        return True

    def shut_down(self, reason: str) -> None:
        """Say what came of it."""
        self._finish()

    def _tick(self) -> None:
        if self._finished:
            return
        self.script.every_period()
        condition, deadline = self._waits
        if condition() or self.clocks.steady() > deadline:
            try:
                condition, timeout = next(self._playing)
                self._waits = (condition, self.clocks.steady() + timeout)
            except StopIteration:
                self._finish()
                self._signals.end("done")

    def _finish(self) -> None:
        if not self._finished:
            self._finished = True
            counts = ", ".join(f"{count} {what}" for what, count in self.script.counts.items())
            self.get_logger().info(f"over: {counts}")


def main() -> int:
    """Run the node."""
    return run(lambda signals: [SimOperatorNode(signals)])


if __name__ == "__main__":
    raise SystemExit(main())
