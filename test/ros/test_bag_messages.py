"""Which recorded topics are those of a robot."""

import sys
from pathlib import Path

import pytest

from pi0_ros.data.errors import DataError
from pi0_ros.ros.bag_messages import BagMessage, _folder_of, _roles, open_bag, parsed

BAG = Path("bag")


def test_a_topic_is_the_one_of_its_name_or_the_only_one_that_ends_with_it():
    wanted = {"eye": ("image", 1), "/odom": ("odometry", 2), "joints": ("joint", 3), "lost": ("other", 4)}
    there = {"/eye", "/front/eye", "/left/odom", "/xjoints", "/deep/er/joints"}
    assert _roles(BAG, wanted, there) == {
        "/eye": ("eye", ("image", 1)),
        "/left/odom": ("/odom", ("odometry", 2)),
        "/deep/er/joints": ("joints", ("joint", 3)),
    }


def test_a_topic_that_several_could_be_is_asked_for():
    with pytest.raises(DataError, match="bag: eye of the robot may be any of /left/eye, /right/eye; record"):
        _roles(BAG, {"eye": ("image", 1)}, {"/right/eye", "/left/eye"})


def test_one_file_of_a_recording_stands_for_its_folder(tmp_path):
    file = tmp_path / "bag_0.mcap"
    with pytest.raises(DataError, match="is one file of a recording; give its folder"):
        _folder_of(file)
    (tmp_path / "metadata.yaml").write_text("")
    assert _folder_of(file) == tmp_path


def test_a_message_of_another_kind_or_of_damaged_bytes_names_its_topic():
    with pytest.raises(DataError, match="/eye is std_msgs/msg/Empty, and not one of .*sensor_msgs/msg/Image"):
        parsed(BagMessage(1.0, "/eye", "std_msgs/msg/Empty", b"", ("image", 1)))
    with pytest.raises(DataError, match="^/eye: "):
        parsed(BagMessage(1.0, "/eye", "sensor_msgs/msg/Image", b"\0\1\0\0\xff", ("image", 1)))


ROLES = {"eye": ("image", 1), "joints": ("joint", 2), "lost": ("other", 3)}


@pytest.fixture
def recorded(tmp_path):
    """A recording of three topics, of which two are wanted; in the order of arrival."""
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    kinds = {  # and the marks of these types, which readers compare with their own
        "UInt8": "RIHS01_6138bd83d8c3569cb80a667db03cfc1629f529fee79d944c39c34e352e72f010",
        "Bool": "RIHS01_feb91e995ff9ebd09c0cb3d2aed18b11077585839fb5db80193b62d74528f6c9",
    }
    with rosbag2.Writer(tmp_path / "run", version=9) as writer:
        there = {
            topic: writer.add_connection(
                topic, f"std_msgs/msg/{kind}", msgdef=f"{kind.lower()} data\n", rihs01=kinds[kind]
            )
            for topic, kind in (("/front/eye", "UInt8"), ("/joints", "Bool"), ("/else", "Bool"))
        }
        for at, topic, data in (
            (1_500_000_000, "/joints", b"\0\1\0\0\1"),
            (2_250_000_000, "/front/eye", b"\0\1\0\0\7"),
            (3_000_000_000, "/else", b"\0\1\0\0\0"),
            (4_000_000_000, "/joints", b"\0\1\0\0\0"),
        ):
            writer.write(there[topic], at, data)
    return tmp_path / "run"


def test_a_recording_gives_the_messages_of_the_wanted_topics_under_their_wanted_names(recorded):
    expected = [
        BagMessage(1.5, "joints", "std_msgs/msg/Bool", b"\0\1\0\0\1", ("joint", 2)),
        BagMessage(2.25, "eye", "std_msgs/msg/UInt8", b"\0\1\0\0\7", ("image", 1)),
        BagMessage(4.0, "joints", "std_msgs/msg/Bool", b"\0\1\0\0\0", ("joint", 2)),
    ]
    for path in (recorded, next(recorded.glob("*.db3"))):
        with open_bag(path, ROLES) as messages:
            assert list(messages) == expected


def test_what_is_no_recording_is_refused_with_its_name(tmp_path):
    pytest.importorskip("rosbags.rosbag2")
    for path in (tmp_path, tmp_path / "old.bag"):
        with pytest.raises(DataError, match=f"{path}: cannot be read .*metadata.yaml"), open_bag(path, ROLES):
            pass


def test_without_rosbags_the_way_to_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rosbags.highlevel", None)
    with pytest.raises(DataError, match=r"pi0_ros\[import\]"), open_bag(tmp_path, ROLES):
        pass
