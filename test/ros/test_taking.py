"""Messages that are taken out of the network layer by hand: whole, measured, and without anybody waiting for them."""

import os

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String

from pi0_ros.ros.polled_subscriptions import PolledGroup
from pi0_ros.ros.taking import USUAL, Collector, Reader

DEPTH = 4


class Line:
    """A publisher and a subscription of one topic that are connected; what is said has arrived."""

    def __init__(self):
        self.node = rclpy.create_node("listener")
        self.group = PolledGroup()
        self.subscription = self.node.create_subscription(
            String, "words", lambda _: None, QoSProfile(depth=DEPTH), callback_group=self.group
        )
        self.publisher = self.node.create_publisher(String, "words", QoSProfile(depth=50))
        self.complaints = []

    def connect(self):
        while self.publisher.get_subscription_count() < 1:
            os.sched_yield()

    def say(self, *words):
        for word in words:
            self.publisher.publish(String(data=word))
            assert self.publisher.wait_for_all_acked()

    def collector(self, waiting, largest=1000):
        return Collector([Reader(self.subscription)], waiting, largest, "reader of words", self.complaints.append)


@pytest.fixture
def line():
    rclpy.init(domain_id=1 + os.getpid() % 100)
    made = Line()
    made.connect()
    yield made
    made.node.destroy_node()
    rclpy.shutdown()


def word(taken):
    return deserialize_message(taken.data, String).data


def all_of(collector, count):
    """What a collector hands over, once that many have come."""
    (reader,), found = collector._readers, []
    while len(found) < count:
        if (taken := collector.take(reader)) is not None:
            found.append(word(taken))
    return found


def test_a_message_is_what_rclpy_would_have_taken(line):
    line.say("one", "two")
    reader = Reader(line.subscription)
    first = reader.take(1000)
    data, info = line.subscription.handle.take_message(String, True)
    assert (word(first), first.size) == ("one", len(serialize_message(String(data="one"))))
    assert deserialize_message(data, String).data == "two"
    assert 0 < first.sent <= first.received <= info["received_timestamp"]
    assert 0 <= info["source_timestamp"] - first.sent < 60e9
    assert (first.sequence, info["publication_sequence_number"]) == (1, 2)
    assert reader.take(1000) is None


def test_a_message_says_which_publisher_it_is_of_as_the_graph_calls_it(line):
    other = line.node.create_publisher(String, "words", QoSProfile(depth=50))
    while other.get_subscription_count() < 1 or line.node.count_publishers("words") < 2:
        os.sched_yield()
    line.say("mine")
    other.publish(String(data="other's"))
    assert other.wait_for_all_acked()
    reader = Reader(line.subscription)
    taken = [reader.take(1000), reader.take(1000)]
    assert [word(t) for t in taken] == ["mine", "other's"] and taken[0].publisher != taken[1].publisher
    in_the_graph = {bytes(info.endpoint_gid) for info in line.node.get_publishers_info_by_topic("words")}
    assert {t.publisher for t in taken} == in_the_graph


def test_what_is_too_large_is_known_by_its_size_and_the_next_one_is_whole(line):
    long, reader = "x" * 3_000_000, Reader(line.subscription)
    line.say(long, "short")
    taken = reader.take(1_000_000)
    assert taken.data is None and taken.size == len(serialize_message(String(data=long)))
    assert reader._bytes.capacity == USUAL  # what it needed is given back
    assert word(reader.take(1_000_000)) == "short"
    line.say(long)
    assert word(reader.take(4_000_000)) == long


def test_a_collector_takes_what_comes_without_being_asked(line):
    collector = line.collector(waiting=3)
    line.say("one", "two", "three")
    assert all_of(collector, 3) == ["one", "two", "three"]
    line.say("four")
    assert all_of(collector, 1) == ["four"]
    collector.close()
    assert not collector.thread.alive and not line.complaints


def test_of_what_nobody_reads_a_few_wait_and_the_network_layer_drops_the_oldest_of_the_rest(line):
    collector = line.collector(waiting=2)
    for k in range(2):
        line.say(str(k))
        while len(collector._queues[collector._readers[0]]) < k + 1:
            os.sched_yield()
    line.say(*(str(k) for k in range(2, 10)))
    assert all_of(collector, 2 + DEPTH) == ["0", "1", "6", "7", "8", "9"]
    collector.close()


def test_a_collector_ends_whether_its_subscription_is_there_or_gone(line):
    here, gone = line.collector(waiting=2), line.collector(waiting=2)
    here.close()
    line.node.destroy_subscription(line.subscription)
    gone.close()
    assert not here.thread.alive and not gone.thread.alive
    for collector in (here, gone):
        with pytest.raises(OSError):
            os.fstat(collector._bell)


def test_a_message_that_the_network_layer_cannot_hand_over_is_no_message_and_no_exception(line, monkeypatch):
    reader = Reader(line.subscription)
    monkeypatch.setattr(reader, "_take", lambda *_: 10)  # RCL_RET_BAD_ALLOC
    assert reader.take(1000).data is None


def test_a_collector_is_woken_by_each_of_its_readers_and_by_none_after_its_end():
    class Silent:
        def __init__(self):
            self.bells = []

        def ring(self, bell):
            self.bells.append(bell)

        def take(self, largest):
            return None

    readers = [Silent(), Silent()]
    collector = Collector(readers, 2, 1000, "silent", print)
    bell = collector._bell
    collector.close()
    assert [reader.bells for reader in readers] == [[bell, None], [bell, None]]
