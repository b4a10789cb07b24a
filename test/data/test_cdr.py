"""What is written without ROS is what ROS writes."""

import numpy as np
import pytest

pytest.importorskip("rclpy")

from array import array

from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from pi0_ros.msg import ActionChunk
from rcl_interfaces.msg import Log
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import Header

from pi0_ros.control import Chunk, Record
from pi0_ros.data import blackbox_file, cdr

STAMP, TIME = 1_700_000_000.25, Time(sec=1_700_000_000, nanosec=250_000_000)


def test_a_joint_state():
    for names in (["a", "left_joint2", "wrist"], ["ab"], []):
        values = [0.5 + k for k in range(len(names))]
        expected = JointState(header=Header(stamp=TIME, frame_id="arm"), name=names, position=values)
        assert deserialize_message(cdr.joint_state(STAMP, names, values, "arm"), JointState) == expected


def test_an_odometry():
    expected = Odometry(header=Header(stamp=TIME, frame_id="odom"), child_frame_id="base_link")
    expected.twist.twist.linear.x, expected.twist.twist.linear.y, expected.twist.twist.angular.z = 0.1, -0.2, 0.3
    data = cdr.odometry(STAMP, (0.1, -0.2, 0.3))
    assert deserialize_message(data, Odometry) == expected
    assert len(serialize_message(expected)) == len(data)


def test_a_picture_and_a_line_of_the_log():
    picture = CompressedImage(header=Header(stamp=TIME, frame_id="eye"), format="jpeg", data=array("B", b"\xff\xd8abc"))
    assert deserialize_message(cdr.compressed_image(STAMP, "eye", b"\xff\xd8abc"), CompressedImage) == picture
    line = Log(stamp=TIME, level=30, name="chunk", msg="zu groß: π")
    assert deserialize_message(cdr.log_line(STAMP, 30, "chunk", "zu groß: π"), Log) == line


@pytest.mark.parametrize("names", [("a", "bcd"), ("ab", "c", "defg")])
@pytest.mark.parametrize("source", ["p", "policy", "policy#1a2"])
def test_a_chunk_with_texts_of_any_length_before_its_numbers(names, source):
    values = np.arange(3.0 * len(names)).reshape(3, -1) / 3.0
    chunk = Chunk(STAMP, 0.1, names, values, 2**63, 7, source, 2, "touch the block")
    _, _, data = blackbox_file._message(Record(1.0, 1.0, "chunk", chunk, 48), names)
    expected = ActionChunk(
        header=Header(stamp=TIME), source=source, epoch=7, sequence=2**63, period=0.1, channels=list(names),
        values=array("f", values.astype(np.float32).ravel()), frozen_rows=2, subtask="touch the block",
    )  # fmt: skip
    assert deserialize_message(data, ActionChunk) == expected
    assert len(serialize_message(expected)) == len(data)


def test_the_largest_numbers_of_a_chunk_are_kept_and_larger_ones_become_these():
    def read(epoch, sequence, frozen, values=(1.0, 2.0)):
        chunk = Chunk(STAMP, 0.1, ("a", "b"), np.array([values]), sequence, epoch, "p", frozen)
        return deserialize_message(
            blackbox_file._message(Record(1.0, 1.0, "chunk", chunk, 48), ("a", "b"))[2], ActionChunk
        )

    for epoch, sequence, frozen in ((4294967295, 18446744073709551615, 4294967294), (2**32, 2**64, 2**32)):
        found = read(epoch, sequence, frozen)
        assert (found.epoch, found.sequence) == (4294967295, 18446744073709551615)
        assert found.frozen_rows == min(frozen, 4294967295)
    assert [cdr.within(value, 255) for value in (-1, 0, 254, 255, 256)] == [0, 0, 254, 255, 255]
    largest = float(np.finfo(np.float32).max)
    assert list(read(1, 1, 0, (1e39, -1e39)).values) == [largest, -largest]


def test_a_stamp_is_the_nearest_that_a_message_can_hold():
    def stamp(seconds):
        found = deserialize_message(cdr.log_line(seconds, 20, "", ""), Log).stamp
        return found.sec, found.nanosec

    assert stamp(7.5) == (7, 500_000_000) and stamp(-3.0) == (0, 0) and stamp(float("nan")) == (0, 0)
    assert stamp(2.0**31 - 1.0) == stamp(2.0**33) == (2147483647, 0)
    assert stamp(np.nextafter(8.0, 0.0)) == (7, 999_999_999), "and never a whole second of nanoseconds"
