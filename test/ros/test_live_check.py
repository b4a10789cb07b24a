"""A robot is looked at on a real graph: publishers in one context, `pi0 check --live` in another."""

import json
import math
import threading

import pytest

rclpy = pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from pi0_ros.msg import ActionChunk
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray

from pi0_ros.cli import main
from pi0_ros.ros.live_check import NothingThere, watch
from pi0_ros.ros.live_verdict import Role
from pi0_ros.ros.qos import EVENTS, RELIABLE, SENSOR

ARM = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
"""


@pytest.fixture
def robot(small_robot):
    return small_robot(ARM, state="state:\n  - {topic: joint_states, type: joint_state, max_age: 30.0, joints: {a: j1}}\n",
                       head="robot: small\nurdf: small.urdf\ncameras:\n  front: {topic: cam, type: image, max_age: 30.0}\n")  # fmt: skip


@pytest.fixture
def driver():
    """A node of a context of its own, spun until the test ends."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("driver", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield node
    executor.shutdown()
    thread.join()
    node.destroy_node()
    rclpy.shutdown(context=context)


def publish(node, behind=0.0, joints=(("a", 0.25), ("j2", -0.5))):
    """Joint states and pictures at 50 Hz, stamped `behind` seconds ago."""
    states, pictures = (
        node.create_publisher(JointState, "joint_states", SENSOR),
        node.create_publisher(Image, "cam", SENSOR),
    )

    def tick():
        stamp = (node.get_clock().now() - rclpy.duration.Duration(seconds=behind)).to_msg()
        state = JointState(name=[n for n, _ in joints], position=[v for _, v in joints])
        picture = Image(width=4, height=3, encoding="rgb8", step=12, data=bytes(36))
        state.header.stamp = picture.header.stamp = stamp
        states.publish(state)
        pictures.publish(picture)

    node.create_timer(0.02, tick)


def test_types_rates_offsets_ranges_and_nodes_are_seen(robot, driver):
    publish(driver, behind=5.0)
    driver.create_subscription(Float64MultiArray, "arm/commands", lambda _: None, RELIABLE)
    seen = {(s.role, s.name): s for s in watch(robot, 1.0)}
    state, camera, arm = seen[Role.STATE, "0"], seen[Role.CAMERA, "front"], seen[Role.COMMAND, "arm"]
    assert state.ranges == {"j1": (0.25, 0.25), "j2": (-0.5, -0.5)}
    assert state.offset == pytest.approx(5.0, abs=1.0)
    assert state.rate > 1.0
    assert [(p.node, p.type, p.reliability) for p in state.publishers] == [
        ("/driver", "sensor_msgs/msg/JointState", "best_effort")
    ]
    assert camera.detail == "4x3 rgb8"
    assert [s.node for s in arm.subscribers] == ["/driver"]
    assert arm.publishers == () and math.isnan(arm.rate)


def test_two_nodes_that_disagree_on_a_joint_and_two_policies_are_named(robot, driver):
    publish(driver)
    driver.create_publisher(ActionChunk, "action_chunk", RELIABLE)
    other = Node("joint_state_publisher", context=driver.context)
    zeros, plans = (
        other.create_publisher(JointState, "joint_states", SENSOR),
        other.create_publisher(ActionChunk, "action_chunk", RELIABLE),
    )
    driver.create_timer(0.05, lambda: zeros.publish(JointState(name=["a", "other"], position=[1.5, 0.0])))
    seen = {s.role: s for s in watch(robot, 1.5)}
    other.destroy_node()
    said = seen[Role.STATE].contradiction
    assert "/driver and /joint_state_publisher publish j1 on joint_states" in said and "1.50" in said and "0.25" in said
    assert {p.node for p in seen[Role.PLANS].publishers} == {"/driver", "/joint_state_publisher"} and plans is not None


def test_how_late_a_group_follows_is_taken_from_the_running_executor(robot, driver):
    publish(driver)
    told = driver.create_publisher(DiagnosticArray, "/diagnostics", EVENTS)
    mine = DiagnosticStatus(name="executor", values=[KeyValue(key="arm lag_ms", value="140")])
    others = DiagnosticStatus(name="left/executor", values=[KeyValue(key="arm lag_ms", value="20")])
    driver.create_timer(0.05, lambda: told.publish(DiagnosticArray(status=[mine, others])))
    (arm,) = (s for s in watch(robot, 1.0) if s.role is Role.COMMAND)
    assert arm.lag == pytest.approx(0.14)


def test_a_topic_of_the_same_type_is_named_where_the_right_one_is_silent(robot, driver):
    driver.create_publisher(Image, "other/image_raw", SENSOR)
    driver.create_publisher(JointState, "joint_states", SENSOR)
    camera = next(s for s in watch(robot, 0.5) if s.role is Role.CAMERA)
    assert camera.alike == ("other/image_raw",)


def test_an_empty_graph_is_one_sentence_that_says_where_was_looked(robot):
    with pytest.raises(
        NothingThere, match="ROS_DOMAIN_ID=.*rmw_.*start the drivers, or give them and this command the same"
    ):
        watch(robot, 0.1)


def test_the_command_says_what_is_missing_and_exits_with_1(robot, driver, capsys):
    publish(driver, joints=(("a", 0.25),))
    assert main(["check", "--robot", str(robot.file), "--live", "--seconds", "0.5"]) == 1
    out = capsys.readouterr().out
    assert "no  nobody listens to arm/commands" in out
    assert "no  nobody reports joint j2 on joint_states" in out


def test_the_command_prints_json_and_exits_with_0_if_all_is_there(robot, driver, capsys):
    publish(driver)
    driver.create_subscription(Float64MultiArray, "arm/commands", lambda _: None, RELIABLE)
    assert main(["check", "--robot", str(robot.file), "--live", "--seconds", "0.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert {topic["topic"] for topic in found["topics"]} == {
        "cam",
        "joint_states",
        "arm/commands",
        "action_chunk",
    }


def test_an_environment_that_ros_cannot_start_with_is_one_sentence(robot, monkeypatch, capsys):
    monkeypatch.setenv("ROS_DOMAIN_ID", "300")
    assert main(["check", "--robot", str(robot.file), "--live"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
