"""Messages that cannot be used are counted, and told once per topic and second."""

import pytest

pytest.importorskip("rclpy")

from pi0_ros.ros.refusals import COMPLAINTS, RefusalEvents, Refusals


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, text, throttle_duration_sec):
        self.lines.append((text, throttle_duration_sec))


class Time:
    def __init__(self):
        self.now = 10.0

    def __call__(self):
        return self.now


def test_the_last_refusal_and_their_number_are_values_once_there_is_one():
    refusals = Refusals(log := Log())
    assert refusals.values() == {}
    refusals.add("joint_states", ValueError("no names"))
    refusals.add("base_camera/image_raw", ValueError("no pixels"))
    assert refusals.values() == {"messages_refused": 2, "last_refusal": "base_camera/image_raw: no pixels"}
    assert log.lines[0] == ("message on joint_states refused: no names", 1.0)


def test_whatever_a_message_says_is_one_printable_line():
    refusals, events = Refusals(Log()), RefusalEvents(Time())
    for each in (refusals, events):
        each.add("joint_states", ValueError("a\nb\x1b[31m" + "c" * 5000))
        assert each.last.isprintable() and len(each.last) <= 400


def test_a_topic_is_told_of_once_a_second_and_each_by_itself_and_all_are_counted():
    events = RefusalEvents(time := Time())
    for _ in range(3):
        events.add("joint_states", ValueError("no names"))
    events.add("odom", ValueError("no twist"))
    first, second = events.take()
    assert (first.level, first.name, first.steady) == ("warn", "message", 10.0)
    assert first.text == "message on joint_states refused: no names"
    assert second.text == "message on odom refused: no twist"
    time.now += 0.99 * COMPLAINTS
    events.add("joint_states", ValueError("no names"))
    assert events.take() == ()
    time.now += 0.02 * COMPLAINTS
    events.add("joint_states", ValueError("still no names"))
    assert [e.text for e in events.take()] == ["message on joint_states refused: still no names"]
    assert (events.count, events.last) == (6, "joint_states: still no names")


def test_after_clear_the_next_one_is_told_at_once():
    events = RefusalEvents(Time())
    events.add("odom", ValueError("no twist"))
    events.clear()
    assert (events.count, events.last, events.take()) == (0, "", ())
    events.add("odom", ValueError("no twist"))
    assert len(events.take()) == 1
