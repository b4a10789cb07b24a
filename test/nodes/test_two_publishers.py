"""Two senders if there is room for one: nothing moves as an alternation of both, and both are named."""

from array import array
from functools import partial

import numpy as np
import pytest
from pi0_ros.msg import ActionChunk
from rclpy.node import Node
from sensor_msgs.msg import JointState
from stand_in import Driver, Person, Planner, nod
from std_msgs.msg import Bool

from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.ros.qos import RELIABLE, SENSOR


class Zeros(Node):
    """joint_state_publisher without a GUI: every joint of the URDF is 0, ten times a second."""

    def __init__(self, graph, robot, **kwargs):
        super().__init__("joint_state_publisher", **kwargs)
        self.names, self.quiet = list(robot.joint_of_channel.values()), False
        self.publisher = self.create_publisher(JointState, "joint_states", SENSOR)
        self.create_timer(0.1, self.say)

    def say(self):
        if self.quiet:
            return
        message = JointState(name=self.names, position=array("d", [0.0] * len(self.names)))
        message.header.stamp = self.get_clock().now().to_msg()
        self.publisher.publish(message)


def executor_of(graph, mobile):
    return graph.managed(ExecutorNode, robot=mobile[1], realtime_priority=0, black_box="")


def both_named(text):
    return "/driver" in text and "/joint_state_publisher" in text and "joint_states" in text


@pytest.mark.parametrize("zeros_first", [True, False])
def test_nothing_is_commanded_while_two_nodes_disagree_and_all_is_well_when_one_falls_silent(
    graph, mobile, zeros_first
):
    made = {}
    for kind in (Zeros, Driver) if zeros_first else (Driver, Zeros):
        made[kind] = graph.node(kind, mobile[0], start=0.4) if kind is Driver else graph.node(kind, mobile[0])
    driver, zeros = made[Driver], made[Zeros]
    person = graph.node(Person, mobile[0])
    executor_of(graph, mobile)
    graph.wait(lambda: person.state is not None and both_named(person.state.reason), "both names in the reason")
    assert not driver.commands
    answers = [person.ask("autonomy") for _ in range(5)]  # one may be about a machine that was busy
    assert not any(granted for granted, _ in answers) and any(both_named(why) for _, why in answers)
    zeros.quiet = True
    graph.wait(lambda: len(driver.commands["lift"]) > 3, "commands once they agree")
    assert driver.commands["left_arm"][0][1][0] == pytest.approx(0.4, abs=1e-6)


def test_a_second_publisher_that_comes_later_stops_a_robot_that_is_held_and_nothing_more_is_sent(graph, mobile):
    driver = graph.node(Driver, mobile[0], start=0.4)
    person = graph.node(Person, mobile[0])
    executor_of(graph, mobile)
    graph.wait(lambda: len(driver.commands["lift"]) > 20, "commands")
    graph.node(Zeros, mobile[0])
    graph.wait(lambda: both_named(person.state.reason), "both names in the reason")
    count = len(driver.commands["lift"])
    graph.wait(lambda: person.mode == "stopped" or len(driver.commands["lift"]) == count, "silence")
    commands = [values for _, values in driver.commands["left_arm"]]
    assert max(abs(v[0] - 0.4) for v in commands) < 1e-6, "nothing moved"


class Joystick(Node):
    """A second device on the left arm's topic of teleop, from where it is moved on: 0.5 rad below the first one's values."""

    def __init__(self, graph, robot, values):
        super().__init__("joystick")
        self.joints, self.values, self.publisher = list(robot.group("left_arm").teleop.joints), values, None
        self.create_timer(0.02, self.say)

    def begin(self):
        self.publisher = self.create_publisher(JointState, "teleop/left_arm", SENSOR)

    def say(self):
        if self.publisher is not None:
            message = JointState(name=self.joints, position=array("d", self.values))
            message.header.stamp = self.get_clock().now().to_msg()
            self.publisher.publish(message)

    def end(self):
        publisher, self.publisher = self.publisher, None
        self.destroy_publisher(publisher)


def devices_named(text):
    return "/person" in text and "/joystick" in text and "teleop/left_arm" in text and "end one of the two" in text


