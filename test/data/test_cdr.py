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
    _, _, data = blackbox_file._message(Record(1.0, 1.0, "chunk", chunk), names)
    expected = ActionChunk(
        header=Header(stamp=TIME), source=source, epoch=7, sequence=2**63, period=0.1, channels=list(names),
        values=array("f", values.astype(np.float32).ravel()), frozen_rows=2, subtask="touch the block",
    )  # fmt: skip
    assert deserialize_message(data, ActionChunk) == expected
    assert len(serialize_message(expected)) == len(data)
