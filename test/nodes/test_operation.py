"""What an operator and a lifecycle manager do to nodes that run: requests at the wrong time, signals, deaths."""

import signal
import threading
import time

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped
from lifecycle_msgs.srv import ChangeState
from rclpy.node import Node
from rclpy.parameter import Parameter
from stand_in import PATIENCE, Driver, Person, Planner
from test_executor import within_limits

from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.robot import load_robot
from pi0_ros.ros.lifecycle import SUCCESS
from pi0_ros.ros.request_services import REQUESTS

CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE, ACTIVE_SHUTDOWN = 1, 2, 3, 4, 7
SPEED = 0.3
NO_ROS_THREAD = """
import signal, sys
from pi0_ros.nodes import executor
from pi0_ros.ros import spinning

class Dead(BaseException): pass
def work(self, timeout): raise Dead("planted")
signal.signal(signal.SIGUSR1, lambda *_: setattr(spinning.GuardedExecutor, "work", work))
raise SystemExit(executor.main())
"""


def settings(robot, **more):
    """Parameters of an executor in this process."""
    values = {"robot": robot, "realtime_priority": 0, "black_box": "", **more}
    return [Parameter(name, value=value) for name, value in values.items()]


def roll(_):
    """The base drives on at a constant velocity, which does not end by itself."""
    return {"base_vx": SPEED}


def base_speed(driver):
    return abs(driver.commands["base"][-1][1][0]) if driver.commands["base"] else 0.0


def rolling(driver):
    return base_speed(driver) > 0.8 * SPEED


def change(person, node, number):
    """Ask a managed node to change its state; whether it did."""
    client = person.create_client(ChangeState, f"{node}/change_state")
    assert client.wait_for_service(PATIENCE)
    request, done = ChangeState.Request(), threading.Event()
    request.transition.id = number
    future = client.call_async(request)
    future.add_done_callback(lambda _: done.set())
    assert done.wait(PATIENCE), f"{node} did not answer"
    person.destroy_client(client)
    return future.result().success


@pytest.fixture
def rolls(graph, mobile):
    """(driver, person, process) of an executor, a process of its own, that drives the base."""
    robot, file = mobile
    driver, person = graph.node(Driver, robot), graph.node(Person, robot)
    graph.node(Planner, robot, roll)

    def started(*parameters, script=None):
        words = (f"robot:={file}", "tracking_error:=1.0", "engage_time:=0.2", "black_box:=''", *parameters)
        if script is None:
            process = graph.start("executor", *words)
        else:
            flat = [part for word in words for part in ("-p", word)]
            process = graph.run_script("-c", script, "--ros-args", *flat)
        graph.wait(lambda: driver.commands["base"], "the first command")
        person.insist("autonomy", lambda: rolling(driver), "motion")
        return driver, person, process

    return started


def comes_to_rest(graph, driver):
    graph.wait(lambda: base_speed(driver) == 0.0, "standstill")
    within_limits(driver, "base")


@pytest.mark.parametrize("number", [ACTIVATE, CONFIGURE, CLEANUP, 99])
def test_a_transition_that_is_not_possible_does_not_make_a_driving_executor_deaf(graph, rolls, number):
    driver, person, process = rolls()
    assert not change(person, "executor", number)
    graph.wait(lambda: rolling(driver), "the base drives on")
    assert person.mode == "autonomy"
    assert person.ask("hold")[0]
    comes_to_rest(graph, driver)
    assert person.ask("stop")[0] and person.ask("reset")[0]
    assert any("refused: the node is active" in line for line in process.said)
    assert graph.end(process) == 0


def test_every_request_is_answered_in_every_state(graph, mobile):
    node, person = graph.run(ExecutorNode(parameter_overrides=settings(mobile[1]))), graph.node(Person, mobile[0])
    for step, state in (
        (lambda: None, "active"),
        (node.trigger_deactivate, "inactive"),
        (node.trigger_cleanup, "unconfigured"),
    ):
        step()
        assert node.state_label == state
        for request in REQUESTS:
            granted, why = person.ask(request)
            assert state == "active" or (not granted and why == "the executor is not active; activate it first")
    assert node.trigger_configure() == SUCCESS and node.trigger_activate() == SUCCESS
    assert person.ask("stop")[0]


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGQUIT])
def test_a_closed_terminal_and_ctrl_backslash_stop_the_base_before_the_process_ends(graph, rolls, how):
    driver, _, process = rolls()
    assert graph.end(process, how) == 0
    comes_to_rest(graph, driver)


def test_signals_that_come_while_it_stops_do_not_leave_the_base_moving(graph, rolls):
    driver, _, process = rolls()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
        process.send_signal(number)
    assert process.wait(PATIENCE) == 0
    comes_to_rest(graph, driver)


def test_a_signal_right_after_a_request_to_deactivate_waits_until_the_base_stands(graph, rolls):
    driver, person, process = rolls()
    client, request = person.create_client(ChangeState, "executor/change_state"), ChangeState.Request()
    assert client.wait_for_service(PATIENCE)
    request.transition.id = DEACTIVATE
    client.call_async(request)
    graph.wait(lambda: base_speed(driver) < SPEED - 0.01, "braking to begin")
    assert graph.end(process) == 0
    comes_to_rest(graph, driver)


