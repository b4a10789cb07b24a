"""Recordings as `ros2 bag record -a` leaves them: the same run, whatever else is in the bag, gives the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import zstandard
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from mcap_ros2.decoder import DecoderFactory
from mcap_ros2.writer import Writer as RosWriter

from pi0_ros.cli import main
from pi0_ros.closed_loop.harness import Harness, Trial
from pi0_ros.closed_loop.latency import Latency
from pi0_ros.closed_loop.replay import replay
from pi0_ros.control import BlackBox
from pi0_ros.data.blackbox_file import write_black_box
from pi0_ros.data.errors import DataError
from pi0_ros.data.recording import load_recording
from pi0_ros.robot import load_robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.tasks import make_task
from pi0_ros.touch.planners import OperatorPlanner

WALL = 1_700_000_000.0  # [s] a time of day beside the simulation's seconds


@pytest.fixture(scope="module")
def robot():
    return load_robot("mobile_bimanual")


@pytest.fixture(scope="module")
def bag(robot, tmp_path_factory):
    box = BlackBox()
    Harness(SimRobot(robot), OperatorPlanner, Trial(latency=Latency(0.2, 0.3), rtc="none")).run(
        make_task("reach"), 5, box
    )
    return write_black_box(tmp_path_factory.mktemp("bag"), box.snapshot(), "test", robot.channel_names)


@pytest.fixture(scope="module")
def plain(robot, bag):
    """The commands that the untouched recording gives."""
    return replay(load_recording(bag, robot), robot).commands


def decoded(bag):
    with bag.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        return [(s, c.topic, m.log_time, d) for s, c, m, d in reader.iter_decoded_messages()]


def raw(bag):
    with bag.open("rb") as stream:
        return [(s, c.topic, m.log_time, m.data) for s, c, m in make_reader(stream).iter_messages()]


def rewritten(bag, file, change):
    """The recording with change(topic, log time, message) -> list of those in place of each message."""
    with file.open("wb") as stream:
        writer, schemas = RosWriter(stream), {}
        for schema, topic, log, message in decoded(bag):
            for new_topic, new_log, new in change(topic, log, message):
                if schema.name not in schemas:
                    schemas[schema.name] = writer.register_msgdef(schema.name, schema.data.decode())
                writer.write_message("/" + new_topic, schemas[schema.name], new, new_log, new_log, 0)
        writer.finish()
    return file


def copied(bag, file, extra=None, pack=bytes, chunk=4096):
    """The recording's bytes once more, in small pieces; `extra(writer)` adds to it, `pack` changes every message."""
    with file.open("wb") as stream:
        writer = Writer(stream, chunk_size=chunk, compression=CompressionType.NONE)
        writer.start("ros2", "another tool")
        schemas, channels = {}, {}
        if extra:
            extra(writer)
        for schema, topic, log, data in raw(bag):
            if schema.name not in schemas:
                schemas[schema.name] = writer.register_schema(schema.name, schema.encoding, schema.data)
            if topic not in channels:
                channels[topic] = writer.register_channel("/" + topic, "cdr", schemas[schema.name])
            writer.add_message(channels[topic], log, pack(data), log)
        writer.finish()
    return file


def shifted(message, offset):
    stamp = {"sec": message.header.stamp.sec, "nanosec": message.header.stamp.nanosec}
    positions = [p + offset for p in message.position]
    return {"header": {"stamp": stamp, "frame_id": message.header.frame_id}, "name": list(message.name),
            "position": positions, "velocity": [], "effort": []}  # fmt: skip


@pytest.mark.parametrize("offset", [0.5, 0.003])
def test_a_leader_arm_of_the_same_joint_names_is_not_the_robot(robot, bag, plain, tmp_path, offset):
    def add(topic, log, message):
        leader = [("leader/joint_states", log, shifted(message, offset))] if topic == "joint_states" else []
        return [*leader, (topic, log, message)]

    file = rewritten(bag, tmp_path / "leader.mcap", add)
    np.testing.assert_array_equal(replay(load_recording(file, robot), robot).commands, plain)


def test_a_robot_in_a_namespace_is_found_by_its_chunks(robot, bag, plain, tmp_path):
    def add(topic, log, message):
        other = [("left/joint_states", log, shifted(message, 0.3))] if topic == "joint_states" else []
        return [*other, (f"right/{topic}", log, message)]

    file = rewritten(bag, tmp_path / "named.mcap", add)
    np.testing.assert_array_equal(replay(load_recording(file, robot), robot).commands, plain)


def test_topics_that_could_both_be_the_robots_are_refused_with_both(robot, bag, tmp_path):
    def double(topic, log, message):
        if topic == "joint_states":
            return [("a/joint_states", log, message), ("b/joint_states", log, message)]
        return [(topic, log, message)]

    with pytest.raises(DataError, match="joint_states of the robot may be any of /a/joint_states, /b/joint_states"):
        load_recording(rewritten(bag, tmp_path / "two.mcap", double), robot)


