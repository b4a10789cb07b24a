"""The newest task is what is done: over new tasks while the network thinks, and over restarts."""

import threading

import pytest
from rclpy.node import Node
from stand_in import Person
from std_msgs.msg import String
from test_policy import ENOUGH, Scripted, _given, mobile_checkpoint, says, stage, weights  # noqa: F401 - fixtures

from pi0_ros.nodes.high_level import HighLevelNode
from pi0_ros.ros.qos import LATCHED

LEFT, RIGHT = "touch the red block with the left arm", "touch the blue block with the right arm"


class Asked(Scripted):
    """Answers with the task's own words, once it is let go."""

    def __init__(self, real):
        super().__init__(real)
        self.asked, self.go = [], threading.Event()
        self.go.set()

    def subtask(self, _observation, task, **_):
        self.asked.append(task)
        assert self.go.wait(ENOUGH)
        return f"do {task}"


@pytest.fixture
def deciding(stage, graph, mobile, mobile_checkpoint, weights):  # noqa: F811
    """(person, high_level, its network) of a high level that follows a first task."""
    _, person, play = stage
    policy = play(prompt="subtask")
    given = _given(robot=mobile[1], checkpoint=mobile_checkpoint, period=30.0, agree=3)
    node = HighLevelNode(weights=weights, partner=lambda: policy.senses, parameter_overrides=given)
    assert node.bring_up(), node.stop_reason
    node._policy = network = Asked(node._policy)
    graph.add(node)
    person.say(LEFT)
    graph.wait(lambda: person.subtasks == [f"do {LEFT}"], "the first subtask", ENOUGH)
    yield person, node, network
    node.shut_down("done")


def test_a_new_task_ends_the_old_subtask_at_once_and_its_first_answer_stands(graph, deciding):
    person, _, network = deciding
    network.go.clear()
    person.say(RIGHT)
    graph.wait(lambda: person.subtasks[-1] == "", "the end of the old subtask", ENOUGH)
    says(graph, person, "the task has changed", "high_level")
    assert person.health["high_level"][0] == b"\x01"
    network.go.set()
    # `agree` is 3, and yet the first answer to a new task stands.
    graph.wait(lambda: person.subtasks[-1] == f"do {RIGHT}", "the new subtask", ENOUGH)
    assert network.asked.count(RIGHT) == 1


def test_an_answer_to_a_task_that_is_over_is_silent(graph, deciding):
    person, node, network = deciding
    network.go.clear()
    person.say(RIGHT)
    graph.wait(lambda: network.asked[-1] == RIGHT, "the question", ENOUGH)
    person.say("third")
    graph.wait(lambda: node._task == "third", "the third task", ENOUGH)
    network.go.set()
    graph.wait(lambda: person.subtasks[-1] == "do third", "the subtask of the newest task", ENOUGH)
    assert f"do {RIGHT}" not in person.subtasks


def test_the_same_task_again_goes_on_with_its_subtask(graph, deciding):
    person, _, network = deciding
    network.asked.clear()
    person.say(LEFT)
    graph.wait(lambda: network.asked, "another question", ENOUGH)
    graph.wait(lambda: len(person.subtasks) > 1, "another answer", ENOUGH)
    assert "" not in person.subtasks


class Late(Node):
    """Somebody who begins to listen to the task only now."""

    def __init__(self, graph):
        super().__init__("late")
        self.heard = []
        self.graph = graph
        self.create_subscription(String, "task", self._on_task, LATCHED)

    def _on_task(self, message):
        self.heard.append(message.data)
        self.graph.notify()


class Passing(Node):
    """Somebody who says a task once and goes, as `ros2 topic pub --once` does."""

    def __init__(self):
        super().__init__("passing")
        self.publisher = self.create_publisher(String, "task", LATCHED)


def test_whoever_starts_later_hears_the_newest_task_and_not_the_one_of_the_launch(graph, mobile):
    graph.node(Person, mobile[0])
    source = graph.start("task_source", "task:='of the launch'")
    first = graph.node(Late)
    graph.wait(lambda: first.heard == ["of the launch"], "the launch's task", ENOUGH)
    passing = graph.add(Passing())
    graph.wait(lambda: passing.publisher.get_subscription_count() >= 2, "listeners", ENOUGH)
    passing.publisher.publish(String(data="of a person"))
    graph.wait(lambda: any("as somebody says" in line for line in source.said), "the source to take it up", ENOUGH)
    passing.destroy_publisher(passing.publisher)
    late = graph.node(Late)
    graph.wait(lambda: late.heard, "a task", ENOUGH)
    assert late.heard == ["of a person"]
    assert graph.end(source) == 0


def test_two_task_sources_do_not_answer_each_other_for_ever(graph, mobile):
    started = [graph.start("task_source", f"task:='{words}'") for words in ("one", "two")]

    def changes():
        return sum("as somebody says" in line for process in started for line in process.said)

    graph.wait(lambda: changes() >= 1, "one to hear the other", ENOUGH)
    assert not graph.happens(lambda: changes() > 4, 2.5)
