"""What policy and high_level are made of, what they begin and let go, around a network that is not there."""

import re
from dataclasses import replace

import numpy as np
import pytest
from pi0_ros.msg import ActionChunk, ExecutorState
from rclpy.parameter import Parameter
from std_msgs.msg import String
from wiring import deliver, entities, written

from pi0_ros.nodes import brain, high_level, network_node, policy
from pi0_ros.nodes.high_level import HighLevelNode
from pi0_ros.nodes.policy import PolicyNode
from pi0_ros.nodes.weights import Weights
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.contract import contract_of_remote
from pi0_ros.policy.errors import PolicyError
from pi0_ros.robot import load_robot
from pi0_ros.ros.diagnostics import OK, Health
from pi0_ros.ros.lifecycle import FAILURE, SUCCESS

ROBOT = load_robot("mobile_bimanual")
CONTRACT = replace(
    contract_of_remote(load_adapter("mobile_bimanual"), "ws://server", ROBOT), horizon=23, period=0.04, finished=("over",),
    has_text_head=True, subtasks="touch the {colour} block",
)  # fmt: skip


class Network:
    """A policy that notes what it is asked."""

    def __init__(self, contract):
        self.contract, self.rehearsed, self.most, self.closed = contract, [], [], 0

    def rehearse(self, observation, progress):
        self.rehearsed.append((observation, progress))

    def lanes(self, most):
        self.most.append(most)
        return [self, *(Network(self.contract) for _ in range(most - 1))]

    def close(self):
        self.closed += 1


class Known(Weights):
    """Weights of which nothing has to be loaded."""

    def __init__(self, contract=CONTRACT):
        super().__init__()
        self.network, self.asked, self.dropped, self.ran = Network(contract), [], 0, []

    def get(self, *given):
        self.asked.append(given)
        return self.network

    def run(self, work, *given, **named):
        self.ran.append(work)
        return work(*given, **named)

    def drop(self):
        self.dropped += 1


@pytest.fixture
def make(graph, monkeypatch):
    """Makes nodes of a class with these parameters; log lines are in `node.log`."""
    made = []

    def one(kind, weights, partner=None, **values):
        given = {"robot": "mobile_bimanual", "checkpoint": "ws://server"} | values
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        more = {} if partner is None else {"partner": partner}
        node = kind(weights=weights, parameter_overrides=overrides, **more)
        node.log, logger = [], node.get_logger()
        for level in ("info", "warning", "error"):
            monkeypatch.setattr(logger, level, lambda text, node=node, **_: node.log.append(text))
        made.append(node)
        return node

    yield one
    for node in made:
        node.destroy_node()


def test_a_policy_is_made_of_its_parameters_and_tried_in_the_dark_first(make):
    weights = Known()
    node = make(
        PolicyNode, weights, seed=7, prompt="task", prompt_max_age=9.0, requests_at_once=4, picture_frozen=3.0,
        replan_period=0.3, idle_period=2.0, margin=0.05, rtc="prefix",
    )  # fmt: skip
    assert node.trigger_configure() == SUCCESS
    ((values, robot, warn),) = weights.asked
    assert values is node.values and robot is node.robot and robot.name == "mobile_bimanual"
    warn("odd")
    assert "odd" in node.log
    ((scene, progress),) = weights.network.rehearsed
    assert set(scene.images) == set(CONTRACT.cameras) and progress == node.report_progress
    assert weights.ran == [weights.network.rehearse] and weights.network.most == [4]
    loop = node.loop
    assert loop._noise.integers(1 << 40) == np.random.default_rng(7).integers(1 << 40)
    rules = loop.inputs.texts._rules
    assert (rules.topic, rules.max_age) == ("task", 9.0) and loop.inputs.observations is node.observations
    assert loop.inputs.state == CONTRACT.needed_state(ROBOT) and loop.lanes.contract is CONTRACT
    settings = loop.inputs.settings()
    assert (settings.timetable.replan, settings.timetable.idle, settings.timetable.margin) == (0.3, 2.0, 0.05)
    assert settings.rtc == "prefix"
    node.set_parameters([Parameter("margin", value=0.2), Parameter("rtc", value="none")])
    assert (loop.inputs.settings().timetable.margin, loop.inputs.settings().rtc) == (0.2, "none")
    assert {("/action_chunk", ActionChunk), ("/policy_state", String)} <= written(node)
    assert node.observations._watches["base"]._frozen == 3.0


