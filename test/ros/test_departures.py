"""Cameras that die in the middle of a picture: what they leave is given back, and the next camera is seen."""

import os
import subprocess
import sys
import threading
import time

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from sensor_msgs.msg import Image

from pi0_ros.ros.bounded_types import FAST_DDS
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.departures import MOST_LEFT, Departures, RenewedSubscriptions, Subscriber
from pi0_ros.ros.qos import SENSOR
from pi0_ros.ros.run import PROFILES
from pi0_ros.ros.spinning import Spinner

PATIENCE = 60.0
PICTURE = 24_000_000  # [bytes]
READER = """
import ctypes
import sys
import rclpy
from sensor_msgs.msg import Image
from pi0_ros.ros.bag_listener import BagListener
from pi0_ros.ros.bag_topics import BagSubscription
from pi0_ros.ros.bounded import subscribe_raw
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.departures import RenewedSubscriptions, Subscriber
from pi0_ros.ros.qos import SENSOR

class Mallinfo(ctypes.Structure):  # malloc.h: struct mallinfo2
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Mallinfo
rclpy.init(domain_id=int(sys.argv[1]))
node = rclpy.create_node("reader")

def say(what):
    now = libc.mallinfo2()
    sys.stdout.write(f"! {what} {now.uordblks + now.hblkhd}\\n")
    sys.stdout.flush()

def subscribe():
    return subscribe_raw(node, Image, "picture", lambda data, info: say("seen"), SENSOR)

# As in a recorder: one subscription for the frames of the dataset, one for the bag.
renewed = RenewedSubscriptions(node, Clocks(node).timer, [Subscriber("picture", subscribe)])
pictures = {"/picture": BagSubscription("picture", Image, (SENSOR,), picture=True)}
listener = BagListener(node, pictures, lambda *_: say("written"), print, renewed, lambda: True)
node.create_timer(0.05, lambda: say("uses"))
rclpy.spin(node)
"""
"""It says how many bytes it uses. What the C library keeps of freed memory, up to two pictures, is not counted."""
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
    """A process that subscribes to pictures, and says what happens and how many bytes it uses."""

    def __init__(self, domain):
        words = [sys.executable, "-c", READER, str(domain)]
        self.domain, self.process = domain, subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    def wait(self, what, wanted=lambda used: True):
        """Until it says so with as many bytes as wanted; the bytes."""
        late = threading.Timer(PATIENCE, self.process.kill)
        late.start()
        try:
            for line in self.process.stdout:  # Fast DDS says things too
                if line.startswith(f"! {what} ") and wanted(used := int(line.split()[2])):
                    return used
            raise AssertionError(f"not {what} as wanted within {PATIENCE} s, or the reader has ended")
        finally:
            late.cancel()


@pytest.fixture
def reader():
    made = Reader(1 + os.getpid() % 100)
    rclpy.init(domain_id=made.domain)
    yield made
    made.process.kill()
    made.process.wait(PATIENCE)
    rclpy.shutdown()


@needs_fast_dds
def test_a_camera_that_dies_in_the_middle_of_a_picture_leaves_nothing_and_the_next_one_is_seen_and_recorded(
    reader, tmp_path
):
    (tmp_path / "profiles.xml").write_text(SOON_FORGOTTEN)
    environment = os.environ | dict.fromkeys(PROFILES, str(tmp_path / "profiles.xml"))
    before = reader.wait("uses")
    subprocess.run([sys.executable, "-c", DYING, str(reader.domain)], check=True, timeout=PATIENCE, env=environment)
    assert reader.wait("uses", lambda used: used > before + 1.5 * PICTURE) < before + 2.5 * PICTURE  # each reader's
    assert reader.wait("uses", lambda used: used < before + 0.5 * PICTURE)
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, "picture", SENSOR)
    node.create_timer(
        0.05, lambda: publisher.publish(Image(width=2, height=2, encoding="mono8", step=2, data=bytes(4)))
    )
    spinner = Spinner()
    spinner.add(node)
    spinner.start()
    for what in ("seen", "written"):
        reader.wait(what)
    assert spinner.stop(PATIENCE)
    node.destroy_node()


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


