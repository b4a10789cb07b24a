"""Which words a policy follows and what is logged of them; what is said while it plans nothing."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from std_msgs.msg import String

from pi0_ros.policy.errors import PolicyError
from pi0_ros.ros.planning_status import PlanningStatus
from pi0_ros.ros.prompt_inputs import PromptInputs
from pi0_ros.ros.texts import StateText
from pi0_ros.ros.withheld import START, PromptRules, Wait, Withheld


class Node:
    """Notes subscriptions, what it owns, what it publishes and what it logs."""

    def __init__(self):
        self.read, self.owned, self.said, self.published, self.steady = {}, [], [], [], 10.0
        self.clocks = SimpleNamespace(steady=lambda: self.steady)
        note = lambda level: lambda text, **how: self.said.append((level, text))
        logger = SimpleNamespace(info=note("info"), warning=note("warning"), error=note("error"), debug=note("debug"))
        self.get_logger = lambda: logger
        self.own = self.owned.append

    def create_subscription(self, kind, topic, callback, qos, **more):
        self.read.setdefault(topic, []).append(callback)
        return topic

    def create_publisher(self, kind, topic, qos):
        return SimpleNamespace(publish=lambda message: self.published.append((topic, message.data)))


@pytest.fixture
def node():
    return Node()


@pytest.fixture
def inputs(node):
    made = PromptInputs(node, PromptRules("subtask", 5.0), lambda: node.said.append(("changed", made.words.text)))
    return made


def test_prompt_override_and_high_level_are_read_and_belong_to_the_node(node, inputs):
    assert set(node.read) == {"subtask", "subtask_override", "high_level_state"} == set(node.owned)
    assert len(node.owned) == 9, "of publishers of three qualities each"


def test_words_are_followed_at_once_and_an_empty_one_is_told_if_it_ends_something(node, inputs):
    inputs.update_prompt("")
    inputs.update_prompt("grasp")
    node.steady = 12.0
    assert inputs.words.text == "grasp" and inputs.words.age(12.0) == 2.0
    inputs.update_prompt("")
    assert node.said == [
        ("changed", ""), ("changed", "grasp"),
        ("warning", "empty subtask: planning pauses until there is one"), ("changed", ""),
    ]  # fmt: skip


def test_an_operators_words_are_told_when_they_come_and_go_and_nothing_is_taken_back_twice(node, inputs):
    inputs.update_override("")
    assert node.said == []
    inputs.update_prompt("grasp")
    inputs.update_override("wave")
    inputs.update_prompt("")  # nobody follows it now
    inputs.update_override("")
    inputs.update_override("")
    assert node.said == [
        ("changed", "grasp"), ("info", "subtask_override: wave"), ("changed", "wave"), ("changed", "wave"),
        ("info", "subtask_override released: subtask again"), ("changed", ""),
    ]  # fmt: skip


def test_why_nothing_is_planned_names_what_high_level_says(node, inputs):
    driving = SimpleNamespace(received=10.0, mode="autonomy")
    assert inputs.withheld(driving, 10.0).wait is Wait.PROMPT
    inputs.update_high_level("no picture")
    assert inputs.withheld(driving, 10.0).sentence == "no subtask: no picture"
    inputs.update_prompt("grasp")
    assert inputs.withheld(driving, 10.25) is None
    assert inputs.withheld(SimpleNamespace(received=10.0, mode="stopped"), 10.25).wait is Wait.RESET
    assert inputs.withheld(driving, 10.51).wait is Wait.EXECUTOR
    old = inputs.withheld(SimpleNamespace(received=16.0, mode="autonomy"), 16.0)
    assert old.wait is Wait.FRESH_SUBTASK and "6 s old; no picture" in old.sentence


def test_a_prompt_that_is_too_long_is_refused_and_others_come_as_one_line(node, inputs):
    read = node.read["subtask"][0]
    from rclpy.serialization import serialize_message

    for number, text in enumerate(("grasp \n it", "x" * 400, "x" * 401), 1):
        read(serialize_message(String(data=text)), {"source_timestamp": number})
    assert [text for kind, text in node.said if kind == "changed"] == ["grasp it", "x" * 400]
    assert node.said[-1] == ("warning", "subtask of 401 characters refused: at most 400")


def test_a_state_is_published_when_it_changes(node):
    state = StateText(node, "policy_state")
    for text in ("", "waits", "waits", "", "", "waits"):
        state.update(text)
    assert node.published == [("policy_state", text) for text in ("waits", "", "waits")]


def test_a_new_reason_to_plan_nothing_is_counted_and_logged_and_numbers_make_no_new_one(node):
    status = PlanningStatus(StateText(node, "policy_state"), node.get_logger())
    assert status.withheld is START and status.failure is None and (status.times_withheld, status.failures) == (0, 0)
    status.withhold(START)
    status.withhold(Withheld(Wait.OBSERVATION, "camera front 1 s", ("front",)))
    status.withhold(Withheld(Wait.OBSERVATION, "camera front 2 s", ("front",)))
    status.withhold(Withheld(Wait.OBSERVATION, "camera hand 2 s", ("hand",)))
    assert status.times_withheld == 2 and status.withheld.about == ("hand",)
    assert [text for _, text in node.said] == ["not planning: camera front 1 s", "not planning: camera hand 2 s"]
    assert [text for _, text in node.published] == [
        START.sentence,
        "camera front 1 s",
        "camera front 2 s",
        "camera hand 2 s",
    ]
    status.planned()
    assert status.withheld is None and node.published[-1] == ("policy_state", "")
    status.rest()
    assert node.published[-1] == ("policy_state", "not active")


def test_a_failed_inference_is_counted_told_and_forgotten_with_the_next_plan(node):
    status = PlanningStatus(StateText(node, "policy_state"), node.get_logger())
    for count in (1, 2):
        assert status.failed(PolicyError("no room")) is status.failure
        assert status.failures == count and status.failure.sentence == "inference failed: no room"
    assert node.published == [("policy_state", "inference failed: no room")] and node.said
    status.planned()
    assert status.failure is None and status.failures == 2
