"""Bags that only grow: what any reader of MCAP and of rosbag2 finds in them, whatever ended the writing."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mcap")

from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader, make_reader

from pi0_ros.data.bag_files import CHUNK, BagFiles, BagMessage, BagTopic, SplitLimits

SECOND = 10**9
TOPICS = {
    t.name: t
    for t in (
        BagTopic("/eye", "std_msgs/msg/UInt8", "uint8 data\n"),
        BagTopic("/arm", "std_msgs/msg/UInt8", "uint8 data\n"),
        BagTopic("/task", "std_msgs/msg/String", "string data\n", latched=True),
    )
}


def message(topic, second, size=5, publish=0.25):
    return BagMessage(topic, round(second * SECOND), round((second - publish) * SECOND), bytes([7] * size))


def read(file):
    with file.open("rb") as stream:
        return [(s.name, c.topic, m) for s, c, m in make_reader(stream).iter_messages()]


def test_messages_are_read_back_with_both_their_times_in_order(tmp_path):
    files = BagFiles(tmp_path / "run", TOPICS)
    for k in range(40):
        files.write(message("/arm" if k % 3 else "/eye", 100 + k / 10, size=k + 1))
    files.end_file()
    (file,) = (tmp_path / "run").glob("*.mcap")
    found = read(file)
    assert file.name == "run_0.mcap" and [len(m.data) for _, _, m in found] == list(range(1, 41))
    assert all(m.log_time - m.publish_time == SECOND // 4 for _, _, m in found)
    assert {(kind, topic) for kind, topic, _ in found} == {
        ("std_msgs/msg/UInt8", "/arm"),
        ("std_msgs/msg/UInt8", "/eye"),
    }
    with file.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert {s.encoding for s in summary.schemas.values()} == {"ros2msg"} and len(summary.schemas) == 1
    assert {c.message_encoding for c in summary.channels.values()} == {"cdr"} and summary.statistics.message_count == 40


@pytest.mark.parametrize("limits", [SplitLimits(bytes=6 * CHUNK), SplitLimits(seconds=2.0)])
def test_files_are_split_and_each_begins_with_what_still_counts(tmp_path, limits):
    files = BagFiles(tmp_path / "run", TOPICS, limits)
    files.remember(message("/task", 50.0, size=9))
    files.remember(message("/arm", 50.0))  # an old measurement counts no more
    for k in range(60):
        noise = os.urandom(CHUNK // 2)
        files.write(BagMessage("/eye", round((100 + k / 10) * SECOND), 0, noise))
        files.flush()
    files.end_file()
    made = sorted((tmp_path / "run").glob("*.mcap"), key=lambda f: int(f.stem.partition("_")[2]))
    assert len(made) >= 3
    assert sum(sum(topic == "/eye" for _, topic, _ in read(f)) for f in made) == 60
    for file in made:
        kinds = [(topic, len(m.data), m.publish_time) for _, topic, m in read(file) if topic != "/eye"]
        assert kinds == [("/task", 9, round(49.75 * SECOND))]
        first = read(file)[0][2]
        assert first.log_time >= 100 * SECOND  # it does not stretch the file
    if limits.bytes < 1 << 20:
        assert max(f.stat().st_size for f in made) < limits.bytes + 3 * CHUNK
    assert files.bytes == sum(f.stat().st_size for f in made)


def test_a_bag_is_what_rosbag2_reads(tmp_path):
    rosbags = pytest.importorskip("rosbags.highlevel")
    files = BagFiles(tmp_path / "run", TOPICS, SplitLimits(seconds=1.0))
    for k in range(25):
        files.write(message("/arm", 100 + k / 10))
    files.end_file()
    files.write(message("/eye", 200.0))
    files.end_file()
    with rosbags.AnyReader([tmp_path / "run"]) as reader:
        times = [(c.topic, at) for c, at, _ in reader.messages()]
        assert reader.message_count == 26 and reader.start_time == 100 * SECOND and reader.end_time == 200 * SECOND + 1
    assert times == [("/arm", (1000 + k) * SECOND // 10) for k in range(25)] + [("/eye", 200 * SECOND)]
    said = json.loads((tmp_path / "run/metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert said["relative_file_paths"] == [f"run_{k}.mcap" for k in range(4)]
    assert [f["message_count"] for f in said["files"]] == [10, 10, 5, 1]


def test_a_process_that_is_killed_loses_no_more_than_the_running_chunk(tmp_path):
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1]); import test_bag_files as t; from pathlib import Path\n"
        "files = t.BagFiles(Path(sys.argv[2]), t.TOPICS)\n"
        "for k in range(1000): files.write(t.message('/arm', 100 + k / 100, size=200)); files.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    words = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "run")]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    found = []
    with (tmp_path / "run/run_0.mcap").open("rb") as stream, pytest.raises(EndOfFile):
        for _, _, one in NonSeekingReader(stream).iter_messages(log_time_order=False):
            found.append(one.log_time)
    assert found == [round((100 + k / 100) * SECOND) for k in range(len(found))]
    assert 1000 - len(found) <= CHUNK / 200


def test_what_was_written_last_of_a_latched_topic_begins_the_next_file_too(tmp_path):
    """The second file begins with the second task, which was written into the first one; the arm's newest does not count."""
    files = BagFiles(tmp_path / "run", TOPICS, SplitLimits(seconds=2.0))
    for second, topic, size in ((100, "/task", 4), (100.5, "/task", 11), (101, "/arm", 5), (103, "/eye", 6)):
        files.write(message(topic, second, size))
    files.end_file()
    first, second = (read(tmp_path / f"run/run_{k}.mcap") for k in (0, 1))
    assert [(t, len(m.data)) for _, t, m in first] == [("/task", 4), ("/task", 11), ("/arm", 5)]
    assert [(t, len(m.data), m.log_time) for _, t, m in second] == [
        ("/task", 11, 103 * SECOND),
        ("/eye", 6, 103 * SECOND),
    ]


