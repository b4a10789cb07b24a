"""The black box on disk can be read back, replayed, and does not grow for ever."""

import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from pi0_ros.control import BlackBox, Chunk, Event, Record
from pi0_ros.data.bag import CHUNK, JOINTS, DataError, joint_positions, read_bag, rows_of, stamp_of
from pi0_ros.data.blackbox_file import Keep, _slug, forget, write_black_box

NAMES = ("a", "b")


def records() -> tuple[Record, ...]:
    box = BlackBox()
    box.add(1.0, 100.0, "state", (100.0, {"a": 0.1, "b": 0.2}, "arm/joint_states"), 64)
    box.add(1.1, 100.1, "odometry", (100.1, (0.1, 0.0, 0.2)), 64)
    box.add(1.2, 100.2, "chunk", Chunk(100.0, 0.1, NAMES, np.arange(6.0).reshape(3, 2), 7, 2, "policy", 1, "go"), 48)
    box.add(1.3, 100.3, "command", (100.3, np.array([0.5, 0.6])), 16)
    box.add(1.4, 100.4, "event", Event(1.4, 100.4, "error", "tracking", "TRACKING: a is off"), 128)
    box.add(1.5, 100.5, "picture", ("base", 100.5, b"\xff\xd8jpeg"), 6)
    return box.snapshot()


def test_every_kind_of_record_is_there_and_the_file_says_why(tmp_path):
    from mcap.reader import make_reader

    file = write_black_box(tmp_path, records(), "TRACKING: a is off", NAMES)
    with file.open("rb") as stream:
        reader = make_reader(stream)
        topics = [channel.topic for _, channel, _ in reader.iter_messages()]
        reasons = [record.metadata["reason"] for record in reader.iter_metadata()]
    assert topics == [
        "joint_states", "odom", "action_chunk", "executor/command", "events", "base/image_raw/compressed",
    ]  # fmt: skip
    assert reasons == ["TRACKING: a is off"]
    assert file.name == "100.500_tracking-a-is-off.mcap"


def test_chunks_and_joint_states_come_back_as_they_were(tmp_path):
    file = write_black_box(tmp_path, records(), "x", NAMES)
    joints, chunk = (heard for heard in read_bag(file, (CHUNK, JOINTS)).messages if heard.topic != "executor/command")
    assert joint_positions(joints.message)[0] == {"a": 0.1, "b": 0.2}
    assert joints.message.header.frame_id == "arm/joint_states"
    assert np.array_equal(rows_of(chunk.message), np.arange(6.0).reshape(3, 2))
    assert (chunk.message.sequence, chunk.message.epoch, chunk.message.subtask) == (7, 2, "go")
    assert stamp_of(chunk.message.header) == pytest.approx(100.0)


def test_only_the_newest_files_are_kept(tmp_path):
    names = [write_black_box(tmp_path, records(), f"fault {i}", NAMES, Keep(files=3)).name for i in range(5)]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names[2:])


