"""What the executor subscribes to, when it reads which of it, and what it makes of who publishes; the network is a stand-in."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from pi0_ros.msg import ActionChunk
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, String

from pi0_ros.control.modes import Trigger
from pi0_ros.robot import load_robot
from pi0_ros.ros import executor_inputs
from pi0_ros.ros.executor_delivery import PolledInputs
from pi0_ros.ros.executor_inputs import ExecutorInputs

PERIOD, STEADY, ROS = 0.02, 50.0, 1000.0
ROBOT = load_robot("mobile_bimanual")


class Polled:
    """Subscriptions of one kind: what they are made for, and when they are read."""

    def __init__(self, name, calls):
        self.name, self.calls, self.group, self.changed, self.count = name, calls, f"group of {name}", False, 0
        self.kept, self.added, self.together = [], [], []

    def keep(self, subscription, newest=False):
        self.kept.append((subscription, newest))
        return subscription

    def add(self, kind, topic, callback, qos):
        self.added.append((kind, topic, callback, qos))
        return f"{kind.__name__} on {topic}"

    def keep_together(self, subscriptions, most, largest):
        self.together.append((subscriptions, most, largest))
        return SimpleNamespace(thread=f"thread of {self.name}")

    def take(self, *bounds):
        self.calls.append((self.name, "take", *bounds))
        return self.count

    def drain(self, deliver_last=False):
        self.calls.append((self.name, "drain", deliver_last))

    def recount(self):
        return self.changed

    def publishers(self, subscription):
        return (f"driver of {subscription}",)

    @property
    def subscriptions(self):
        return [self.name]


class Node:
    """The executor node as its inputs see it; `there` says who publishes on a topic."""

    def __init__(self):
        self.clocks = SimpleNamespace(steady=lambda: STEADY + self.later, ros=lambda: ROS)
        self.owned, self.watched, self.there, self.looked, self.later = [], [], {}, [], 0.0
        self.own, self.watch_thread = self.owned.append, self.watched.append

    def resolve_topic_name(self, name):
        return f"/{name}"

    def count_publishers(self, topic):
        return len(self.there.get(topic, ()))

    def get_publishers_info_by_topic(self, topic):
        self.looked.append(topic)
        return [
            SimpleNamespace(node_namespace="/", node_name=name, endpoint_gid=name.encode())
            for name in self.there.get(topic, ())
        ]


class Core:
    def __init__(self):
        self.told = {}

    def __getattr__(self, name):
        return lambda *given: self.told.setdefault(name, []).append(given)


@pytest.fixture
def build(monkeypatch):
    def make(deadman="pad"):
        node, calls, made = Node(), [], {}
        polled = PolledInputs(*(Polled(name, calls) for name in PolledInputs._fields))
        monkeypatch.setattr(executor_inputs.PolledInputs, "of", lambda of, refusals: made.update(of=of) or polled)
        states = lambda of, source, *given: made.setdefault("states", {}).update({source.topic: given}) or source.topic
        monkeypatch.setattr(executor_inputs, "subscribe_state", states)

        def any_of(of, kind, topic, callback, depth, latched, group):
            made[topic] = (kind, callback, depth, latched, group)
            return [f"{topic} {k}" for k in range(2)]

        monkeypatch.setattr(executor_inputs, "subscribe_to_any", any_of)
        robot = replace(ROBOT, takeover=replace(ROBOT.takeover, deadman_topic=deadman, deadman_button=2))
        inputs = ExecutorInputs(node, robot, PERIOD)
        inputs._delivery.restart(core := Core())
        return SimpleNamespace(inputs=inputs, node=node, polled=polled, calls=calls, made=made, core=core)

    return make


def test_state_is_read_newest_first_and_goes_where_messages_of_its_kind_go(build):
    stage = build()
    to, topics = stage.inputs._delivery, [source.topic for source in ROBOT.state]
    given = (to.on_joints, to.on_odometry, stage.inputs.refusals.add, "group of routine")
    assert stage.made["states"] == dict.fromkeys(topics, given)
    assert stage.polled.routine.kept == [(topic, True) for topic in topics]
    assert all(topic in stage.node.owned for topic in topics)


def test_every_device_of_a_person_is_read_at_the_deadline(build):
    stage = build()
    devices = {g.teleop.topic for g in ROBOT.groups if g.teleop is not None}
    added = {topic: (kind, callback) for kind, topic, callback, _ in stage.polled.urgent.added}
    assert added.keys() == devices | {"pad"}
    assert added["pad"] == (Joy, stage.inputs._delivery.on_joy)
    for group in ROBOT.groups:
        if group.teleop is not None:
            kind, callback = added[group.teleop.topic]
            assert callback.func == stage.inputs._delivery.on_teleop and callback.args == (group, group.teleop)
            assert f"{kind.__name__} on {group.teleop.topic}" in stage.node.owned
    assert added["teleop/left_arm"][0] is JointState and "Joy on pad" in stage.node.owned
    assert "pad" not in {topic for _, topic, *_ in build(deadman="").polled.urgent.added}


def test_chunks_words_and_buttons_are_heard_of_any_publisher_and_are_bounded(build):
    stage = build()
    to, polled = stage.inputs._delivery, stage.polled
    kind, callback, depth, latched, group = stage.made["action_chunk"]
    assert (kind, callback, latched, group) == (ActionChunk, to.on_chunk, False, polled.chunks.group)
    (chunks, most, largest), *_ = polled.chunks.together
    assert chunks == ["action_chunk 0", "action_chunk 1"] and 1 <= most <= depth
    # the largest plan that may be sent, in 4 bytes a value, fits with its names
    assert 4 * executor_inputs.MAX_ROWS * len(ROBOT.channels) + 10_000 < largest < 2**26
    kind, callback, depth, latched, group = stage.made["policy_state"]
    assert (kind, callback, latched, group) == (String, to.on_policy_state, True, polled.words.group)
    (words, most, largest), *_ = polled.words.together
    assert words == ["policy_state 0", "policy_state 1"] and most == depth and 1000 < largest < 2**16
    kind, callback, depth, latched, group = stage.made["estop"]
    assert (kind, callback, latched, group) == (Bool, to.on_estop, True, polled.estop.group)
    (buttons, most, largest), *_ = polled.estop.together
    assert buttons == ["estop 0", "estop 1"] and most == depth >= 100 and 8 <= largest < 1000


def test_everything_is_destroyed_with_the_node_and_its_threads_are_watched(build):
    stage = build()
    everything = {f"{topic} {k}" for topic in ("action_chunk", "policy_state", "estop") for k in range(2)}
    assert everything <= {each for each in stage.node.owned if isinstance(each, str)}
    threads = {f"thread of {name}" for name in ("words", "chunks", "estop")}
    assert set(stage.node.watched) == threads
    assert threads == {each.thread for each in stage.node.owned if isinstance(each, SimpleNamespace)}
    assert stage.inputs.subscriptions == list(PolledInputs._fields)


def test_a_new_core_gets_only_what_comes_later_but_for_a_button_that_is_pressed_and_the_last_word(build):
    stage = build()
    stage.inputs.refusals.add("teleop", ValueError("too few"))
    stage.inputs.deliver_to(core := Core())
    assert stage.inputs._delivery.core is core
    assert sorted(stage.calls) == sorted(
        (name, "drain", name in ("estop", "words")) for name in ("routine", "chunks", "urgent", "estop", "words")
    )
    assert stage.inputs.events() == () and stage.inputs.refusals.count == 0


def test_a_core_that_takes_the_place_of_another_one_forgets_nothing(build):
    stage = build()
    stage.inputs.refusals.add("teleop", ValueError("too few"))
    stage.inputs.replace_core(core := Core())
    assert stage.inputs._delivery.core is core and not stage.calls
    (event,) = stage.inputs.events()
    assert "teleop" in event.text and stage.inputs.events() == ()


def test_measurements_and_words_are_read_before_the_deadline_within_a_share_of_the_period(build):
    stage = build()
    stage.inputs.read_routine()
    words, routine = stage.calls
    assert words == ("words", "take", 2.0 * PERIOD)
    assert routine[:3] == ("routine", "take", 2.0 * PERIOD) and 0.0 < routine[3] < 0.5 * PERIOD
    assert stage.core.told["on_second_publisher"] == [(STEADY, ROS, "", Trigger.TWO_DEVICES)]
    assert "on_publishers" not in stage.core.told and stage.inputs.competing == ("", "")


def test_chunks_are_read_within_a_share_of_the_period_and_it_says_whether_there_was_one(build):
    stage = build()
    assert stage.inputs.read_chunks() is False
    stage.polled.chunks.count = 1
    assert stage.inputs.read_chunks() is True
    for name, _, longest, budget in stage.calls:
        assert (name, longest) == ("chunks", 2.0 * PERIOD) and 0.0 < budget < 0.5 * PERIOD


def test_the_stop_button_is_read_before_what_a_person_drives_with(build):
    stage = build()
    stage.inputs.read_urgent()
    assert stage.calls == [("estop", "take", 2.0 * PERIOD), ("urgent", "take", 2.0 * PERIOD)]


def test_the_core_hears_who_publishes_state_when_that_has_changed(build):
    stage = build()
    stage.polled.routine.changed = True
    stage.inputs.read_routine()
    topics = [source.topic for source in ROBOT.state]
    assert stage.core.told["on_publishers"] == [({topic: (f"driver of {topic}",) for topic in topics},)]


def test_two_policies_or_two_devices_are_named(build):
    stage = build()
    stage.node.there = {"/action_chunk": ["one", "two"], "/teleop/left_arm": ["glove", "pad"]}
    for sender in (b"glove", b"pad"):
        stage.inputs._devices.follows("teleop/left_arm", sender, STEADY)
    stage.inputs.read_routine()
    devices, policies = stage.inputs.competing
    assert "/glove" in devices and "/pad" in devices and "teleop/left_arm" in devices
    assert "/one" in policies and "/two" in policies
    assert stage.core.told["on_second_publisher"] == [(STEADY, ROS, devices, Trigger.TWO_DEVICES)]


def test_one_policy_is_not_looked_at_in_every_period_and_is_named_when_that_is_asked(build):
    stage = build()
    stage.node.there = {"/action_chunk": ["one"]}
    for later in (0.0, 1.0):
        stage.node.later = later
        stage.inputs.read_routine()
    assert stage.inputs.competing == ("", "") and not stage.node.looked
    assert stage.inputs.policies() == ("/one",)
    stage.node.there = {"/action_chunk": ["three"]}
    assert stage.inputs.policies() == ("/three",)


def test_the_pad_of_a_deadman_has_room_for_one_as_well(build):
    stage = build()
    stage.node.there = {"/pad": ["left", "right"]}
    for sender in (b"left", b"right"):
        stage.inputs._devices.follows("pad", sender, STEADY)
    stage.inputs.read_routine()
    assert "pad" in stage.inputs.competing[0]