def test_of_two_remembered_messages_the_later_one_counts_whichever_is_heard_first(tmp_path):
    files = BagFiles(tmp_path / "run", TOPICS)
    for second, size in ((50.0, 7), (52.0, 9), (51.0, 8)):
        files.remember(message("/task", second, size))
    files.write(message("/arm", 60.0))
    files.end_file()
    assert [(t, len(m.data)) for _, t, m in read(tmp_path / "run/run_0.mcap")] == [("/task", 9), ("/arm", 5)]


def test_a_kill_costs_as_many_bytes_as_the_guide_to_recording_says():
    guide = (Path(__file__).parents[2] / "docs" / "record.md").read_text()
    (said,) = re.findall(r"the last chunk \((\d+) KB of messages", guide)
    assert int(said) * 1024 == CHUNK


def test_what_is_flushed_can_be_read_by_others_and_is_counted(tmp_path):
    """Of the running file and, once there is a second one, of both."""
    files = BagFiles(tmp_path / "run", TOPICS)
    files.flush()
    assert files.bytes == 0
    file = tmp_path / "run/run_0.mcap"
    for k in range(3):
        files.write(BagMessage("/eye", (100 + k) * SECOND, 0, os.urandom(2 * CHUNK)))
        files.flush()
        assert files.bytes == file.stat().st_size > 2 * CHUNK * (k + 1)
    files.end_file()
    whole = file.stat().st_size
    assert files.bytes == whole
    files.write(BagMessage("/eye", 200 * SECOND, 0, os.urandom(2 * CHUNK)))
    files.flush()
    assert files.bytes == whole + (tmp_path / "run/run_1.mcap").stat().st_size


def test_metadata_counts_messages_and_times_of_each_file_and_of_all(tmp_path):
    files = BagFiles(tmp_path / "run", TOPICS, SplitLimits(seconds=5.0))
    for topic, second in (("/arm", 101.0), ("/eye", 100.0), ("/arm", 104.5), ("/arm", 106.0), ("/arm", 107.5)):
        files.write(message(topic, second))
    files.end_file()
    files.end_file()
    (info,) = json.loads((tmp_path / "run/metadata.yaml").read_text()).values()
    assert info["message_count"] == 5 and info["relative_file_paths"] == ["run_0.mcap", "run_1.mcap"]
    assert info["duration"] == {"nanoseconds": 7.5 * SECOND}
    assert info["starting_time"] == {"nanoseconds_since_epoch": 100 * SECOND}
    counts = {t["topic_metadata"]["name"]: t["message_count"] for t in info["topics_with_message_count"]}
    assert counts == {"/arm": 4, "/eye": 1}
    each = [
        (f["path"], f["starting_time"]["nanoseconds_since_epoch"] / SECOND, f["duration"]["nanoseconds"] / SECOND, f["message_count"])
        for f in info["files"]
    ]  # fmt: skip
    assert each == [("run_0.mcap", 100.0, 4.5, 3), ("run_1.mcap", 106.0, 1.5, 2)]
