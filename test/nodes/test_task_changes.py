"""What high_level says while its network thinks and tasks change: no cameras, and a network whose answers are given."""

import threading
from types import SimpleNamespace

import pytest
from rclpy.parameter import Parameter
from stand_in import Person
from std_msgs.msg import String

from pi0_ros.nodes.high_level import HighLevelNode
from pi0_ros.policy.plan import Answer
from pi0_ros.ros.observation_source import SensorSnapshot
from pi0_ros.ros.qos import LATCHED

ENOUGH = 60.0
LEFT, RIGHT = "touch the red block with the left arm", "touch the blue block with the right arm"


class Network:
    """Answers with the task's own words, once it is let go."""

    contract = SimpleNamespace(
        gives_subtasks=True, high_level_cameras=("base",), subtasks=".+", subtask_log_probability=-1.0, finished=()
    )

    def __init__(self):
        self.asked, self.go = [], threading.Event()
        self.go.set()

    def answer(self, _observation, task, **_):
        self.asked.append(task)
        assert self.go.wait(ENOUGH)
        return Answer(f"do {task}", 0.0)


class OneNetwork:
    """Weights that are loaded already."""

    def __init__(self, network):
        self._network = network

    def get(self, *_):
        return self._network

    def run(self, work, *args, **kwargs):
        return work(*args, **kwargs)

    def drop(self):
        return None


class Pictures:
    """ObservationSource that always see the same."""

    def view(self, *_):
        return SensorSnapshot(stamp=1.0, pictures={}, state={})


@pytest.fixture
def deciding(graph, mobile):
    """(person, high_level, its network), following a first task; three equal answers are needed to replace a subtask."""
    robot, file = mobile
    person, network = graph.node(Person, robot), Network()
    given = {"robot": file, "checkpoint": "in the test", "device": "cpu", "period": 30.0, "agree": 3}
    node = HighLevelNode(
        weights=OneNetwork(network),
        partner=Pictures,
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
    )
    graph.run(node)
    person.say(LEFT)
    graph.wait(lambda: person.subtasks == [f"do {LEFT}"], "the first subtask", ENOUGH)
    yield person, node, network
    network.go.set()


def test_a_new_task_ends_the_old_subtask_at_once_and_its_first_answer_stands(graph, deciding):
    person, _, network = deciding
    network.go.clear()
    person.say(RIGHT)
    graph.wait(lambda: person.subtasks[-1] == "", "the end of the old subtask", ENOUGH)
    told = lambda: person.health.get("high_level", (b"", ""))[:2]
    graph.wait(lambda: told()[0] == b"\x01" and "the task has changed" in told()[1], "a warning", ENOUGH)
    network.go.set()
    graph.wait(lambda: person.subtasks[-1] == f"do {RIGHT}", "the new subtask", ENOUGH)
    assert network.asked.count(RIGHT) == 1
    assert person.subtasks == [f"do {LEFT}", "", f"do {RIGHT}"]


def test_an_answer_to_a_task_that_is_over_is_silent(graph, deciding):
    person, node, network = deciding
    network.go.clear()
    person.say(RIGHT)
    graph.wait(lambda: network.asked[-1] == RIGHT or person.subtasks[-1] == "", "the new task to be heard", ENOUGH)
    person.say("third")
    graph.wait(lambda: node.loop.desk.task == "third", "the third task", ENOUGH)
    network.go.set()
    graph.wait(lambda: person.subtasks[-1] == "do third", "the subtask of the newest task", ENOUGH)
    assert f"do {RIGHT}" not in person.subtasks


def test_the_same_task_again_is_asked_about_again_and_goes_on_with_its_subtask(graph, deciding):
    person, _, network = deciding
    network.asked.clear()
    person.say(LEFT)
    graph.wait(lambda: network.asked and len(person.subtasks) > 1, "another answer", ENOUGH)
    assert set(person.subtasks) == {f"do {LEFT}"}


def test_a_task_that_has_the_form_of_a_subtask_is_followed_word_for_word(graph, deciding):
    """A network that was trained to answer "touch every block" chooses the arm by itself, also if a person has named one."""
    person, _, network = deciding
    network.contract = SimpleNamespace(
        **{**vars(Network.contract), "subtasks": r"done|touch the \w+ block with the (left|right) arm"}
    )
    network.asked.clear()
    person.say(RIGHT)
    graph.wait(lambda: person.subtasks[-1] == RIGHT, "the person's own words", ENOUGH)
    assert not network.asked
    told = lambda: person.health.get("high_level", (b"", ""))[:2]
    graph.wait(lambda: told() == (b"\x00", f"subtask: {RIGHT}"), "what is followed", ENOUGH)
    person.say("touch every block")
    graph.wait(lambda: network.asked == ["touch every block"], "a question about a task of several steps", ENOUGH)


def test_an_empty_task_ends_the_subtask_and_nothing_is_asked(graph, deciding):
    person, _, network = deciding
    person.say("")
    graph.wait(lambda: person.subtasks[-1] == "", "the end of the subtask", ENOUGH)
    told = lambda: person.health.get("high_level", (b"", ""))[1]
    graph.wait(lambda: "no task yet" in told(), "the reason", ENOUGH)
    assert network.asked == [LEFT]


def test_an_overlong_word_of_an_operator_is_followed_by_nobody_and_the_network_is_asked_on(graph, deciding):
    person, node, _ = deciding
    override = person.create_publisher(String, "subtask_override", LATCHED)
    override.publish(String(data="x" * 401))
    person.say(RIGHT)
    graph.wait(lambda: person.subtasks[-1] == f"do {RIGHT}", "the subtask of a task that is said afterwards", ENOUGH)
    override.publish(String(data="y" * 400))
    graph.wait(lambda: node.loop.desk.override == "y" * 400, "the longest word", ENOUGH)