def test_without_its_ros_thread_it_brakes_and_the_process_fails(graph, rolls):
    driver, _, process = rolls(script=NO_ROS_THREAD)
    assert graph.end(process, signal.SIGUSR1) == 1
    comes_to_rest(graph, driver)
    assert any("the ROS thread ended: Dead: planted" in line for line in process.said)


def test_shutting_it_down_by_a_request_stops_the_base_and_ends_the_process(graph, rolls):
    driver, person, process = rolls()
    assert change(person, "executor", ACTIVE_SHUTDOWN)
    assert process.wait(PATIENCE) == 0
    comes_to_rest(graph, driver)
    assert np.all(driver.commands["base"][-1][1] == 0.0)


class Meddler(Node):
    """Publishes on the base's command topic, once it is told to."""

    def __init__(self, graph):
        super().__init__("joystick")
        self.publisher = None

    def begin(self):
        self.publisher = self.create_publisher(TwistStamped, "cmd_vel", 1)

    def end(self):
        self.destroy_publisher(self.publisher)


def test_a_second_publisher_on_a_command_topic_stops_the_base_and_both_are_named(graph, rolls):
    driver, person, process = rolls()
    meddler = graph.node(Meddler)
    began = time.monotonic()
    meddler.begin()
    person.wait_mode("hold")
    noticed = time.monotonic() - began
    comes_to_rest(graph, driver)
    graph.wait(lambda: "/joystick" in person.why(), "the other's name")
    assert "/cmd_vel is also published by /joystick" in person.why()
    ok, why = person.ask("autonomy")
    assert not ok and "/joystick" in why
    graph.wait(
        lambda: person.health["executor"][0] == b"\x02" and "/joystick" in person.health["executor"][1], "an error"
    )
    meddler.end()
    graph.wait(lambda: person.ask("autonomy")[0], "autonomy once the other is gone")
    assert graph.end(process) == 0
    print(f"noticed after {noticed:.2f} s")


def test_with_the_setting_warn_a_second_publisher_is_told_and_stops_nothing(graph, rolls):
    driver, person, process = rolls("second_publisher:=warn")
    meddler = graph.node(Meddler)
    meddler.begin()
    epoch = person.state.epoch
    graph.wait(lambda: "/joystick" in person.health.get("executor", (0, "", {}))[1], "a warning")
    assert person.health["executor"][0] == b"\x01"
    graph.wait(lambda: rolling(driver), "the base drives on")
    assert person.mode == "autonomy" and person.state.epoch == epoch
    assert graph.end(process) == 0


def test_a_second_executor_on_the_same_machine_is_refused_and_disturbs_nothing(graph, mobile, rolls):
    driver, person, process = rolls()
    second = graph.start("executor", f"robot:={mobile[1]}", "black_box:=''")
    assert second.wait(PATIENCE) == 1
    assert any(f"has an executor on this machine already: process {process.pid}" in line for line in second.said)
    assert not any("Traceback" in line for line in second.said)
    assert rolling(driver) and person.mode == "autonomy" and person.modes.count("hold") <= 1
    assert graph.end(process) == 0


def test_two_executors_that_cannot_see_each_others_lock_both_hold_and_name_each_other(graph, mobile, rolls):
    driver, person, process = rolls()
    elsewhere = (
        "import os; from pi0_ros.nodes import executor; "
        "executor.RobotLock = type('Elsewhere', (), {'__init__': lambda *_: None, 'release': lambda _: None}); "
        "raise SystemExit(executor.main())"
    )
    second = graph.run_script("-c", elsewhere, "--ros-args", "-p", f"robot:={mobile[1]}", "-p", "black_box:=''")
    graph.wait(lambda: "another /executor" in person.why(), "the other's name")
    graph.wait(lambda: base_speed(driver) == 0.0, "standstill")
    named = lambda one: any("also published by another /executor" in line for line in list(one.said))
    graph.wait(lambda: named(process) and named(second), "both to name the other")
    assert graph.end(second) == 0 and graph.end(process) == 0


def test_a_heavy_base_is_braked_to_the_end_however_long_that_takes(graph, tmp_path):
    from stand_in import patient_robot

    _, file = patient_robot("mobile_bimanual", tmp_path)
    text = (
        (tmp_path / "mobile_bimanual.yaml")
        .read_text()
        .replace("acceleration: [1.0, 1.0, 2.0]", "acceleration: [0.1, 0.1, 0.2]")
    )
    assert "[0.1, 0.1, 0.2]" in text
    (tmp_path / "mobile_bimanual.yaml").write_text(text)
    robot = load_robot(file)
    driver, person = graph.node(Driver, robot), graph.node(Person, robot)
    graph.node(Planner, robot, roll)
    process = graph.start("executor", f"robot:={file}", "tracking_error:=1.0", "engage_time:=0.2", "black_box:=''")
    graph.wait(lambda: driver.commands["base"], "the first command")
    person.insist("autonomy", lambda: rolling(driver), "motion")
    sent = len(driver.commands["base"])
    assert graph.end(process) == 0  # 0.3 m/s at 0.1 m/s^2: three seconds
    comes_to_rest(graph, driver)
    assert len(driver.commands["base"]) - sent > 100
    assert not any("did not come to rest" in line for line in process.said)
