"""A robot that is not there: takes commands, and moves towards them as a servo would."""

import contextlib
import math

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray

JOINTS = ("shoulder", "elbow", "wrist", "finger")
RATE = 100.0  # [Hz]
FOLLOW = 0.06  # [s] by which the servo follows its command


class Driver(Node):
    """What a driver has to do: publish joint states, listen to commands."""

    def __init__(self) -> None:
        super().__init__("driver")
        self.position = dict(zip(JOINTS, (0.3, -0.2, 0.1, 0.04), strict=True))
        self.goal = dict(self.position)
        self.moved, self.row = self.now(), 0
        self.states = self.create_publisher(JointState, "joint_states", 10)
        self.pictures = self.create_publisher(Image, "camera/image_raw", 10)
        self.create_subscription(Float64MultiArray, "arm/commands", lambda m: self.take(JOINTS[:3], m), 10)
        self.create_subscription(Float64MultiArray, "gripper/commands", lambda m: self.take(JOINTS[3:], m), 10)
        self.create_timer(1.0 / RATE, self.move)
        self.create_timer(0.1, self.look)

    def now(self) -> float:
        """Seconds."""
        return self.get_clock().now().nanoseconds * 1e-9

    def take(self, names: tuple[str, ...], message: Float64MultiArray) -> None:
        """A command: values in the order of the group's channels, rad and m."""
        self.goal.update(zip(names, message.data, strict=True))

    def move(self) -> None:
        """One step towards the command, and say where the robot is."""
        before, self.moved = self.moved, self.now()
        for name in JOINTS:
            self.position[name] += (self.goal[name] - self.position[name]) * (
                1.0 - math.exp((before - self.moved) / FOLLOW)
            )
        message = JointState(name=list(JOINTS), position=[self.position[name] for name in JOINTS])
        message.header.stamp = self.get_clock().now().to_msg()
        self.states.publish(message)

    def look(self) -> None:
        """A grey picture with a white line that moves: a picture that never changes counts as a frozen camera."""
        self.row = (self.row + 1) % 48
        rows = [bytes([255 if row == self.row else 120]) * 192 for row in range(48)]
        message = Image(height=48, width=64, encoding="rgb8", step=192, data=b"".join(rows))
        message.header.stamp = self.get_clock().now().to_msg()
        self.pictures.publish(message)


def main() -> None:
    """Run until Ctrl-C."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    with contextlib.suppress(KeyboardInterrupt):
        rclpy.spin(Driver())


if __name__ == "__main__":
    main()
