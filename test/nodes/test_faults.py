"""Faults of docs/safety.md that need a ROS graph; the pure ones are in test/control."""

import math
import re
import time
from pathlib import Path

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from stand_in import Driver, Person, Planner
from std_msgs.msg import Bool
from test_executor import within_limits

from pi0_ros.nodes import executor as executor_module
from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.ros.clock import time_message
from pi0_ros.ros.qos import RELIABLE

QUIET = {"realtime_priority": 0, "black_box": "", "engage_time": 0.2, "tracking_error": 1.0}


def sway(t):
    return {"left_joint1": 0.3 * math.sin(t), "base_vx": 0.1 * math.sin(t)}


@pytest.fixture
def start(graph, mobile):
    robot, file = mobile

    def started(plan=sway, **parameters):
        driver, person = graph.node(Driver, robot), graph.node(Person, robot)
        planner = graph.node(Planner, robot, plan)
        executor = graph.managed(ExecutorNode, **(QUIET | {"robot": file} | parameters))
        graph.wait(lambda: driver.commands["lift"] and person.mode == "hold", "hold")
        return driver, person, planner, executor

    return started


def moving(graph, driver, person):
    assert person.ask("autonomy")[0]
    graph.wait(lambda: np.ptp([v[0] for _, v in driver.commands["left_arm"]]) > 0.03, "the arm to move")


class Button(Node):
    """An emergency stop with a heartbeat."""

    def __init__(self, graph):
        super().__init__("button")
        self.pressed, self.silent = False, False
        self._publisher = self.create_publisher(Bool, "estop", RELIABLE)
        self.create_timer(0.05, self._beat)

    def _beat(self):
        if not self.silent:
            self._publisher.publish(Bool(data=self.pressed))


def test_row_15_a_robot_without_limits_is_refused_with_file_and_line(graph, mobile, tmp_path):
    text = re.sub(r"    limits: \{velocity.*\n", "", Path(mobile[1]).read_text())
    (tmp_path / "bad.yaml").write_text(text)
    node = ExecutorNode(parameter_overrides=[Parameter("robot", value=str(tmp_path / "bad.yaml"))])
    assert not node.bring_up()
    assert re.search(r"bad\.yaml:\d+.*limits", node.stop_reason)
    node.destroy_node()


def test_row_18_when_joint_states_stop_the_robot_decelerates_and_then_nothing_is_sent(start, graph):
    driver, person, _, _ = start()
    moving(graph, driver, person)
    driver.silent = {"joint_states"}
    person.wait_mode("stopped", 30.0)
    assert "measure" in person.state.reason
    graph.wait(lambda: not driver.steps("left_arm")[-1].any(), "standstill")
    within_limits(driver, "left_arm")
    ok, why = person.ask("autonomy")
    assert not ok and "reset" in why


def test_row_20_a_state_without_a_stamp_is_used_with_a_warning(start, graph):
    driver, person, _, executor = start()
    with driver.lock:
        driver.stamp = lambda: time_message(0.0)
    kept = executor._core.blackbox
    graph.wait(
        lambda: any(r.kind == "event" and "without a stamp" in r.data.text for r in kept.snapshot()), "a warning"
    )
    assert person.mode == "hold" and not driver.steps("left_arm")[-1].any()


def test_row_23_the_emergency_stop_is_latched_and_needs_release_and_reset(start, graph):
    driver, person, _, _ = start()
    button = graph.node(Button)
    moving(graph, driver, person)
    button.pressed = True
    person.wait_mode("stopped")
    assert "e-stop" in person.state.reason
    ok, why = person.ask("reset")
    assert not ok and "e-stop" in why
    button.pressed = False
    graph.wait(lambda: person.ask("reset")[0], "a reset after the release")
    person.wait_mode("hold")
    within_limits(driver, "left_arm")


def test_row_24_an_emergency_stop_that_falls_silent_counts_as_pressed(start, graph):
    driver, person, _, _ = start()
    button = graph.node(Button)
    moving(graph, driver, person)
    assert person.mode == "autonomy"
    button.silent = True
    person.wait_mode("stopped")
    within_limits(driver, "left_arm")


def test_row_29_an_exception_while_configuring_is_logged_and_the_node_can_be_configured_again(
    graph, mobile, monkeypatch, capfd
):
    node = ExecutorNode(parameter_overrides=[Parameter("robot", value=mobile[1]), Parameter("black_box", value="")])
    real = executor_module.load_robot

    def broken(_):
        raise ZeroDivisionError("in the middle of it")

    monkeypatch.setattr(executor_module, "load_robot", broken)
    assert not node.bring_up()
    assert "ZeroDivisionError" in node.stop_reason
    assert "in the middle of it" in capfd.readouterr().err
    monkeypatch.setattr(executor_module, "load_robot", real)
    assert node.bring_up(), node.stop_reason
    node.shut_down("done")
    node.destroy_node()


