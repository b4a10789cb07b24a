"""The thread that answers services outlives whatever a callback does."""

import os
import threading

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from rclpy.serialization import serialize_message
from rclpy.waitable import NumberOfEntities, Waitable
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from pi0_ros.ros.spinning import Spinner

PATIENCE = 60.0


class Panic(BaseException):
    """What a library in another language raises: no Exception."""


@pytest.fixture
def spun():
    """(node, call) of a node that is spun; `call(name)` asks one of its Trigger services from another node."""
    rclpy.init(domain_id=1 + os.getpid() % 100)
    node, other, deaths = rclpy.create_node("probe"), rclpy.create_node("other"), []
    spinner, others = Spinner(deaths.append), Spinner()
    spinner.add(node)
    others.add(other)
    node.create_service(Trigger, "alive", lambda _, answer: Trigger.Response(success=True, message="alive"))

    def call(name, kind=Trigger):
        client, done = other.create_client(kind, name), threading.Event()
        assert client.wait_for_service(PATIENCE)
        future = client.call_async(kind.Request())
        future.add_done_callback(lambda _: done.set())
        assert done.wait(PATIENCE), f"{name} did not answer"
        return future.result()

    node.call, node.deaths, node.other, node.spinner = call, deaths, other, spinner
    others.start()
    yield node
    for one in (spinner, others):
        assert one.stop(PATIENCE)
    node.destroy_node()
    other.destroy_node()
    rclpy.try_shutdown()


def raising(error, happened):
    def callback(*_):
        happened.set()
        raise error

    return callback


@pytest.mark.parametrize(
    "error", [RuntimeError("broken"), Panic("broken"), SystemExit(3)], ids=lambda e: type(e).__name__
)
def test_whatever_a_timer_raises_the_services_still_answer(spun, error):
    happened = threading.Event()
    timer = spun.create_timer(0.01, raising(error, happened))
    spun.spinner.start()
    assert happened.wait(PATIENCE)
    assert spun.call("alive").success and spun.spinner.failures > 0 and not spun.deaths
    timer.cancel()


def test_what_a_subscription_raises_stops_neither_it_nor_the_services(spun):
    heard, twice = [], threading.Event()

    def callback(message):
        heard.append(message.data)
        if len(heard) == 2:
            twice.set()
        raise ValueError(message.data)

    spun.create_subscription(String, "words", callback, 10)
    publisher = spun.other.create_publisher(String, "words", 10)
    again = spun.other.create_timer(0.05, lambda: publisher.publish(String(data="word")))
    spun.spinner.start()
    assert twice.wait(PATIENCE)
    again.cancel()
    assert spun.call("alive").success


def test_bytes_that_are_no_message_do_not_make_a_node_deaf(spun):
    heard = threading.Event()
    spun.create_subscription(String, "words", lambda message: heard.set() if message.data == "word" else None, 10)
    publisher = spun.other.create_publisher(String, "words", 10)
    garbled = serialize_message(String(data="a text that is cut"))[:12]
    spun.spinner.start()

    def say():
        for data in (garbled, String(data="word")):
            publisher.publish(data)

    again = spun.other.create_timer(0.05, say)
    assert heard.wait(PATIENCE)
    again.cancel()
    assert spun.call("alive").success


def test_a_service_that_raises_answers_that_it_failed_and_why(spun):
    spun.create_service(Trigger, "broken", raising(KeyError("left_joint1"), threading.Event()))
    spun.create_service(SetBool, "broken_too", raising(KeyError("left_joint1"), threading.Event()))
    spun.spinner.start()
    for name, kind in (("broken", Trigger), ("broken_too", SetBool)):
        answer = spun.call(name, kind)
        assert not answer.success and "left_joint1" in answer.message
    assert spun.call("alive").success


class Broken(Waitable):
    """Ready at once; taking its data raises."""

    def __init__(self, group):
        super().__init__(group)
        self.taken = threading.Event()

    def is_ready(self, wait_set):
        return True

    def take_data(self):
        self.taken.set()
        raise OSError("no data")

    async def execute(self, taken):
        """Never comes that far."""

    def get_num_entities(self):
        return NumberOfEntities()

    def add_to_wait_set(self, wait_set):
        """Needs nothing."""


def test_a_waitable_that_cannot_be_taken_does_not_lock_its_callback_group(spun):
    broken = Broken(spun.default_callback_group)
    spun.add_waitable(broken)
    spun.create_timer(0.01, lambda: None)
    spun.spinner.start()
    assert broken.taken.wait(PATIENCE)
    assert spun.call("alive").success
    spun.remove_waitable(broken)


def test_a_subscription_destroyed_while_it_is_waited_for_ends_nothing(spun):
    spun.spinner.start()
    for _ in range(50):
        spun.destroy_subscription(spun.create_subscription(String, "words", lambda _: None, 10))
    assert spun.call("alive").success and not spun.deaths


def test_that_spinning_ended_unasked_is_told(spun):
    told = threading.Event()
    spun.spinner._died = lambda reason: (spun.deaths.append(reason), told.set())
    spun.spinner.start()
    assert spun.call("alive").success
    rclpy.shutdown()
    assert told.wait(PATIENCE)
    assert spun.deaths == ["the ROS thread ended: ROS was shut down"]
