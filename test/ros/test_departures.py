"""Cameras that die in the middle of a picture: what they leave is given back, and the next camera is seen."""

import os
import subprocess
import sys

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from sensor_msgs.msg import Image

from pi0_ros.ros.bounded_types import FAST_DDS
from pi0_ros.ros.qos import SENSOR
from pi0_ros.ros.spinning import Spinner

PATIENCE = 90.0
PICTURE = 36_000  # [kB]
SENDERS = 4
READER = """
import sys
import rclpy
from functools import partial
from sensor_msgs.msg import Image
from pi0_ros.ros.bounded import subscribe_raw
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.departures import RenewedSubscriptions
from pi0_ros.ros.qos import SENSOR

rclpy.init(domain_id=int(sys.argv[1]))
node = rclpy.create_node("reader")

def say(what):
    memory = next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]
    print("!", what, memory, flush=True)

class Told(RenewedSubscriptions):
    def look(self):
        before = len(self._made)
        super().look()
        if len(self._made) > before:
            say("renewed")

subscribe = partial(subscribe_raw, node, Image, "picture", lambda data, info: say("seen"), SENSOR)
Told(node, Clocks(node).timer, [("picture", subscribe)])
say("ready")
rclpy.spin(node)
"""
DYING = """
import os, sys, time
import rclpy
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

rclpy.init(domain_id=int(sys.argv[1]))
node = rclpy.create_node("camera")
publisher = node.create_publisher(Image, "picture", QoSProfile(depth=1))
data = serialize_message(Image(width=4000, height=3000, encoding="rgb8", step=12000, data=bytes(36_000_000)))
while publisher.get_subscription_count() < 1:
    time.sleep(0.01)
publisher.publish(data)
os._exit(0)  # the network layer has begun to send
"""

pytestmark = pytest.mark.skipif(
    rclpy.get_rmw_implementation_identifier() != FAST_DDS, reason="needs Fast DDS, whose memory this is about"
)


class Reader:
    """A process that subscribes to pictures and says what happens, with its memory [kB]."""

    def __init__(self, domain):
        words = [sys.executable, "-c", READER, str(domain)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    def wait(self, what):
        """Until it happened; the memory at that time."""
        for line in self.process.stdout:  # Fast DDS says things too
            if line.startswith(f"! {what} "):
                return int(line.split()[2])
        raise AssertionError("the reader has ended")


@pytest.fixture
def reader():
    domain = 1 + os.getpid() % 100
    made = Reader(domain)
    made.domain = domain
    rclpy.init(domain_id=domain)
    yield made
    made.process.kill()
    made.process.wait(PATIENCE)
    rclpy.shutdown()


def test_cameras_that_die_in_the_middle_of_a_picture_leave_no_more_than_one_and_the_next_camera_is_seen(reader):
    before = reader.wait("ready")
    for _ in range(SENDERS):
        subprocess.run([sys.executable, "-c", DYING, str(reader.domain)], check=True, timeout=PATIENCE)
        reader.wait("renewed")
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, "picture", SENSOR)
    node.create_timer(
        0.05, lambda: publisher.publish(Image(width=2, height=2, encoding="mono8", step=2, data=bytes(4)))
    )
    spinner = Spinner()
    spinner.add(node)
    spinner.start()
    after = reader.wait("seen")
    assert spinner.stop(PATIENCE)
    node.destroy_node()
    assert after - before < 2.5 * PICTURE, (
        f"grown by {(after - before) / 1e3:.0f} MB of {SENDERS} × {PICTURE / 1e3:.0f}"
    )
