"""Everything on the robot's topics into a bag: what is in it, and what becomes of it if there is no room."""

import threading
import time
from datetime import datetime

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("mcap")

from mcap.reader import make_reader
from nav_msgs.msg import Odometry
from pi0_ros.msg import ExecutorState
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from pi0_ros.cli import main
from pi0_ros.closed_loop.replay import replay
from pi0_ros.control import Chunk
from pi0_ros.data.bag_files import BagFiles, BagMessage, BagTopic
from pi0_ros.data.recording import load_recording
from pi0_ros.robot import load_robot
from pi0_ros.ros import bag_recorder
from pi0_ros.ros.bag_recorder import BagQueue, BagRecorder, bag_folder
from pi0_ros.ros.bag_topics import PREVIEWS, bag_topics
from pi0_ros.ros.clock import Clocks, time_message
from pi0_ros.ros.conversions import chunk_message
from pi0_ros.ros.departures import RenewedSubscriptions
from pi0_ros.ros.message_definitions import definition_of
from pi0_ros.ros.qos import LATCHED, READ, SENSOR
from pi0_ros.ros.run import Spinner
from pi0_ros.ros.topic_check import ros_type_name

ROBOT = load_robot("mobile_bimanual")
PATIENCE = 40.0


class Room:
    """A node with a bag, and publishers beside it."""

    def __init__(self, folder, min_free=1):
        self.node, self.said = Node("recorder", namespace="left"), []
        clocks = Clocks(self.node)
        self.renewed = RenewedSubscriptions(self.node, clocks.timer)
        self.bag = BagRecorder(self.node, clocks, ROBOT, folder, min_free, self.said.append, self.renewed)
        self.eye = self.node.create_publisher(Image, ROBOT.cameras[0].topic, SENSOR)
        self.task = self.node.create_publisher(String, "task", LATCHED)
        self.state = self.node.create_publisher(ExecutorState, "executor_state", READ)
        self.spinner = Spinner()
        self.spinner.add(self.node)
        self.spinner.start()

    def until(self, condition, again=lambda: None):
        """Wait for a condition; `again` is done until then, since a reader may be found late."""
        never, deadline = threading.Event(), time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            again()
            never.wait(0.02)

    def close(self):
        """End; closing a bag again is no harm."""
        assert self.bag.close(PATIENCE)
        assert self.spinner.stop(PATIENCE)
        self.node.destroy_node()


