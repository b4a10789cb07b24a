"""Which recorded topics are those of a robot."""

from pathlib import Path

import pytest

from pi0_ros.data.errors import DataError
from pi0_ros.ros.bag_messages import BagMessage, _folder_of, _roles, parsed

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