def test_a_policy_hears_its_prompt_an_override_and_the_executor(make):
    for topic, silent in (("task", "subtask"), ("subtask", "task")):
        node = make(PolicyNode, Known(), prompt=topic)
        assert node.trigger_configure() == SUCCESS
        words = node.loop.inputs.texts.words
        assert deliver(node, silent, String(data="what")) == 0 and deliver(node, topic, String(data="touch it")) > 0
        assert words.text == "touch it"
        deliver(node, "subtask_override", String(data="rather this"))
        assert words.text == "rather this"
        deliver(node, "executor_state", ExecutorState(epoch=8, mode=ExecutorState.TELEOP))
        assert (node.loop.session.situation.epoch, node.loop.session.situation.mode) == (8, "teleop")
        node.trigger_cleanup()


def test_each_life_of_a_policy_plans_under_a_name_of_its_own_with_the_networks_rows(make, monkeypatch):
    made = []
    session = policy.PlanningSession
    monkeypatch.setattr(policy, "PlanningSession", lambda *given: made.append(given) or session(*given))
    node = make(PolicyNode, Known())
    for _ in range(2):
        assert node.trigger_configure() == node.trigger_cleanup() == SUCCESS
    assert made[0][1] != made[1][1] and all(re.fullmatch("policy#[0-9a-f]{6}", given[1]) for given in made)
    assert [given[2:] for given in made] == [(23, 0.04, ("over",))] * 2 and made[0][0] is not None


@pytest.mark.parametrize("kind", [PolicyNode, HighLevelNode])
def test_nothing_is_left_of_what_is_cleaned_up(make, kind):
    weights = Known()
    node = make(kind, weights)
    before = entities(node)
    for life in (1, 2):
        assert node.trigger_configure() == SUCCESS
        loop, observations, closed = node.loop, node.observations, []
        observations.close = lambda closed=closed, close=observations.close: (closed.append(1), close())
        if kind is PolicyNode:
            others = loop.lanes._others
            assert len(others) == 2  # of three requests at once
        assert node.trigger_cleanup() == SUCCESS
        assert entities(node) == before and weights.dropped == life and closed == [1] and node.observations is None
        if kind is PolicyNode:
            assert [other.closed for other in others] == [1, 1]
        with pytest.raises(AssertionError):
            _ = node.loop


@pytest.mark.parametrize(("kind", "name"), [(PolicyNode, "inference"), (HighLevelNode, "high level")])
def test_each_activation_has_a_thread_and_an_end_of_its_own(make, monkeypatch, kind, name):
    node, ran, woken = make(kind, Known()), [], []
    assert node.trigger_configure() == SUCCESS
    node.loop.wake = lambda: woken.append(node._activation.over)

    def run(activation):
        ran.append(activation)

    node.loop.run = run
    started = []
    begin = node.begin_thread
    node.begin_thread = lambda *given: started.append(given[0]) or begin(*given)
    for life in (1, 2):
        assert node.trigger_activate() == SUCCESS
        assert node.thread.stop(10.0) and len(ran) == life and not ran[-1].over
        assert node.trigger_deactivate() == SUCCESS
        assert ran[-1].over and woken == [True] * life and node.thread is None  # woken once it is over
    assert ran[0] is not ran[1] and started == [name] * 2
    if kind is PolicyNode:
        assert node.loop.status._state._text == "not active"


def test_what_a_policy_says_of_itself_is_about_its_loop_and_robot(make, monkeypatch):
    node, told = make(PolicyNode, Known()), []
    assert node.trigger_configure() == SUCCESS
    assert node.loop.status._state._text == "not active"
    monkeypatch.setattr(policy, "policy_health", lambda *given: told.append(given) or Health(OK, "fine"))
    monkeypatch.setattr(node.clocks, "steady", lambda: 12.5)
    assert node.health().message == "fine" and told == [(node.loop, node.robot, 12.5)]


