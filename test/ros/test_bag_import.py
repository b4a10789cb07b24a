"""Episodes of recordings that are given as lists of messages: at which times, by whose command, and about which words."""

import math
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from pi0_ros.msg import ExecutorState
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, String

from pi0_ros.data.errors import DataError
from pi0_ros.ros import bag_import
from pi0_ros.ros.bag_import import KEPT, LATE, ORDERED, SPEED_HELD, STREAM, bag_episodes
from pi0_ros.ros.bag_messages import BagMessage
from pi0_ros.ros.clock import time_message
from pi0_ros.ros.topic_check import ros_type_name

GROUPS = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 10.0}
base:
  kind: velocity
  channels: [base_vx, base_wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: [0.5, 1.0], acceleration: [1.0, 2.0]}
"""
HEAD = """robot: small
urdf: small.urdf
cameras:
  front: {topic: front/image_raw, type: image, max_age: 0.3}
  hand: {topic: hand/image_raw, type: image, max_age: 0.2, required: false}
"""
STATE = """state:
  - {topic: joint_states, type: joint_state, max_age: 0.1}
  - {topic: odom, type: odometry, max_age: 0.1}
"""
START, FPS, BAG = 1000.0, 10, Path("folder/bag")
CHANNELS = ["j1", "j2", "base_vx", "base_wz"]


def picture(at, grey, size=(2, 4)):
    message = Image(height=size[0], width=size[1], encoding="rgb8", step=3 * size[1])
    message.data = bytes([grey] * (3 * size[0] * size[1]))
    message.header.stamp = time_message(at)
    return message


def joints(at):
    message = JointState(name=["j2", "j1"], position=[-slope(at), slope(at)], velocity=[-0.1, 0.1])
    message.header.stamp = time_message(at)
    return message


def odometry(at):
    message = Odometry()
    message.header.stamp, message.child_frame_id = time_message(at), "base_link"
    message.twist.twist.linear.x, message.twist.twist.angular.z = 0.2, 0.3
    return message


def slope(at):
    return 0.1 * (at - START)


def state(at, values=(0.5, 0.6, 0.7, 0.8), mode=ExecutorState.AUTONOMY):
    message = ExecutorState(mode=mode, channels=CHANNELS, command=[float(v) for v in values])
    message.header.stamp = time_message(at)
    return message


def twist(vx, wz):
    message = Twist()
    message.linear.x, message.angular.z = vx, wz
    return message


class Bag:
    """Messages by arrival: of what is stamped 0.01 s after its stamp."""

    def __init__(self, robot):
        self.robot, self.events, self.said = robot, [], []

    def add(self, topic, arrival, message):
        self.events.append((arrival, topic, message))

    def see(self, begin=0.0, end=1.0, without=()):
        """Pictures with 20 Hz, whose grey says their number, and state with 50 Hz, from `begin` until `end` [s]."""
        for k in range(round(begin * 50), round(end * 50) + 1):
            at = START + k / 50
            for topic, message in (("joint_states", joints), ("odom", odometry)):
                if topic not in without:
                    self.add(topic, at + 0.01, message(at))
        for k in range(round(begin * 20), round(end * 20) + 1):
            at = START + k / 20
            for camera, grey, late in (("front", 2 * k, 0.0), ("hand", 2 * k + 1, 0.004)):
                if camera not in without:
                    self.add(f"{camera}/image_raw", at + 0.01, picture(at + late, grey))
        return self

    @contextmanager
    def open(self, source, wanted):
        assert source == BAG
        yield (
            BagMessage(at, topic, ros_type_name(type(message)), serialize_message(message), wanted[topic])
            for at, topic, message in sorted(self.events, key=lambda event: event[0])
        )

    def read(self, task="wave", fps=FPS):
        return bag_episodes([BAG], self.robot, fps, task, self.said.append)

    def frames(self, task="wave", fps=FPS):
        return [list(episode.frames) for episode in self.read(task, fps)]


def times(frames):
    return np.array([frame["stamp"][0] for frame in frames]) - START


@pytest.fixture
def bag(small_robot, monkeypatch):
    made = Bag(small_robot(GROUPS, STATE, head=HEAD))
    monkeypatch.setattr(bag_import, "open_bag", made.open)
    return made


def test_a_frame_has_the_state_and_the_nearest_pictures_of_its_moment(bag):
    (frames,) = bag.see().frames()
    np.testing.assert_allclose(np.diff(times(frames)), 0.1, atol=1e-6)
    assert times(frames)[0] < 0.06 and times(frames)[-1] > 0.89
    for frame in frames:
        at = frame["stamp"][0]
        np.testing.assert_allclose(frame["observation.state"], [slope(at), -slope(at), 0.2, 0.3], atol=1e-5)
        front, hand = (frame[f"observation.images.{name}"] for name in ("front", "hand"))
        taken = front[0, 0, 0] / 2 / 20, (hand[0, 0, 0] - 1) / 2 / 20 + 0.004
        assert abs(taken[0] - (at - START)) <= 0.0251 and abs(taken[1] - (at - START)) <= 0.0251
        np.testing.assert_allclose(frame["picture_offset"], np.array(taken) - (at - START), atol=1e-5)
        assert front.shape == hand.shape == (2, 4, 3) and frame["camera_present"].tolist() == [True, True]
        assert {frame[k].dtype.name for k in ("observation.state", "action", "picture_offset")} == {"float32"}
    assert not bag.said


def test_the_episode_names_its_numbers_its_source_and_its_robot(bag):
    (episode,) = [episode for episode in bag.see().read() if list(episode.frames)]
    assert episode.names == {
        "observation.state": CHANNELS,
        "action": CHANNELS,
        "picture_offset": ["front", "hand"],
        "camera_present": ["front", "hand"],
    }
    assert episode.note == {"source": str(BAG), "robot": "small"}


def test_frames_come_at_the_rate_that_is_asked_for(bag):
    (frames,) = bag.see().frames(fps=25)
    np.testing.assert_allclose(np.diff(times(frames)), 0.04, atol=1e-6)


def test_a_hole_ends_an_episode_and_is_said(bag):
    bag.see(0.0, 1.0).see(2.0, 3.0)
    first, second = bag.frames()
    assert times(first)[-1] < 1.4 and times(second)[0] > 1.9 and times(second)[-1] > 2.85
    (sentence,) = bag.said
    missed = round((times(second)[0] - times(first)[-1]) * FPS) - 1
    assert missed > 3 and f"{missed} moments" in sentence and str(BAG) in sentence and "camera " in sentence


@pytest.mark.parametrize("missing, episodes", [(0, 1), (1, 2), (2, 2)])
def test_one_frame_that_is_missing_is_a_hole_already(missing, episodes):
    stamps = [1.0, 1.1, *(1.2 + 0.1 * (missing + k) for k in range(3))]
    rest = iter([{"stamp": np.array([at])} for at in stamps])
    first, found = next(rest), []
    while first is not None:
        stretch = bag_import._Stretch(first, rest, FPS)
        found.append([frame["stamp"][0] for frame in stretch])
        first = stretch.behind
    assert len(found) == episodes and [at for part in found for at in part] == stamps
    assert found[0] == (stamps if episodes == 1 else stamps[:2])


def test_a_camera_that_may_be_missing_is_black_then_and_marked(bag):
    bag.see(0.0, 1.0).see(1.02, 2.0, without=("hand",))
    (frames,) = bag.frames()
    last = frames[-1]
    assert last["camera_present"].tolist() == [True, False] and last["picture_offset"][1] == 0.0
    assert not last["observation.images.hand"].any() and last["observation.images.hand"].shape == (2, 4, 3)
    assert last["observation.images.front"].any() and frames[0]["observation.images.hand"].any()


def test_what_nobody_recorded_is_named_with_what_the_robot_needs(bag):
    bag.see(without=("front", "odom"))
    with pytest.raises(DataError, match=r"folder/bag: .* on front/image_raw, odom; robot small needs front/image_raw,"):
        bag.frames()


def test_a_recording_without_one_whole_moment_says_what_is_missing(bag):
    bag.see(0.0, 0.2, without=("front", "hand")).see(5.0, 5.2, without=("joint_states", "odom"))
    with pytest.raises(DataError, match=r"folder/bag: (?!holds no frame).+"):
        bag.frames()


def test_an_empty_recording_of_a_robot_names_all_topics(bag):
    with pytest.raises(DataError, match="front/image_raw, hand/image_raw, joint_states, odom; robot"):
        bag.frames()


# --- what was commanded ---


def test_the_executors_command_is_the_action_and_says_who_drove(bag):
    bag.see()
    for k in range(60):
        at = START + k / 50
        mode = ExecutorState.AUTONOMY if at < START + 0.5 else ExecutorState.TELEOP
        bag.add("executor_state", at + 0.01, state(at, (slope(at), 0.6, 0.7, 0.8), mode))
        bag.add("arm/commands", at + 0.01, Float64MultiArray(data=[-1.0, -1.1]))
    (frames,) = bag.frames()
    for frame in frames:
        np.testing.assert_allclose(frame["action"], [slope(frame["stamp"][0]), 0.6, 0.7, 0.8], atol=1e-5)
        early = frame["stamp"][0] < START + 0.5
        assert frame["driver"] == ("autonomy" if early else "teleop")
        assert frame["intervention"].tolist() == [not early]


def test_without_an_executor_the_drivers_topics_are_the_action_and_else_the_next_state(bag):
    bag.see()
    for k in range(-5, 60):
        at = START + k / 50
        bag.add("arm/commands", at + 0.01, Float64MultiArray(data=[0.3, 0.4]))
    (frames,) = bag.frames()
    for frame in frames:
        np.testing.assert_allclose(frame["action"], [0.3, 0.4, 0.2, 0.3], atol=1e-5)
        assert frame["driver"] == "" and frame["intervention"].tolist() == [False]


def test_without_any_command_the_state_of_the_next_frame_is_the_action_and_of_the_last_its_own(bag):
    (frames,) = bag.see().frames()
    for frame, after in zip(frames, [*frames[1:], frames[-1]], strict=True):
        np.testing.assert_allclose(frame["action"], after["observation.state"], atol=1e-6)
    assert frames[0]["action"][0] != frames[0]["observation.state"][0]


def commands(robot, group):
    return bag_import._Commands(robot.groups[group])


def test_commands_of_a_stream_are_joined_by_lines_and_rare_ones_hold(bag):
    arm = commands(bag.robot, 0)
    for at, value in ((1.0, 0.1), (1.0 + STREAM - 0.01, 0.3), (1.5, 0.9)):
        arm.add(at, [value, -value])
    assert arm.at(0.99) == {} and arm.at(1.0) == {"j1": 0.1, "j2": -0.1}
    assert arm.at(1.0 + (STREAM - 0.01) / 4) == pytest.approx({"j1": 0.15, "j2": -0.15})
    assert arm.at(1.4)["j1"] == 0.3 and arm.at(1.5)["j1"] == 0.9 and arm.at(1e6)["j1"] == 0.9


def test_a_velocity_that_is_not_repeated_holds_for_a_while_only(bag):
    base = commands(bag.robot, 1)
    base.add(1.0, [0.2, 0.3])
    assert base.at(1.0 + SPEED_HELD) == {"base_vx": 0.2, "base_wz": 0.3}
    assert base.at(1.001 + SPEED_HELD) == {}


def test_two_commands_of_one_moment_are_no_line(bag):
    arm = commands(bag.robot, 0)
    for value in (0.1, 0.5):
        arm.add(1.0, [value, value])
    arm.add(2.0, [0.7, 0.7])
    assert arm.at(1.0)["j1"] == 0.5


def test_a_command_that_comes_a_little_early_counts_from_the_one_before_and_a_clock_that_was_set_forgets(bag):
    arm = commands(bag.robot, 0)
    arm.add(5.0, [0.1, 0.1])
    arm.add(5.0 - LATE, [0.2, 0.2])
    assert arm.at(5.0 - LATE / 2) == {} and arm.at(5.0)["j1"] == 0.2
    arm.add(4.99 - LATE, [0.3, 0.3])
    assert arm.at(4.99 - LATE)["j1"] == 0.3 and arm.at(6.0)["j1"] == 0.3


def test_as_many_commands_are_kept_as_two_seconds_of_a_kilohertz_have(bag):
    arm = commands(bag.robot, 0)
    assert KEPT == 2048
    for k in range(2048 + 5):
        arm.add(k * 0.001, [float(k), 0.0])
    assert arm.at(0.0045) == {} and arm.at(0.0051)["j1"] == pytest.approx(5.1)


# --- words ---


def words(bag, **said):
    for k in range(3):
        bag.add("executor_state", START + k / 2, state(START + k / 2))
    for topic, text in said.items():
        bag.add(topic, START + 0.02, String(data=text))
    (frames,) = bag.frames(task=None)
    frame = frames[len(frames) // 2]
    return tuple(frame[k] for k in ("task", "high_level_task", "high_level_target", "subtask_source"))


def test_the_instruction_is_the_subtask_that_was_said_or_the_task(bag):
    bag.see()
    assert words(bag, task="tidy", subtask="pick cup") == ("pick cup", "tidy", "pick cup", "network")


def test_the_instruction_is_an_operators_word_if_there_was_one(bag):
    bag.see()
    assert words(bag, task="tidy", subtask="pick", subtask_override="stop") == ("stop", "tidy", "stop", "operator")


def test_without_an_executor_a_subtask_counts_as_the_networks(bag):
    bag.see()
    bag.add("task", START + 0.02, String(data="tidy"))
    bag.add("subtask", START + 0.02, String(data="pick cup"))
    (frames,) = bag.frames(task="wave")
    assert frames[5]["task"] == "pick cup" and frames[5]["high_level_task"] == "tidy"


def test_the_task_that_is_given_stands_where_none_was_recorded(bag):
    (frames,) = bag.see().frames(task="wave")
    assert {(f["task"], f["high_level_task"], f["high_level_target"]) for f in frames} == {("wave", "wave", "")}


def test_without_any_words_it_asks_for_a_task(bag):
    with pytest.raises(DataError, match="folder/bag.* task.*--task"):
        bag.see().frames(task=None)


# --- times ---


def test_a_message_without_a_stamp_is_as_late_as_the_most_punctual_of_the_others(bag):
    memory = bag_import._BagMemory(bag.robot)
    assert memory.time("task", 50.0, String()) == (0.0, 0.0)
    assert memory.time("front/image_raw", 100.0, picture(99.2, 0)) == (99.2, 99.2)
    assert memory.time("odom", 100.1, odometry(100.0)) == (100.0, 100.0)
    assert memory.time("task", 100.5, String()) == (pytest.approx(100.4), 0.0)
    assert memory.time("front/image_raw", 102.15, picture(101.45, 0))[0] == pytest.approx(101.45)
    assert memory.time("task", 102.2, String())[0] == pytest.approx(101.5)  # odom was heard 2.1 s ago


def test_what_has_no_stamp_does_not_go_back_by_a_delay_that_varies_but_by_a_clock_that_was_set(bag):
    memory = bag_import._BagMemory(bag.robot)
    memory.time("odom", 100.1, odometry(100.0))
    assert memory.time("task", 101.0, String())[0] == pytest.approx(100.9)
    memory.time("odom", 101.3, odometry(101.0))
    assert memory.time("task", 101.1, String())[0] == pytest.approx(100.9)
    memory.time("odom", 101.9, odometry(101.0))
    assert memory.time("task", 101.2, String())[0] == pytest.approx(100.3)


def in_order(*heard):
    """Of (arrival, time) of one topic each: their times in the order in which they are given out."""
    messages = [SimpleNamespace(topic=str(k), time=at, data=time) for k, (at, time) in enumerate(heard)]
    found = bag_import._in_order(messages, lambda topic, arrival, message: (message, 0.5 * message))
    return [(timed.at, timed.stamp, timed.received.topic) for timed in found]


@pytest.fixture
def unparsed(monkeypatch):
    monkeypatch.setattr(bag_import, "parsed", lambda received: received.data)


@pytest.mark.usefixtures("unparsed")
def test_messages_come_by_their_stamps_and_equal_ones_as_they_came():
    assert in_order((1.0, 10.0), (2.0, 9.0), (3.0, 10.0), (4.0, 10.0 - ORDERED)) == [
        (8.0, 4.0, "3"),
        (9.0, 4.5, "1"),
        (10.0, 5.0, "0"),
        (10.0, 5.0, "2"),
    ]


@pytest.mark.usefixtures("unparsed")
def test_after_a_clock_that_was_set_back_what_was_before_comes_first():
    found = in_order((1.0, 10.0), (2.0, 10.5), (3.0, 8.4), (4.0, 8.3), (5.0, 8.6))
    assert [at for at, *_ in found] == [10.0, 10.5, 8.3, 8.4, 8.6]


@pytest.mark.usefixtures("unparsed")
def test_no_more_is_held_back_than_two_seconds(monkeypatch):
    given = []

    def messages():
        for at in (1.0, 2.0, 2.9, 3.0, 3.1):
            given.append(at)
            yield SimpleNamespace(topic="", time=at, data=at)

    first = next(bag_import._in_order(messages(), lambda topic, arrival, message: (message, 0.0)))
    assert first.at == 1.0 and given[-1] == 1.0 + ORDERED


def test_what_is_read_of_a_bag_is_every_topic_of_the_robot_the_words_and_the_executor(bag):
    wanted = bag_import._BagMemory(bag.robot).wanted()
    robot = bag.robot
    assert wanted == {
        "front/image_raw": ("camera", robot.cameras[0]),
        "hand/image_raw": ("camera", robot.cameras[1]),
        "joint_states": ("state", robot.state[0]),
        "odom": ("state", robot.state[1]),
        "arm/commands": ("command", robot.groups[0]),
        "cmd_vel": ("command", robot.groups[1]),
        "task": ("words", "task"),
        "subtask": ("words", "subtask"),
        "subtask_override": ("words", "subtask_override"),
        "executor_state": ("executor", None),
    }


def test_a_message_that_is_late_counts_and_the_last_half_second_is_put_together_at_the_end(bag):
    bag.see(0.0, 1.0, without=("front",))
    for k in range(21):
        bag.add("front/image_raw", START + k / 20 + 0.4, picture(START + k / 20, 2 * k))
    (frames,) = bag.frames()
    for frame in frames:
        taken = frame["observation.images.front"][0, 0, 0] / 2 / 20
        assert abs(taken - (frame["stamp"][0] - START)) <= 0.0251
    assert times(frames)[-1] > 0.89 and math.isclose(len(frames), times(frames)[-1] * FPS, abs_tol=1.5)


def test_what_nobody_commanded_is_the_state_of_the_next_frame_and_of_the_last_one_its_own(bag):
    frames = bag_import._BagFrames(bag.robot, BAG, FPS, None)
    frame = {
        "observation.state": np.array([1.0, 2.0, 3.0, 9.0]),
        "action": np.array([np.nan, 0.5, np.inf]),
        "task": "x",
    }
    after = {"observation.state": np.array([4.0, 5.0, 6.0, 9.0]), "action": np.array([7.0, 7.0, 7.0])}
    for following, action in ((after, [4.0, 0.5, 6.0]), (None, [1.0, 0.5, 3.0])):
        done = frames._complete(frame, following)
        assert done["action"].tolist() == action and done["task"] == "x"
    assert np.isnan(frame["action"][0]), "the frame itself stays as it is"
