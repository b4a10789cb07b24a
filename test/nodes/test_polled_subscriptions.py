"""What is read once a period, where one or several publishers speak."""

from array import array

import pytest
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from pi0_ros.control import Answer
from pi0_ros.ros.any_publisher import subscribe_to_any
from pi0_ros.ros.polled_subscriptions import PolledSubscriptions, Subjects, frame_and_names
from pi0_ros.ros.qos import READ, RELIABLE
from pi0_ros.ros.request_services import PER_PERIOD, RequestServices


@pytest.fixture
def entry(graph):
    """(polled, what was heard): a reader that wants the newest alone; it is not spun, so nobody else reads."""
    reader, heard = Node("reader"), []
    polled = PolledSubscriptions(reader, lambda topic, error: pytest.fail(f"{topic}: {error}"))
    subscription = reader.create_subscription(
        String, "joint_states", lambda message: heard.append(message.data), READ, callback_group=polled.group
    )
    polled.keep(subscription, newest=True)
    yield polled, heard, reader
    reader.destroy_node()


def speakers(graph, reader, count):
    """Publishers of nodes of their own, once the reader knows of all of them."""
    nodes = [graph.add(Node(f"driver_{k}")) for k in range(count)]
    made = [node.create_publisher(String, "joint_states", RELIABLE) for node in nodes]
    nodes[0].create_timer(0.02, graph.notify)
    graph.wait(lambda: all(p.get_subscription_count() == 1 for p in made), "the reader")
    graph.wait(lambda: reader.count_publishers("joint_states") == count, "the publishers")
    return made


def say(publisher, *words):
    for word in words:
        publisher.publish(String(data=word))
        assert publisher.wait_for_all_acked()


def test_of_one_publisher_only_the_newest_is_read(graph, entry):
    polled, heard, reader = entry
    (driver,) = speakers(graph, reader, 1)
    say(driver, "one", "two", "three")
    polled.take(1.0)
    assert heard == ["three"]


def test_of_two_publishers_on_one_topic_both_are_read(graph, entry):
    polled, heard, reader = entry
    arm, gripper = speakers(graph, reader, 2)
    say(gripper, "gripper")
    say(arm, "arm one", "arm two")
    assert polled.recount()
    polled.take(1.0)
    assert heard == ["gripper", "arm one", "arm two"]


def joint_state(names, positions, frame=""):
    message = JointState(name=names, position=array("d", positions))
    message.header.frame_id = frame
    return message


def test_of_one_publisher_that_speaks_of_arm_and_gripper_in_turn_the_newest_of_each_is_read(graph):
    reader, heard = Node("reader"), []
    polled = PolledSubscriptions(reader, lambda topic, error: pytest.fail(f"{topic}: {error}"))
    subscription = reader.create_subscription(
        JointState,
        "joint_states",
        lambda m: heard.append(dict(zip(m.name, m.position, strict=True))),
        READ,
        callback_group=polled.group,
    )
    polled.keep(subscription, newest=True)
    node = graph.add(Node("driver"))
    publisher = node.create_publisher(JointState, "joint_states", RELIABLE)
    node.create_timer(0.02, graph.notify)
    graph.wait(lambda: publisher.get_subscription_count() == 1, "the reader")
    for k in range(3):
        publisher.publish(joint_state(["j1", "j2"], [0.1 * k, 0.2 * k]))
        publisher.publish(joint_state(["finger"], [0.01 * k]))
        assert publisher.wait_for_all_acked()
    polled.take(1.0)
    assert heard == [{"j1": 0.2, "j2": 0.4}, {"finger": 0.02}]
    reader.destroy_node()


@pytest.mark.parametrize("frame", ["", "a", "arm_base", "xyz"])
def test_messages_about_the_same_joints_are_known_by_their_bytes(frame):
    def bytes_of(names, positions):
        return bytes(serialize_message(joint_state(names, positions, frame)))

    same = [bytes_of(["left_arm", "b", "ccc"], [x, 2.0, 3.0]) for x in (1.0, 5.0)]
    others = [bytes_of(names, [1.0] * len(names)) for names in (["left_arm", "b"], ["left_arm", "b", "ccd"], ["x"])]
    assert frame_and_names(same[0]) == frame_and_names(same[1]) != b""
    assert len({frame_and_names(data) for data in [*same, *others]}) == 4
    taken = [(same[0], 0), (others[0], 1), (others[1], 2), (same[1], 3), (others[2], 4)]
    assert [info for _, info in Subjects().newest(taken)] == [1, 2, 3, 4]


def test_bytes_that_are_no_joint_state_have_no_names_and_break_nothing():
    whole = bytes(serialize_message(joint_state(["a", "b"], [1.0, 2.0])))
    assert [frame_and_names(whole[:n]) for n in range(24)] == [b""] * 24
    assert frame_and_names(b"\x00\x01\x00\x00" + b"\xff" * 60) == b""


# --- whatever is sent -------------------------------------------------------------------------------------------------


