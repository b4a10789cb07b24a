"""The network layer drops what is larger than any honest message: it takes no memory, and what comes after it is heard."""

import ctypes
import os
import subprocess
import sys
from importlib import import_module

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from pi0_ros.ros.bounded_types import (
    FAST_DDS,
    NAMED,
    REQUESTS,
    _bound,
    _Message,
    _Type,
    _wanted,
    _writable,
    message_type,
    request_type,
)
from pi0_ros.ros.lifecycle import ManagedNode

LISTENER = """
import sys, threading
import rclpy
from rclpy.qos import qos_profile_sensor_data
from std_msgs.msg import String
from pi0_ros.ros.bounded_types import bound_types
from pi0_ros.ros.run import bound_memory

bound_memory()
print(bound_types(), flush=True)
rclpy.init(domain_id=int(sys.argv[1]))
node, heard = rclpy.create_node("listener"), []
node.declare_parameter("word", "")
for quality in (2, qos_profile_sensor_data):
    node.create_subscription(String, "words", lambda message: heard.append(message.data), quality)

def answer():
    for _ in sys.stdin:
        peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
        print(peak, sorted(heard), flush=True)

threading.Thread(target=answer, daemon=True).start()
rclpy.spin(node)
"""
MEGABYTE = 1000  # [kB]

pytestmark = pytest.mark.skipif(
    rclpy.get_rmw_implementation_identifier() != FAST_DDS, reason="needs Fast DDS, whose memory this is about"
)


class Listener:
    """A process of its own that hears words and can be asked what it has heard and how much memory it ever had [kB]."""

    def __init__(self, domain):
        words = [sys.executable, "-c", LISTENER, str(domain)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.unbounded = self._next()

    def _next(self):
        while "RTPS" in (line := self.process.stdout.readline()):  # Fast DDS says what it drops
            continue
        return line.strip()

    def ask(self):
        print(file=self.process.stdin, flush=True)
        peak, _, heard = self._next().partition(" ")
        return int(peak), heard


@pytest.fixture
def listener():
    domain = 1 + os.getpid() % 100
    made = Listener(domain)
    rclpy.init(domain_id=domain)
    yield made
    made.process.kill()
    made.process.wait(60.0)
    rclpy.shutdown()


def request(text):
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
    return SetParameters.Request(parameters=[Parameter(name="word", value=value)])


def test_what_no_honest_neighbour_sends_takes_no_memory_and_what_comes_after_it_is_heard(listener):
    assert listener.unbounded == "()"
    node = rclpy.create_node("neighbour")
    publisher = node.create_publisher(String, "words", QoSProfile(depth=1))
    client = node.create_client(SetParameters, "listener/set_parameters")
    while publisher.get_subscription_count() < 2 or not client.service_is_ready():
        os.sched_yield()
    before, _ = listener.ask()
    for text in ("x" * 40_000_000, "hello"):
        publisher.publish(String(data=text))
        assert publisher.wait_for_all_acked()
    client.call_async(request("x" * 10_000_000))
    answered = client.call_async(request("hello"))
    rclpy.spin_until_future_complete(node, answered)
    assert answered.result().results[0].successful
    heard = ""
    while heard.count("hello") < 2:
        after, heard = listener.ask()
    assert heard == "['hello', 'hello']"
    assert after - before < 10 * MEGABYTE, f"from {before} to {after} kB"


def unbounded(kind):
    """Whether a message of this class may have a text or a sequence of any length."""
    for field in kind.get_fields_and_field_types().values():
        inner = field.removeprefix("sequence<").split(">")[0].split("[")[0].split(",")[0]
        if field == "string" or (field.startswith("sequence<") and "," not in field):
            return True
        if "/" in inner:
            package, name = inner.split("/")
            if unbounded(getattr(import_module(f"{package}.msg"), name)):
                return True
    return False


def test_every_service_of_a_node_has_requests_that_are_bounded():
    rclpy.init(domain_id=1 + os.getpid() % 100)
    try:
        node = ManagedNode("served")
        while not (found := node.get_service_names_and_types_by_node("served", "/")):
            os.sched_yield()
        node.destroy_node()
    finally:
        rclpy.shutdown()
    kinds = {kind for _, of in found for kind in of}
    assert {"rcl_interfaces/srv/SetParameters", "type_description_interfaces/srv/GetTypeDescription"} <= kinds
    for kind in sorted(kinds):
        package, _, name = kind.split("/")
        service = getattr(import_module(f"{package}.srv"), name)
        assert service in REQUESTS or not unbounded(service.Request), kind


def test_every_type_is_bounded_but_pictures_and_no_closer_than_it_takes_to_be_refused_by_name():
    assert NAMED == 65536
    found = {
        name: (of, most) for name, of, most in _wanted({String: 10, Image: 9, JointState: 70_000, CompressedImage: 8})
    }
    assert {name: most for name, (_, most) in found.items()} == {
        "String": 65536,
        "JointState": 70_000,
        **{service.__name__: 65536 for service in REQUESTS},
    }
    named = {name: (of.namespace, of.name) for name, (of, _) in found.items()}
    assert named["JointState"] == ("sensor_msgs::msg", "JointState")
    assert named["SetParameters"] == ("rcl_interfaces::srv", "SetParameters_Request")


def test_a_description_is_that_of_the_class_and_says_whether_it_has_a_bound():
    """A time has 8 bytes, a text any number."""
    from builtin_interfaces.msg import Time

    for kind, namespace, bounded in ((Time, b"builtin_interfaces::msg", 1), (String, b"std_msgs::msg", 0)):
        of, said = message_type(kind), ctypes.c_char(b"\1")
        assert (of.description.namespace, of.description.name) == (namespace, kind.__name__.encode())
        size = of.description.max_size(ctypes.pointer(said))
        assert said.value[0] & 1 == bounded and (size == 8 or not bounded)
    assert request_type(SetParameters).description.name == b"SetParameters_Request"


def test_a_bound_is_written_where_that_is_allowed_and_is_without_the_encapsulation():
    description = _Message(name=b"Words")
    at, said = ctypes.addressof(description), ctypes.c_char(b"\0")
    of = _Type("words", "Words", description)
    assert not _bound(of, 1000, (range(at + 1, at + 9), range(at - 9, at))) and not description.max_size
    assert _bound(of, 1000, (range(1), range(at, at + 1)))
    assert description.max_size(ctypes.pointer(said)) == 996 and said.value == b"\1"


def test_memory_that_may_be_written_is_told_from_memory_that_may_not():
    there = ctypes.create_string_buffer(8)
    code = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value
    parts = tuple(_writable())
    assert any(ctypes.addressof(there) in part for part in parts) and not any(code in part for part in parts)
