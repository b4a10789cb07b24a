import re
from pathlib import Path

import numpy as np
import pytest
from stand_in import Person

pytest.importorskip("mujoco")

from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray

from pi0_ros.nodes.sim_robot import SimRobotNode
from pi0_ros.ros.clock import seconds
from pi0_ros.ros.images import decode_picture
from pi0_ros.ros.qos import RELIABLE, SENSOR


class Eyes(Node):
    """Hears what a driver says."""

    def __init__(self, graph):
        super().__init__("eyes")
        self.graph, self.joints, self.odometry, self.pictures = graph, [], [], {}
        self.create_subscription(JointState, "joint_states", lambda m: self.heard(self.joints, m), SENSOR)
        self.create_subscription(Odometry, "odom", lambda m: self.heard(self.odometry, m), SENSOR)
        for name, kind in (("base", Image), ("left_wrist", Image), ("right_wrist", Image)):
            topic = f"{name}_camera/image_raw"
            self.create_subscription(
                kind, topic, lambda m, n=name: self.heard(self.pictures.setdefault(n, []), m), SENSOR
            )
        back = "back_camera/image_raw/compressed"
        self.create_subscription(
            CompressedImage, back, lambda m: self.heard(self.pictures.setdefault("back", []), m), SENSOR
        )
        self.arm = self.create_publisher(Float64MultiArray, "left_arm_controller/commands", RELIABLE)
        self.base = self.create_publisher(TwistStamped, "cmd_vel", RELIABLE)

    def heard(self, kept, message):
        kept.append(message)
        self.graph.notify()


@pytest.fixture
def simulated(graph, mobile, tmp_path):
    """The simulated robot with one camera that sends compressed pictures."""
    text = re.sub(
        r"back_camera/image_raw, type: image", "back_camera/image_raw/compressed, type: compressed_image",
        Path(mobile[1]).read_text(),
    )  # fmt: skip
    (tmp_path / "robot.yaml").write_text(text)
    node = SimRobotNode(
        parameter_overrides=[
            Parameter("robot", value=str(tmp_path / "robot.yaml")),
            Parameter("camera_rate", value=2.0),
            Parameter("seed", value=4),
        ]
    )
    eyes, person = graph.node(Eyes), graph.node(Person, mobile[0])
    graph.run(node)
    return eyes, person, node


def test_it_says_what_a_driver_says(simulated, graph, mobile):
    eyes, person, _ = simulated
    graph.wait(lambda: len(eyes.joints) > 10 and len(eyes.odometry) > 5 and len(eyes.pictures) == 4, "everything")
    assert set(mobile[0].joint_of_channel.values()) <= set(eyes.joints[0].name)
    stamps = [seconds(m.header.stamp) for m in eyes.joints]
    assert stamps == sorted(set(stamps))
    assert eyes.odometry[0].header.frame_id == "odom" and eyes.odometry[0].child_frame_id == "base_link"
    pictures = {n: kept[-1] for n, kept in eyes.pictures.items()}
    for message in pictures.values():
        picture = decode_picture(message)
        assert picture.shape == (224, 224, 3) and np.ptp(picture) > 50
    # All cameras of one moment carry that moment.
    assert len({seconds(kept[0].header.stamp) for kept in eyes.pictures.values()}) <= 2
    graph.wait(lambda: "sim_robot" in person.health, "diagnostics")
    assert person.health["sim_robot"][2]["total"] == "4"


def test_an_arm_goes_where_it_is_told_and_the_base_stops_without_commands(simulated, graph):
    eyes, _, _ = simulated
    graph.wait(lambda: eyes.joints and eyes.odometry, "state")
    at = dict(zip(eyes.joints[-1].name, eyes.joints[-1].position, strict=True))
    home = [at[f"left_joint{k}"] for k in range(1, 7)]
    goal = [home[0] + 0.2, *home[1:]]

    def there():
        eyes.arm.publish(Float64MultiArray(data=goal))
        message = TwistStamped()
        message.twist.linear.x = 0.3
        eyes.base.publish(message)
        now = dict(zip(eyes.joints[-1].name, eyes.joints[-1].position, strict=True))
        return abs(now["left_joint1"] - goal[0]) < 0.05 and eyes.odometry[-1].twist.twist.linear.x > 0.1

    graph.wait(there, "the arm and the base to move")
    graph.wait(lambda: abs(eyes.odometry[-1].twist.twist.linear.x) < 0.01, "the base to stop by itself")


def test_a_reset_lays_the_next_scene_and_says_what_to_do(simulated, graph):
    eyes, person, node = simulated
    graph.wait(lambda: eyes.joints, "state")
    ok, instruction = person.ask("reset", "sim_robot")
    assert ok and instruction == "touch every block" and node._seed == 5


def test_a_command_that_does_not_fit_is_refused_and_the_simulation_goes_on(simulated, graph):
    eyes, _, node = simulated
    graph.wait(lambda: eyes.joints, "state")
    eyes.arm.publish(Float64MultiArray(data=[float("nan")] * 6))
    eyes.arm.publish(Float64MultiArray(data=[0.0] * 3))
    heard = len(eyes.joints)
    graph.wait(lambda: len(eyes.joints) > heard + 20, "joint states")
    assert not node._error
    assert np.all(np.isfinite(eyes.joints[-1].position))
