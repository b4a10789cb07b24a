"""What a reader asks for that a writer does not offer (DDS 1.4, section 2.2.3)."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, String

from pi0_ros.ros.matching import Matching, Port, mismatch, ports, type_name, unmet

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
LATCHED, VOLATILE = DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE
MANUAL, AUTOMATIC = LivelinessPolicy.MANUAL_BY_TOPIC, LivelinessPolicy.AUTOMATIC


def quality(**given):
    return QoSProfile(depth=1, **given)


@pytest.mark.parametrize(
    ("name", "more", "less", "said"),
    [
        ("reliability", RELIABLE, BEST_EFFORT, "reliable is asked for, best effort is offered"),
        ("durability", LATCHED, VOLATILE, "transient_local is asked for, volatile is offered"),
        ("liveliness", MANUAL, AUTOMATIC, "manual liveliness is asked for, automatic is offered"),
    ],
)
def test_who_asks_for_more_than_is_offered_is_not_connected_and_who_asks_for_less_is(name, more, less, said):
    high, low = quality(**{name: more}), quality(**{name: less})
    assert unmet(offered=low, wanted=high) == said
    assert unmet(high, low) == unmet(high, high) == unmet(low, low) == ""


@pytest.mark.parametrize("name", ["deadline", "liveliness_lease_duration"])
def test_a_shorter_time_may_be_offered_than_is_asked_for_and_not_a_longer_one_nor_none(name):
    def lasting(seconds):
        return quality(**{name: Duration(seconds=seconds)})

    assert unmet(lasting(0.1), lasting(0.2)) == unmet(lasting(0.2), lasting(0.2)) == ""
    assert unmet(lasting(0.3), lasting(0.2)) == f"a {name} of 0.2 s is asked for and not offered"
    assert unmet(quality(), lasting(0.2)) != ""
    assert unmet(quality(), lasting(4e9)) == "" and unmet(lasting(0.3), quality()) == ""


def other(kind="std_msgs/msg/Bool", **given):
    return SimpleNamespace(node_namespace="/left", node_name="leader", topic_type=kind, qos_profile=quality(**given))


def test_both_sides_are_compared_the_right_way_round():
    reading = Port("/deadman", "std_msgs/msg/Bool", (quality(reliability=RELIABLE),), True)
    writing = Port("/deadman", "std_msgs/msg/Bool", (quality(reliability=BEST_EFFORT),), False)
    assert mismatch(reading, other(reliability=RELIABLE)) == mismatch(writing, other(reliability=BEST_EFFORT)) == ""
    assert mismatch(reading, other(reliability=BEST_EFFORT)).startswith(
        "/deadman: the publisher /left/leader has another quality of service (reliable is asked for"
    )
    found = mismatch(writing, other(reliability=RELIABLE))
    assert found.startswith("/deadman: the subscriber /left/leader") and found.endswith("no commands from this node")


def test_one_of_several_ways_to_read_is_enough():
    port = Port("/task", "std_msgs/msg/Bool", (quality(durability=LATCHED), quality(durability=VOLATILE)), True)
    assert mismatch(port, other(durability=VOLATILE)) == ""


def test_another_type_is_named_with_both():
    port = Port("/deadman", type_name(Bool), (quality(),), True)
    assert port.type == "std_msgs/msg/Bool"
    found = mismatch(port, other("std_msgs/msg/String"))
    assert "has type std_msgs/msg/String, not std_msgs/msg/Bool; it is not heard" in found


def test_topics_are_looked_at_in_turn_and_who_is_not_connected_is_said_once_and_known_until_that_is_over():
    found = {"/deadman": [other("std_msgs/msg/String")], "/lamp": []}
    said, timers = [], []
    node = SimpleNamespace(
        get_publishers_info_by_topic=lambda topic: found[topic] if topic == "/deadman" else pytest.fail(topic),
        get_subscriptions_info_by_topic=lambda topic: found[topic] if topic == "/lamp" else pytest.fail(topic),
        get_logger=lambda: SimpleNamespace(error=said.append),
    )
    watched = [
        Port("/deadman", "std_msgs/msg/Bool", (quality(),), True),
        Port("/lamp", "std_msgs/msg/Bool", (quality(),), False),
    ]
    watch = Matching(node, lambda period, look: timers.append((period, look)) or "timer", watched)
    ((period, look),) = timers
    assert watch.timer == "timer" and period > 0.0 and watch.sentences == []
    look()
    (sentence,) = watch.sentences
    assert "/deadman" in sentence and "String" in sentence and len(said) == 1 and sentence in said[0]
    found["/lamp"] = [other("std_msgs/msg/Char")]
    look()
    assert len(watch.sentences) == 2 and "/lamp" in said[1]
    look()
    look()
    assert len(watch.sentences) == 2 and len(said) == 2
    found["/deadman"] = []
    look()
    assert ["/lamp" in text for text in watch.sentences] == [True]
    found["/deadman"] = [other("std_msgs/msg/String")]
    look()
    look()
    assert len(said) == 3


def test_several_readers_of_a_topic_are_one_port_and_every_writer_is_one():
    end = lambda topic, kind, depth: SimpleNamespace(topic_name=topic, msg_type=kind, qos_profile=depth)
    readers = [end("/a", Bool, 1), end("/b", String, 2), end("/a", Bool, 3)]
    assert ports(readers, [end("/c", String, 4), end("/a", Bool, 5)]) == [
        Port("/a", "std_msgs/msg/Bool", (1, 3), True), Port("/b", "std_msgs/msg/String", (2,), True),
        Port("/c", "std_msgs/msg/String", (4,), False), Port("/a", "std_msgs/msg/Bool", (5,), False),
    ]  # fmt: skip


def test_three_topics_are_looked_at_in_their_order():
    asked = []
    node = SimpleNamespace(
        get_publishers_info_by_topic=lambda topic: asked.append(topic) or (),
        get_subscriptions_info_by_topic=lambda topic: asked.append(topic) or (),
    )
    watch = Matching(
        node, lambda period, look: None, [Port(t, "a/b", (quality(),), t != "/y") for t in ("/x", "/y", "/z")]
    )
    for _ in range(4):
        watch.look()
    assert asked == ["/x", "/y", "/z", "/x"]
