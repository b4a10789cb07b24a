"""What is read once a period, where one or several publishers speak."""

import pytest
from rclpy.node import Node
from std_msgs.msg import String

from pi0_ros.ros.inlets import Inlets
from pi0_ros.ros.qos import READ, RELIABLE


@pytest.fixture
def inlet(graph):
    """(inlets, what was heard): a reader that wants the newest alone; it is not spun, so nobody else reads."""
    reader, heard = Node("reader"), []
    inlets = Inlets(reader, lambda topic, error: pytest.fail(f"{topic}: {error}"))
    subscription = reader.create_subscription(
        String, "joint_states", lambda message: heard.append(message.data), READ, callback_group=inlets.group
    )
    inlets.keep(subscription, newest=True)
    yield inlets, heard, reader
    reader.destroy_node()


def speakers(graph, reader, count):
    """Publishers of nodes of their own, once the reader knows of all of them."""
    nodes = [graph.add(Node(f"driver_{k}")) for k in range(count)]
    made = [node.create_publisher(String, "joint_states", RELIABLE) for node in nodes]
    nodes[0].create_timer(0.02, graph.notify)
    graph.wait(lambda: all(p.get_subscription_count() == 1 for p in made), "the reader")
    graph.wait(lambda: reader.count_publishers("joint_states") == count, "the publishers")
    return made


def say(publisher, *words):
    for word in words:
        publisher.publish(String(data=word))
        assert publisher.wait_for_all_acked()


def test_of_one_publisher_only_the_newest_is_read(graph, inlet):
    inlets, heard, reader = inlet
    (driver,) = speakers(graph, reader, 1)
    say(driver, "one", "two", "three")
    inlets.take(1.0)
    assert heard == ["three"]


def test_of_two_publishers_on_one_topic_both_are_read(graph, inlet):
    inlets, heard, reader = inlet
    arm, gripper = speakers(graph, reader, 2)
    say(gripper, "gripper")
    say(arm, "arm one", "arm two")
    inlets.take(1.0)
    assert heard == ["gripper", "arm one", "arm two"]
