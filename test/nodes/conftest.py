import os
import sys
from pathlib import Path

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
def make_checkpoint():
    """What makes a small checkpoint with random weights for the policy tests."""
    import importlib.util

    file = Path(__file__).parents[1] / "policy" / "conftest.py"
    spec = importlib.util.spec_from_file_location("policy_conftest", file)
    made = importlib.util.module_from_spec(spec)
    sys.modules["policy_conftest"] = made
    spec.loader.exec_module(made)
    return made.make_checkpoint


@pytest.fixture(scope="session")
def aloha(tmp_path_factory):
    """(robot, file) of aloha, patient."""
    return patient_robot("aloha", tmp_path_factory.mktemp("aloha"))
