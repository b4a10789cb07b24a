"""Definitions of message types as text: what a reader without ROS makes of a message by them."""

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mcap_ros2")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from mcap.records import Schema
from mcap_ros2.decoder import DecoderFactory
from nav_msgs.msg import Odometry
from pi0_ros.msg import ActionChunk
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState, Joy
from std_msgs.msg import Bool, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from pi0_ros.data.blackbox_file import DEFINITIONS
from pi0_ros.ros.message_definitions import definition_of, message_class
from pi0_ros.ros.topic_check import ros_type_name


def decoded(message):
    """The message as a reader has it who knows the definition alone."""
    kind = type(message)
    schema = Schema(1, definition_of(kind).encode(), "ros2msg", ros_type_name(kind))
    return DecoderFactory().decoder_for("cdr", schema)(serialize_message(message))


@pytest.mark.parametrize("name", ["sensor_msgs/msg/JointState", "nav_msgs/msg/Odometry", "rcl_interfaces/msg/Log"])
def test_a_definition_has_the_fields_of_the_published_one(name):
    def fields(text):
        return {tuple(line.split()) for line in text.splitlines() if line and "=" not in line}

    assert fields(definition_of(message_class(name))) == fields(DEFINITIONS[name])


def test_nested_messages_sequences_arrays_and_odd_types_are_read_by_their_definitions():
    odometry = Odometry(child_frame_id="base")
    odometry.header.stamp.sec, odometry.header.frame_id = 17, "odom"
    odometry.twist.twist.linear.x, odometry.twist.twist.angular.z = 0.25, -3.5
    odometry.twist.covariance = np.arange(36.0)
    found = decoded(odometry)
    assert (found.header.stamp.sec, found.child_frame_id, found.twist.twist.linear.x) == (17, "base", 0.25)
    assert list(found.twist.covariance) == list(range(36)) and found.twist.twist.angular.z == -3.5

    levels = DiagnosticArray(
        status=[DiagnosticStatus(level=b"\x02", name="arm", values=[KeyValue(key="a", value="b")])]
    )
    status = decoded(levels).status[0]
    assert (status.level, status.name, status.values[0].value) == (2, "arm", "b")

    array = Float64MultiArray(data=[1.5, -2.5])
    array.layout.data_offset = 3
    assert list(decoded(array).data) == [1.5, -2.5] and decoded(array).layout.data_offset == 3
    assert decoded(Bool(data=True)).data is True
    assert list(decoded(Joy(axes=[0.5, -1.0], buttons=[0, 3])).buttons) == [0, 3]

    way = JointTrajectory(joint_names=["a", "b"], points=[JointTrajectoryPoint(positions=[0.1, 0.2])])
    way.points[0].time_from_start.nanosec = 40
    found = decoded(way)
    assert found.joint_names == ["a", "b"] and found.points[0].time_from_start.nanosec == 40

    chunk = ActionChunk(channels=["a", "b"], values=[1.0, 2.0, 3.0, 4.0], sequence=2**40, frozen_rows=2, source="here")
    found = decoded(chunk)
    assert list(found.values) == [1, 2, 3, 4] and (found.sequence, found.frozen_rows, found.source) == (
        2**40,
        2,
        "here",
    )
    assert bytes(decoded(Image(height=1, width=2, step=2, encoding="mono8", data=b"\x07\xf0")).data) == b"\x07\xf0"
    assert list(decoded(JointState(name=["x"], effort=[7.0])).effort) == [7.0]


def test_a_type_that_is_not_there_is_an_import_error():
    with pytest.raises(ImportError, match="std_msgs has no message Nothing"):
        message_class("std_msgs/msg/Nothing")
