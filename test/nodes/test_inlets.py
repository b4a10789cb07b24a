"""What is read once a period, where one or several publishers speak."""

from array import array

import pytest
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from pi0_ros.ros.inlets import Inlets, Subjects, frame_and_names
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
    assert inlets.recount()
    inlets.take(1.0)
    assert heard == ["gripper", "arm one", "arm two"]


def joint_state(names, positions, frame=""):
    message = JointState(name=names, position=array("d", positions))
    message.header.frame_id = frame
    return message


def test_of_one_publisher_that_speaks_of_arm_and_gripper_in_turn_the_newest_of_each_is_read(graph):
    reader, heard = Node("reader"), []
    inlets = Inlets(reader, lambda topic, error: pytest.fail(f"{topic}: {error}"))
    subscription = reader.create_subscription(
        JointState,
        "joint_states",
        lambda m: heard.append(dict(zip(m.name, m.position, strict=True))),
        READ,
        callback_group=inlets.group,
    )
    inlets.keep(subscription, newest=True)
    node = graph.add(Node("driver"))
    publisher = node.create_publisher(JointState, "joint_states", RELIABLE)
    node.create_timer(0.02, graph.notify)
    graph.wait(lambda: publisher.get_subscription_count() == 1, "the reader")
    for k in range(3):
        publisher.publish(joint_state(["j1", "j2"], [0.1 * k, 0.2 * k]))
        publisher.publish(joint_state(["finger"], [0.01 * k]))
        assert publisher.wait_for_all_acked()
    inlets.take(1.0)
    assert heard == [{"j1": 0.2, "j2": 0.4}, {"finger": 0.02}]
    reader.destroy_node()


@pytest.mark.parametrize("frame", ["", "a", "arm_base", "xyz"])
def test_messages_about_the_same_joints_are_known_by_their_bytes(frame):
    def bytes_of(names, positions):
        return bytes(serialize_message(joint_state(names, positions, frame)))

    same = [bytes_of(["left_arm", "b", "ccc"], [x, 2.0, 3.0]) for x in (1.0, 5.0)]
    others = [bytes_of(names, [1.0] * len(names)) for names in (["left_arm", "b"], ["left_arm", "b", "ccd"], ["x"])]
    assert frame_and_names(same[0]) == frame_and_names(same[1]) != b""
    assert len({frame_and_names(data) for data in [*same, *others]}) == 4
    taken = [(same[0], 0), (others[0], 1), (others[1], 2), (same[1], 3), (others[2], 4)]
    assert [info for _, info in Subjects().newest(taken)] == [1, 2, 3, 4]


def test_bytes_that_are_no_joint_state_have_no_names_and_break_nothing():
    whole = bytes(serialize_message(joint_state(["a", "b"], [1.0, 2.0])))
    assert [frame_and_names(whole[:n]) for n in range(24)] == [b""] * 24
    assert frame_and_names(b"\x00\x01\x00\x00" + b"\xff" * 60) == b""
