"""What high_level decides when tasks come again or change, on a real graph."""

import threading
from functools import partial

import pytest
from rclpy.parameter import Parameter
from stand_in import Driver, Person
from std_msgs.msg import String

from pi0_ros.nodes.high_level import HighLevelNode
from pi0_ros.nodes.policy import PolicyNode
from pi0_ros.nodes.weights import Weights
from pi0_ros.policy.plan import Answer
from pi0_ros.ros.qos import LATCHED

ENOUGH = 60.0
RED, BLUE, GREEN = (f"touch the {colour} block with the left arm" for colour in ("red", "blue", "green"))


class Asked:
    """A network that answers each question only when it is told what to say; remembers the tasks."""

    def __init__(self, real):
        self.contract, self.infer = real.contract, real.infer
        self.tasks, self._answers, self._changed = [], [], threading.Condition()

    def answer(self, observation, task, **_):
        with self._changed:
            self.tasks.append(task)
            number = len(self.tasks)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: len(self._answers) >= number, ENOUGH)
            return Answer(self._answers[number - 1], 0.0)

    def wait_for_question(self, number, patience=ENOUGH):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.tasks) >= number, patience), f"no question {number}"

    def say(self, *answers):
        with self._changed:
            self._answers += answers
            self._changed.notify_all()


@pytest.fixture
def deciding(graph, mobile, make_checkpoint, tmp_path):
    """(person, network): a high_level whose period is so long that only a new task or an unsure answer asks."""
    robot, file = mobile
    graph.node(Driver, robot)
    person, weights = graph.node(Person, robot), Weights()
    checkpoint = str(make_checkpoint(tmp_path))
    policy = graph.managed(partial(PolicyNode, weights=weights), robot=file, checkpoint=checkpoint, prompt="subtask")
    values = {"robot": file, "checkpoint": checkpoint, "period": 60.0, "agree": 5}
    node = HighLevelNode(
        weights=weights,
        partner=lambda: policy.observations,
        parameter_overrides=[Parameter(n, value=v) for n, v in values.items()],
    )
    assert node.bring_up(), node.stop_reason
    node.loop.policy = network = Asked(node.loop.policy)
    graph.add(node)
    cameras = policy.loop.lanes.contract.high_level_cameras
    graph.wait(lambda: not policy.observations.view(cameras).missing, "the cameras", ENOUGH)
    yield person, network, graph, node
    network.say(*[RED] * 50)
    node.shut_down("done")


def test_what_could_not_be_asked_for_want_of_pictures_is_asked_once_there_are_some(
    graph, mobile, make_checkpoint, tmp_path
):
    """The node beside it, whose cameras it looks through, is configured later; the period is a minute."""
    robot, file = mobile
    graph.node(Driver, robot)
    person, weights = graph.node(Person, robot), Weights()
    values = {"robot": file, "checkpoint": str(make_checkpoint(tmp_path))}
    given = [Parameter(n, value=v) for n, v in values.items()]
    policy = PolicyNode(weights=weights, parameter_overrides=[*given, Parameter("prompt", value="subtask")])
    node = HighLevelNode(
        weights=weights,
        partner=lambda: policy.observations,
        parameter_overrides=[*given, Parameter("period", value=60.0)],
    )
    said = [""]
    person.create_subscription(String, "high_level_state", lambda m: (said.append(m.data), graph.notify()), LATCHED)
    graph.run(node)
    node.loop.policy = network = Asked(node.loop.policy)
    seen = {source.topic for source in robot.cameras} & {s.topic_name.strip("/") for s in node.subscriptions}
    assert not seen, "it has cameras of its own"
    person.say("touch every block")
    graph.wait(lambda: "policy is not configured" in said[-1], "the reason", ENOUGH)
    graph.run(policy)
    network.wait_for_question(1, ENOUGH / 2.0)
    network.say(*[RED] * 50)


def test_a_task_that_is_said_again_is_decided_anew_and_its_first_answer_stands_at_once(deciding):
    person, network, graph, _ = deciding
    person.say("touch every block")
    network.wait_for_question(1)
    network.say(RED)
    graph.wait(lambda: person.subtasks and person.subtasks[-1] == RED, "the first subtask", ENOUGH)
    person.say("touch every block")  # another scene may lie on the table
    network.wait_for_question(2)
    network.say(BLUE)  # once: a second question would wait for ever
    graph.wait(lambda: person.subtasks[-1] == BLUE, "the subtask of the new scene", ENOUGH)
    assert network.tasks[:2] == ["touch every block"] * 2


def test_the_answer_to_a_task_that_has_changed_meanwhile_is_never_published(deciding):
    person, network, graph, node = deciding
    person.say("touch the blue block")
    network.wait_for_question(1)
    person.say("touch the green block")
    graph.wait(lambda: node.loop.desk.task == "touch the green block", "the new task", ENOUGH)
    network.say(BLUE)
    network.wait_for_question(2)
    network.say(GREEN)
    graph.wait(lambda: person.subtasks and person.subtasks[-1] == GREEN, "the subtask of the new task", ENOUGH)
    assert BLUE not in person.subtasks
    assert network.tasks[:2] == ["touch the blue block", "touch the green block"]


def test_a_subtask_without_progress_is_given_up_with_the_reason_and_decided_anew_with_the_next_autonomy(deciding):
    """The executor's part is played here: the modes that it publishes."""
    person, network, graph, node = deciding
    said = [""]
    person.create_subscription(String, "high_level_state", lambda m: (said.append(m.data), graph.notify()), LATCHED)
    modes = person.create_publisher(String, "mode", LATCHED)
    settings = {"period": 0.05, "subtask_timeout": 0.02, "subtask_retries": 0}
    assert all(r.successful for r in node.set_parameters([Parameter(n, value=v) for n, v in settings.items()]))
    network.say(*[RED] * 1000)
    person.say("touch every block")
    graph.wait(lambda: person.subtasks and person.subtasks[-1] == RED, "the subtask", ENOUGH)
    modes.publish(String(data="autonomy"))
    graph.wait(lambda: RED in said[-1] and "given up" in said[-1], "the reason", ENOUGH)
    graph.wait(lambda: person.subtasks[-1] == "", "the end of the subtask", ENOUGH)
    modes.publish(String(data="hold"))
    assert node.set_parameters([Parameter("subtask_timeout", value=0.0)])[0].successful
    modes.publish(String(data="autonomy"))
    graph.wait(lambda: person.subtasks[-1] == RED, "the subtask again", ENOUGH)
    graph.wait(lambda: said[-1] == "", "that nothing is wrong", ENOUGH)
