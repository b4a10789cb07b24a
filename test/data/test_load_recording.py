"""A recorded run: which topics are the robot's, which stretch is the run, and on whose clock it is."""

from array import array
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard

from pi0_ros.data import bag
from pi0_ros.data import recording as module
from pi0_ros.data.bag import CHUNK, JOINTS, ODOMETRY, STATE, RecordedMessage, joint_positions, mcap_files, rows_of
from pi0_ros.data.errors import DataError
from pi0_ros.data.recording import _of_robot, _on_stamps, _one_run, _within

FILE = Path("run.mcap")


def stamped(seconds):
    whole = int(seconds)
    stamp = SimpleNamespace(sec=whole, nanosec=round((seconds - whole) * 1e9))
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp))


def heard(time, topic="joint_states", kind=JOINTS, stamp=None):
    return RecordedMessage(time, topic, kind, stamped(time if stamp is None else stamp))


def topics_of(found):
    return [h.topic for h in found]


@pytest.mark.parametrize(
    ("topic", "name", "namespace"),
    [
        ("/joint_states", "joint_states", ""),
        ("joint_states", "/joint_states", ""),
        ("/left/arm/joint_states", "joint_states", "left/arm"),
        ("/left/arm/joint_states", "arm/joint_states", "left"),
        ("/my_joint_states", "joint_states", None),
        ("/joint_states/raw", "joint_states", None),
    ],
)
def test_a_topic_is_called_so_within_its_namespace(topic, name, namespace):
    assert _within(topic, name) == namespace


def test_of_a_bag_with_namespaces_the_robots_own_topics_are_taken_under_their_plain_names():
    messages = [
        heard(1, "/left/action_chunk", CHUNK),
        heard(2, "/left/joint_states"),
        heard(3, "/right/joint_states"),
        heard(4, "/left/odom", ODOMETRY),
        heard(5, "/right/executor_state", STATE),
        heard(6, "/left/executor_state", STATE),
    ]
    found, notes = _of_robot(FILE, messages, {"joint_states": JOINTS, "odom": ODOMETRY, "more": JOINTS})
    assert topics_of(found) == ["/left/action_chunk", "joint_states", "odom", "/left/executor_state"]
    assert [h.time for h in found] == [1, 2, 4, 6] and notes == ["nothing was recorded on more"]


def test_the_only_topic_that_ends_so_is_taken_with_a_remark_and_several_are_refused():
    messages = [heard(1, "action_chunk", CHUNK), heard(2, "/arm/joint_states")]
    found, notes = _of_robot(FILE, messages, {"joint_states": JOINTS})
    assert topics_of(found) == ["action_chunk", "joint_states"] and notes == [
        "/arm/joint_states is taken for joint_states"
    ]
    with pytest.raises(DataError, match="joint_states of the robot may be any of /arm/joint_states, /leg/joint_states"):
        _of_robot(FILE, [*messages, heard(3, "/leg/joint_states")], {"joint_states": JOINTS})
    with pytest.raises(DataError, match="chunks for several robots .a/action_chunk, b/action_chunk."):
        _of_robot(FILE, [heard(1, f"{n}/action_chunk", CHUNK) for n in "ba"], {})


@pytest.mark.parametrize(("pause", "parts"), [(3599.0, 1), (3601.0, 2)])
def test_messages_an_hour_apart_are_of_two_runs_of_which_the_longer_one_counts(pause, parts):
    times = [10.0, 11.5, *(12.5 + pause + k for k in (0.0, 2.0, 5.25))]
    found, notes = _one_run(FILE, tuple(heard(t) for t in times))
    if parts == 1:
        assert len(found) == 5 and notes == []
    else:
        assert [h.time for h in found] == times[2:]
        assert f"left out: 2 messages more than 1 h from the run of {times[2]:.1f} .. {times[4]:.1f} s" in notes[0]


