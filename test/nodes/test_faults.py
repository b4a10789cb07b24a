"""Faults of docs/faults.md that need a ROS graph; the pure ones are in test/control."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage
from stand_in import Driver, Person, Planner, SimulatedTime
from std_msgs.msg import Bool
from test_executor import within_limits

from pi0_ros.data.bag import read_bag, stamp_of
from pi0_ros.data.blackbox_file import CHUNK, DEFINITIONS
from pi0_ros.nodes import executor as executor_module
from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.ros.clock import time_message
from pi0_ros.ros.control_thread import Period
from pi0_ros.ros.diagnostics import OK, WARN
from pi0_ros.ros.executor_health import executor_health
from pi0_ros.ros.images import decode_picture
from pi0_ros.ros.lifecycle import SUCCESS
from pi0_ros.ros.qos import RELIABLE

EVERYTHING = (*DEFINITIONS, CHUNK)
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
    graph.wait(
        lambda: len(driver.commands["left_arm"]) > 30 and np.ptp([v[0] for _, v in driver.commands["left_arm"]]) > 0.03,
        "the arm to move",
    )


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
    kept = executor.control.core.blackbox
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
    graph.wait(lambda: person.state and person.state.header.stamp.sec >= 100, "the simulated clock")
    graph.wait(lambda: driver.commands["lift"] and person.mode == "hold", "hold")
    moving(graph, driver, person)
    clock.set(5.0)
    person.wait_mode("hold")
    assert "clock" in person.state.reason
    within_limits(driver, "left_arm")
    graph.wait(lambda: person.ask("autonomy")[0], "autonomy when asked for")
    person.wait_mode("autonomy")
    clock.stopped = True
    person.wait_mode("hold")
    graph.wait(lambda: not driver.steps("left_arm")[-1].any(), "standstill although the clock stands")


def test_row_38_more_than_a_tenth_of_missed_periods_is_a_warning():
    assert executor_health(Period(), None, [], [], 0.09, {}).level == OK
    told = executor_health(Period(), None, [], [], 0.2, {})
    assert told.level == WARN and "20%" in told.message


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
        others = {} if name == "robot" else {"robot": "mobile_bimanual"}
        overrides = [Parameter(n, value=v) for n, v in ({name: value} | others).items()]
        node = ExecutorNode(parameter_overrides=overrides)
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


def black_box(graph, folder):
    """(the reason, messages by topic) of the one black box that is written."""
    from mcap.reader import make_reader

    graph.wait(lambda: list(folder.rglob("*.mcap")), "the black box")
    (file,) = folder.rglob("*.mcap")
    messages = {}
    for heard in read_bag(file, EVERYTHING).messages:
        messages.setdefault(heard.topic, []).append(heard.message)
    with file.open("rb") as stream:
        (reason,) = [r.metadata["reason"] for r in make_reader(stream).iter_metadata() if r.name == "pi0_ros"]
    return reason, messages


def test_row_43_a_stop_leaves_a_black_box_with_its_reason_and_pictures_of_every_camera(start, graph, tmp_path):
    driver, person, _, executor = start(black_box=str(tmp_path), picture_period=0.4)
    cameras = {camera.name for camera in driver.robot.cameras}
    moving(graph, driver, person)
    kept = executor.control.core.blackbox
    graph.wait(lambda: {r.data[0] for r in kept.snapshot() if r.kind == "picture"} == cameras, "a picture of each")
    assert person.ask("stop")[0]
    person.wait_mode("stopped")
    reason, messages = black_box(graph, tmp_path)
    assert "stop" in reason
    assert {"joint_states", "odom", "executor/command", "action_chunk", "events"} <= set(messages)
    for name in cameras:
        pictures = messages[f"{name}/image_raw/compressed"]
        assert all(decode_picture(CompressedImage(format=p.format, data=p.data)).shape == (32, 32, 3) for p in pictures)
        stamps = [stamp_of(p.header) for p in pictures]
        assert stamps == sorted(set(stamps)) and stamps[-1] <= driver.seen[name] + 1e-3
    # Thinned: the cameras said far more.
    assert all(
        len(messages[f"{name}/image_raw/compressed"]) < len(messages["executor/command"]) / 4 for name in cameras
    )


def test_row_43_a_fault_that_ends_autonomy_leaves_a_black_box_and_an_error(start, graph, tmp_path):
    driver, person, planner, _ = start(black_box=str(tmp_path), policy_lost=0.5)
    moving(graph, driver, person)
    planner.silent = True
    person.wait_mode("hold")
    reason, messages = black_box(graph, tmp_path)
    assert "policy silent" in reason
    assert any("policy silent" in event.msg for event in messages["events"])
    graph.wait(lambda: person.health["executor"][0] == b"\x02", "an error in the diagnostics")
    assert "policy silent" in person.health["executor"][1]


def test_row_43_an_exception_leaves_a_black_box_with_its_traceback(start, graph, tmp_path):
    driver, person, _, executor = start(black_box=str(tmp_path))
    moving(graph, driver, person)

    def broken(*_):
        raise RuntimeError("broken core")

    executor.control.core.step = broken
    person.wait_mode("stopped")
    reason, messages = black_box(graph, tmp_path)
    assert "broken core" in reason
    assert any("Traceback" in event.msg and "broken core" in event.msg for event in messages["events"])


def test_nothing_is_written_while_nothing_goes_wrong(start, graph, tmp_path):
    driver, person, _, executor = start(black_box=str(tmp_path))
    moving(graph, driver, person)
    assert person.ask("teleop")[0] and person.ask("hold")[0]
    executor.trigger_deactivate()
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


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


def test_each_robot_has_a_folder_of_black_boxes_and_one_that_cannot_be_written_is_said_at_once(graph, mobile, tmp_path):
    robot, file = mobile
    driver, person = graph.node(Driver, robot), graph.node(Person, robot)
    executor = graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box=str(tmp_path))
    graph.wait(lambda: driver.commands["lift"], "commands")
    assert person.ask("stop")[0]
    graph.wait(lambda: list((tmp_path / robot.name).glob("*.mcap")), "a black box in the robot's own folder")
    for step in ("deactivate", "cleanup"):
        assert getattr(executor, f"trigger_{step}")() == SUCCESS
    executor.set_parameters([Parameter("black_box", value="/proc/none")])
    for step in ("configure", "activate"):
        assert getattr(executor, f"trigger_{step}")() == SUCCESS
    graph.wait(lambda: "parameter black_box: /proc/none" in person.health["executor"][1], "the diagnostics")
    assert person.health["executor"][0] != b"\x00"
