"""The demo and the benches have a ROS graph of their own, whatever the shell exports."""

import os

import pytest

from pi0_ros.commands import _own_graph
from pi0_ros.commands._own_graph import (
    OwnGraphError,
    candidates,
    graph_environment,
    joined_graph,
    look_around,
    own_graph,
)

BUSY = 77


@pytest.fixture
def arm_driver(monkeypatch):
    """A driver of the left arm in domain BUSY, which the shell exports as on a robot's computer."""
    rclpy = pytest.importorskip("rclpy")
    from std_msgs.msg import Float64MultiArray

    for name, value in {**graph_environment(BUSY), "ROS_STATIC_PEERS": ""}.items():
        monkeypatch.setenv(name, value)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=BUSY)
    node = rclpy.create_node("arm_driver", context=context)
    node.create_subscription(Float64MultiArray, "left_arm_controller/commands", lambda _: None, 1)
    own_graph.cache_clear()
    yield node
    own_graph.cache_clear()
    node.destroy_node()
    context.try_shutdown()


def test_the_domain_of_the_shell_is_never_the_demos():
    for exported in ("7", " 7", "8", "", "0", "abc"):
        for seed in range(250):
            chosen = list(candidates({"ROS_DOMAIN_ID": exported}, seed))
            assert len(chosen) >= 5 and all(1 <= domain <= 100 for domain in chosen)
            assert exported.strip() not in map(str, chosen)


def test_nothing_outside_this_machine_is_in_reach_whatever_the_shell_says(monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    monkeypatch.setenv("ROS_STATIC_PEERS", "192.168.1.5")
    environment = graph_environment(9)
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST" and environment["ROS_STATIC_PEERS"] == ""


def test_a_domain_in_which_a_driver_listens_is_passed_over(arm_driver, monkeypatch):
    for name in graph_environment(3):
        monkeypatch.setenv(name, "3" if name == "ROS_DOMAIN_ID" else "")
    monkeypatch.setattr(_own_graph.os, "getpid", lambda: BUSY - 1)  # the first choice
    chosen = own_graph()
    assert int(chosen["ROS_DOMAIN_ID"]) == BUSY + 1
    os.environ.update(chosen)
    assert own_graph() is chosen  # a process has one graph


def test_joining_a_domain_with_a_driver_in_it_is_refused_with_its_name(arm_driver):
    with pytest.raises(OwnGraphError, match="--domain 77: .* /arm_driver listens to /left_arm_controller/commands"):
        joined_graph("mobile_bimanual", BUSY)


def test_a_domain_that_is_none_is_refused():
    for domain in (-1, 233):
        with pytest.raises(OwnGraphError, match="from 0 to 232"):
            joined_graph("mobile_bimanual", domain)


def test_the_robot_that_cannot_be_loaded_is_named(arm_driver):
    with pytest.raises(OwnGraphError, match="no_such_robot"):
        look_around("no_such_robot", BUSY)