def test_the_folder_holds_no_more_than_its_share_of_the_disk_and_always_the_newest(tmp_path):
    size = write_black_box(tmp_path, records(), "fault 0", NAMES).stat().st_size
    names = [
        write_black_box(tmp_path, records(), f"fault {i}", NAMES, Keep(bytes=2 * size + size // 2)).name for i in (1, 2)
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names)
    newest = write_black_box(tmp_path, records(), "fault 3", NAMES, Keep(bytes=1))
    assert list(tmp_path.iterdir()) == [newest]


def test_what_a_killed_process_left_unfinished_is_no_recording_and_goes_as_the_others_do(tmp_path):
    (tmp_path / "1.000_fault.part").write_bytes(b"half")
    hour_ago = time.time() - 3600.0
    os.utime(tmp_path / "1.000_fault.part", (hour_ago, hour_ago))
    first = write_black_box(tmp_path, records(), "fault 1", NAMES, Keep(files=2))
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".mcap", ".part"]
    second = write_black_box(tmp_path, records(), "fault 2", NAMES, Keep(files=2))
    assert set(tmp_path.iterdir()) == {first, second}


def test_files_older_than_the_days_that_are_kept_go_and_the_newest_stays(tmp_path):
    old, older = (write_black_box(tmp_path, records(), f"fault {i}", NAMES) for i in (1, 2))
    for file, days in ((old, 6.9), (older, 7.1)):
        moment = time.time() - days * 86400.0
        os.utime(file, (moment, moment))
    newest = write_black_box(tmp_path, records(), "fault 3", NAMES, Keep(days=7.0))
    assert set(tmp_path.iterdir()) == {old, newest}
    os.utime(newest, (0, 0))
    forget(tmp_path, Keep(days=0.0))
    assert set(tmp_path.iterdir()) == {old, newest}, "0 days keep files however old they are"


def test_only_the_owner_reads_a_black_box(tmp_path):
    folder = tmp_path / "open" / "robot"
    folder.mkdir(parents=True, mode=0o755)
    folder.chmod(0o755)
    file = write_black_box(folder, records(), "x", NAMES)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_picture_comes_back_as_the_jpeg_it_was(tmp_path):
    file = write_black_box(tmp_path, records(), "x", NAMES)
    (picture,) = read_bag(file, ("sensor_msgs/msg/CompressedImage",)).messages
    assert bytes(picture.message.data) == b"\xff\xd8jpeg" and picture.message.format == "jpeg"
    assert picture.message.header.frame_id == "base" and stamp_of(picture.message.header) == pytest.approx(100.5)


def test_a_truncated_file_is_named(tmp_path):
    file = write_black_box(tmp_path, records(), "x", NAMES)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"x\.mcap: is damaged or no MCAP file"):
        read_bag(file, (CHUNK,))


def test_a_recording_that_is_not_there_or_of_another_kind_is_said(tmp_path):
    with pytest.raises(DataError, match="no such recording"):
        read_bag(tmp_path / "none", (CHUNK,))
    (tmp_path / "run_0.db3").touch()
    with pytest.raises(DataError, match="ros2 bag convert"):
        read_bag(Path(tmp_path), (CHUNK,))


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": 2.0**31 + 4.0},
        {"start": float("nan")},
        {"start": -5.0},
        {"values": np.full((3, 2), 1e39)},
        {"sequence": 2**64},
        {"epoch": 2**32 + 1},
        {"frozen_rows": 2**40},
        {"period": float("inf")},
        {"names": ("a", 7)},
    ],
    ids=lambda wrong: "-".join(f"{k}-{v}"[:24] for k, v in wrong.items()),
)
def test_whatever_a_chunk_holds_the_box_is_written_with_all_that_can_be(tmp_path, wrong):
    box = BlackBox()
    good = {"start": 100.0, "period": 0.1, "names": NAMES, "values": np.zeros((3, 2)), "sequence": 1, "epoch": 1}
    box.add(1.0, 100.0, "chunk", Chunk(**{**good, **wrong}), 48)
    box.add(1.1, float("nan"), "state", (float("inf"), {"a": 0.1, "b": 0.2}, "joint_states"), 64)
    box.add(1.2, 100.2, "command", (100.2, np.array([0.5, 0.6])), 16)
    file = write_black_box(tmp_path, box.snapshot(), "x", NAMES)
    heard = read_bag(file, (CHUNK, JOINTS)).messages
    assert [list(h.message.position) for h in heard if h.topic == "executor/command"] == [[0.5, 0.6]]
    assert sum(h.topic == "joint_states" for h in heard) == 1


def test_what_no_message_can_hold_is_named_in_the_file(tmp_path):
    from mcap.reader import make_reader

    box = BlackBox()
    box.add(1.0, 100.0, "state", (100.0, {"a": "broken"}, "joint_states"), 64)
    box.add(1.2, 100.2, "command", (100.2, np.array([0.5, 0.6])), 16)
    with write_black_box(tmp_path, box.snapshot(), "x", NAMES).open("rb") as stream:
        (told,) = [record.metadata for record in make_reader(stream).iter_metadata()]
    assert told["records_left_out"] == "1" and told["first_left_out"].startswith("state 0: ")


