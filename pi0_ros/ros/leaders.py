"""A person's devices as a program moves them: one message for every group that can be taken over."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import JointState

from pi0_ros.robot.spec import Group, Robot, TeleopTopic
from pi0_ros.robot.wire import to_wire
from pi0_ros.ros.qos import SENSOR


class Leaders:
    """Leader arms, grippers and lifts of a robot: whatever is led by joint states. A base that nobody drives stands still."""

    def __init__(self, node: Node, robot: Robot) -> None:
        self._node, self._robot = node, robot
        self._devices = [
            (group, group.teleop, node.create_publisher(JointState, group.teleop.topic, SENSOR))
            for group in robot.groups
            if group.teleop is not None and group.teleop.type == "joint_state"
        ]

    def lead(self, goal: NDArray[np.float64]) -> None:
        """Move all of them to a goal [D], in the order of the action vector."""
        for group, device, publisher in self._devices:
            publisher.publish(self._message(group, device, goal))

    def _message(self, group: Group, device: TeleopTopic, goal: NDArray[np.float64]) -> JointState:
        values = [float(goal[self._robot.index[c.name]]) for c in group.channels]
        message = JointState(name=list(device.joints))
        message.position = array("d", to_wire(group, values, device))
        message.header.stamp = self._node.get_clock().now().to_msg()
        return message