def test_row_34_with_two_sources_there_is_one_owner_and_the_other_is_counted(start, graph):
    driver, person, _, executor = start(lambda t: {})
    assert person.ask("autonomy")[0]
    graph.wait(lambda: person.state.plan_sequence > 0, "a plan")
    home = person.measured("left_arm")
    person.lead("left_arm", lambda t: home + 0.3)
    graph.wait(lambda: int(person.health.get("executor", (0, "", {}))[2].get("ignored", 0)) > 5, "ignored messages")
    np.testing.assert_allclose(driver.commands["left_arm"][-1][1], home, atol=0.02)
    for group in driver.robot.groups:
        assert driver.count_publishers(group.command.topic) == 1
    assert executor.active


def test_row_36_a_clock_that_jumps_back_ends_autonomy_until_it_is_asked_for_again(graph, mobile):
    robot, file = mobile
    clock = graph.add(SimulatedTime())
    use = [Parameter("use_sim_time", value=True)]
    driver = graph.node(Driver, robot, parameter_overrides=use)
    person = graph.node(Person, robot)
    graph.node(Planner, robot, sway, parameter_overrides=use)
    graph.managed(ExecutorNode, robot=file, use_sim_time=True, **QUIET)
    graph.wait(lambda: driver.commands["lift"] and person.mode == "hold", "hold")
    moving(graph, driver, person)
    clock.set(5.0)
    person.wait_mode("hold")
    assert "clock" in person.state.reason
    within_limits(driver, "left_arm")
    graph.wait(lambda: person.ask("autonomy")[0], "autonomy when asked for")
    clock.stopped = True
    person.wait_mode("hold")
    graph.wait(lambda: not driver.steps("left_arm")[-1].any(), "standstill although the clock stands")


class SimulatedTime(Node):
    """/clock at real speed from 100 s on; it can be set and stopped."""

    def __init__(self):
        super().__init__("simulated_time")
        self.stopped = False
        self.set(100.0)
        self._publisher = self.create_publisher(Clock, "/clock", 10)
        self.create_timer(0.01, self._tick)

    def set(self, now):
        self._offset = now - time.monotonic()

    def _tick(self):
        if not self.stopped:
            self._publisher.publish(Clock(clock=time_message(time.monotonic() + self._offset)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", math.nan),
        ("rate", -1.0),
        ("rate", "50Hz"),
        ("strategy", "wish"),
        ("tracking_error", 0.0),
        ("robot", ""),
    ],
)
def test_row_39_a_bad_parameter_is_refused_by_name(graph, name, value):
    node = None
    try:
        node = ExecutorNode(parameter_overrides=[Parameter(name, value=value)])
    except executor_module.ParameterError as error:
        assert name in str(error)
        return
    assert not node.bring_up() and name in node.stop_reason
    node.destroy_node()


def test_row_39_a_bad_change_while_running_is_refused_and_nothing_changes(start, graph):
    driver, _, _, executor = start()
    told = executor.set_parameters([Parameter("strategy", value="wish")])[0]
    assert not told.successful and "strategy" in told.reason
    heard = len(driver.commands["lift"])
    graph.wait(lambda: len(driver.commands["lift"]) > heard + 10, "commands go on")


def test_row_43_a_stop_leaves_a_black_box_with_its_reason(start, graph, tmp_path):
    from mcap.reader import make_reader

    driver, person, _, executor = start(black_box=str(tmp_path))
    moving(graph, driver, person)
    assert person.ask("stop")[0]
    person.wait_mode("stopped")
    graph.wait(lambda: executor._saver is not None and not executor._saver.is_alive(), "the black box")
    (file,) = tmp_path.glob("*.mcap")
    with file.open("rb") as stream:
        reader = make_reader(stream)
        counts = {c.topic for c in reader.get_summary().channels.values()}
        reasons = [r.metadata["reason"] for r in reader.iter_metadata() if r.name == "pi0_ros"]
    assert {"joint_states", "executor/command", "action_chunk", "events"} <= counts
    assert "stop" in reasons[0]


def test_a_command_topic_that_gets_rubbish_teleop_is_named_and_nothing_moves(start, graph):
    driver, person, _, _ = start()
    home = person.measured("left_arm")
    person.lead("left_arm", lambda t: home[:3])
    assert person.ask("teleop")[0]
    graph.wait(
        lambda: "teleop/left_arm" in person.health.get("executor", (0, "", {}))[2].get("last_rejection", ""),
        "a refusal",
    )
    assert not driver.steps("left_arm")[-1].any()
