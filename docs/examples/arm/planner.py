"""The smallest policy: no network, plans that turn the wrist to and fro. See docs/writing_a_policy.md for the rules."""

import contextlib
import math

import numpy as np
import rclpy
from pi0_ros.msg import ActionChunk, ExecutorState
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState

PERIOD, ROWS = 0.05, 30  # a plan of 1.5 s
AMPLITUDE, SPEED = 0.4, 0.8  # [rad], [rad/s]
CHANNELS = ("shoulder", "elbow", "wrist", "gripper")


class Planner(Node):
    """Looks at the joints, and twice per second says where they are to be in the next 1.5 s."""

    def __init__(self) -> None:
        super().__init__("planner")
        self.joints: dict[str, float] = {}
        self.stamp, self.epoch, self.sequence = None, 0, 0
        self.publisher = self.create_publisher(ActionChunk, "action_chunk", 1)
        self.create_subscription(JointState, "joint_states", self.see, 10)
        self.create_subscription(ExecutorState, "executor_state", self.hear, 10)
        self.create_timer(0.5, self.plan)

    def see(self, message: JointState) -> None:
        """The observation: what it says, and its time."""
        self.joints = dict(zip(message.name, message.position, strict=True))
        self.stamp = message.header.stamp

    def hear(self, message: ExecutorState) -> None:
        """The epoch that a plan has to answer: copied, never counted."""
        self.epoch = message.epoch

    def plan(self) -> None:
        """Rows for the time of the observation and after: every channel, absolute values, rad; gripper 0 .. 1."""
        if not self.joints:
            return
        now = self.stamp.sec + 1e-9 * self.stamp.nanosec
        here = [self.joints["shoulder"], self.joints["elbow"], self.joints["wrist"], 1.0]
        rows = np.tile(here, (ROWS, 1))
        for k in range(1, ROWS):
            goal = AMPLITUDE * math.sin(SPEED / AMPLITUDE * (now + k * PERIOD))
            rows[k, 2] = rows[k - 1, 2] + np.clip(goal - rows[k - 1, 2], -SPEED * PERIOD, SPEED * PERIOD)
        self.sequence += 1
        chunk = ActionChunk(epoch=self.epoch, sequence=self.sequence, source="planner", period=PERIOD)
        chunk.header.stamp = self.stamp
        chunk.channels, chunk.values = list(CHANNELS), rows.astype(np.float32).ravel().tolist()
        self.publisher.publish(chunk)


def main() -> None:
    """Run until Ctrl-C."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    with contextlib.suppress(KeyboardInterrupt):
        rclpy.spin(Planner())


if __name__ == "__main__":
    main()