class Heard:
    """Subscriptions that tell who made them, and what they hear."""

    def __init__(self, node):
        self.node, self.said = node, []

    def subscriber(self, topic, name, recording=lambda: False):
        def make():
            self.said.append(name)
            return self.node.create_subscription(Image, topic, lambda m: self.said.append((name, m.width)), SENSOR)

        return Subscriber(topic, make, recording)

    def renewed(self, *subscribers):
        return RenewedSubscriptions(self.node, Clocks(self.node).timer, subscribers)


def there(node, topic, count):
    """Publishers of a topic, once they are known."""
    publishers = [node.create_publisher(Image, topic, SENSOR) for _ in range(count)]
    spin_until(node, lambda: node.count_publishers(topic) == count)
    return publishers


def test_all_subscriptions_of_the_topic_are_made_anew_each_time_and_those_of_others_stay(node):
    heard = Heard(node)
    wanted = [("left", "a"), ("right", "b"), ("left", "c")]
    renewed = heard.renewed(*(heard.subscriber(topic, name) for topic, name in wanted))
    assert heard.said == ["a", "b", "c"]
    (staying,) = there(node, "right", 1)
    for count in (5, 7):
        (going,) = there(node, "left", 1)
        renewed.look()
        node.destroy_publisher(going)
        spin_until(node, lambda count=count: len(heard.said) >= count)
        assert heard.said[count - 2 :] == ["a", "c"]
    (again,) = there(node, "left", 1)
    spin_until(node, lambda: again.get_subscription_count() == 2)
    spin_until(node, lambda: again.publish(Image()) or {("a", 0), ("c", 0)} <= set(heard.said))
    renewed.close()
    spin_until(node, lambda: again.get_subscription_count() == staying.get_subscription_count() == 0)
    assert set(heard.said[7:]) == {("a", 0), ("c", 0)}


def test_nothing_is_missing_from_what_is_recorded_of_another_publisher_and_the_memory_is_freed_when_that_ends(node):
    heard, recorded = Heard(node), [True]
    renewed = heard.renewed(heard.subscriber("picture", "frames"))
    renewed.add(heard.subscriber("picture", "bag", lambda: recorded[0]))
    going, staying = there(node, "picture", 2)
    spin_until(node, lambda: staying.get_subscription_count() == 2)
    renewed.look()
    node.destroy_publisher(going)
    spin_until(node, lambda: node.count_publishers("picture") == 1)
    for k in range(1, 6):
        renewed.look()
        staying.publish(Image(width=k))
        spin_until(node, lambda k=k: {("bag", k), ("frames", k)} <= set(heard.said))
    assert [what for what in heard.said if what[0] == "bag"] == [("bag", k) for k in range(1, 6)]
    assert heard.said.count("bag") == heard.said.count("frames") == 1
    recorded[0] = False
    spin_until(node, lambda: heard.said.count("bag") == heard.said.count("frames") == 2)
    renewed.look()
    assert renewed._renewing is None  # once for each that has gone
    recorded[0] = True
    node.destroy_publisher(staying)  # with nobody there, nothing is missed
    spin_until(node, lambda: heard.said.count("bag") == heard.said.count("frames") == 3)
    renewed.close()


def test_also_what_is_recorded_is_subscribed_to_anew_when_many_have_gone(node):
    heard = Heard(node)
    renewed = heard.renewed(heard.subscriber("picture", "bag", lambda: True))
    *going, _ = there(node, "picture", MOST_LEFT + 2)
    renewed.look()
    for left, publisher in enumerate(going, 1):
        node.destroy_publisher(publisher)
        spin_until(node, lambda left=left: node.count_publishers("picture") == MOST_LEFT + 2 - left)
        renewed.look()
        assert (renewed._renewing is not None) == (left > MOST_LEFT)
    spin_until(node, lambda: heard.said == ["bag", "bag"])
    renewed.close()


def test_what_has_left_is_not_subscribed_to_again(node):
    heard = Heard(node)
    staying, leaving = heard.subscriber("picture", "frames"), heard.subscriber("picture", "bag")
    renewed = heard.renewed(staying, leaving)
    (publisher,) = there(node, "picture", 1)
    spin_until(node, lambda: publisher.get_subscription_count() == 2)
    for _ in range(2):
        renewed.remove(leaving)
    spin_until(node, lambda: publisher.get_subscription_count() == 1)
    renewed.look()
    node.destroy_publisher(publisher)
    spin_until(node, lambda: len(heard.said) == 3)
    assert heard.said == ["frames", "bag", "frames"]
    renewed.close()
