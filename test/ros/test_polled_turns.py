"""What a loop reads in one period, with stand-ins for node and subscriptions."""

import struct
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from pi0_ros.ros import polled_subscriptions
from pi0_ros.ros.polled_subscriptions import PolledSubscriptions, _PolledSubscription, frame_and_names
from pi0_ros.ros.taking import TakenMessage


def taken(text: str, publisher: bytes = b"a", sent: int = 0, received: int = 0, sequence: int = 0) -> TakenMessage:
    data = serialize_message(String(data=text))
    return TakenMessage(data, len(data), sent, received, sequence, publisher)


class Set:
    """Subscriptions that have `waiting` messages each; `heard` is what the callbacks got."""

    def __init__(self, *waiting: list[TakenMessage], **options: object) -> None:
        self.heard, self.refused, self.nodes, self.asked = [], [], {}, []
        node = SimpleNamespace(
            count_publishers=lambda topic: len(self.nodes.get(topic, ())),
            get_publishers_info_by_topic=lambda topic: self.asked.append(topic) or self.nodes[topic],
        )
        self.read = PolledSubscriptions(node, lambda topic, error: self.refused.append((topic, str(error))))
        self.waiting = [list(messages) for messages in waiting]
        for k, messages in enumerate(self.waiting):
            self.read._polled.append(self.entry(k, messages, **options))

    def entry(self, k: int, messages: list[TakenMessage], **options: object) -> _PolledSubscription:
        def heard(message: String) -> None:
            read = self.read
            self.heard.append((k, message.data, read.age, read.sequence, read.publisher))

        def take() -> TakenMessage | None:
            return messages.pop(0) if messages else None

        usual = {"newest": False}
        return _PolledSubscription(SimpleNamespace(callback=heard), String, take, f"/t{k}", **{**usual, **options})

    @property
    def texts(self) -> list[tuple[int, str]]:
        return [(k, text) for k, text, *_ in self.heard]


def test_all_that_came_is_heard_with_its_age_number_and_publisher(monkeypatch):
    monkeypatch.setattr(polled_subscriptions.time, "time", lambda: 50.0)
    old, late = taken("old", b"p", 0, 10_000_000_000, 4), taken("late", b"q", 0, 49_500_000_000, 5)
    ahead = taken("ahead", b"r", 0, 51_000_000_000, 6)  # the clock was set back in between
    one = Set([old, late], [ahead])
    assert one.read.take(3.0) == 3
    assert one.heard == [(0, "old", 3.0, 4, b"p"), (0, "late", 0.5, 5, b"q"), (1, "ahead", 0.0, 6, b"r")]
    assert one.read.take(3.0) == 0


