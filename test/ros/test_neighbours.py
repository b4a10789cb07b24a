"""Who else is on a robot's topics: who listens to its commands, measures its joints, or publishes where one looks."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from pi0_ros.ros import neighbours as neighbours_module
from pi0_ros.ros.neighbours import neighbours, robot_topics
from pi0_ros.ros.publishers import UNKNOWN, GraphNames

GROUPS = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: joints/commands, type: joint_state}
  limits: {source: urdf, acceleration: 5.0}
other:
  kind: position
  channels: [j3]
  command: {topic: joints/commands, type: joint_state}
  limits: {source: urdf, acceleration: 5.0}
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: finger, closed: 0.0, open: 0.04}
  command: {topic: hand/commands, type: float64_multi_array}
"""
STATE = """state:
  - {topic: joint_states, type: joint_state, max_age: 0.1}
  - {topic: hand/joint_states, type: joint_state, max_age: 0.1}
"""


def end(name, space="/", gid=b""):
    return SimpleNamespace(node_name=name, node_namespace=space, endpoint_gid=list(gid))


class Graph:
    """A node that knows more nodes as time goes on; time goes on while somebody sleeps."""

    def __init__(self, arrivals=(), listeners=None, publishers=None):
        self.now, self.arrivals, self.asked = 100.0, arrivals, 0
        self.listeners, self.publishers = listeners or {}, publishers or {}

    def sleep(self, seconds):
        self.now += seconds

    def monotonic(self):
        return self.now

    def get_node_names(self):
        return ["me"] + ["other"] * sum(at <= self.now - 100.0 for at in self.arrivals)

    def resolve_topic_name(self, topic):
        return f"/left/{topic}"

    def get_subscriptions_info_by_topic(self, topic):
        return self.listeners.get(topic, ())

    def get_publishers_info_by_topic(self, topic):
        self.asked += 1
        return self.publishers.get(topic, ())

    def count_publishers(self, topic):
        return len(self.publishers.get(topic, ()))


def test_a_robot_listens_on_each_command_topic_and_publishes_on_each_state_topic(small_robot):
    assert robot_topics(small_robot(GROUPS, STATE)) == (
        ["hand/commands", "joints/commands"],
        ["hand/joint_states", "joint_states"],
    )


def test_neighbours_are_named_once_with_what_they_do(monkeypatch):
    graph = Graph(
        listeners={"/left/a": [end("driver", "/left/"), end("driver", "/left/"), end("bag")], "/left/s": [end("no")]},
        publishers={"/left/s": [end("driver", "/left")], "/left/a": [end("no")]},
    )
    monkeypatch.setattr(neighbours_module, "time", graph)
    assert neighbours(graph, ["a", "b"], ["s"]) == [
        "/bag listens to /left/a", "/left/driver listens to /left/a", "/left/driver publishes /left/s",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arrivals", "seconds"),
    [((), 3.5), ((3.0,), 6.5), ((4.0,), 3.5), ((1.0, 4.0), 7.5), ((3.0, 6.0, 9.0), 10.0)],
)
def test_one_looks_until_there_was_no_news_for_a_while_and_ten_seconds_at_most(monkeypatch, arrivals, seconds):
    """Fast DDS announces itself every 3 s."""
    graph = Graph(arrivals)
    monkeypatch.setattr(neighbours_module, "time", graph)
    neighbours(graph, (), ())
    assert graph.now - 100.0 == pytest.approx(seconds, abs=0.11)


def test_publishers_are_looked_at_twice_a_second_or_now():
    graph = Graph(
        publishers={"/left/chunks": [end("policy", "/left", b"\1\2"), end("_NODE_NAME_UNKNOWN_", "/", b"\3")]}
    )
    names = GraphNames(graph)
    both = {b"\1\2": "/left/policy", b"\3": UNKNOWN}
    assert names.publishers("chunks", 10.0) == both and graph.asked == 1
    graph.publishers = {}
    assert names.publishers("chunks", 10.49) == both and graph.asked == 1
    assert names.publishers("chunks", 10.49, now=True) == {}
    graph.publishers = {"/left/chunks": [end("policy", "/left", b"\1")]}
    assert names.publishers("chunks", 10.9) == {} and names.publishers("others", 10.9) == {}
    assert names.publishers("chunks", 10.99) == {b"\1": "/left/policy"}


def test_fewer_publishers_than_are_worth_a_look_are_nobody():
    graph = Graph(publishers={"/left/chunks": [end("policy", "/left", b"\1")]})
    names = GraphNames(graph)
    assert names.publishers("chunks", 10.0, least=2) == {} and graph.asked == 0
    assert names.publishers("chunks", 10.0, now=True, least=1) == {b"\1": "/left/policy"} and graph.asked == 1
