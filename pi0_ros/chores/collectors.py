"""Tasks whose script can be recorded, and the collector of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pi0_ros.chores.collect import ChoreCollector
from pi0_ros.chores.drive_task import DriveTo
from pi0_ros.chores.recording import ChoreSettings, Collector
from pi0_ros.chores.room_collect import RoomCollector
from pi0_ros.chores.tidy_task import Tidy
from pi0_ros.robot import Robot

COLLECTORS: Mapping[str, Callable[[Robot, ChoreSettings], Collector]] = MappingProxyType(
    {
        "pick_place": ChoreCollector,
        "drive_to": lambda robot, settings: RoomCollector(robot, DriveTo(), settings),
        "tidy": lambda robot, settings: RoomCollector(robot, Tidy(), settings),
    }
)
"""Name of a task to what builds its simulation. Each raises SimError for a camera that the robot lacks."""
