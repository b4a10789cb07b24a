"""Every input of the executor with every quality of service a publisher may have, on a real graph."""

import itertools

import numpy as np
import pytest
import stand_in
from geometry_msgs.msg import TwistStamped
from pi0_ros.msg import ActionChunk
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from stand_in import Driver, Person, Planner, nod
from std_msgs.msg import Bool, String

from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.ros.any_publisher import subscribe_to_any
from pi0_ros.ros.control_thread import Period
from pi0_ros.ros.diagnostics import ERROR
from pi0_ros.ros.executor_health import executor_health
from pi0_ros.ros.qos import command_quality

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
VOLATILE, LATCHED = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL
PAIRS = list(itertools.product((RELIABLE, BEST_EFFORT), (VOLATILE, LATCHED)))
NAMES = [f"{r.name}-{d.name}" for r, d in PAIRS]
QUIET = {"realtime_priority": 0, "black_box": "", "tracking_error": 1.0}


def quality(pair, depth=10):
    return QoSProfile(depth=depth, reliability=pair[0], durability=pair[1])


@pytest.fixture
def holding(graph, mobile):
    """(driver, person, executor) of a robot in HOLD."""
    driver, person = graph.node(Driver, mobile[0]), graph.node(Person, mobile[0])
    executor = graph.managed(ExecutorNode, robot=mobile[1], **QUIET)
    graph.wait(lambda: driver.commands["lift"] and person.mode == "hold", "hold")
    return driver, person, executor


@pytest.mark.parametrize("pair", PAIRS, ids=NAMES)
def test_an_emergency_stop_of_any_quality_is_heard(graph, holding, pair):
    _, person, _ = holding
    button = graph.add(Node("button"))
    publisher = button.create_publisher(Bool, "estop", quality(pair))
    button.create_timer(0.05, lambda: publisher.publish(Bool(data=True)))
    person.wait_mode("stopped")
    assert "e-stop" in person.state.reason


def test_an_emergency_stop_that_was_pressed_and_latched_before_the_start_is_heard(graph, mobile):
    driver, person = graph.node(Driver, mobile[0]), graph.node(Person, mobile[0])
    button = graph.add(Node("button"))
    button.create_publisher(Bool, "estop", quality((RELIABLE, LATCHED), 1)).publish(Bool(data=True))
    graph.managed(ExecutorNode, robot=mobile[1], **QUIET)
    graph.wait(lambda: driver.commands["lift"], "commands")
    person.wait_mode("stopped")


@pytest.mark.parametrize("pair", PAIRS, ids=NAMES)
def test_chunks_teleop_and_measurements_of_any_quality_are_heard(graph, mobile, pair, monkeypatch):
    """The stand-ins publish everything with this quality; the executor measures, follows a plan, and then a person."""
    monkeypatch.setattr(stand_in, "SENSOR", quality(pair))
    driver, person = graph.node(Driver, mobile[0]), graph.node(Person, mobile[0])
    monkeypatch.undo()
    planner = graph.node(Planner, mobile[0], nod)
    planner.destroy_publisher(planner._publisher)
    planner._publisher = planner.create_publisher(ActionChunk, "action_chunk", quality(pair))
    graph.managed(ExecutorNode, robot=mobile[1], engage_time=0.2, **QUIET)
    graph.wait(lambda: driver.commands["lift"] and person.mode == "hold", "hold")
    person.insist("autonomy", lambda: person.state.chunks_accepted > 1, "accepted chunks")
    home = person.measured("left_arm")
    person.lead("left_arm", lambda t: home + np.array([0.0, 0.0, 0.2 * min(t, 1.0), 0.0, 0.0, 0.0]))
    person.insist("teleop", lambda: person.measured("left_arm")[2] > home[2] + 0.1, "motion of the person's arm")


@pytest.mark.parametrize("pair", PAIRS, ids=NAMES)
def test_text_of_any_quality_is_heard_once_and_in_order(graph, pair):
    reader, writer = graph.add(Node("reader")), graph.add(Node("writer"))
    heard = []
    subscribe_to_any(reader, String, "task", lambda message: (heard.append(message.data), graph.notify()))
    publisher = writer.create_publisher(String, "task", quality(pair))
    writer.create_timer(0.05, graph.notify)
    expected = {(RELIABLE, LATCHED): 3, (RELIABLE, VOLATILE): 2, (BEST_EFFORT, LATCHED): 1, (BEST_EFFORT, VOLATILE): 1}
    graph.wait(lambda: publisher.get_subscription_count() == expected[pair], "all readers that match")
    words = ["red", "green", "red", "blue"]
    for word in words:
        publisher.publish(String(data=word))
    graph.wait(lambda: len(heard) >= len(words), "the words")
    publisher.publish(String(data="end"))
    graph.wait(lambda: "end" in heard, "the end")
    assert heard == [*words, "end"]


STRANGER = """
import rclpy
from std_msgs.msg import Int8
rclpy.init()
node = rclpy.create_node("stranger")
node.create_publisher(Int8, "estop", 10)
rclpy.spin(node)
"""


def test_who_cannot_be_heard_is_named_at_once_and_in_diagnostics(graph, holding):
    _, person, executor = holding
    stranger = graph.run_script("-c", STRANGER)
    graph.wait(lambda: executor.parts.matching.sentences, "a sentence")
    (sentence,) = executor.parts.matching.sentences
    assert sentence.startswith("/estop: the publisher /stranger has type std_msgs/msg/Int8, not std_msgs/msg/Bool")
    graph.wait(lambda: person.health.get("executor", (0, ""))[1].endswith("it is not heard"), "diagnostics")
    assert person.health["executor"][0] == ERROR
    graph.end(stranger)
    graph.wait(lambda: not executor.parts.matching.sentences, "that it is gone")


def test_a_driver_that_asks_for_latched_commands_is_named(graph, holding):
    _, _, executor = holding
    driver = graph.add(Node("late_driver"))
    driver.create_subscription(TwistStamped, "cmd_vel", lambda _: None, quality((RELIABLE, LATCHED)))
    graph.wait(lambda: any("late_driver" in s for s in executor.parts.matching.sentences), "a sentence")
    (sentence,) = executor.parts.matching.sentences
    assert sentence.startswith("/cmd_vel: the subscriber /late_driver") and "transient_local is asked for" in sentence
    assert executor_health(Period(), None, [sentence], [], 0.0, {}).level == ERROR


@pytest.mark.parametrize(("rate", "depth"), [(50.0, 6), (200.0, 21), (5.0, 2)])
def test_commands_are_kept_for_as_long_as_they_are_worth_something_and_no_longer(rate, depth):
    quality = command_quality(1.0 / rate)
    assert quality.depth == depth and quality.lifespan.nanoseconds == 100_000_000
    assert quality.reliability is RELIABLE and quality.durability is VOLATILE
