"""Messages are measured before they are parsed."""

import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header, String

from pi0_ros.control.chunk import MAX_ROWS
from pi0_ros.ros.bounded import MAX_BYTES, MessageRefusedError, check_bytes, header_stamp, parse_message


def test_a_message_within_its_bound_is_parsed_and_one_above_is_not():
    assert parse_message(serialize_message(String(data="touch")), String).data == "touch"
    most = MAX_BYTES[String]
    check_bytes(b"x" * most, String)
    with pytest.raises(MessageRefusedError, match=f"String of {most + 1} bytes; at most {most} are parsed"):
        parse_message(b"x" * (most + 1), String)


@pytest.mark.parametrize("data", [b"", b"\0\1\0\0", b"\0\1\0\0\xff\xff\xff\x7f"])
def test_bytes_that_are_no_message_are_refused(data):
    with pytest.raises(MessageRefusedError):
        parse_message(data, String)


def test_the_stamp_is_read_without_the_rest():
    stamp = Time(sec=1_700_000_000, nanosec=123_456_789)
    image = Image(header=Header(stamp=stamp, frame_id="eye"), height=2, width=3, encoding="mono8", data=[1] * 6)
    assert header_stamp(bytes(serialize_message(image))) == pytest.approx(1_700_000_000.123456789, abs=1e-6)
    assert header_stamp(b"\0\0\0\0" + (7).to_bytes(4, "big") + (500_000_000).to_bytes(4, "big")) == 7.5
    with pytest.raises(MessageRefusedError):
        header_stamp(b"\0\1\0\0\0\0")


def test_every_honest_message_is_far_within_its_bound():
    names = [f"a_robot_with_long_names/left_hand_finger_{k}_joint" for k in range(200)]
    state = JointState(name=names, position=[0.0] * 200, velocity=[0.0] * 200, effort=[0.0] * 200)
    assert 4 * len(serialize_message(state)) < MAX_BYTES[JointState]
    from pi0_ros.msg import ActionChunk

    chunk = ActionChunk(channels=names[:64], values=[0.0] * (64 * MAX_ROWS))
    assert len(serialize_message(chunk)) < MAX_BYTES[ActionChunk]
