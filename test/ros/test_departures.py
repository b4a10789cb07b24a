"""Cameras that die in the middle of a picture: what they leave is given back, and the next camera is seen."""

import os
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from sensor_msgs.msg import Image

from pi0_ros.ros.bounded_types import FAST_DDS
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.departures import Departures, RenewedSubscriptions
from pi0_ros.ros.qos import SENSOR
from pi0_ros.ros.run import PROFILES
from pi0_ros.ros.spinning import Spinner

PATIENCE = 60.0
PICTURE = 24_000  # [kB]
SENDERS = 3
READER = """
import sys
import rclpy
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

def subscribe():
    say("subscribed")
    return subscribe_raw(node, Image, "picture", lambda data, info: say("seen"), SENSOR)

RenewedSubscriptions(node, Clocks(node).timer, [("picture", subscribe)])
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
data = serialize_message(Image(width=4000, height=2000, encoding="rgb8", step=12000, data=bytes(24_000_000)))
while publisher.get_subscription_count() < 1:
    time.sleep(0.01)
publisher.publish(data)
os._exit(0)  # the network layer has begun to send
"""

SOON_FORGOTTEN = """
<dds>
  <profiles xmlns="http://www.eprosima.com">
    <participant profile_name="soon_forgotten" is_default_profile="true">
      <rtps><builtin><discovery_config>
        <leaseDuration><sec>2</sec></leaseDuration>
        <leaseAnnouncement><sec>0</sec><nanosec>400000000</nanosec></leaseAnnouncement>
      </discovery_config></builtin></rtps>
    </participant>
  </profiles>
</dds>
"""
"""A sender counts as gone 2 s after its last sign of life instead of 20 s."""

needs_fast_dds = pytest.mark.skipif(
    rclpy.get_rmw_implementation_identifier() != FAST_DDS, reason="needs Fast DDS, whose memory this is about"
)


class Reader:
    """A process that subscribes to pictures and says what happens, with its memory [kB]."""

    def __init__(self, domain):
        words = [sys.executable, "-c", READER, str(domain)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    def wait(self, what):
        """Until it happened; the memory at that time."""
        late = threading.Timer(PATIENCE, self.process.kill)
        late.start()
        try:
            for line in self.process.stdout:  # Fast DDS says things too
                if line.startswith(f"! {what} "):
                    return int(line.split()[2])
            raise AssertionError(f"not {what} within {PATIENCE} s, or the reader has ended")
        finally:
            late.cancel()


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


@needs_fast_dds
def test_cameras_that_die_in_the_middle_of_a_picture_leave_no_more_than_one_and_the_next_camera_is_seen(
    reader, tmp_path
):
    (tmp_path / "profiles.xml").write_text(SOON_FORGOTTEN)
    environment = os.environ | dict.fromkeys(PROFILES, str(tmp_path / "profiles.xml"))
    before = reader.wait("subscribed")
    for _ in range(SENDERS):
        subprocess.run([sys.executable, "-c", DYING, str(reader.domain)], check=True, timeout=PATIENCE, env=environment)
        reader.wait("subscribed")
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, "picture", SENSOR)
    node.create_timer(
        0.05, lambda: publisher.publish(Image(width=2, height=2, encoding="mono8", step=2, data=bytes(4)))
    )
    spinner = Spinner()
    spinner.add(node)
    spinner.start()
    grown, until = reader.wait("seen") - before, time.monotonic() + PATIENCE
    while grown >= 2 * PICTURE and time.monotonic() < until:  # the last of them may not count as gone yet
        grown = reader.wait("seen") - before
    assert spinner.stop(PATIENCE)
    node.destroy_node()
    assert grown < 2 * PICTURE, f"grown by {grown / 1e3:.0f} MB of {SENDERS} × {PICTURE / 1e3:.0f}"


@pytest.fixture
def node():
    rclpy.init(domain_id=1 + os.getpid() % 100)
    made = rclpy.create_node("watcher")
    yield made
    made.destroy_node()
    rclpy.shutdown()


def spin_until(node, condition):
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        rclpy.spin_once(node, timeout_sec=0.1)


def test_a_publisher_that_goes_is_noticed_once_and_one_that_comes_is_not(node):
    departures = Departures(node, "picture")
    first, second = (node.create_publisher(Image, "picture", SENSOR) for _ in range(2))
    spin_until(node, lambda: node.count_publishers("picture") == 2)
    assert [departures.look(), departures.look()] == [False, False]
    node.destroy_publisher(first)
    third = node.create_publisher(Image, "picture", SENSOR)
    spin_until(node, departures.look)
    assert not departures.look()
    for publisher in (second, third):
        node.destroy_publisher(publisher)


def test_all_subscriptions_of_the_topic_are_made_anew_and_those_of_others_stay(node):
    made = []

    def subscribe(topic, name):
        made.append(name)
        return node.create_subscription(Image, topic, lambda _: made.append(f"{name} hears"), SENSOR)

    wanted = [("left", "a"), ("right", "b"), ("left", "c")]
    renewed = RenewedSubscriptions(
        node, Clocks(node).timer, [(topic, partial(subscribe, topic, name)) for topic, name in wanted]
    )
    assert made == ["a", "c", "b"]
    going, staying = (node.create_publisher(Image, topic, SENSOR) for topic in ("left", "right"))
    spin_until(node, lambda: node.count_publishers("left") == node.count_publishers("right") == 1)
    renewed.look()
    node.destroy_publisher(going)
    spin_until(node, lambda: len(made) > 3)
    assert made[3:] == ["a", "c"]
    again = node.create_publisher(Image, "left", SENSOR)
    spin_until(node, lambda: again.get_subscription_count() == 2)
    spin_until(node, lambda: again.publish(Image()) or {"a hears", "c hears"} <= set(made))
    renewed.close()
    spin_until(node, lambda: again.get_subscription_count() == staying.get_subscription_count() == 0)
    assert set(made[5:]) == {"a hears", "c hears"}
