"""The thread that answers services outlives whatever a callback does."""

import os
import threading
from types import SimpleNamespace

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from rclpy.serialization import serialize_message
from rclpy.waitable import NumberOfEntities, Waitable
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from pi0_ros.ros import spinning
from pi0_ros.ros.spinning import GuardedExecutor, Spinner

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


@pytest.fixture
def graph():
    rclpy.init(domain_id=1 + os.getpid() % 100)
    yield
    rclpy.try_shutdown()


@pytest.mark.usefixtures("graph")
def test_a_wait_that_fails_a_hundred_times_in_a_row_is_given_up_and_one_that_worked_between_begins_the_count_anew(
    monkeypatch,
):
    waits, failed, slept = [], [], []

    def work(timeout):
        waits.append(timeout)
        if len(waits) != 60:
            raise RuntimeError("broken")

    spinner = Spinner()
    spinner._executor = SimpleNamespace(work=work, failed=lambda name, error: failed.append((name, str(error))))
    monkeypatch.setattr(spinning.time, "sleep", slept.append)
    with pytest.raises(RuntimeError, match="broken"):
        spinner._work()
    assert waits == [0.5] * 160 and failed == [("the executor", "broken")] * 159
    assert slept == [0.01] * 158, "not before it gives up"


@pytest.mark.usefixtures("graph")
def test_a_thread_that_was_asked_to_end_ends_without_a_word_and_one_that_was_not_says_why():
    told = []
    for asked, expected in ((True, []), (False, ["the ROS thread ended: it could not go on"])):
        spinner = Spinner(told.append)
        if asked:
            spinner._ending.set()
            assert spinner._work() == ""
        spinner._ended("it could not go on")
        assert told == expected
    assert spinner.failures == 0 and spinner.stop() and spinner._ending.is_set()


@pytest.mark.usefixtures("graph")
def test_what_fails_is_counted_always_and_logged_once_a_second_for_each_name(monkeypatch):
    clock, said = [0.0], []
    monkeypatch.setattr(spinning, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(spinning, "get_logger", lambda name: SimpleNamespace(error=said.append))
    executor = GuardedExecutor()
    for at, name, logged in (
        (0.0, "x", 1),
        (0.99, "x", 1),
        (0.99, "y", 2),
        (1.0, "x", 3),
        (1.9, "y", 3),
        (2.1, "y", 4),
    ):
        clock[0] = at
        executor.failed(name, ValueError(f"no {name}"))
        assert len(said) == logged
    assert executor.failures == 6
    assert said[1].startswith("a callback of y failed:\n") and "ValueError: no y" in said[1]
    executor.shutdown()