def test_a_checkpoint_that_cannot_be_loaded_is_refused_in_a_sentence(make):
    class Broken(Known):
        def get(self, *given):
            raise PolicyError("no such checkpoint")

    for kind in (PolicyNode, HighLevelNode):
        node = make(kind, Broken())
        assert node.trigger_configure() == FAILURE and node.stop_reason == "no such checkpoint"


def test_high_level_is_made_of_its_parameters_and_says_subtasks(make, monkeypatch):
    weights, made = Known(), []
    loop = high_level.SubtaskLoop
    monkeypatch.setattr(high_level, "SubtaskLoop", lambda *given: made.append(given) or loop(*given))
    node = make(HighLevelNode, weights, period=2.5, max_tokens=20, agree=4)
    assert node.trigger_configure() == SUCCESS
    ((network, answer_in, _, clocks, settings, outputs),) = made
    assert network is weights.network and answer_in == weights.run and clocks is node.clocks
    assert weights.asked[0][:1] == (node.values,) and weights.asked[0][1].name == "mobile_bimanual"
    assert (settings.period(), settings.max_tokens, settings.agree) == (2.5, 20, 4)
    node.set_parameters([Parameter("period", value=0.5)])
    assert settings.period() == 0.5 and not any("not trained" in text for text in node.log)
    assert written(node) >= {("/subtask", String), ("/high_level_state", String)}
    sent = []
    for publisher in node.publishers:
        name = publisher.topic_name
        monkeypatch.setattr(publisher, "publish", lambda m, name=name: sent.append((name, m)), raising=False)
    outputs.subtask("touch the red block")
    outputs.state("waiting")
    assert sent == [("/subtask", String(data="touch the red block")), ("/high_level_state", String(data="waiting"))]
    deliver(node, "task", String(data="touch all"))
    deliver(node, "subtask_override", String(data="stop"))
    assert (node.loop.desk.task, node.loop.desk.override) == ("touch all", "stop")
    deliver(node, "task", String(data="a" * 401))
    assert node.loop.desk.task == "touch all" and "401 characters refused" in node.log[-1]


def test_high_level_looks_through_its_own_cameras_or_its_partners(make):
    alone = make(HighLevelNode, Known())
    assert alone._eyes() is None and alone.trigger_configure() == SUCCESS
    assert alone.loop._observations() is alone.observations is not None
    seen = [None]
    beside = make(HighLevelNode, Known(), partner=lambda: seen[0])
    assert beside.trigger_configure() == SUCCESS and beside.observations is None
    assert beside.loop._observations() is None
    seen[0] = object()
    assert beside.loop._observations() is seen[0]
    topics = {f"/{camera.topic}" for camera in ROBOT.cameras}
    assert topics <= {s.topic_name for s in alone.subscriptions}
    assert not topics & {s.topic_name for s in beside.subscriptions}


def test_a_network_that_gives_no_subtasks_is_told(make):
    node = make(HighLevelNode, Known(replace(CONTRACT, subtasks=None)))
    assert node.trigger_configure() == SUCCESS
    assert sum("was not trained to give subtasks" in text for text in node.log) == 1
    assert "ws://server" in next(text for text in node.log if "not trained" in text)


def test_what_high_level_says_of_itself_knows_who_else_publishes_subtasks(make, monkeypatch):
    node, told = make(HighLevelNode, Known()), []
    assert node.trigger_configure() == SUCCESS
    monkeypatch.setattr(high_level, "subtask_health", lambda *given: told.append(given) or Health(OK, "fine"))
    monkeypatch.setattr(node, "count_publishers", lambda topic: {"subtask": 3}[topic])
    assert node.health().message == "fine" and told == [(node.loop, 3)]


def test_in_one_process_both_share_weights_and_cameras(graph):
    first, second = brain.make(None)
    assert (first.get_name(), second.get_name()) == ("policy", "high_level") and first.weights is second.weights
    assert second._eyes() is None
    first.observations = seen = type("Seen", (), {"close": lambda self: None})()
    assert second._eyes() is seen
    for node in (first, second):
        node.destroy_node()


def test_a_halt_waits_for_its_thread_no_longer_than_all_nodes_do(make, monkeypatch):
    node, waited = make(PolicyNode, Known()), []
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    stop = node.thread.stop
    node.thread.stop = lambda timeout: waited.append(timeout) or stop(timeout)
    node.trigger_deactivate()
    assert waited == [network_node.HALT]
