"""What an operator and a lifecycle manager do to nodes that run: requests at the wrong time, signals, deaths."""

import signal
import threading

import numpy as np
import pytest
from lifecycle_msgs.srv import ChangeState
from stand_in import PATIENCE, Driver, Person, Planner
from test_executor import within_limits

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
    assert rolling(driver) and person.mode == "autonomy"
    assert person.ask("hold")[0]
    comes_to_rest(graph, driver)
    assert person.ask("stop")[0] and person.ask("reset")[0]
    assert any("refused: the node is active" in line for line in process.said)
    assert graph.end(process) == 0


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
