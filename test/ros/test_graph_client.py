"""Requests of the command line to a graph that answers as it is told to, in a time of its own; and how a client leaves."""

from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from pi0_ros.msg import ExecutorState
from rclpy.exceptions import InvalidHandle

from pi0_ros.ros import graph_client as module
from pi0_ros.ros.graph_client import Answer, GraphClient, GraphError, NodeStatus, graph_client
from pi0_ros.ros.qos import LATCHED

WAIT = 3.0


class Graph:
    """Others of the graph. `after`: seconds until they are there; `events`: (at, topic, message) that come by themselves."""

    def __init__(self, monkeypatch):
        self.now, self.after, self.answers_after, self.listeners, self.events = 10.0, 1.0, 0.5, 2, []
        self.callbacks, self.published, self.made, self.waited = {}, [], [], []
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        node = SimpleNamespace(
            create_client=self.create_client,
            create_publisher=self.create_publisher,
            create_subscription=lambda kind, topic, callback, qos: self.callbacks.update({topic: callback}),
            resolve_topic_name=lambda name: f"/robot/{name}",
            context=SimpleNamespace(get_domain_id=lambda: 42),
        )
        self.client = GraphClient(node, SimpleNamespace(spin_once=self.spin), WAIT)

    def spin(self, timeout_sec):
        assert timeout_sec > 0.0
        self.now += timeout_sec
        for event in [event for event in self.events if event[0] <= self.now]:
            self.events.remove(event)
            self.callbacks[event[1]](event[2])

    def there(self):
        return self.now >= 10.0 + self.after

    def create_client(self, kind, name):
        def call(request):
            called = self.now
            result = SimpleNamespace(success=name == "grants", message=f"{name} says")
            return SimpleNamespace(done=lambda: self.now >= called + self.answers_after, result=lambda: result)

        return SimpleNamespace(service_is_ready=self.there, call_async=call)

    def create_publisher(self, kind, topic, qos):
        assert qos is LATCHED
        return SimpleNamespace(
            get_subscription_count=lambda: self.listeners if self.there() else 0,
            publish=lambda message: self.published.append((topic, message.data)),
            wait_for_all_acked=lambda duration: self.waited.append(duration.nanoseconds * 1e-9),
        )


@pytest.fixture
def graph(monkeypatch):
    return Graph(monkeypatch)


@pytest.mark.parametrize("service, granted", [("grants", True), ("refuses", False)])
def test_a_service_is_waited_for_and_its_answer_given(graph, service, granted):
    assert graph.client.call(service) == Answer(granted, f"{service} says")
    assert graph.now == pytest.approx(11.5, abs=0.11)


def test_a_service_that_is_not_there_or_does_not_answer_is_named_with_the_domain(graph):
    graph.answers_after = 99.0
    with pytest.raises(GraphError, match=r"service /robot/grants does not answer within 3 s"):
        graph.client.call("grants")
    graph.after = 99.0
    begin = graph.now
    with pytest.raises(GraphError, match=r"no service /robot/grants: .*looked for 3 s on ROS domain 42"):
        graph.client.call("grants")
    assert graph.now - begin == pytest.approx(WAIT, abs=0.11)


@pytest.mark.parametrize("listeners", [1, 2])
def test_words_are_said_once_somebody_listens_and_have_arrived_then(graph, listeners):
    graph.listeners = listeners
    assert graph.client.say("task", "tidy up") == listeners
    assert graph.published == [("task", "tidy up")] and graph.waited == [WAIT]
    assert graph.now == pytest.approx(11.0, abs=0.11)


def test_words_that_nobody_listens_to_are_not_said(graph):
    graph.listeners = 0
    with pytest.raises(GraphError, match=r"nobody listens to /robot/task: .*domain 42"):
        graph.client.say("task", "tidy up")
    assert not graph.published


def diagnostics(*named):
    status = [
        DiagnosticStatus(name=name, level=level, message=f"{name} is", hardware_id=owner, values=values)
        for name, level, owner, values in named
    ]
    return DiagnosticArray(status=status)


def test_the_newest_state_of_the_executor_and_of_every_node_of_the_project_is_given(graph):
    said = [KeyValue(key="rate", value="50"), KeyValue(key="missed", value="1")]
    policy = diagnostics(("policy", DiagnosticStatus.WARN, "pi0_ros", said), ("camera", b"\x00", "other", []))
    later = diagnostics(("recorder", DiagnosticStatus.ERROR, "pi0_ros", []), ("odd", b"\x09", "pi0_ros", []))
    graph.events = [
        (10.2, "executor_state", ExecutorState(mode=ExecutorState.HOLD)),
        (10.4, "/diagnostics", policy),
        (11.4, "/diagnostics", later),
        (11.5, "executor_state", ExecutorState(mode=ExecutorState.TELEOP, reason="asked for", plan_left=0.25)),
    ]
    found = graph.client.state()
    assert (found.mode, found.reason, found.plan_left) == ("teleop", "asked for", 0.25)
    assert found.nodes == {
        "policy": NodeStatus("warn", "policy is", {"rate": "50", "missed": "1"}),
        "recorder": NodeStatus("error", "recorder is"),
        "odd": NodeStatus("stale", "odd is"),
    }
    assert graph.now == pytest.approx(10.4 + 1.2, abs=0.16)


def test_an_executor_in_a_mode_that_nobody_knows_is_said_so(graph):
    graph.events = [(10.1, "executor_state", ExecutorState(mode=99))]
    found = graph.client.state()
    assert (found.mode, found.nodes) == ("unknown", {}) and graph.now == pytest.approx(10.0 + WAIT + 1.2, abs=0.16)


def test_nodes_without_an_executor_are_given_without_a_mode(graph):
    names = {"policy": 10.1, "recorder": 10.1 + WAIT + 1.0}
    graph.events = [(at, "/diagnostics", diagnostics((name, b"\x00", "pi0_ros", []))) for name, at in names.items()]
    found = graph.client.state()
    assert (found.mode, found.reason) == ("", "") and found.nodes.keys() == names.keys()
    assert {(node.level, node.message) for node in found.nodes.values()} == {("ok", f"{name} is") for name in names}


def test_an_executor_that_speaks_long_after_the_others_is_waited_for(graph):
    graph.events = [
        (10.1, "/diagnostics", diagnostics(("policy", b"\x00", "pi0_ros", []))),
        (12.5, "executor_state", ExecutorState(mode=ExecutorState.HOLD)),
    ]
    assert graph.client.state().mode == "hold"


def test_where_nobody_answers_it_says_so_at_once_after_the_wait(graph):
    with pytest.raises(GraphError, match=r"no node of pi0_ros answers: .*domain 42"):
        graph.client.state()
    assert graph.now == pytest.approx(10.0 + WAIT, abs=0.11)


def test_a_client_has_its_namespace_and_leaves_the_graph_however_it_ends():
    with pytest.raises(RuntimeError, match="enough"), graph_client("/robot", 0.25) as client:
        node, executor = client._node, client._executor
        assert node.get_namespace() == "/robot" and node in executor.get_nodes() and client._seconds == 0.25
        assert node.context.ok() and node.context is executor.context
        raise RuntimeError("enough")
    assert not node.context.ok()
    with pytest.raises(InvalidHandle), node.handle:
        pass
    assert not executor.get_nodes() or executor._is_shutdown
