"""What the executor node is made of from its configuration on until it is cleaned up."""

from __future__ import annotations

from dataclasses import dataclass

from pi0_ros.control import ExecutorSettings
from pi0_ros.robot import Robot
from pi0_ros.ros.command_writer import CommandWriter
from pi0_ros.ros.executor_black_box import ExecutorBlackBox
from pi0_ros.ros.executor_inputs import ExecutorInputs
from pi0_ros.ros.executor_reporter import Publishing
from pi0_ros.ros.matching import Matching
from pi0_ros.ros.second_publishers import SecondPublishers


@dataclass(frozen=True)
class ExecutorParts:
    """period [s] of control."""

    robot: Robot
    period: float
    settings: ExecutorSettings
    commands: CommandWriter
    second: SecondPublishers
    publishing: Publishing
    inputs: ExecutorInputs
    matching: Matching
    black_box: ExecutorBlackBox