@pytest.mark.parametrize("warn", [False, True])
def test_of_two_teleop_devices_the_first_is_followed_and_no_command_goes_towards_the_second(graph, mobile, warn):
    robot, file = mobile
    home = np.array([0.1, 0.2, 0.3, -0.1, -0.2, -0.3])
    driver = graph.node(Driver, robot)
    person, joystick = graph.node(Person, robot), graph.node(Joystick, robot, home - 0.5)
    parameters = {"second_publisher": "warn"} if warn else {}
    graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box="", **parameters)
    joint = lambda: driver.commands["left_arm"][-1][1][0] if driver.commands["left_arm"] else -9.0
    start = []
    graph.wait(lambda: driver.commands["left_arm"], "commands")
    start.append(joint())
    person.lead("left_arm", lambda _: home)
    person.insist("teleop", lambda: joint() > start[0] + 0.02, "motion")
    joystick.begin()
    graph.wait(lambda: devices_named(person.health.get("executor", (0, "", {}))[1]), "both names in /diagnostics")
    assert person.health["executor"][0] == (b"\x01" if warn else b"\x02")
    if warn:
        graph.wait(lambda: abs(joint() - home[0]) < 1e-3, "the place that the first one shows")
        assert person.mode == "teleop"
    else:
        person.wait_mode("hold")
        graph.wait(lambda: devices_named(person.why()), "both names in the reason")
        granted, why = person.ask("teleop")
        assert not granted and devices_named(why)
        joystick.end()
        graph.wait(lambda: person.ask("teleop")[0], "teleop once the other is gone")
        graph.wait(lambda: abs(joint() - home[0]) < 1e-3, "the place that the first one shows")
    path = np.array([values for _, values in driver.commands["left_arm"]])
    towards = np.sign(home - path[0])
    assert (np.diff(path, axis=0) * towards).min() > -1e-9, "every step is towards the first device"


def test_autonomy_is_refused_while_two_policies_are_there_and_both_are_named(graph, mobile):
    robot, _ = mobile
    driver, person = graph.node(Driver, robot), graph.node(Person, robot)
    graph.node(Planner, robot, nod)
    executor_of(graph, mobile)
    graph.wait(lambda: driver.commands["left_arm"], "commands")
    other = graph.add(Node("brain"))
    second = other.create_publisher(ActionChunk, "action_chunk", RELIABLE)
    named = lambda text: "/brain and /planner publish action_chunk" in text
    graph.wait(lambda: named(person.health.get("executor", (0, "", {}))[1]), "both names in /diagnostics")
    granted, why = person.ask("autonomy")
    assert not granted and named(why) and "end one of the two" in why
    other.destroy_publisher(second)
    graph.wait(lambda: person.ask("autonomy")[0], "autonomy once the other is gone")


class Button(Node):
    """An emergency stop with a heartbeat, on the topic of another one."""

    def __init__(self, graph, name):
        super().__init__(name)
        self.pressed, self.silent = False, False
        self.publisher = self.create_publisher(Bool, "estop", RELIABLE)
        self.create_timer(0.05, self.say)

    def say(self):
        if not self.silent:
            self.publisher.publish(Bool(data=self.pressed))


def test_no_other_button_releases_one_that_is_pressed_or_speaks_for_one_that_is_silent(graph, mobile):
    driver, person = graph.node(Driver, mobile[0]), graph.node(Person, mobile[0])
    left, right = graph.node(Button, "left_button"), graph.node(Button, "right_button")
    executor_of(graph, mobile)
    graph.wait(lambda: driver.commands["lift"], "commands")
    left.pressed = True
    person.wait_mode("stopped")

    def refused(*words):
        granted, why = person.ask("reset")
        return not granted and all(word in why for word in words)

    graph.wait(partial(refused, "e-stop of /left_button pressed"), "the name of the button")
    for _ in range(20):  # whatever the other one has said last
        assert refused("pressed")
    left.pressed = False
    graph.wait(lambda: person.ask("reset")[0], "reset once it is released")
    left.silent = True
    person.wait_mode("stopped")
    graph.wait(partial(refused, "e-stop of /left_button silent"), "the name of the silent one")
    left.destroy_publisher(left.publisher)
    graph.wait(lambda: person.ask("reset")[0], "reset once the silent one has left")
    assert right.pressed is False
