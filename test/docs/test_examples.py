"""The example robot of the tutorial "your robot in an hour" does what its page says."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from pi0_ros.policy import load_adapter
from pi0_ros.robot import load_robot
from pi0_ros.ros.graph_client import GraphError, graph_client

ROOT = Path(__file__).resolve().parents[2]
ARM = ROOT / "docs" / "examples" / "arm"
PATIENCE = 120.0


def module(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", ARM / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def start(tmp_path):
    """A function that starts a program of the example, or a node; all end with the test."""
    programs = []

    def begin(*words):
        program = subprocess.Popen([sys.executable, *map(str, words)], cwd=tmp_path, env=os.environ)
        programs.append(program)
        return program

    yield begin
    for program in reversed(programs):
        program.send_signal(signal.SIGINT)
        program.wait(60)


def wait_for(client, condition, what):
    """Handle what comes until the condition holds."""
    assert client._until(condition, PATIENCE), f"no {what} within {PATIENCE:g} s"


def test_a_plan_and_a_person_move_the_example_robot_as_the_tutorial_says(start, tmp_path):
    start(ARM / "driver.py")
    start(
        "-m", "pi0_ros.nodes.executor", "--ros-args", "-p", f"robot:={ARM / 'arm.yaml'}", "-p", f"black_box:={tmp_path}",
        "-p", "tracking_time:=5.0",  # a busy machine delays the example's servo, not what is tested
    )  # fmt: skip
    start(ARM / "planner.py")
    with graph_client("", 5.0) as client:

        def granted(request):
            try:
                return client.call(f"executor/{request}").ok
            except GraphError:
                return False

        wait_for(client, lambda: granted("autonomy"), "autonomy is granted")
        joints = watched(client)
        wait_for(client, lambda: way(joints(granted, "autonomy"), "wrist") > 0.2, "the planner moves the wrist")
        start(ARM / "leader.py")
        wait_for(client, lambda: granted("teleop"), "teleop is granted")
        wait_for(client, lambda: way(joints(granted, "teleop"), "shoulder") > 0.1, "the leader moves the shoulder")


def way(heard, joint):
    """How far a joint has moved in all that came, 0 before anything did."""
    return float(np.ptp([positions[joint] for positions in heard])) if heard else 0.0


def watched(client):
    """A function that gives all joint states that came so far; asks for the mode again where a busy machine ended it."""
    from sensor_msgs.msg import JointState

    heard = []
    client._node.create_subscription(
        JointState, "joint_states", lambda m: heard.append(dict(zip(m.name, m.position, strict=True))), 10
    )

    def all_of(granted, request):
        granted(request)
        return heard

    return all_of


def test_the_adapter_of_the_example_names_its_channels_and_cameras():
    robot, adapter = load_robot(ARM / "arm.yaml"), load_adapter(ARM / "arm_policy.yaml")
    assert adapter.action_channels == adapter.state_channels == robot.channel_names
    assert {camera for camera in adapter.cameras.values() if camera} == {camera.name for camera in robot.cameras}


def test_the_planner_knows_the_channels_of_the_robot():
    assert load_robot(ARM / "arm.yaml").channel_names == module("planner").CHANNELS
