"""`pi0 call`, `pi0 task` and `pi0 state`: what a person asks of a running robot if no `ros2` is installed."""

import json
import threading

import pytest

rclpy = pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from pi0_ros.msg import ExecutorState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

from pi0_ros import cli
from pi0_ros.ros.qos import EVENTS, LATCHED, RELIABLE


class Robot(Node):
    """Answers as an executor would: autonomy is refused, hold is granted; says what it hears."""

    def __init__(self, context):
        super().__init__("robot", namespace="ns", context=context)
        self.heard, self.news = {}, threading.Condition()
        self.create_service(Trigger, "executor/autonomy", self.refuse)
        self.create_service(Trigger, "executor/hold", self.grant)
        for topic in ("task", "subtask_override"):
            self.create_subscription(String, topic, lambda m, topic=topic: self.hear(topic, m.data), LATCHED)
        self.states = self.create_publisher(ExecutorState, "executor_state", RELIABLE)
        self.reports = self.create_publisher(DiagnosticArray, "/diagnostics", EVENTS)
        self.level = DiagnosticStatus.WARN
        self.create_timer(0.05, self.report)

    def refuse(self, _, response):
        response.success, response.message = False, "refused: no policy is alive: nobody publishes action_chunk"
        return response

    def grant(self, _, response):
        response.success, response.message = True, "hold requested"
        return response

    def hear(self, topic, text):
        with self.news:
            self.heard[topic] = text
            self.news.notify_all()

    def report(self):
        self.states.publish(ExecutorState(mode=ExecutorState.TELEOP, reason="waiting for teleop input", plan_left=0.25))
        ours = DiagnosticStatus(
            level=self.level, name="ns/policy", message="not planning: no task yet", hardware_id="pi0_ros"
        )
        ours.values = [KeyValue(key="chunks", value="7")]
        other = DiagnosticStatus(level=DiagnosticStatus.ERROR, name="motor", message="hot", hardware_id="vendor")
        self.reports.publish(DiagnosticArray(status=[ours, other]))


@pytest.fixture
def robot():
    context = rclpy.Context()
    rclpy.init(context=context)
    node, executor = Robot(context), SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    yield node
    executor.shutdown()
    rclpy.shutdown(context=context)
    thread.join()
    node.destroy_node()


def test_a_request_that_is_refused_says_why_and_fails(robot, capsys):
    assert cli.main(["call", "autonomy", "--namespace", "ns", "--timeout", "30"]) == 1
    assert capsys.readouterr().err.strip() == "refused: no policy is alive: nobody publishes action_chunk"


def test_a_request_that_is_granted_prints_the_answer(robot, capsys):
    assert cli.main(["call", "executor/hold", "--namespace", "ns", "--timeout", "30"]) == 0
    assert capsys.readouterr().out.strip() == "hold requested"


def test_a_service_that_is_not_there_is_named_with_its_namespace(robot, capsys):
    assert cli.main(["call", "stop", "--namespace", "ns", "--timeout", "0.5"]) == 1
    assert "no service /ns/executor/stop: is its node running?" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "topic"), [([], "task"), (["--subtask"], "subtask_override")])
def test_a_text_has_arrived_when_the_command_ends(robot, words, topic):
    assert cli.main(["task", "touch the red block", *words, "--namespace", "ns", "--timeout", "30"]) == 0
    with robot.news:
        assert robot.news.wait_for(lambda: topic in robot.heard, timeout=60)
    assert robot.heard == {topic: "touch the red block"}


def test_a_text_that_nobody_can_hear_is_an_error(robot, capsys):
    assert cli.main(["task", "wave", "--namespace", "elsewhere", "--timeout", "0.5"]) == 1
    assert "nobody listens to /elsewhere/task" in capsys.readouterr().err


def test_the_state_names_mode_reason_and_our_nodes_alone(robot, capsys):
    assert cli.main(["state", "--namespace", "ns", "--timeout", "30"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mode    teleop, plan left 0.2 s",
        "reason  waiting for teleop input",
        "warn    ns/policy: not planning: no task yet",
    ]


def test_the_state_as_json_has_the_values_and_an_error_makes_it_fail(robot, capsys):
    robot.level = DiagnosticStatus.ERROR
    assert cli.main(["state", "--json", "--namespace", "ns", "--timeout", "30"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["reason"] == "waiting for teleop input"
    assert told["nodes"] == {
        "ns/policy": {"level": "error", "message": "not planning: no task yet", "values": {"chunks": "7"}}
    }


def test_where_nothing_runs_the_domain_is_named(capsys, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "99")
    assert cli.main(["state", "--timeout", "0.5"]) == 1
    assert (
        "no node of pi0_ros answers: is pi0 up running? (looked for 0.5 s on ROS domain 99)" in capsys.readouterr().err
    )
