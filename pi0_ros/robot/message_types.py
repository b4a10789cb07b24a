"""Which ROS message each type of the robot YAML is, by name: nothing here imports ROS."""

from __future__ import annotations

from collections.abc import Mapping

MESSAGE_TYPES: Mapping[str, str] = {
    "image": "sensor_msgs/msg/Image",
    "compressed_image": "sensor_msgs/msg/CompressedImage",
    "joint_state": "sensor_msgs/msg/JointState",
    "odometry": "nav_msgs/msg/Odometry",
    "float64_multi_array": "std_msgs/msg/Float64MultiArray",
    "joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    "twist": "geometry_msgs/msg/Twist",
    "twist_stamped": "geometry_msgs/msg/TwistStamped",
    "joy": "sensor_msgs/msg/Joy",
}
