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