@pytest.fixture
def room(tmp_path):
    rclpy.init()
    made = []

    def make(**settings):
        made.append(Room(tmp_path / "set_mcap" / "now", **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()
    rclpy.shutdown()


def messages(folder):
    found = []
    for file in sorted(folder.glob("*.mcap")):
        with file.open("rb") as stream:
            found += [(s.name, c.topic, m) for s, c, m in make_reader(stream).iter_messages()]
    return found


def test_a_bag_holds_what_was_said_while_it_records_and_what_counted_before(room, tmp_path):
    made, seen = room(), []
    made.task.publish(String(data="touch it"))
    made.until(lambda: made.bag._files._latched)
    made.until(lambda: made.state.get_subscription_count())
    reader = made.node.create_subscription(ExecutorState, "executor_state", seen.append, READ)
    made.until(lambda: seen, lambda: made.state.publish(ExecutorState(reason="before")))
    made.node.destroy_subscription(reader)
    made.bag.record(True)
    picture = Image(height=2, width=3, step=9, encoding="rgb8", data=bytes(range(18)))
    made.until(lambda: made.bag._files._stream is not None, lambda: made.eye.publish(picture))
    made.state.publish(ExecutorState(reason="while"))
    made.until(lambda: made.bag._files._files[0].counts["/left/executor_state"])
    made.bag.record(False)
    assert made.bag.close(PATIENCE)
    found = messages(tmp_path / "set_mcap" / "now")
    kinds = {(kind, topic) for kind, topic, _ in found}
    assert ("std_msgs/msg/String", "/left/task") in kinds
    eye = [m for _, topic, m in found if topic.endswith(ROBOT.cameras[0].topic)]
    assert eye and bytes(deserialize_message(eye[0].data, Image).data) == bytes(range(18))
    states = [deserialize_message(m.data, ExecutorState) for _, topic, m in found if topic == "/left/executor_state"]
    assert [s.reason for s in states] == ["while"]
    (words,) = [m for _, topic, m in found if topic == "/left/task"]
    assert deserialize_message(words.data, String).data == "touch it"
    assert all(abs(m.log_time - m.publish_time) < 60e9 for _, _, m in found)


def test_a_bag_waits_for_no_thread_that_spins(room, tmp_path):
    """A busy computer's spins so seldom that a topic of 100 Hz was heard 27 times a second."""
    made = room()
    made.until(made.state.get_subscription_count)
    assert made.spinner.stop(PATIENCE)
    made.bag.record(True)
    written = lambda: sum(f.counts["/left/executor_state"] for f in made.bag._files._files)
    for k in range(30):
        made.state.publish(ExecutorState(reason=str(k)))
        made.until(lambda k=k: made.bag._files._stream is not None and written() == k + 1)
    made.bag.record(False)
    assert made.bag.close(PATIENCE)
    found = [m for _, topic, m in messages(tmp_path / "set_mcap" / "now") if topic == "/left/executor_state"]
    assert [deserialize_message(m.data, ExecutorState).reason for m in found] == [str(k) for k in range(30)]
    assert all(0 <= m.log_time - m.publish_time < 60e9 for m in found)


def test_a_bag_has_every_picture_of_a_camera_beside_which_another_has_gone_and_is_subscribed_to_anew_after_it(
    room, tmp_path
):
    made, topic = room(), ROBOT.cameras[0].topic
    other = made.node.create_publisher(Image, topic, SENSOR)
    made.until(lambda: made.eye.get_subscription_count() and made.node.count_publishers(topic) == 2)
    made.renewed.look()
    reader = lambda: made.bag._listener._pictures[f"/left/{topic}"].reader
    written = lambda: sum(f.counts[f"/left/{topic}"] for f in made.bag._files._files)
    first = reader()
    made.bag.record(True)
    for k in range(1, 21):
        made.eye.publish(Image(width=k))
        made.until(lambda k=k: made.bag._files._stream is not None and written() == k)
        if k == 5:
            made.node.destroy_publisher(other)
            made.until(lambda: made.node.count_publishers(topic) == 1)
        made.renewed.look()
    assert reader() is first
    made.bag.record(False)
    made.until(lambda: reader() is not first)
    assert not made.said
    made.bag.record(True)
    made.until(lambda: written() > 20, lambda: made.eye.publish(Image(width=21)))
    made.bag.record(False)
    assert made.bag.close(PATIENCE)
    made.until(lambda: made.eye.get_subscription_count() == 0)
    found = [m for _, name, m in messages(tmp_path / "set_mcap" / "now") if name == f"/left/{topic}"]
    widths = [deserialize_message(m.data, Image).width for m in found]
    assert widths[:20] == list(range(1, 21)) and set(widths[20:]) == {21}


def test_a_bag_opens_in_pi0_replay_as_it_was_written_and_as_a_kill_leaves_it(tmp_path, capsys):
    listed = {f"/{s.topic.strip('/')}": s for s in bag_topics(ROBOT)}
    topics = {n: BagTopic(n, ros_type_name(s.kind), definition_of(s.kind), s.latched) for n, s in listed.items()}
    files = BagFiles(tmp_path / "run", topics)

    def say(topic, at, message):
        if hasattr(message, "header"):
            message.header.stamp = time_message(at)
        files.write(BagMessage(f"/{topic}", round((at + 0.002) * 1e9), round(at * 1e9), serialize_message(message)))

    joints = [*ROBOT.joint_of_channel.values()]
    lift = np.array([[0.1 * (n == "left_joint1") * (row + 1) / 16 for n in ROBOT.channel_names] for row in range(16)])
    for k in range(150):
        at = 1_790_000_000.0 + 0.02 * k
        say("joint_states", at, JointState(name=joints, position=[0.0] * len(joints)))
        say("odom", at, Odometry(child_frame_id="base"))
        say("executor_state", at, ExecutorState(mode=ExecutorState.AUTONOMY))
        if k == 50:
            say("action_chunk", at, chunk_message(Chunk(at, 0.1, ROBOT.channel_names, lift, 1, 0, "test")))
    files.flush()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes((tmp_path / "run/run_0.mcap").read_bytes())
    files.end_file()
    for source in (tmp_path / "run", cut):
        recording = load_recording(source, ROBOT)
        again = replay(recording, ROBOT)
        assert again.commands[:, ROBOT.index["left_joint1"]].max() > 0.05
        assert bool(recording.notes) == (source == cut)
        assert main(["replay", str(source), "--robot", "mobile_bimanual"]) == 0
        assert "violations" in capsys.readouterr().out


def test_a_bag_ends_before_the_dataset_lacks_the_disk_and_says_so_once(room, tmp_path):
    made = room(min_free=2**62)
    assert made.bag._room == 2**63, "twice what the dataset wants: the bag is the first to end"
    made.bag.record(True)
    made.until(lambda: made.bag.problem, lambda: made.state.publish(ExecutorState()))
    assert "and the dataset needs them" in made.bag.problem and len(made.said) == 1
    made.bag.record(True)  # it is asked at every frame
    assert made.bag.problem
    made.bag.record(False)
    made.bag.record(True)
    assert not made.bag.problem or len(made.said) == 2  # tried anew


def test_where_the_disk_is_too_slow_pictures_are_left_out_first_and_counted(monkeypatch):
    monkeypatch.setattr(bag_recorder, "PICTURES", 100)
    monkeypatch.setattr(bag_recorder, "MOST", 150)
    queue = BagQueue()
    put = [queue.put(BagMessage("/eye", 0, 0, bytes(40)), True) for _ in range(4)]
    small = [queue.put(BagMessage("/arm", 0, 0, bytes(30)), False) for _ in range(3)]
    assert put == [True, True, False, False] and small == [True, True, False]
    assert queue.dropped == {"/eye": 2, "/arm": 1}
    queue.end_file()
    queue.close()
    taken = queue.take(0.0)
    assert [m.topic if m else None for m in taken] == ["/eye", "/eye", "/arm", "/arm", None] and queue.take(0.0) is None


def test_the_topics_are_the_robots_and_the_nodes_each_once():
    listed = [s.topic for s in bag_topics(ROBOT)]
    assert len(listed) == len(set(listed)) and not set(PREVIEWS) & set(listed)
    wanted = {c.topic for c in ROBOT.cameras} | {s.topic for s in ROBOT.state} | {g.command.topic for g in ROBOT.groups}
    wanted |= {g.teleop.topic for g in ROBOT.groups if g.teleop}
    assert wanted <= set(listed)
    assert {"action_chunk", "executor_state", "mode", "task", "subtask", "/diagnostics", "/rosout"} <= set(listed)


def test_no_topic_is_asked_for_latched_messages_that_has_none():
    """Its publisher would warn that no messages are sent to such a reader."""
    kept = DurabilityPolicy.TRANSIENT_LOCAL
    asked = {s.topic for s in bag_topics(ROBOT) if any(q.durability is kept for q in s.profiles)}
    assert {"task", "subtask", "mode"} <= asked and not asked & {
        "action_chunk",
        "executor_state",
        "recorder/note",
        "estop",
    }


def test_the_folder_is_beside_the_dataset(tmp_path):
    at = datetime(2026, 3, 4, 15, 6, 7)
    assert bag_folder(tmp_path / "set", at) == tmp_path / "set_mcap" / "20260304_150607"


def test_a_message_came_when_it_was_taken_less_as_long_as_it_waited_unless_that_is_no_such_time():
    """Taken at 1000 s by the system's clock and 70 s by that of ROS."""
    for waited, came in ((0.0, 70.0), (0.25, 69.75), (4.9, 65.1), (5.1, 70.0), (-0.5, 70.0), (3600.0, 70.0)):
        received = round((1000.0 - waited) * 1e9)
        assert bag_recorder.arrival(70.0, 1000.0, received) == pytest.approx(came, abs=1e-6)


def test_what_waits_is_taken_a_bounded_number_of_bytes_at_a_time_and_makes_room(monkeypatch):
    monkeypatch.setattr(bag_recorder, "AT_ONCE", 100)
    monkeypatch.setattr(bag_recorder, "MOST", 300)
    queue = BagQueue()
    assert queue.take(0.0) == [] and not queue.dropped
    message = lambda size: BagMessage("/arm", 0, 0, bytes(size))
    for size in (60, 40, 60, 61, 79):
        assert queue.put(message(size), False)
    assert not queue.put(message(1), False)
    sizes = lambda: [len(m.data) for m in queue.take(0.0)]
    assert sizes() == [60, 40]
    assert queue.put(message(100), False) and not queue.put(message(1), False)
    assert sizes() == [60, 61] and sizes() == [79, 100] and sizes() == []
    assert queue.dropped == {"/arm": 2}
    assert queue.put(message(300), False)


def test_the_end_of_a_file_is_taken_with_what_comes_before_and_behind_it():
    queue = BagQueue()
    queue.end_file()
    queue.put(BagMessage("/arm", 1, 2, b"xyz"), False)
    assert queue.take(0.0) == [None, BagMessage("/arm", 1, 2, b"xyz")]
    queue.close()
    assert queue.take(0.0) is None


def test_there_is_room_for_64_mebibytes_in_front_of_a_picture_and_96_in_all():
    queue, mebibyte = BagQueue(), 1 << 20
    message = lambda size: BagMessage("/eye", 0, 0, memoryview(bytes(size)))
    assert queue.put(message(64 * mebibyte), True) and not queue.put(message(1), True)
    assert queue.put(message(32 * mebibyte), False) and not queue.put(message(1), False)
    assert len(queue.take(0.0)) == 1 and queue.put(message(1), True)
