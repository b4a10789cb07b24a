"""What reaches the control core of a message: its values, who it is from, and when it was received."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from pi0_ros.msg import ActionChunk
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool

from pi0_ros.control.chunk import Verdict
from pi0_ros.robot import load_robot
from pi0_ros.ros.executor_inputs import ExecutorInputs
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.qos import LATCHED, RELIABLE, SENSOR

AGE = 5.0  # [s] that messages seem to have lain there when they are read


class Core:
    """Notes what it is told."""

    def __init__(self):
        self.told = {}

    def __getattr__(self, name):
        def note(*given):
            self.told.setdefault(name, []).append(given)
            return Verdict(True, "")

        return note


@pytest.fixture
def inputs(graph, mobile, tmp_path):
    """(inputs, their node, publishers by topic): read by the test, once everybody is connected."""
    file = tmp_path / "robot.yaml"
    with open(mobile[1]) as robot:
        file.write_text(robot.read() + "\ntakeover: {deadman: {topic: joy, button: 2}}\n")
    node = ManagedNode("reader")
    made = ExecutorInputs(node, load_robot(file), 100.0)
    speaker = graph.add(Node("speaker"))
    kinds = {"joint_states": (JointState, SENSOR), "odom": (Odometry, SENSOR), "teleop/left_arm": (JointState, SENSOR),
             "estop": (Bool, LATCHED), "joy": (Joy, SENSOR), "action_chunk": (ActionChunk, RELIABLE)}  # fmt: skip
    publishers = {topic: speaker.create_publisher(kind, topic, quality) for topic, (kind, quality) in kinds.items()}
    speaker.create_timer(0.02, graph.notify)
    graph.wait(lambda: all(p.get_subscription_count() for p in publishers.values()), "the reader")
    made.deliver_to(Core())
    yield made, node, publishers
    node.destroy_node()


def test_every_message_counts_from_when_it_came_and_not_from_when_it_is_read(graph, inputs, monkeypatch):
    made, node, publishers = inputs
    made.deliver_to(core := Core())
    arm = [f"left_joint{k}" for k in range(1, 7)]
    joints = JointState(name=arm, position=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    joints.header.stamp = Time(sec=7, nanosec=500_000_000)
    odometry = Odometry()
    odometry.twist.twist.linear.x, odometry.twist.twist.angular.z = 0.25, -0.5
    chunk = ActionChunk(channels=["lift", "left_joint1"], values=[0.1, 0.2, 0.3, 0.4], period=0.05, sequence=9, epoch=4)
    messages = {
        "joint_states": joints, "odom": odometry, "teleop/left_arm": joints, "estop": Bool(data=True),
        "joy": Joy(buttons=[0, 1, 1]), "action_chunk": chunk,
    }  # fmt: skip
    monkeypatch.setattr(
        "pi0_ros.ros.polled_subscriptions.time",
        SimpleNamespace(time=lambda: time.time() + AGE, monotonic=time.monotonic),
    )
    began = node.clocks.steady(), node.clocks.ros()
    for topic, message in messages.items():
        publishers[topic].publish(message)
    calls = {"on_state", "on_odometry", "on_teleop", "on_estop", "on_deadman", "on_chunk"}

    def everything():
        made.read_routine(), made.read_chunks(), made.read_urgent()
        return calls <= set(core.told)

    graph.wait(everything, "all messages")
    ended = node.clocks.steady(), node.clocks.ros()
    told = core.told

    def came(*received):
        """Whether these times are when a message was sent, as the clock that was set on says."""
        return all(a - AGE <= t + 0.01 and t <= b - AGE + 0.01 for a, t, b in zip(began, received, ended, strict=False))

    (received, at, stamp, positions, _, topic), *_ = told["on_state"]
    assert came(received, at) and stamp == 7.5 and topic == "joint_states"
    assert positions == pytest.approx(dict(zip(arm, joints.position, strict=True)))
    (received, at, _, vx, vy, wz, topic), *_ = told["on_odometry"]
    assert came(received, at) and (vx, vy, wz, topic) == (0.25, 0.0, -0.5, "odom")
    (received, group, names, values), *_ = told["on_teleop"]
    assert came(received) and group == "left_arm" and list(names) == arm
    assert values == pytest.approx(tuple(joints.position))
    (received, pressed, sender, _), *_ = told["on_estop"]
    assert came(received) and pressed is True
    assert sender == bytes(node.get_publishers_info_by_topic("estop")[0].endpoint_gid)
    (received, held), *_ = told["on_deadman"]
    assert came(received) and held is True
    (received, at, taken), *_ = told["on_chunk"]
    assert came(received, at) and (taken.sequence, taken.epoch) == (9, 4)
    np.testing.assert_allclose(taken.values, [[0.1, 0.2], [0.3, 0.4]])


def test_what_cannot_be_read_is_counted_and_told_once_a_second_and_not_given_to_the_core(graph, inputs):
    made, _, publishers = inputs
    made.deliver_to(core := Core())
    for number in range(2):
        wrong = ActionChunk(channels=["lift"], values=[0.1], period=0.05, frozen_rows=3, sequence=number)
        publishers["action_chunk"].publish(wrong)
    graph.wait(lambda: made.read_chunks() is None or made.refusals.count == 2, "the chunks")
    (event,) = made.events()
    assert event.level == "warn" and "message on action_chunk refused" in event.text and not made.events()
    assert made.refusals.last.startswith("action_chunk: ") and "on_chunk" not in core.told


def test_another_core_begins_with_what_the_button_said_last_and_with_nothing_else(graph, inputs):
    made, _, publishers = inputs
    publishers["estop"].publish(Bool(data=False))
    publishers["estop"].publish(Bool(data=True))
    publishers["action_chunk"].publish(ActionChunk(channels=["lift"], values=[0.1], period=0.05))
    for topic in ("estop", "action_chunk"):
        assert publishers[topic].wait_for_all_acked()
    made.deliver_to(core := Core())
    made.read_routine(), made.read_chunks(), made.read_urgent()
    assert {pressed for _, pressed, *_ in core.told["on_estop"]} == {True} and "on_chunk" not in core.told


def test_a_button_that_is_pressed_is_heard_by_another_core_though_another_button_spoke_later(graph, inputs):
    made, node, publishers = inputs
    second = graph.add(Node("second_button"))
    other = second.create_publisher(Bool, "estop", LATCHED)
    graph.wait(
        lambda: other.get_subscription_count() == publishers["estop"].get_subscription_count() == 3, "the reader"
    )
    publishers["estop"].publish(Bool(data=True))
    assert publishers["estop"].wait_for_all_acked()
    other.publish(Bool(data=False))
    assert other.wait_for_all_acked()
    made.deliver_to(core := Core())
    names = {bytes(i.endpoint_gid): i.node_name for i in node.get_publishers_info_by_topic("estop")}
    assert {(names[sender], pressed) for _, pressed, sender, _ in core.told["on_estop"]} == {
        ("speaker", True),
        ("second_button", False),
    }
