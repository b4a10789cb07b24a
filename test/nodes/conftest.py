import os

# A graph of our own: these tests neither hear nor disturb other robots, and several runs do not hear each other.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

pytest.importorskip("rclpy")

import rclpy
from stand_in import Graph, patient_robot


@pytest.fixture
def graph():
    rclpy.init()
    made = Graph()
    yield made
    made.close()
    rclpy.shutdown()


@pytest.fixture(scope="session")
def mobile(tmp_path_factory):
    """(robot, file) of mobile_bimanual, patient."""
    return patient_robot("mobile_bimanual", tmp_path_factory.mktemp("mobile"))


@pytest.fixture(scope="session")
def aloha(tmp_path_factory):
    """(robot, file) of aloha, patient."""
    return patient_robot("aloha", tmp_path_factory.mktemp("aloha"))
