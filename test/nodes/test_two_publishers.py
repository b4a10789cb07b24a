"""A second node that says other joint values than the driver: nothing starts, autonomy ends, and both are named."""

from array import array

import pytest
from rclpy.node import Node
from sensor_msgs.msg import JointState
from stand_in import Driver, Person

from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.ros.qos import SENSOR


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
