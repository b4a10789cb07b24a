"""A message's size is checked before it is parsed: every type has a largest serialized size.

Turning bytes into Python objects holds the GIL, and stops the control thread: for a joint state of 200,000 names
for seconds. A message that is larger than any honest one is refused by its size alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, cast

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image, JointState, Joy
from std_msgs.msg import Bool, Float32, Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from pi0_ros.msg import ActionChunk, ExecutorState
from pi0_ros.robot.errors import UserError
from pi0_ros.robot.quoting import escape

KIB, MIB = 2**10, 2**20

MAX_BYTES: Mapping[type, int] = {
    Image: 256 * MIB,  # 2^25 pixels of rgba16
    CompressedImage: 64 * MIB,
    JointState: 128 * KIB,  # a thousand joints with position, velocity and effort
    Odometry: 16 * KIB,
    Twist: KIB,
    TwistStamped: 4 * KIB,
    Float64MultiArray: 64 * KIB,
    JointTrajectory: MIB,
    Joy: 16 * KIB,
    Bool: KIB,
    Float32: KIB,
    String: 16 * KIB,
    ActionChunk: 2 * MIB,  # 4,096 rows of 100 channels
    ExecutorState: 128 * KIB,
    DiagnosticArray: MIB,
}
"""Largest serialized size of a message [bytes], by its class."""

Refused = Callable[[str, Exception], None]
"""Called for messages that are not parsed: `refused(topic, error)`."""


MessageInfo = Mapping[str, Any]
"""What rclpy says about a message beside its content: `source_timestamp`, `publication_sequence_number`, …"""


class MessageRefusedError(UserError):
    """A message that is too large, or whose bytes are none of its type."""


def parse_message(data: bytes, kind: type) -> Any:
    """A message of its bytes. Raises MessageRefusedError if they are too many, or no message of that type."""
    check_bytes(data, kind)
    try:
        return deserialize_message(data, kind)
    except Exception as error:  # noqa: BLE001 - bytes that are no message, text that is no UTF-8
        raise MessageRefusedError(f"the bytes are no {kind.__name__}: {escape(error)}") from None


def check_bytes(data: bytes, kind: type) -> None:
    """Raises MessageRefusedError if a serialized message is larger than any honest one of its type."""
    check_size(len(data), kind)


def check_size(size: int, kind: type) -> None:
    """`check_bytes` of so many bytes."""
    if size > MAX_BYTES[kind]:
        raise MessageRefusedError(f"{kind.__name__} of {size} bytes; at most {MAX_BYTES[kind]} are parsed")


def header_stamp(data: bytes) -> float:
    """The stamp [s] of a serialized message that begins with a std_msgs/Header, without parsing the rest.

    The encapsulation (OMG DDS-RTPS 2.3, 10.5) is 4 bytes whose second one says the byte order; `sec` and `nanosec` follow.
    """
    if len(data) < 12:
        raise MessageRefusedError(f"{len(data)} bytes are no message with a header")
    sec, nanosec = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return float(sec) + float(nanosec) * 1e-9


def subscribe_raw(
    node: Node,
    kind: type,
    topic: str,
    callback: Callable[[bytes, MessageInfo], None],
    qos: QoSProfile,
    group: CallbackGroup | None = None,
    events: SubscriptionEventCallbacks | None = None,
) -> Subscription:
    """Subscribe to serialized messages, of a type in MAX_BYTES: `callback(bytes, info)`.

    rclpy counts the arguments of a callback, and has a type for one alone.
    """
    assert kind in MAX_BYTES, f"{kind.__name__} has no largest size"
    counted = cast(Callable[[bytes], None], callback)
    return node.create_subscription(kind, topic, counted, qos, callback_group=group, raw=True, event_callbacks=events)


def subscribe_bounded(
    node: Node,
    kind: type,
    topic: str,
    callback: Callable[..., None],
    qos: QoSProfile,
    refused: Refused,
    group: CallbackGroup | None = None,
    timed: bool = False,
) -> Subscription:
    """Subscribe; messages that are too large or no messages go to `refused` and not to `callback`.

    `timed`: the callback gets rclpy's information about the message too, which says when it was received.
    """

    def on_bytes(data: bytes, info: MessageInfo) -> None:
        try:
            message = parse_message(data, kind)
        except MessageRefusedError as error:
            refused(topic, error)
            return
        if timed:
            callback(message, info)
        else:
            callback(message)

    return subscribe_raw(node, kind, topic, on_bytes, qos, group)


def listen(
    node: Node, kind: type, topic: str, callback: Callable[..., None], qos: QoSProfile, timed: bool = False
) -> Subscription:
    """`subscribe_bounded`, with a line in the node's log about what is refused."""

    def refused(topic: str, error: Exception) -> None:
        node.get_logger().warning(escape(f"message on {topic} refused: {error}"), throttle_duration_sec=1.0)

    return subscribe_bounded(node, kind, topic, callback, qos, refused, timed=timed)
