"""What a robot is: channels, groups, cameras and limits, from one YAML and its URDF."""

from pi0_ros.robot.errors import RobotError
from pi0_ros.robot.loader import load_robot, robot_names
from pi0_ros.robot.spec import (
    Camera,
    Channel,
    CommandTopic,
    GripperMap,
    Group,
    Kind,
    Limits,
    Robot,
    StateSource,
    Takeover,
    TeleopTopic,
)

__all__ = [
    "Camera",
    "Channel",
    "CommandTopic",
    "GripperMap",
    "Group",
    "Kind",
    "Limits",
    "Robot",
    "RobotError",
    "StateSource",
    "Takeover",
    "TeleopTopic",
    "load_robot",
    "robot_names",
]