@pytest.mark.parametrize("late", [-1.5, -0.9, 0.9, 1.5])
def test_arrivals_a_second_beside_the_stamps_are_put_on_the_stamps_clock(late):
    """The state's header counts for nothing; a joint state without a stamp neither."""
    messages = (*(heard(100.0 + k + late, stamp=100.0 + k) for k in range(5)), heard(106.0, stamp=0.0))
    found, notes = _on_stamps(FILE, messages)
    if abs(late) < 1.0:
        assert found == messages and notes == []
    else:
        assert [h.time for h in found] == pytest.approx([100, 101, 102, 103, 104, 106 - late])
        assert f"arrival times are {late:.1f} s beside the stamps" in notes[0]


def test_without_a_stamp_arrivals_stay_as_they_are():
    messages = (heard(100.0, stamp=0.0), heard(101.0, "action_chunk", CHUNK, stamp=5.0))
    assert _on_stamps(FILE, messages) == (messages, [])


@pytest.mark.parametrize(("drift", "sound"), [(0.45, True), (0.6, False)])
def test_clocks_that_drift_apart_are_refused(drift, sound):
    messages = tuple(heard(50.0 + k + drift * k / 100, stamp=k + 1.0) for k in range(112))  # 5 % to 95 %: 100 of them
    if sound:
        assert len(_on_stamps(FILE, messages)[0]) == 112
    else:
        with pytest.raises(DataError, match=r"another clock than their stamps' \(49\.\d s apart, drifting by 0\.6 s\)"):
            _on_stamps(FILE, messages)


def test_velocities_count_where_there_is_one_for_each_joint():
    state = SimpleNamespace(name=["a", "b"], position=[0.5, -1.0], velocity=[0.1, 0.2])
    assert joint_positions(state) == ({"a": 0.5, "b": -1.0}, {"a": 0.1, "b": 0.2})
    state.velocity = [0.1]
    assert joint_positions(state) == ({"a": 0.5, "b": -1.0}, {})


def test_numbers_that_do_not_divide_by_the_channels_are_one_row():
    def rows(values, channels):
        return rows_of(SimpleNamespace(values=values, channels=channels)).tolist()

    assert rows([1, 2, 3, 4, 5, 6], ["a", "b", "c"]) == [[1, 2, 3], [4, 5, 6]]
    assert rows([1, 2, 3], ["a", "b"]) == [[1, 2, 3]] and rows([1, 2], []) == [[1, 2]]
    single = SimpleNamespace(values=array("f", [0.1, 1.0]), channels=["a", "b"])
    assert rows_of(single).dtype == np.float64 and rows_of(single)[0, 0] == np.float32(0.1)


def test_the_files_of_a_recording_are_those_of_its_folder_in_order(tmp_path):
    for name in ("b.mcap", "a.mcap.zstd", "c.mcap", "metadata.yaml"):
        (tmp_path / name).write_text("")
    assert [f.name for f in mcap_files(tmp_path)] == ["a.mcap.zstd", "b.mcap", "c.mcap"]
    assert mcap_files(tmp_path / "b.mcap") == [tmp_path / "b.mcap"]
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "empty", tmp_path / "metadata.yaml", tmp_path / "none"):
        with pytest.raises(DataError, match="no such recording; give an .mcap file or a rosbag2 folder"):
            mcap_files(wrong)


def test_a_message_that_was_compressed_alone_is_read_and_one_that_stands_for_gigabytes_is_not():
    """Whether its frame says how large it is or not; CDR, which begins with a zero, is left as it is."""
    unpack, data = bag._unpacker(), bytes(range(200)) * 9
    for says in (True, False):
        assert unpack(zstandard.ZstdCompressor(write_content_size=says).compress(data)) == data
    assert unpack(b"\0\1\0\0abc") == b"\0\1\0\0abc"
    bomb = zstandard.ZstdCompressor().compress(bytes((64 << 20) + 1))
    assert len(bomb) < 10_000
    with pytest.raises(ValueError, match="a message of 67108865 bytes; at most 67108864 are read"):
        unpack(bomb)


@pytest.mark.parametrize(("kinds", "lacks"), [((CHUNK,), JOINTS), ((JOINTS,), CHUNK), ((ODOMETRY, STATE), CHUNK)])
def test_a_recording_needs_chunks_and_joint_states(monkeypatch, kinds, lacks):
    messages = tuple(heard(float(k), kind=kind) for k, kind in enumerate(kinds))
    monkeypatch.setattr(module, "read_bag", lambda file, types: bag.Bag(messages))
    with pytest.raises(DataError, match=f"run.mcap: holds no {lacks}; record action_chunk"):
        module.load_recording(FILE, SimpleNamespace(state=()))


