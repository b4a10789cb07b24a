"""What a process does before and after its nodes run, each step by itself; whole processes are in test_run."""

import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from pi0_ros.ros import run as run_module
from pi0_ros.ros.parameters import ParameterError
from pi0_ros.ros.run import (
    PROFILES,
    RANGE,
    _bring_up,
    _end_when_finalized,
    _shut_down,
    bound_memory,
    never_wait_for_readers,
)

MODE, TRANSPORTS, LAYER = "RMW_FASTRTPS_PUBLICATION_MODE", "FASTDDS_BUILTIN_TRANSPORTS", "RMW_IMPLEMENTATION"


@pytest.fixture
def environment(monkeypatch):
    """An environment that says nothing of the network layer; `environment()` is what it says now."""
    names = (*PROFILES, RANGE, MODE, TRANSPORTS, LAYER)
    fresh = {}
    monkeypatch.setattr(run_module.os, "environ", fresh)
    return lambda **given: fresh.update(given) or {n: fresh[n].rpartition("/")[2] for n in names if n in fresh}


@pytest.mark.parametrize(
    ("given", "after"),
    [
        ({}, {MODE: "ASYNCHRONOUS", TRANSPORTS: "UDPv4"}),
        ({LAYER: "rmw_fastrtps_cpp"}, {MODE: "ASYNCHRONOUS", TRANSPORTS: "UDPv4"}),
        ({LAYER: "rmw_cyclonedds_cpp"}, {}),
        ({MODE: "SYNCHRONOUS", TRANSPORTS: "SHM"}, {}),
        ({RANGE: "SUBNET"}, {MODE: "ASYNCHRONOUS", TRANSPORTS: "UDPv4"}),
        (
            {RANGE: "LOCALHOST"},
            {MODE: "ASYNCHRONOUS", TRANSPORTS: "UDPv4", RANGE: "SYSTEM_DEFAULT"} | dict.fromkeys(PROFILES, "loopback_udp.xml"),
        ),
        ({RANGE: "LOCALHOST", TRANSPORTS: "SHM"}, {MODE: "ASYNCHRONOUS"}),
        ({PROFILES[0]: "mine.xml", RANGE: "LOCALHOST"}, {MODE: "ASYNCHRONOUS"}),
        ({PROFILES[1]: "mine.xml"}, {MODE: "ASYNCHRONOUS"}),
    ],
)  # fmt: skip
def test_shared_memory_is_left_alone_unless_the_environment_says_otherwise(environment, given, after):
    environment(**given)
    never_wait_for_readers()
    assert environment() == {**given, **after}


def test_memory_is_bounded_and_what_cannot_be_is_told(environment, monkeypatch, capsys):
    monkeypatch.setattr(run_module, "bound_types", lambda: ())
    bound_memory()
    assert environment() == dict.fromkeys(PROFILES, "few_places.xml") and capsys.readouterr().err == ""
    monkeypatch.setattr(run_module, "bound_types", lambda: ("Image", "String"))
    bound_memory()
    assert capsys.readouterr().err == "warning: large messages of others can fill the memory: Image, String\n"


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_of_ones_own_stays(environment, monkeypatch, name):
    monkeypatch.setattr(run_module, "bound_types", lambda: ())
    environment(**{name: "mine.xml"})
    bound_memory()
    assert environment() == {name: "mine.xml"}


@pytest.mark.parametrize("step", ["check_environment", "bound_memory"])
def test_a_process_that_cannot_begin_says_why_and_makes_no_node(monkeypatch, capsys, step):
    def refuse():
        raise ParameterError(f"{step} says no")

    monkeypatch.setattr(run_module, "Signals", lambda: None)
    for name in ("check_environment", "bound_memory"):
        monkeypatch.setattr(run_module, name, refuse if name == step else lambda: None)
    monkeypatch.setattr(run_module.rclpy, "init", lambda **_: pytest.fail("it went on"))
    usual = sys.getswitchinterval()
    try:
        assert run_module.run(lambda signals: []) == 1
        assert sys.getswitchinterval() == pytest.approx(0.0005)
    finally:
        sys.setswitchinterval(usual)
    assert capsys.readouterr().err == f"error: {step} says no\n"


class Signals:
    def __init__(self):
        self.asked, self.idle, self.loading, self.ended = False, None, None, []
        self.end = lambda reason, code=0: self.ended.append((reason, code))


def test_nodes_are_brought_up_in_turn_until_one_cannot_or_a_signal_comes():
    for good, asked, brought, up in (
        ((True, True, True), False, ["a", "b", "c"], True),
        ((True, False, True), False, ["a", "b"], False),
        ((True, True, True), True, ["a"], True),
    ):
        signals, seen = Signals(), []

        def bring_up(name, fine, signals=signals, seen=seen, asked=asked):
            seen.append((name, signals.loading))
            signals.asked = asked
            return fine

        nodes = [SimpleNamespace(bring_up=lambda n=n, g=g: bring_up(n, g)) for n, g in zip("abc", good, strict=True)]
        assert _bring_up(nodes, signals) is up
        assert seen == [(name, True) for name in brought]
        assert signals.loading is False and signals.idle() is False


def test_a_process_is_idle_while_none_of_its_nodes_is_active():
    signals, idle = Signals(), []
    first = SimpleNamespace(active=False)
    second = SimpleNamespace(active=False, bring_up=lambda: idle.append(signals.idle()) or True)

    def bring_up():
        idle.append(signals.idle())
        first.active = True
        return True

    first.bring_up = bring_up
    assert _bring_up([first, second], signals) and idle == [True, False]
    unmanaged = SimpleNamespace(bring_up=lambda: idle.append(signals.idle()) or True)
    assert _bring_up([unmanaged], signals) and idle[2:] == [False]


def test_a_process_ends_once_all_its_nodes_are_finalized():
    signals = Signals()
    nodes = [SimpleNamespace(finalized=False, on_finalized=None) for _ in range(2)]
    _end_when_finalized(nodes, signals)
    assert not signals.ended
    for node, ended in zip(nodes, ([], [("shut down by a lifecycle request", 0)]), strict=True):
        node.finalized = True
        node.on_finalized()
        assert signals.ended == ended
    early, plain = Signals(), SimpleNamespace()
    _end_when_finalized(nodes, early)
    assert len(early.ended) == 1
    _end_when_finalized([*nodes, plain], signals)
    assert len(signals.ended) == 1 and not hasattr(plain, "on_finalized")


def test_a_node_that_cannot_be_made_safe_keeps_no_other_from_it(capsys):
    told = []
    _shut_down(SimpleNamespace(shut_down=lambda reason: 1 / 0), "bye")
    _shut_down(SimpleNamespace(shut_down=told.append), "bye")
    assert told == ["bye"] and "ZeroDivisionError" in capsys.readouterr().err
