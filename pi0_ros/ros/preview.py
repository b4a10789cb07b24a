"""A preview of the plan: as a trajectory message, and as paths for RViz and Foxglove."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from visualization_msgs.msg import Marker, MarkerArray

from pi0_ros.control import Chunk
from pi0_ros.robot.kinematics import Chain, chains
from pi0_ros.robot.measurement import joint_value
from pi0_ros.robot.spec import Group, Kind, Robot
from pi0_ros.ros.clock import duration_message, time_message
from pi0_ros.ros.conversions import twist_axes

COLOURS = ((0.15, 0.55, 1.0), (1.0, 0.5, 0.1), (0.3, 0.8, 0.3), (0.8, 0.3, 0.9))
WIDTH = 0.006
"""Metres."""

Values = NDArray[np.float64]


class Preview:
    """Messages about a plan of one robot. Base frame throughout: the robot is drawn where it stands now."""

    def __init__(self, robot: Robot) -> None:
        """Raises RobotError if the URDF cannot be read."""
        self._robot, self._chains = robot, chains(robot)
        self._root = next((chain.root for chain in self._chains.values()), "base_link")
        self._joints = [(c, g) for g in robot.groups if g.kind is not Kind.VELOCITY for c in g.channels]

    def joint_values(self, plan: Chunk) -> Mapping[str, Values]:
        """Values [H] by URDF joint (rad, m) of a plan that names all channels."""
        column = {name: plan.values[:, k] for k, name in enumerate(plan.names)}
        return {
            self._robot.joint_of_channel[c.name]: np.array([joint_value(g, float(v)) for v in column[c.name]])
            if g.kind is Kind.GRIPPER
            else column[c.name]
            for c, g in self._joints
        }

    def trajectory(self, plan: Chunk) -> JointTrajectory:
        """Joint positions of a plan; without channels that are driven by velocity."""
        values = self.joint_values(plan)
        message = JointTrajectory(joint_names=list(values))
        message.header.stamp, message.header.frame_id = time_message(plan.start), self._root
        for row, positions in enumerate(np.stack(list(values.values()), axis=1)):
            point = JointTrajectoryPoint(positions=array("d", positions))
            point.time_from_start = duration_message(row * plan.period)
            message.points.append(point)
        return message

    def markers(self, plan: Chunk | None, stamp: float) -> MarkerArray:
        """Markers of the paths of arms' tips and base at ROS time `stamp` [s]; without a plan, those that delete them."""
        message = MarkerArray()
        clear = Marker(action=Marker.DELETEALL)
        clear.header.stamp, clear.header.frame_id = time_message(stamp), self._root
        message.markers.append(clear)
        if plan is None:
            return message
        values = self.joint_values(plan)
        for number, group in enumerate(self._robot.groups):
            points = self._path(group, plan, values)
            if points is not None:
                colour = COLOURS[len(message.markers) % len(COLOURS)]
                message.markers.append(self._line(group.name, number, points, colour, stamp))
        return message

    def _path(self, group: Group, plan: Chunk, values: Mapping[str, Values]) -> Values | None:
        """Points [H, 3] that a group's end passes, None for a group that has none."""
        chain: Chain | None = self._chains.get(group.name)
        if chain is not None:
            return chain.points(values)
        if any(c.axis is None for c in group.channels):
            return None
        columns = [plan.names.index(c.name) for c in group.channels]
        return base_path(plan.values[:, columns], twist_axes(group), plan.period)

    def _line(self, name: str, number: int, points: Values, colour: Sequence[float], stamp: float) -> Marker:
        line = Marker(ns=name, id=number, type=Marker.LINE_STRIP, action=Marker.ADD)
        line.header.stamp, line.header.frame_id = time_message(stamp), self._root
        line.pose.orientation.w = 1.0
        line.scale.x = WIDTH
        line.color = ColorRGBA(r=colour[0], g=colour[1], b=colour[2], a=0.9)
        line.points = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in points]
        return line


def base_path(velocities: Values, axes: Sequence[str], period: float) -> Values:
    """Where a base that follows `velocities` [H, axes] goes, in the frame it starts in: points [H, 3], z 0."""
    x = y = yaw = 0.0
    points = [(0.0, 0.0, 0.0)]
    for row in velocities[:-1]:
        twist = dict(zip(axes, row, strict=True))
        vx, vy = twist.get("vx", 0.0), twist.get("vy", 0.0)
        middle = yaw + twist.get("wz", 0.0) * period / 2.0
        x += (vx * math.cos(middle) - vy * math.sin(middle)) * period
        y += (vx * math.sin(middle) + vy * math.cos(middle)) * period
        yaw += twist.get("wz", 0.0) * period
        points.append((float(x), float(y), 0.0))
    return np.array(points)
