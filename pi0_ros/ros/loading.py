"""What a node's program does before it loads ROS, torch or anything else that takes long or may end the process."""

from __future__ import annotations

from pi0_ros.ros.environment import leave_where_ros_cannot_start
from pi0_ros.ros.missing import explain_missing_modules
from pi0_ros.ros.signals import leave_quietly_while_loading


def before_loading() -> None:
    """From now on a missing module is one line and a signal a quiet end; if ROS cannot start, the process ends with 1.

    Loading rclpy is enough to be ended by SIGBUS if /dev/shm is full.
    """
    explain_missing_modules()
    leave_quietly_while_loading()
    leave_where_ros_cannot_start()
