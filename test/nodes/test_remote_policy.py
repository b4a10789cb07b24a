"""The policy node with its policy on a server: it waits for it, says so, and outlives it."""

import threading
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from stand_in import Driver, Person
from websockets.sync.server import serve

from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.nodes.policy import PolicyNode
from pi0_ros.policy.backends.wire import pack, unpack
from pi0_ros.ros.clock import seconds

ENOUGH = 60.0
WARN = b"\x01"

ADAPTER = """
policy: stand_in
cameras: {base_0_rgb: base, left_wrist_0_rgb: left_wrist, right_wrist_0_rgb: right_wrist}
period: 0.1
state:
  - {channels: [%(channels)s]}
actions:
  - {channels: [%(channels)s]}
remote:
  images: {base: base, left: left_wrist, right: right_wrist}
  state: {state: %(count)d}
"""


class Server:
    """A policy server whose plans keep the robot where it is; it can be told to cut, to hang or to say another thing."""

    def __init__(self, port=0):
        self.requests, self.gate, self.answer = 0, threading.Event(), None
        self.gate.set()
        self.clients = set()
        self._server = serve(self._talk, "127.0.0.1", port, compression=None)
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _talk(self, connection):
        self.clients.add(connection)
        connection.send(pack({}))
        for message in connection:
            self.requests += 1
            self.gate.wait(ENOUGH)
            stay = np.tile(unpack(message)["state"], (10, 1))
            connection.send(pack({"actions": stay}) if self.answer is None else self.answer)
        self.clients.discard(connection)

    def cut(self):
        for connection in tuple(self.clients):
            connection.close_socket()

    def stop(self):
        self.gate.set()
        self._server.shutdown()
        self.cut()
        self._thread.join(10)


@contextmanager
def serving(port=0):
    server = Server(port)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def stage(graph, mobile, tmp_path):
    robot, file = mobile
    graph.node(Driver, robot)
    person = graph.node(Person, robot)
    graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box="")
    adapter = tmp_path / "stand_in.yaml"
    names = robot.channel_names
    adapter.write_text(ADAPTER % {"channels": ", ".join(names), "count": len(names)})

    def play(port, **more):
        given = {"robot": file, "checkpoint": f"ws://127.0.0.1:{port}", "adapter": str(adapter), "prompt": "task"}
        return graph.managed(partial(PolicyNode), **(given | {"idle_period": 0.2} | more))

    return person, play


def says(graph, person, word):
    graph.wait(lambda: word in person.health.get("policy", (0, "", {}))[1], f"{word!r} of {person.health}", ENOUGH)


def test_a_connection_that_is_cut_costs_no_plan_and_no_stop(stage, graph):
    person, play = stage
    with serving() as server:
        node = play(server.port)
        person.say("stay")
        graph.wait(lambda: person.chunks, "a plan", ENOUGH)
        assert person.ask("autonomy")[0]
        graph.wait(lambda: person.state.chunks_accepted > 2, "plans that are followed", ENOUGH)
        for _ in range(3):
            server.cut()
            count = person.state.chunks_accepted
            graph.wait(lambda count=count: person.state.chunks_accepted > count + 1, "plans again", ENOUGH)
        assert node.health().values["failures"] == 0


class Distant(Server):
    """A server far away: an answer takes more than half of a plan, and then comes only when the next request is there."""

    def __init__(self):
        self.together, self.most, self.joined = 0, 0, threading.Condition()
        super().__init__()

    def _talk(self, connection):
        self.clients.add(connection)
        connection.send(pack({}))
        for message in connection:
            with self.joined:
                self.requests += 1
                self.together += 1
                self.most = max(self.most, self.together)
                self.joined.notify_all()
                mine = self.requests
                # The first plans take 0.5 s, as those of a server far away; later ones wait for another request.
                self.joined.wait_for(lambda mine=mine: mine > 5 and self.requests > mine, 0.5 if mine <= 5 else 0.8)
                self.together -= 1
            stay = np.tile(unpack(message)["state"], (10, 1))
            connection.send(pack({"actions": stay}))


def test_a_server_far_away_is_asked_again_before_it_has_answered(stage, graph):
    person, play = stage
    server = Distant()
    try:
        node = play(server.port, idle_period=0.6, replan_period=0.3)
        person.say("stay")
        graph.wait(lambda: node.health().values["requests_at_once"] == 3, "several requests", ENOUGH)
        graph.wait(lambda: server.most > 1, "two requests at once", ENOUGH)
        count = len(person.chunks)
        graph.wait(lambda: len(person.chunks) > count + 3, "plans", ENOUGH)
        assert len(server.clients) > 1
        stamps = [seconds(chunk.header.stamp) for chunk in person.chunks]
        assert stamps == sorted(stamps)
        assert [c.sequence for c in person.chunks] == sorted({c.sequence for c in person.chunks})
        node.trigger_deactivate()
        assert not node.active
    finally:
        server.stop()


def test_a_late_answer_is_a_warning_and_the_next_plan_is_of_its_own_observation(stage, graph):
    person, play = stage
    with serving() as server:
        node = play(server.port, answer_timeout=0.2)
        person.say("stay")
        graph.wait(lambda: person.chunks, "a plan", ENOUGH)
        server.gate.clear()
        says(graph, person, "an answer came too late")
        assert person.health["policy"][0] == WARN
        server.gate.set()
        count = len(person.chunks)
        graph.wait(lambda: len(person.chunks) > count, "plans again", ENOUGH)
        assert node.active


def test_a_servers_failure_is_one_line_with_the_error_and_no_traceback(stage, graph, capfd):
    person, play = stage
    with serving() as server:
        play(server.port)
        person.say("stay")
        graph.wait(lambda: person.chunks, "a plan", ENOUGH)
        server.answer = 'Traceback (most recent call last):\n  File "s.py", line 1\nValueError: no such key\n'
        says(graph, person, "the server failed: ValueError: no such key")
        logged = [line for line in capfd.readouterr().err.splitlines() if "inference failed" in line]
        assert logged and not [line for line in logged if "Traceback" in line]


def test_a_server_that_comes_later_is_waited_for_and_diagnostics_say_so(stage, graph, monkeypatch):
    person, play = stage
    monkeypatch.setattr("pi0_ros.policy.backends.remote.POLL", 0.05)
    with serving() as early:
        port = early.port
    waited = threading.Event()
    monkeypatch.setattr(PolicyNode, "report_progress", noting(PolicyNode.report_progress, waited))
    servers = []

    def come_late():
        waited.wait(ENOUGH)
        servers.append(Server(port))

    threading.Thread(target=come_late, daemon=True).start()
    try:
        node = play(port)
        assert node.active and waited.is_set()
        says(graph, person, "waiting for the policy server")
    finally:
        for server in servers:
            server.stop()


def noting(report, event):
    def both(self, text):
        report(self, text)
        event.set()

    return both