def test_a_compressed_file_is_read_from_a_copy_that_goes_again_and_a_damaged_one_is_named(tmp_path):
    plain, packed = tmp_path / "a.mcap", tmp_path / "b.mcap.zstd"
    plain.write_bytes(b"records")
    data = bytes(range(256)) * 999
    packed.write_bytes(zstandard.ZstdCompressor().compress(data))
    with bag._plain(plain) as found:
        assert found == plain
    with bag._plain(packed) as found:
        assert found.name == "b.mcap" and found.read_bytes() == data
    assert plain.exists() and packed.exists() and not found.exists()
    packed.write_bytes(b"no zstd at all")
    with pytest.raises(DataError, match=r"b\.mcap\.zstd: cannot be decompressed"), bag._plain(packed):
        pass


@pytest.mark.parametrize(("more", "sound"), [(0, True), (1, False)])
def test_a_compressed_file_may_be_a_hundred_times_smaller_and_a_gigabyte(tmp_path, monkeypatch, more, sound):
    """The bound is looked at before each piece of 128 kB."""
    packed = tmp_path / "b.mcap.zstd"
    packed.write_bytes(zstandard.ZstdCompressor().compress(bytes(400_000)))
    most = 100 * packed.stat().st_size
    monkeypatch.setattr(bag, "ROOM", 131_072 * 3 - most - more)
    if sound:
        with bag._plain(packed) as found:
            assert found.stat().st_size == 400_000
    else:
        with pytest.raises(DataError, match=f"unpacks to more than {131_072 * 3 - 1} bytes"), bag._plain(packed):
            pass


def test_what_fields_are_read_later_is_asked_for_when_a_message_is_read():
    """A file says itself which fields its messages have."""
    header = stamped(2.5).header
    chunk = {
        "header": header, "source": "p", "subtask": "s", "channels": ["a", "b"], "values": [1, 2, 3, 4], "period": 0.1,
        "epoch": 1, "sequence": 2, "frozen_rows": 3,
    }  # fmt: skip
    stamp, values, numbers = bag._chunk_fields(SimpleNamespace(**chunk))
    assert stamp == 2.5 and values.tolist() == [[1, 2], [3, 4]] and numbers == (0.1, 1, 2, 3)
    for name in ("source", "subtask"):
        with pytest.raises(TypeError, match="a chunk whose names are no text"):
            bag._chunk_fields(SimpleNamespace(**chunk | {name: 3}))
    with pytest.raises(TypeError, match="names are no text"):
        bag._chunk_fields(SimpleNamespace(**chunk | {"channels": ["a", 3]}))
    joints = {"header": header, "name": ["a"], "position": [0.5], "velocity": [0.25]}
    assert bag._joint_fields(SimpleNamespace(**joints)) == (2.5, ({"a": 0.5}, {"a": 0.25}))
    with pytest.raises(TypeError, match="joints whose names are no text"):
        bag._joint_fields(SimpleNamespace(**joints | {"name": [1]}))
    axes = [SimpleNamespace(x=k, y=k + 1, z=k + 2) for k in (1, 4)]
    odometry = SimpleNamespace(
        twist=SimpleNamespace(twist=SimpleNamespace(linear=axes[0], angular=axes[1])),
        pose=SimpleNamespace(pose=SimpleNamespace(orientation=SimpleNamespace(w=0.5))), child_frame_id="base",
    )  # fmt: skip
    assert bag._odometry_fields(odometry) == ([1, 2, 3, 4, 5, 6], 0.5, "base")
    assert bag._FIELDS[STATE](SimpleNamespace(header=header, mode=3)) == (2.5, 3)
    for kind, whole in ((CHUNK, SimpleNamespace(**chunk)), (JOINTS, SimpleNamespace(**joints)), (ODOMETRY, odometry)):
        for name in vars(whole):
            lacking = SimpleNamespace(**{k: v for k, v in vars(whole).items() if k != name})
            with pytest.raises(AttributeError):
                bag._FIELDS[kind](lacking)