@pytest.mark.parametrize(
    ("encoding", "schema", "data", "message_encoding"),
    [
        ("ros2idl", b"module x {};", b"\0\1\0\0", "cdr"),
        ("ros2msg", b"x/Y field\n", b"\0\1\0\0", "cdr"),
        ("", b"", b"{}", "json"),
    ],
    ids=["idl", "half a definition", "json"],
)
def test_a_side_topic_that_cannot_be_decoded_changes_nothing(
    robot, bag, plain, tmp_path, encoding, schema, data, message_encoding
):
    def extra(writer):
        identity = writer.register_schema("x/msg/Odd", encoding, schema) if encoding else 0
        channel = writer.register_channel("/odd", message_encoding, identity)
        writer.add_message(channel, raw(bag)[0][2], data, 0)

    file = copied(bag, tmp_path / "odd.mcap", extra)
    np.testing.assert_array_equal(replay(load_recording(file, robot), robot).commands, plain)


def test_of_a_recording_that_was_cut_off_what_is_whole_is_read(robot, bag, plain, tmp_path):
    whole = copied(bag, tmp_path / "whole.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) * 3 // 4])
    recording = load_recording(tmp_path / "cut.mcap", robot)
    assert len(recording.notes) == 1 and "mcap recover" in recording.notes[0]
    found = replay(recording, robot).commands
    assert 0.3 * len(plain) < len(found) < len(plain)
    np.testing.assert_allclose(found[:20], plain[:20], atol=1e-9)


def test_rosbag2s_compressions_are_undone(robot, bag, plain, tmp_path):
    folder = tmp_path / "whole"
    folder.mkdir()
    (folder / "whole_0.mcap.zstd").write_bytes(zstandard.ZstdCompressor().compress(bag.read_bytes()))
    np.testing.assert_array_equal(replay(load_recording(folder, robot), robot).commands, plain)
    each = copied(bag, tmp_path / "each.mcap", pack=zstandard.ZstdCompressor().compress)
    np.testing.assert_array_equal(replay(load_recording(each, robot), robot).commands, plain)


def test_arrival_on_the_wall_clock_is_put_on_the_simulations(robot, bag, plain, tmp_path):
    file = rewritten(bag, tmp_path / "sim.mcap", lambda topic, log, message: [(topic, log + int(WALL * 1e9), message)])
    recording = load_recording(file, robot)
    assert any("put on the stamps' clock" in note for note in recording.notes)
    found = replay(recording, robot).commands
    assert abs(len(found) - len(plain)) <= 1
    arms = [i for i, name in enumerate(robot.channel_names) if "joint" in name]
    # Arrival is known to a message's delay, which moves a moving arm by little.
    np.testing.assert_allclose(found[50:100, arms], plain[50:100, arms], atol=0.03)


def test_a_simulation_that_ran_slower_than_the_wall_clock_is_refused(robot, bag, tmp_path):
    first = raw(bag)[0][2]
    slow = lambda topic, log, message: [(topic, int(WALL * 1e9) + 2 * (log - first), message)]
    with pytest.raises(DataError, match="--use-sim-time"):
        load_recording(rewritten(bag, tmp_path / "slow.mcap", slow), robot)


def test_a_message_before_the_clock_was_set_is_left_out(robot, bag, plain, tmp_path):
    state = iter([True])

    def early(topic, log, message):
        first = [(topic, 0, message)] if topic == "joint_states" and next(state, False) else []
        moved = int(WALL * 1e9) + log
        return [*first, (topic, moved, message)]

    recording = load_recording(rewritten(bag, tmp_path / "zero.mcap", early), robot)
    assert recording.end - recording.start < 60.0
    assert any("left out: 1 message more than 1 h from the run" in note for note in recording.notes)
    assert abs(len(replay(recording, robot).commands) - len(plain)) <= 1


def test_chunks_that_nobody_followed_are_not_followed_and_that_is_said(robot, bag, tmp_path, capsys):
    definition = (
        "std_msgs/Header header\nuint8 mode\n"
        "================\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
        "================\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
    )
    file = tmp_path / "hold.mcap"
    with file.open("wb") as stream:
        writer, schemas = RosWriter(stream), {}
        state = writer.register_msgdef("pi0_ros/msg/ExecutorState", definition)
        for schema, topic, log, message in decoded(bag):
            if schema.name not in schemas:
                schemas[schema.name] = writer.register_msgdef(schema.name, schema.data.decode())
                held = {"header": {"stamp": {"sec": 0, "nanosec": 0}, "frame_id": ""}, "mode": 0}
                writer.write_message("/executor_state", state, held, log, log, 0)
            writer.write_message("/" + topic, schemas[schema.name], message, log, log, 0)
        writer.finish()
    assert main(["replay", str(file)]) == 1
    assert (
        "not one chunk would be followed: all of them came while the recorded executor was not"
        in capsys.readouterr().err
    )


def test_a_recording_kept_as_sqlite_names_the_command_that_converts_it(robot, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "old_0.db3").write_bytes(b"SQLite format 3\0")
    with pytest.raises(DataError, match=r"sqlite3; write it as MCAP: `ros2 bag convert -i .*old"):
        load_recording(tmp_path / "old", robot)
