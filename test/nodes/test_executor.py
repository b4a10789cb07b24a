import math
import signal
from pathlib import Path

import numpy as np
import pytest
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from stand_in import Driver, Person, Planner

from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.ros.qos import SENSOR


def sway(t):
    """The left arm swings within 0.3 rad, slower than its limits; the base creeps."""
    return {"left_joint1": 0.3 * math.sin(t), "left_joint2": 0.2 * (1 - math.cos(t)), "base_vx": 0.1 * math.sin(t)}


def within_limits(driver, group, since=0.0):
    """No command of a group is further from the one before than its limits allow in a period."""
    steps, limits = driver.steps(group, since), [c.limits for c in driver.robot.group(group).channels]
    rates = [m.acceleration if driver.robot.group(group).kind.value == "velocity" else m.velocity for m in limits]
    assert len(steps) > 10
    assert (np.abs(steps).max(axis=0) <= np.array(rates) / driver.robot.control_rate * 1.001 + 1e-9).all()


def swing(t):
    """The left arm's first joint to and fro, at up to 0.5 rad/s."""
    return {"left_joint1": 0.4 * math.sin(1.25 * t)}


def driving(driver):
    """Whether the left arm's first joint is being moved at a good part of its speed."""
    steps = driver.steps("left_arm")
    return len(steps) > 40 and abs(steps[-1][0]) > 0.004


@pytest.fixture
def start(graph, mobile):
    robot, file = mobile

    def started(plan=sway):
        driver = graph.node(Driver, robot)
        person = graph.node(Person, robot)
        planner = graph.node(Planner, robot, plan)
        executor = graph.managed(
            ExecutorNode, robot=file, realtime_priority=0, engage_time=0.2, tracking_error=1.0, black_box=""
        )
        return driver, person, planner, executor

    return started


def test_it_holds_at_start_and_commands_where_the_robot_is(start, graph):
    driver, person, _, _ = start()
    graph.wait(lambda: len(driver.commands["lift"]) > 20, "commands")
    assert person.mode == "hold"
    measured = [driver.values[c.name] for c in driver.robot.group("left_arm").channels]
    np.testing.assert_allclose(
        [v for _, v in driver.commands["left_arm"]], [measured] * len(driver.commands["left_arm"])
    )


def test_it_publishes_nothing_before_the_first_state_and_names_what_is_missing(graph, mobile):
    driver = graph.node(Driver, mobile[0])
    driver.silent = {"joint_states"}
    person = graph.node(Person, mobile[0])
    graph.managed(ExecutorNode, robot=mobile[1], realtime_priority=0)
    graph.wait(lambda: "joint_states" in person.health.get("executor", (b"", ""))[1], "the topic's name")
    assert person.health["executor"][0] == b"\x01"
    graph.wait(lambda: person.state is not None, "executor_state")
    assert person.state.reason.startswith("waiting") and not driver.commands
    driver.silent = set()
    graph.wait(lambda: driver.commands["left_arm"], "commands after the first state")


def test_autonomy_follows_the_chunks_and_a_person_takes_over_and_gives_back(start, graph):
    driver, person, _, _ = start()
    graph.wait(lambda: person.mode == "hold" and driver.commands["lift"], "hold")
    assert person.ask("autonomy")[0]
    graph.wait(lambda: len(driver.commands["left_arm"]) > 100 and person.state.plan_sequence > 0, "motion")
    graph.wait(lambda: np.ptp([v[0] for _, v in driver.commands["left_arm"]]) > 0.05, "the arm to move")
    home = person.measured("left_arm")
    person.lead("left_arm", lambda t: home + 0.2 * min(t, 1.0))
    assert person.ask("teleop")[0]
    person.wait_mode("teleop")
    graph.wait(lambda: driver.commands["left_arm"][-1][1][1] > home[1] + 0.1, "the arm to follow the person")
    assert person.ask("autonomy")[0]
    epoch = person.state.epoch
    graph.wait(lambda: person.state.epoch > epoch or person.mode == "autonomy", "autonomy")
    taken = person.state.chunks_accepted
    graph.wait(lambda: person.state.chunks_accepted > taken + 3, "chunks after giving back")
    for group in ("left_arm", "base", "lift"):
        within_limits(driver, group)


def test_a_chunk_of_nan_is_refused_and_the_robot_holds(start, graph):
    driver, person, planner, _ = start()
    graph.wait(lambda: driver.commands["lift"], "hold")

    spoilt = []

    def spoil(message):
        message.values[7] = math.nan
        spoilt.append(message.channels[7])
        return message

    planner.spoil = spoil
    assert person.ask("autonomy")[0]
    graph.wait(lambda: person.state.chunks_rejected > 2, "refusals")
    graph.wait(lambda: f"refused: {spoilt[0]} is nan in row 0" in person.state.reason, "the reason")
    first, last = driver.commands["left_arm"][0][1], driver.commands["left_arm"][-1][1]
    np.testing.assert_array_equal(first, last)


def test_an_exception_in_the_core_brakes_and_reset_starts_anew(start, graph):
    driver, person, _, executor = start()
    graph.wait(lambda: driver.commands["lift"], "hold")
    person.ask("autonomy")
    graph.wait(lambda: np.ptp([v[0] for _, v in driver.commands["left_arm"]]) > 0.05, "the arm to move")

    def broken(*_):
        raise RuntimeError("broken core")

    executor.control.core.step = broken
    person.wait_mode("stopped")
    graph.wait(lambda: "broken core" in person.state.reason, "the reason")
    graph.wait(lambda: not driver.steps("left_arm")[-1].any(), "standstill")
    assert not person.ask("autonomy")[0]
    ok, _ = person.ask("reset")
    assert ok
    person.wait_mode("hold")
    within_limits(driver, "left_arm")


