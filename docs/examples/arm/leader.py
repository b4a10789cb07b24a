"""A person's device: waves the shoulder of the arm slowly. Yours reads a leader arm, a joystick or a tracker instead."""

import contextlib
import math

import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState


class Leader(Node):
    """Publishes where the arm is to go, 50 times per second: names and positions [rad] in one message."""

    def __init__(self) -> None:
        super().__init__("leader")
        self.start: dict[str, float] = {}
        self.began = 0.0
        self.publisher = self.create_publisher(JointState, "teleop/arm", qos_profile_sensor_data)
        self.create_subscription(JointState, "joint_states", self.see, qos_profile_sensor_data)
        self.create_timer(0.02, self.lead)

    def see(self, message: JointState) -> None:
        """Begin where the robot is: an input that begins elsewhere is approached slowly."""
        if not self.start:
            self.start = dict(zip(message.name, message.position, strict=True))
            self.began = self.now()

    def now(self) -> float:
        """Seconds."""
        return self.get_clock().now().nanoseconds * 1e-9

    def lead(self) -> None:
        """Send the next position."""
        if not self.start:
            return
        wave = 0.3 * math.sin(2.0 * math.pi * 0.2 * (self.now() - self.began))
        message = JointState(name=["shoulder", "elbow", "wrist"])
        message.position = [self.start["shoulder"] + wave, self.start["elbow"], self.start["wrist"]]
        message.header.stamp = self.get_clock().now().to_msg()
        self.publisher.publish(message)


def main() -> None:
    """Run until Ctrl-C."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    with contextlib.suppress(KeyboardInterrupt):
        rclpy.spin(Leader())


if __name__ == "__main__":
    main()