def test_a_period_without_time_left_is_gone_on_with_by_the_next_subscription(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(polled_subscriptions.time, "monotonic", lambda: now.__setitem__(0, now[0] + 1.0) or now[0])
    one = Set(*[[taken(f"{k}{n}") for n in "ab"] for k in range(3)], most=1)
    assert one.read.take(1.0, 0.5) == 1
    assert one.read.take(1.0, 1.5) == 2  # the second and third
    assert one.read.take(1.0) == 3
    assert [text for _, text in one.texts] == ["0a", "1a", "2a", "0b", "1b", "2b"]
    assert one.read.take(1.0, 0.5) == 0
    assert one.read._first == 1


def test_at_the_very_end_of_its_time_a_period_goes_on(monkeypatch):
    monkeypatch.setattr(polled_subscriptions.time, "monotonic", lambda: 7.0)
    one = Set([taken("a")], [taken("b")])
    assert one.read.take(1.0, 0.0) == 2


@pytest.mark.parametrize(
    ("publishers", "heard"), [((), ["c"]), (("/one",), ["c"]), (("/one", "/two"), ["a", "b", "c"])]
)
def test_the_newest_alone_is_heard_of_one_publisher(publishers, heard):
    one = Set([taken(t) for t in "abc"], newest=True, publishers=publishers)
    assert one.read.take(1.0) == len(heard)
    assert [text for _, text in one.texts] == heard


def test_a_message_that_is_too_large_is_refused_and_ends_the_turn_of_its_subscription():
    one = Set(
        [taken("a"), TakenMessage(None, 123_456), taken("b")], [taken("c"), TakenMessage(None, 0)], largest=2000.0
    )
    assert one.read.take(1.0) == 2
    assert one.texts == [(0, "a"), (1, "c")]
    assert one.refused == [
        ("/t0", "123,456 bytes are more than the 2,000 that it may have"),
        ("/t1", "a message that the network layer could not hand over"),
    ]


def test_what_is_no_message_is_refused_and_the_next_is_heard():
    one = Set([TakenMessage(b"\x00\x01\x00\x00\xff\xff\xff\xff", 8), taken("b")])
    assert one.read.take(1.0) == 1
    assert one.texts == [(0, "b")]
    assert [topic for topic, _ in one.refused] == ["/t0"]


def test_what_two_readers_of_a_topic_deliver_is_heard_once():
    repeats = polled_subscriptions.Repeats()
    one = Set([taken("a", sent=5)], [taken("a", sent=5), taken("b", sent=6)], repeats=repeats)
    assert one.read.take(1.0) == 2
    assert one.texts == [(0, "a"), (1, "b")]


@pytest.mark.parametrize("deliver", [False, True])
def test_draining_delivers_at_most_the_last_message_of_each_publisher_in_their_order(deliver):
    messages = [taken("p1", b"p"), taken("q1", b"q"), taken("p2", b"p"), TakenMessage(None, 9, publisher=b"r")]
    one = Set(messages, [taken("x", b"p", received=7, sequence=3)])
    one.read.age = 9.0
    one.read.drain(deliver)
    assert one.waiting == [[], []]
    assert one.texts == ([(0, "q1"), (0, "p2"), (1, "x")] if deliver else [])
    assert all(age == 0.0 for _, _, age, _, _ in one.heard)
    assert [publisher for *_, publisher in one.heard] == ([b"q", b"p", b"p"] if deliver else [])


def test_draining_without_a_word_delivers_nothing_and_ends_however_much_comes(monkeypatch):
    monkeypatch.setattr(polled_subscriptions, "DRAINED", 3)
    one = Set([taken(t) for t in "abcde"])
    collected = []
    one.read.collectors.append(SimpleNamespace(collect=lambda: collected.append(1)))
    one.read.drain()
    assert len(one.waiting[0]) == 2
    assert len(collected) == 3
    assert not one.heard


def test_publishers_are_counted_at_the_first_and_then_every_fiftieth_period():
    one = Set([], [], newest=True)
    one.read._polled[1].newest = False
    info = [SimpleNamespace(node_namespace=space, node_name=name) for space, name in [("/b", "two"), ("/", "one")]]
    one.nodes = {"/t0": info, "/t1": info}
    changed = [k for k in range(120) if one.read.recount() and not one.nodes.update({"/t0": info[: (k // 50) % 2]})]
    assert changed == [0, 50, 100]
    assert one.asked == ["/t0"] * 3


def test_the_names_of_publishers_are_those_of_the_last_count():
    one = Set([], [], newest=True)
    first, second = (entry.subscription for entry in one.read._polled)
    info = [SimpleNamespace(node_namespace=space, node_name=name) for space, name in [("/", "one"), ("/b", "two")]]
    one.nodes = {"/t0": info}
    assert one.read.publishers(first) == ()
    assert one.read.recount() is True
    assert one.read.publishers(first) == ("/b/two", "/one")
    assert one.read.publishers(second) == ()
    assert one.read.publishers(SimpleNamespace()) == ()
    assert one.read.subscriptions == [first, second]


def test_a_count_that_finds_what_was_there_changes_nothing():
    one = Set([], newest=True)
    assert [one.read.recount() for _ in range(60)] == [False] * 60
    assert not one.asked


def test_no_executor_waits_for_the_group():
    group = polled_subscriptions.PolledGroup()
    assert group.can_execute(None) is False
    assert group.beginning_execution(None) is False


@pytest.mark.parametrize(("asked", "largest"), [(99.0, 99.0), (100.0, 100.0), (101.0, 100.0), (None, 100.0)])
def test_what_is_read_together_is_no_larger_than_its_kind_may_be(monkeypatch, asked, largest):
    monkeypatch.setattr(polled_subscriptions, "kind_of", lambda subscription: String)
    monkeypatch.setattr(polled_subscriptions, "MAX_BYTES", {String: 100.0})
    monkeypatch.setattr(polled_subscriptions, "Reader", lambda subscription: SimpleNamespace(subscription=subscription))
    made = []

    def collector(*given: object) -> SimpleNamespace:
        made.append(given)
        return SimpleNamespace(take=lambda reader: reader.subscription.topic_name)

    monkeypatch.setattr(polled_subscriptions, "Collector", collector)
    node = SimpleNamespace(get_logger=lambda: SimpleNamespace(error=print))
    read, pair = PolledSubscriptions(node, print), [SimpleNamespace(topic_name="/arm") for _ in range(2)]
    read.keep_together(pair, 5, **({} if asked is None else {"largest": asked}))
    ((readers, most, bytes_, name, error),) = made
    assert [reader.subscription for reader in readers] == read.subscriptions == pair
    assert (most, bytes_, name, error) == (5, largest, "reader of /arm", print)
    assert [(e.most, e.largest, e.newest, e.take()) for e in read._polled] == [(5, largest, False, "/arm")] * 2
    assert read._polled[0].repeats is read._polled[1].repeats
    assert len(read.collectors) == 1


@pytest.mark.parametrize("newest", [False, True])
def test_what_is_read_alone_is_no_larger_than_its_kind_may_be(monkeypatch, newest):
    monkeypatch.setattr(polled_subscriptions, "kind_of", lambda subscription: String)
    monkeypatch.setattr(polled_subscriptions, "MAX_BYTES", {String: 100.0})
    take = lambda largest: ("taken", largest)
    monkeypatch.setattr(polled_subscriptions, "Reader", lambda subscription: SimpleNamespace(take=take))
    read, one = PolledSubscriptions(None, print), SimpleNamespace(topic_name="/arm")
    assert read.keep(one, newest) is one
    (entry,) = read._polled
    assert (entry.take(), entry.topic, entry.newest) == (("taken", 100.0), "/arm", newest)
    assert (entry.most, entry.largest, entry.publishers) == (64, 100.0, ())


def joints(order: str, count: int, *names: bytes, frame: bytes = b"base\0") -> bytes:
    """Frame and names of a JointState as CDR has them: numbers of four bytes at places that four divides."""
    data = b""
    for part in (frame, *names):
        data += bytes(-len(data) % 4) + struct.pack(f"{order}I", len(part)) + part
        if part is frame:
            data += bytes(-len(data) % 4) + struct.pack(f"{order}I", count)
    return data


@pytest.mark.parametrize(("order", "mark"), [("<", 1), (">", 0)])
@pytest.mark.parametrize("frame", [b"", b"a\0", b"arm\0", b"arms\0"])
def test_frame_and_names_of_a_joint_state_are_found_in_both_orders_of_bytes(order, mark, frame):
    head = bytes([0, mark, 0, 0]) + bytes(8)
    said = joints(order, 2, b"lift\0", b"grip two\0", frame=frame)
    assert frame_and_names(head + said + b"numbers") == said
    assert frame_and_names(head + said) == said
    assert frame_and_names(head + said[:-1]) == b""  # cut within the last name
    assert frame_and_names(head + said[:3]) == b""
    assert frame_and_names(head) == b""


@pytest.mark.parametrize(("count", "found"), [(0, False), (1, True), (1024, True), (1025, False)])
def test_a_joint_state_has_one_to_1024_names(count, found):
    said = joints("<", count, *[b"j\0"] * count)
    assert frame_and_names(bytes([0, 1, 0, 0]) + bytes(8) + said) == (said if found else b"")


def test_joint_states_without_names_are_of_one_subject_and_no_other_is_taken_for_it():
    subjects = polled_subscriptions.Subjects()
    data = lambda *names: bytes(serialize_message(JointState(name=list(names))))
    sent = [(data(), 1), (data("a"), 2), (data(), 3), (data("b"), 4), (data("a"), 5)]
    assert subjects.newest(sent) == [(data(), 3), (data("b"), 4), (data("a"), 5)]
    assert subjects.newest([(data("b"), 6), (data(), 7), (data("b"), 8)]) == [(data(), 7), (data("b"), 8)]