def test_requests_that_cannot_be_granted_are_refused_with_the_reason(start, graph):
    _, person, _, executor = start()
    person.wait_mode("hold")
    ok, why = person.ask("reset")
    assert not ok and "reset" in why
    assert person.ask("stop")[0]
    person.wait_mode("stopped")
    ok, why = person.ask("autonomy")
    assert not ok and "reset" in why
    assert person.ask("reset")[0]
    executor.trigger_deactivate()
    ok, why = person.ask("hold")
    assert not ok and "not active" in why


def test_deactivating_while_moving_decelerates_on_the_wire_and_then_is_quiet(start, graph):
    driver, person, _, executor = start(swing)
    graph.wait(lambda: driver.commands["lift"], "hold")
    person.insist("autonomy", lambda: driving(driver), "motion")
    executor.trigger_deactivate()
    graph.wait(lambda: not driver.steps("left_arm")[-1].any(), "standstill")
    sent = len(driver.commands["left_arm"])
    within_limits(driver, "left_arm")
    # The same connection delivers in order: a message sent after deactivation would come before this one.
    executor.trigger_activate()
    graph.wait(lambda: len(driver.commands["left_arm"]) > sent + 5, "commands after activation")
    assert not driver.steps("left_arm")[sent - 2 :].any()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_moving_sends_the_stop_before_the_process_ends_well(graph, mobile, how):
    robot, file = mobile
    driver = graph.node(Driver, robot)
    person = graph.node(Person, robot)
    graph.node(Planner, robot, swing)
    process = graph.start("executor", f"robot:={file}", "tracking_error:=1.0")
    graph.wait(lambda: driver.commands["lift"], "hold")
    person.insist("autonomy", lambda: driving(driver), "motion")
    assert graph.end(process, how) == 0
    graph.wait(lambda: not driver.steps("left_arm")[-1].any(), "standstill")
    within_limits(driver, "left_arm")


def test_an_executor_that_is_activated_again_holds_and_knows_nothing_of_what_came_before_or_meanwhile(start, graph):
    driver, person, _, executor = start()
    graph.wait(lambda: driver.commands["lift"], "hold")
    person.insist("autonomy", lambda: driving(driver) or np.ptp(driver.steps("left_arm")) > 0.0, "motion")
    epoch = person.state.epoch
    executor.trigger_deactivate()
    heard = []
    watch = executor.create_subscription(
        JointState,
        executor.parts.robot.group("left_arm").teleop.topic,
        lambda m: heard.append(m) or graph.notify(),
        SENSOR,
    )
    home = person.measured("left_arm")
    person.lead("left_arm", lambda t: home + 0.5)
    graph.wait(lambda: len(heard) > 5, "what a person says meanwhile")
    person.lead("left_arm", None)
    executor.destroy_subscription(watch)
    person.state = None
    executor.trigger_activate()
    graph.wait(lambda: person.state is not None and person.state.mode == 0, "hold")
    state = person.state
    assert (state.plan_sequence, state.chunks_accepted) == (0, 0) and state.epoch != epoch
    # What a person said meanwhile is no input: there is none yet, and nothing moves.
    sent = len(driver.commands["left_arm"])
    person.insist("teleop", lambda: person.state.reason == "waiting for teleop input", "the reason")
    graph.wait(lambda: len(driver.commands["left_arm"]) > sent + 40, "commands")
    assert not np.diff([v for _, v in driver.commands["left_arm"][sent:]], axis=0).any()


def test_only_the_button_that_the_robot_names_lets_a_person_drive(graph, mobile, tmp_path):
    robot, file = mobile
    button = tmp_path / "mobile_bimanual.yaml"
    button.write_text(Path(file).read_text() + "\ntakeover: {deadman: {topic: joy, button: 2}}\n")
    driver, person = graph.node(Driver, robot), graph.node(Person, robot)
    graph.managed(ExecutorNode, robot=str(button), realtime_priority=0, black_box="", tracking_error=1.0)
    joy = Pad(graph)
    graph.add(joy)
    graph.wait(lambda: driver.commands["lift"] and person.sees("left_arm"), "measurements")
    home = person.measured("left_arm")
    person.lead("left_arm", lambda t: home + 0.3)
    for pressed in ([1, 1, 0, 1], [1, 1]):
        joy.pressed = pressed
        person.insist("teleop", lambda: person.state.reason == "waiting for the deadman button", "the reason")
        sent = len(driver.commands["left_arm"])
        graph.wait(lambda n=sent: len(driver.commands["left_arm"]) > n + 30, "commands")
        np.testing.assert_allclose(driver.commands["left_arm"][-1][1], home, atol=1e-6)
    joy.pressed = [0, 0, 1, 0]
    person.insist("teleop", lambda: driver.commands["left_arm"][-1][1][1] > home[1] + 0.1, "motion")


class Pad(Node):
    """A gamepad at 50 Hz."""

    def __init__(self, graph):
        super().__init__("pad")
        self.pressed, self._graph = [], graph
        self._joy = self.create_publisher(Joy, "joy", SENSOR)
        self.create_timer(0.02, self._say)

    def _say(self):
        self._joy.publish(Joy(buttons=self.pressed))
