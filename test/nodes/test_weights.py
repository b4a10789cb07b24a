"""What a node's parameters mean for the policy that is loaded, and when it is loaded anew."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pi0_ros.nodes.server_parameters import KEY_VARIABLE
from pi0_ros.nodes.weights import MODEL_PARAMETERS, Weights
from pi0_ros.policy.checkpoint import Overrides
from pi0_ros.policy.server_settings import ServerSettings
from pi0_ros.robot import load_robot

ROBOT = load_robot("aloha")
USUAL = {parameter.name: parameter.default for parameter in MODEL_PARAMETERS}
GIVEN = {
    "checkpoint": "/weights", "adapter": "aloha", "device": "cuda:1", "threads": 3, "backend": "onnx", "mode": "graph",
    "steps": 7, "tokenizer": "/words", "fast_tokenizer": "/tokens", "statistics": "/stats", "asset": "trossen",
    "pad_state_to": 32, "api_key": "secret", "ca_file": "/ca", "proxy": "http://p", "answer_timeout": 0.25,
    "first_answer_timeout": 33.0, "server_wait": 44.0, "fp8": False,
}  # fmt: skip


@pytest.fixture
def loads(monkeypatch):
    """What was loaded: (arguments, keywords, thread)."""
    found = []

    def load(*arguments, **keywords):
        found.append((arguments, keywords, threading.current_thread().name))
        return f"policy {len(found)}"

    monkeypatch.setattr("pi0_ros.nodes.weights.load_policy", load)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    return found


def values(**changes):
    return SimpleNamespace(**(USUAL | GIVEN | changes))


def test_every_parameter_reaches_the_policy(loads):
    Weights().get(values(), ROBOT, print)
    ((arguments, keywords, thread),) = loads
    assert arguments == ("/weights", ROBOT) and thread.startswith("network")
    assert keywords == {
        "device": "cuda:1", "threads": 3, "adapter": "aloha", "tokenizer": "/words", "fast": "/tokens",
        "overrides": Overrides("/stats", "trossen", 32), "steps": 7, "backend": "onnx", "mode": "graph", "fp8": False,
        "server": ServerSettings("secret", "/ca", "http://p", answer=0.25, first_answer=33.0, wait=44.0),
        "warn": print,
    }  # fmt: skip


def test_what_is_left_empty_is_left_to_the_checkpoint_and_the_key_to_the_environment(loads, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "hidden")
    empty = dict.fromkeys(("adapter", "tokenizer", "fast_tokenizer", "statistics", "asset", "api_key"), "")
    Weights().get(values(mode="auto", threads=0, steps=0, pad_state_to=0, **empty), ROBOT)
    keywords = loads[0][1]
    assert {keywords[n] for n in ("adapter", "tokenizer", "fast", "threads", "steps", "mode")} == {None}
    assert keywords["overrides"] == Overrides() and keywords["server"].key == "hidden"


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_it_is_loaded_once_and_again_for_any_other_value(loads, name):
    weights = Weights()
    assert weights.get(values(), ROBOT) == weights.get(values(), ROBOT) == "policy 1"
    other = {name: GIVEN[name] + 1 if isinstance(GIVEN[name], int | float) else GIVEN[name] + "x"}
    assert weights.get(values(**other), ROBOT) == "policy 2"


def test_another_robot_and_a_drop_load_it_again(loads, tmp_path):
    weights = Weights()
    weights.get(values(), ROBOT)
    assert weights.get(values(), replace(ROBOT, file=tmp_path / "other.yaml")) == "policy 2"
    weights.drop()
    assert weights.get(values(), ROBOT) == "policy 3"


def test_work_is_done_in_the_networks_thread_and_its_error_raised_where_it_was_asked_for():
    weights = Weights()
    assert weights.run(lambda a, b=0: (a, b, threading.current_thread().name), 3, b=4)[:2] == (3, 4)
    assert weights.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        weights.run(lambda: 1 / 0)