@pytest.fixture
def bounded(graph):
    """(read(**bounds) -> (polled, heard), refused): readers of `flood` that nobody spins."""
    reader, refused, collectors = Node("reader"), [], []

    def read(depth=64, **bounds):
        polled, heard = PolledSubscriptions(reader, lambda topic, error: refused.append(f"{topic}: {error}")), []
        subscriptions = subscribe_to_any(
            reader, String, "flood", lambda m: heard.append(m.data), depth, False, polled.group
        )
        collectors.append(polled.keep_together(subscriptions, **bounds))
        return polled, heard

    yield read, refused, reader
    for collector in collectors:
        collector.close()
    reader.destroy_node()


def flood(graph, *words):
    """A publisher of its own that has said these words to both readers."""
    node = graph.add(Node("flooder"))
    publisher = node.create_publisher(String, "flood", QoSProfile(depth=100))
    node.create_timer(0.02, graph.notify)
    graph.wait(lambda: publisher.get_subscription_count() == 2, "both readers")
    say(publisher, *words)
    return publisher


def test_of_a_flood_a_bounded_number_is_read_in_a_period_and_each_message_once(graph, bounded):
    read, refused, _ = bounded
    polled, heard = read(most=2)
    flood(graph, *(str(k) for k in range(7)))
    before, most = 0, 0
    while len(heard) < 7:
        polled.take(1.0)
        most, before = max(most, len(heard) - before), len(heard)
    assert most <= 4  # of two readers two each
    assert sorted(heard) == [str(k) for k in range(7)] and not refused


def test_a_message_larger_than_any_that_is_right_is_refused_unread(graph, bounded):
    read, refused, _ = bounded
    polled, heard = read(most=8, largest=1000)
    flood(graph, "first", "x" * 5000, "last")
    graph.wait(lambda: polled.take(1.0) * 0 + len(heard) == 2, "both words")
    assert sorted(heard) == ["first", "last"]
    assert refused and all(r.startswith("/flood: 5,0") and "more than the 1,000" in r for r in refused)


def test_after_its_time_is_up_the_others_wait_and_come_first_the_next_time(graph, bounded):
    read, _, reader = bounded
    polled, heard = read(most=1)
    second = reader.create_subscription(
        String, "other", lambda m: heard.append(m.data), READ, callback_group=polled.group
    )
    polled.keep(second)
    node = graph.add(Node("other"))
    other = node.create_publisher(String, "other", RELIABLE)
    flood(graph, "a", "b", "c")
    graph.wait(lambda: other.get_subscription_count() == 1, "the other reader")
    say(other, "other")
    for collector in polled.collectors:
        collector.collect()
    reads = 0
    while "other" not in heard:
        polled.take(1.0, budget=-1.0)
        reads += 1
        assert reads <= 3  # one subscription each time, in turn
    assert len(heard) <= 2


class Queue:
    """A service whose requests are here already."""

    def __init__(self, service, requests):
        self.handle, self._requests, self.send_response = self, requests, service.send_response

    def service_take_request(self, _):
        return self._requests.pop(0) if self._requests else (None, None)


def test_stop_and_hold_are_answered_before_a_storm_of_others_that_is_read_a_few_at_a_time(graph):
    answering, asking = Node("executor"), graph.add(Node("asking"))
    services = RequestServices(answering, "not active")
    services.poll(True)
    clients = {name: asking.create_client(Trigger, f"/executor/{name}") for name in ("autonomy", "hold", "stop")}
    asking.create_timer(0.02, graph.notify)
    graph.wait(lambda: all(c.service_is_ready() for c in clients.values()), "the services")
    answers, order = [clients["autonomy"].call_async(Trigger.Request()) for _ in range(9)], []
    answers += [clients["hold"].call_async(Trigger.Request()), clients["stop"].call_async(Trigger.Request())]
    waiting = {name: service.handle for name, service in services._services}
    came = {name: [] for name in waiting}  # taken aside until all are here, so that one look finds them all

    def all_here():
        for name, handle in waiting.items():
            while (taken := handle.service_take_request(Trigger.Request))[0] is not None:
                came[name].append(taken)
        return sum(map(len, came.values())) == 11

    graph.wait(all_here, "the requests")
    services._services = [(name, Queue(service, came[name])) for name, service in services._services]

    def answer(name):
        order.append(name)
        return Answer(True, f"{name} number {len(order)}")

    services.take(answer)
    assert order == ["stop", "hold", *["autonomy"] * PER_PERIOD]
    graph.wait(lambda: services.take(answer) or len(order) == 11, "all requests")
    services.reply()
    for future in answers:
        future.add_done_callback(lambda _: graph.notify())
    graph.wait(lambda: all(f.done() for f in answers), "all answers")
    assert {f.result().message.split()[0] for f in answers} == {"autonomy", "hold", "stop"}
    answering.destroy_node()


def test_a_message_is_as_old_as_it_lay_there_and_no_older_than_is_said(graph, entry):
    """Received, then read 0.2 s later: a step of the system clock must not make it ages old."""
    polled, _, reader = entry
    ages, (driver,) = [], speakers(graph, reader, 1)
    polled.subscriptions[0].callback = lambda message: ages.append(polled.age)
    for longest in (5.0, 0.05):
        say(driver, "word")
        graph.happens(lambda: False, 0.2)
        polled.take(longest)
    assert 0.15 <= ages[0] <= 5.0 and ages[1] == 0.05
