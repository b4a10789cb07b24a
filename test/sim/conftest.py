from __future__ import annotations

import pytest

from pi0_ros.robot import Robot, load_robot
from pi0_ros.sim.robot import SimRobot


@pytest.fixture(scope="session")
def bimanual() -> Robot:
    return load_robot("mobile_bimanual")


@pytest.fixture
def sim(bimanual: Robot):
    robot = SimRobot(bimanual, seed=1)
    yield robot
    robot.close()
