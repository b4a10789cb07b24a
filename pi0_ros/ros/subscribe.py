"""Subscriptions as a robot YAML describes them; what does not convert goes to a callback, never up the stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray

from pi0_ros.robot.measurement import SourceMap
from pi0_ros.robot.spec import Camera, Robot, StateSource
from pi0_ros.ros.bounded import MessageInfo, subscribe_bounded, subscribe_raw
from pi0_ros.ros.clock import seconds
from pi0_ros.ros.conversions import ConversionError, joint_state_values, odometry_values
from pi0_ros.ros.qos import MEASURED, SENSOR
from pi0_ros.ros.topic_check import WantedTopic, ros_type_name

TELEOP_TYPES: Mapping[str, type] = {
    "joint_state": JointState,
    "float64_multi_array": Float64MultiArray,
    "twist": Twist,
    "twist_stamped": TwistStamped,
}
"""Robot YAML teleop type to message class."""

PICTURE_TYPES: Mapping[str, type] = {"image": Image, "compressed_image": CompressedImage}
"""Robot YAML camera type to message class."""

Joints = Callable[[StateSource, float, Mapping[str, float], Mapping[str, float]], None]
Velocity = Callable[[StateSource, float, tuple[float, float, float]], None]
Refused = Callable[[str, Exception], None]


def subscribe_state(
    node: Node,
    source: StateSource,
    joints: Joints,
    velocity: Velocity,
    refused: Refused,
    group: CallbackGroup | None = None,
) -> Subscription:
    """Subscribe to a state source: `joints(source, stamp, positions, velocities)` or `velocity(source, stamp, (vx, vy, wz))`.

    Joints come in the robot's names, rad and m, and base velocities in the base frame.
    """
    mapped = SourceMap(source)

    def on_joints(message: JointState) -> None:
        try:
            positions, rates = joint_state_values(message)
        except ConversionError as error:
            refused(source.topic, error)
            return
        stamp = seconds(message.header.stamp)
        if positions or rates:
            joints(source, stamp, mapped.positions(positions), mapped.rates(rates))

    def on_odometry(message: Odometry) -> None:
        if not (message.child_frame_id or source.twist):
            node.get_logger().warning(
                f"odometry on {source.topic} does not say in which frame its twist is (child_frame_id is empty); it is taken "
                "as the base's; say twist: base or twist: world in the robot YAML",
                once=True,
            )
        velocity(source, seconds(message.header.stamp), odometry_values(message, source.twist))

    kind, callback = (Odometry, on_odometry) if source.type == "odometry" else (JointState, on_joints)
    if group is None:
        return subscribe_bounded(node, kind, source.topic, callback, SENSOR, refused)
    # A group of its own is read once a period, by somebody who measures the messages himself.
    return node.create_subscription(kind, source.topic, callback, MEASURED, callback_group=group)


def subscribe_camera(node: Node, camera: Camera, callback: Callable[[bytes, MessageInfo], None]) -> Subscription:
    """Subscribe to a camera's serialized pictures, raw or compressed as the YAML says: `callback(bytes, info)`."""
    return subscribe_raw(node, PICTURE_TYPES[camera.type], camera.topic, callback, SENSOR)


def wanted_topics(robot: Robot) -> list[WantedTopic]:
    """Cameras and state sources of a robot, for `TopicCheck`; a camera has one publisher."""
    pictures = tuple((word, ros_type_name(kind)) for word, kind in PICTURE_TYPES.items())
    states = (("joint_state", ros_type_name(JointState)), ("odometry", ros_type_name(Odometry)))
    return [WantedTopic(c.topic, c.type, pictures, single=True) for c in robot.cameras] + [
        WantedTopic(s.topic, s.type, states) for s in robot.state
    ]
