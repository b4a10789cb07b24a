"""Whether simulated time comes at all: with `use_sim_time` and no `/clock` a node's time stands at zero."""

from __future__ import annotations

from rclpy.node import Node

from pi0_ros.ros.clock import Clocks

PATIENCE = 1.0
"""Seconds for which /clock may be silent before it is said: a simulation may be slow or just starting."""


class SimTimeWatch:
    """Watches the ROS clock of a node that takes its time from /clock. All times in seconds, on the steady clock."""

    def __init__(self, node: Node, clocks: Clocks) -> None:
        self._node, self._clocks = node, clocks
        self._ros, self._moved = clocks.ros(), clocks.steady()
        self._said = ""

    def problem(self) -> str:
        """Why there is no simulated time, "" if there is or none is wanted. Logs a new problem."""
        ros, steady = self._clocks.ros(), self._clocks.steady()
        if ros != self._ros:
            self._ros, self._moved = ros, steady
        silent = self._node.get_parameter("use_sim_time").value and steady - self._moved > PATIENCE
        problem = self._sentence(ros) if silent else ""
        if problem and problem != self._said:
            self._node.get_logger().warning(problem)
        self._said = problem
        return problem

    def _sentence(self, ros: float) -> str:
        way_out = "start the simulator, or set use_sim_time:=false"
        if self._node.count_publishers("/clock") == 0:
            return f"use_sim_time is on and nobody publishes /clock; {way_out}"
        if ros <= 0.0:
            return f"use_sim_time is on and nothing comes on /clock; {way_out}"
        return "use_sim_time is on and /clock stands still; is the simulation paused?"
