"""What the executor's messages say reaches the core once, with the time at which each was received, under the right topic."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from pi0_ros.msg import ActionChunk
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, Header, String

from pi0_ros.control.chunk import ACCEPTED, Cause, Verdict
from pi0_ros.robot import load_robot
from pi0_ros.ros.executor_delivery import ExecutorDelivery, PolledInputs, Senders
from pi0_ros.ros.refusals import RefusalEvents

STEADY, ROS = 1000.0, 5000.0
# How long ago the message that is read was received [s], no two alike, in binary fractions.
AGES = PolledInputs(routine=0.25, chunks=0.5, urgent=0.125, estop=0.0625, words=0.75)
ARM = "teleop/left_arm"
ANGLES = {f"left_joint{i}": 0.1 * i - 0.25 for i in range(1, 7)}


class Core:
    """Stands for the control core: notes what it is called with, and answers chunks as it is told to."""

    def __init__(self):
        self.calls, self.verdict, self.policy = [], ACCEPTED, SimpleNamespace(says=lambda text: f"says {text}")

    def on_policy(self, change):
        self.calls.append(("on_policy", change(self.policy)))

    def on_chunk(self, *given):
        self.calls.append(("on_chunk", *given))
        return self.verdict

    def __getattr__(self, name):
        return lambda *given: self.calls.append((name, *given))


class Devices:
    """Which senders are followed, and what was asked."""

    def __init__(self):
        self.asked, self.followed = [], True

    def follows(self, *given):
        self.asked.append(given)
        return self.followed


@pytest.fixture
def delivery():
    robot = load_robot("mobile_bimanual")
    robot = replace(robot, takeover=replace(robot.takeover, deadman_topic="pad", deadman_button=2))
    clocks = SimpleNamespace(steady=lambda: STEADY, ros=lambda: ROS)
    polled = PolledInputs(*(SimpleNamespace(age=a, publisher=n.encode()) for n, a in AGES._asdict().items()))
    graph = SimpleNamespace(publishers=lambda topic, now: {f"{topic} at {now}".encode(): "/button"})
    refusals = RefusalEvents(clocks.steady)
    made = ExecutorDelivery(robot, clocks, polled, refusals, Senders(graph, Devices()))
    made.restart(Core())
    made.robot, made.refusals, made.devices = robot, refusals, made._senders.devices
    return made


def test_measurements_come_with_both_clocks_at_their_receipt_and_are_judged_by_their_topic(delivery):
    joints, odometry = delivery.robot.state
    delivery.on_joints(joints, 4999.5, {"left_joint1": 0.3}, {"left_joint1": -0.7})
    delivery.on_odometry(odometry, 4999.25, (0.1, -0.2, 0.3))
    at = (STEADY - 0.25, ROS - 0.25)
    assert delivery.core.calls == [
        ("on_state", *at, 4999.5, {"left_joint1": 0.3}, {"left_joint1": -0.7}, "joint_states"),
        ("on_odometry", *at, 4999.25, 0.1, -0.2, 0.3, "odom"),
    ]
    assert delivery.sources.offsets() == {"joint_states": 0.25, "odom": 0.5}
    assert [delivery.sources.arrival_age(topic, STEADY) for topic in ("joint_states", "odom")] == [0.25, 0.25]


def test_another_core_gets_all_that_comes_later_and_no_source_was_heard_yet(delivery):
    joints, first = delivery.robot.state[0], delivery.core
    delivery.on_joints(joints, 4999.5, {"left_joint1": 0.3}, {})
    delivery.restart(Core())
    assert delivery.sources.silent == ("joint_states", "odom")
    delivery.on_joints(joints, 4999.75, {"left_joint1": 0.4}, {})
    assert [len(core.calls) for core in (first, delivery.core)] == [1, 1] and delivery.core.calls[0][4:] == (
        {"left_joint1": 0.4},
        {},
        "joint_states",
    )


def chunk(**changes) -> ActionChunk:
    header = Header(stamp=Time(sec=4999, nanosec=250_000_000))
    given = {"sequence": 9, "period": 0.05, "channels": ["left_joint1", "lift"], "values": [0.1, 0.2, 0.3, 0.4]}
    return ActionChunk(header=header, **{**given, **changes})


def test_a_chunk_comes_with_its_receipt_and_the_cores_reason_is_kept_where_it_says_one(delivery):
    delivery.on_chunk(chunk())
    ((name, steady, ros, given),) = delivery.core.calls
    assert (name, steady, ros) == ("on_chunk", STEADY - 0.5, ROS - 0.5)
    assert (given.start, given.period, given.sequence) == (4999.25, 0.05, 9)
    assert given.names == ("left_joint1", "lift") and given.values.shape == (2, 2)
    assert delivery.refusals.last == ""
    delivery.core.verdict = Verdict(False, "it is of an older epoch", Cause.OLD_EPOCH)
    delivery.on_chunk(chunk(sequence=10))
    assert delivery.refusals.last == "chunk 10: it is of an older epoch" and delivery.refusals.count == 0


def test_that_nobody_drives_is_no_reason_to_keep(delivery):
    delivery.core.verdict = Verdict(False, "the robot holds", Cause.NOT_DRIVING)
    delivery.on_chunk(chunk())
    assert len(delivery.core.calls) == 1 and delivery.refusals.last == ""


def test_a_chunk_of_numbers_that_no_plan_has_is_counted_and_does_not_reach_the_core(delivery):
    delivery.on_chunk(chunk(frozen_rows=3))
    assert not delivery.core.calls and delivery.refusals.count == 1
    assert delivery.refusals.last == "action_chunk: frozen_rows is 3, and there are 2 rows"


def test_what_the_policy_says_is_one_line(delivery):
    delivery.on_policy_state(String(data="  loading\n\tthe   weights "))
    assert delivery.core.calls == [("on_policy", "says loading the weights")]


def teleop(delivery, angles):
    group = next(g for g in delivery.robot.groups if g.name == "left_arm")
    delivery.on_teleop(group, group.teleop, JointState(name=list(angles), position=list(angles.values())))


def test_a_persons_command_is_sorted_by_channel_and_only_that_of_the_device_that_is_followed_counts(delivery):
    teleop(delivery, dict(reversed(ANGLES.items())))
    at = STEADY - 0.125
    assert delivery.devices.asked == [(ARM, b"urgent", at)]
    assert delivery.core.calls == [("on_teleop", at, "left_arm", tuple(ANGLES), tuple(ANGLES.values()))]
    delivery.devices.followed = False
    teleop(delivery, ANGLES)
    assert len(delivery.devices.asked) == 2 and len(delivery.core.calls) == 1


def test_a_persons_command_that_lacks_a_joint_is_refused_under_its_topic_and_takes_nobodys_place(delivery):
    teleop(delivery, {name: angle for name, angle in ANGLES.items() if name != "left_joint4"})
    assert not delivery.core.calls and not delivery.devices.asked
    assert delivery.refusals.count == 1 and delivery.refusals.last.startswith(f"{ARM}: ")
    assert "left_joint4" in delivery.refusals.last


@pytest.mark.parametrize("pressed", [True, False])
def test_an_e_stop_comes_with_its_button_and_all_buttons_that_are_there(delivery, pressed):
    delivery.on_estop(Bool(data=pressed))
    there = {b"estop at 1000.0": "/button"}
    assert delivery.core.calls == [("on_estop", STEADY - 0.0625, pressed, b"estop", there)]


@pytest.mark.parametrize(("buttons", "held"), [([0, 0, 1], True), ([1, 1, 0, 1], False), ([1, 1], False), ([], False)])
def test_the_deadman_button_is_the_robots_and_one_that_the_pad_lacks_is_not_held(delivery, buttons, held):
    delivery.on_joy(Joy(buttons=buttons))
    at = STEADY - 0.125
    assert delivery.devices.asked == [("pad", b"urgent", at)]
    assert delivery.core.calls == [("on_deadman", at, held)]
    delivery.devices.followed = False
    delivery.on_joy(Joy(buttons=[0, 0, 1]))
    assert len(delivery.core.calls) == 1


def test_each_kind_of_input_is_polled_by_itself_and_refuses_to_the_same_place():
    node, refusals = SimpleNamespace(), RefusalEvents(lambda: STEADY)
    polled = PolledInputs.of(node, refusals)
    assert len({id(each) for each in polled}) == len(PolledInputs._fields) and all(
        each._node is node for each in polled
    )
    for each in polled:
        each._refused("topic", ValueError("no message"))
    assert refusals.count == len(PolledInputs._fields)