def test_messages_lie_at_their_ros_times_though_the_steady_clock_is_another(tmp_path):
    heard = read_bag(write_black_box(tmp_path, records(), "x", NAMES), (CHUNK, JOINTS)).messages
    assert [h.time for h in heard] == pytest.approx([100.0, 100.2, 100.3])


@pytest.mark.parametrize(("level", "number"), [("info", 20), ("warn", 30), ("error", 40), ("unheard of", 20)])
def test_events_have_the_levels_of_rcl_interfaces_log(tmp_path, level, number):
    box = BlackBox()
    box.add(1.0, 100.0, "event", Event(1.0, 100.0, level, "chunk", "text"), 64)
    (line,) = read_bag(write_black_box(tmp_path, box.snapshot(), "x", NAMES), ("rcl_interfaces/msg/Log",)).messages
    assert (line.message.level, line.message.name, line.message.msg) == (number, "chunk", "text")


@pytest.mark.parametrize(
    ("reason", "slug"),
    [
        ("TRACKING: a is off", "tracking-a-is-off"),
        ("a" * 61, "a" * 60),
        ("!" * 400 + "x", "fault"),  # of a long text its first 400 characters are looked at
        ("!" * 399 + "x", "x"),
        ("", "fault"),
        ("..", "fault"),
    ],
)
def test_a_file_is_called_by_its_reason_as_far_as_a_name_can_say_it(reason, slug):
    assert _slug(reason) == slug


def test_pictures_are_compressed_a_megabyte_at_a_time(tmp_path):
    """The control thread waits for no more than that."""
    from mcap.reader import make_reader

    box = BlackBox()
    for k in range(40):
        at = k / 2
        box.add(1.0 + at, 100.0 + at, "picture", ("base", 100.0 + at, os.urandom(64_000)), 64_000)
    with write_black_box(tmp_path, box.snapshot(), "x", NAMES).open("rb") as stream:
        sizes = [chunk.uncompressed_size for chunk in make_reader(stream).get_summary().chunk_indexes]
    assert len(sizes) == 3 and max(sizes) < 1024**2 + 65_000


def aged(folder, name, days, size=1):
    file = folder / f"{name}.mcap"
    with file.open("wb") as opened:
        opened.truncate(size)
    os.utime(file, (time.time() - days * 86400.0,) * 2)
    return file.name


def left(folder):
    return {file.name for file in folder.iterdir()}


def test_of_itself_a_folder_keeps_twenty_files_half_a_gigabyte_and_a_month(tmp_path):
    for name in ("many", "large", "old"):
        (tmp_path / name).mkdir()
    many = [aged(tmp_path / "many", k, 0.01 * k) for k in range(22)]
    forget(tmp_path / "many")
    assert left(tmp_path / "many") == set(many[:20])
    large = [aged(tmp_path / "large", k, k + 1, size) for k, size in enumerate((256 << 20, 256 << 20, 1))]
    forget(tmp_path / "large")
    assert left(tmp_path / "large") == set(large[:2])
    old = [aged(tmp_path / "old", k, days) for k, days in enumerate((1.0, 29.9, 30.1))]
    forget(tmp_path / "old")
    assert left(tmp_path / "old") == set(old[:2])


@pytest.mark.parametrize(("kind", "data"), [("state", None), ("state", {"a": 1.0}), ("unheard of", (1.0, 2.0))])
def test_a_record_that_is_no_message_is_passed_over_and_none_is_missing(tmp_path, kind, data):
    from mcap.reader import make_reader

    box = BlackBox()
    box.add(1.0, 100.0, kind, data, 8)
    with write_black_box(tmp_path, box.snapshot(), "x", NAMES).open("rb") as stream:
        reader = make_reader(stream)
        (told,) = [record.metadata for record in reader.iter_metadata()]
        assert told == {"reason": "x"} and list(reader.iter_messages()) == []
