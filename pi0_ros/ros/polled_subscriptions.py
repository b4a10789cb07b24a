"""Subscriptions that a loop reads by itself, once a period, instead of being called by the thread that spins.

rclpy's executor spends more time on waking for a message than on its content, holds the GIL meanwhile, and wakes at the
sender's moments. Read at the start of a period, they neither interrupt the loop nor make it wait when it wakes.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState

from pi0_ros.ros.any_publisher import Repeats
from pi0_ros.ros.bounded import MAX_BYTES
from pi0_ros.ros.matching import kind_of
from pi0_ros.ros.publishers import full_name
from pi0_ros.ros.taking import Collector, Reader, TakenMessage

MOST = 64  # messages of one subscription in one period
DRAINED = 4096  # messages of one subscription that are dropped at once
RECOUNT = 50  # periods between two looks at how many publishers there are
STAMPED = 12  # bytes before a JointState's frame: encapsulation and stamp
SUBJECTS = 16  # sets of joint names that are distinguished on one topic
MOST_NAMES = 1024


class PolledGroup(CallbackGroup):
    """Entities that no executor waits for."""

    def can_execute(self, entity: object) -> bool:
        """Never: they are read with `PolledSubscriptions.take`."""
        return False

    def beginning_execution(self, entity: object) -> bool:
        """Never."""
        return False

    def ending_execution(self, entity: object) -> None:
        """Nothing to be done."""


@dataclass
class _PolledSubscription:
    """A subscription with everything at hand that reading it needs: most periods find nothing, and asking is all that is done.

    `take` gives the next message. `newest`: older messages about the same are dropped. `publishers`: names of the nodes that send. `repeats`: what
    several subscriptions of one topic have delivered already.
    """

    subscription: Subscription
    kind: type
    take: Callable[[], TakenMessage | None]
    topic: str
    newest: bool
    most: int = MOST
    largest: float = math.inf
    repeats: Repeats = field(default_factory=Repeats)
    publishers: tuple[str, ...] = ()
    subjects: Subjects = field(default_factory=lambda: Subjects())


class PolledSubscriptions:
    """The subscriptions of one node that are read in turn. `refused(topic, error)` hears of unreadable messages.

    However much is sent, what is done in a period is bounded: messages of one subscription, bytes of one message, and time.
    """

    def __init__(self, node: Node, refused: Callable[[str, Exception], None]) -> None:
        self._node, self._refused = node, refused
        self._polled: list[_PolledSubscription] = []
        self.collectors: list[Collector] = []
        self._counted = self._first = 0
        self.group = PolledGroup()
        self.age = 0.0
        """How long ago [s] the message that a callback is called with was received."""
        self.sequence = 0
        """Its number among those of its publisher, 0 if the network layer does not say."""
        self.publisher = b""
        """The id of its publisher."""

    def add(self, kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile) -> Subscription:
        """Subscribe; the callback is called by `take`."""
        return self.keep(self._node.create_subscription(kind, topic, callback, qos, callback_group=self.group))

    def keep(self, subscription: Subscription, newest: bool = False) -> Subscription:
        """Read this subscription, of the callback group `group`, too.

        `newest`: of one publisher's messages about the same joints all but the newest are dropped. Messages about other
        joints (an arm and its gripper in turn on one `joint_states`) and of several publishers are all read.
        """
        kind = kind_of(subscription)
        largest = MAX_BYTES[kind]
        take = partial(Reader(subscription).take, largest)
        self._polled.append(
            _PolledSubscription(subscription, kind, take, subscription.topic_name, newest, largest=largest)
        )
        return subscription

    def keep_together(
        self, subscriptions: Sequence[Subscription], most: int = MOST, largest: float = math.inf
    ) -> Collector:
        """Read subscriptions of one topic, and what more than one of them delivers once.

        They are reliable, so that whatever somebody sends arrives whole, however large: a thread collects it, which ends with
        `close`. `most`: messages of each that are read in one period; the others wait, and the oldest are lost. `largest`:
        bytes of a message; a larger one is refused unread, and nothing more of that subscription is read in this period.
        """
        repeats, readers = Repeats(), [Reader(subscription) for subscription in subscriptions]
        topic, kind = subscriptions[0].topic_name, kind_of(subscriptions[0])
        largest = min(largest, MAX_BYTES[kind])
        collector = Collector(readers, most, largest, f"reader of {topic}", self._node.get_logger().error)
        for reader in readers:
            take = partial(collector.take, reader)
            self._polled.append(
                _PolledSubscription(reader.subscription, kind, take, topic, False, most, largest, repeats)
            )
        self.collectors.append(collector)
        return collector

    @property
    def subscriptions(self) -> list[Subscription]:
        """What is read."""
        return [entry.subscription for entry in self._polled]

    def recount(self) -> bool:
        """Look now and then who publishes; whether that has changed for a subscription that wants the newest alone."""
        self._counted += 1
        if self._counted % RECOUNT != 1:
            return False
        changed = False
        for entry in self._polled:
            if entry.newest and self._node.count_publishers(entry.topic) != len(entry.publishers):
                found = self._node.get_publishers_info_by_topic(entry.topic)
                entry.publishers = tuple(sorted(full_name(info) for info in found))
                changed = True
        return changed

    def publishers(self, subscription: Subscription) -> tuple[str, ...]:
        """Names of the nodes that publish what a subscription reads, as they were at the last `recount`."""
        return next((entry.publishers for entry in self._polled if entry.subscription is subscription), ())

    def take(self, longest: float, budget: float = math.inf) -> int:
        """Call the callbacks with what has come and return how often; no message is taken to be older than `longest` [s].

        After `budget` [s] the others wait for the next call, which begins with them.
        """
        until, first, count, taken = time.monotonic() + budget, self._first, len(self._polled), 0
        self._first = 0
        for k in range(count):
            entry = self._polled[(first + k) % count]
            for message, taken_as in self._read(entry):
                # A step of the system clock in between must not make a message younger than now, or old.
                self.age = min(max(time.time() - taken_as.received * 1e-9, 0.0), longest)
                self.sequence, self.publisher = taken_as.sequence, taken_as.publisher
                entry.subscription.callback(message)
                taken += 1
            if time.monotonic() > until:
                self._first = (first + k + 1) % count
                break
        return taken

    def drain(self, deliver_last: bool = False) -> None:
        """Forget what has come so far; with `deliver_last` the callbacks get the last message of each publisher."""
        for entry in self._polled:
            last: dict[bytes, TakenMessage] = {}
            for _ in range(DRAINED):
                for collector in self.collectors:
                    collector.collect()
                taken = entry.take()
                if taken is None:
                    break
                last.pop(taken.publisher, None)
                last[taken.publisher] = taken  # in the order in which they came
            for taken in last.values() if deliver_last else ():
                message = self._message(entry, taken.data) if taken.data is not None else None
                if message is not None:
                    self.age, self.publisher = 0.0, taken.publisher
                    entry.subscription.callback(message)

    def _read(self, entry: _PolledSubscription) -> list[tuple[Any, TakenMessage]]:
        raw = self._raw(entry)
        # Turning bytes into Python is what costs: done once, however fast the sender is.
        return [(message, taken) for data, taken in raw if (message := self._message(entry, data)) is not None]

    def _raw(self, entry: _PolledSubscription) -> list[tuple[bytes, TakenMessage]]:
        found: list[tuple[bytes, TakenMessage]] = []
        for _ in range(entry.most):
            taken = entry.take()
            if taken is None:
                break
            if taken.data is None:
                self._refused(entry.topic, ValueError(_too_many(taken.size, entry.largest)))
                break
            if not entry.repeats.seen(taken.sent, taken.data):
                found.append((taken.data, taken))
        if not found or not entry.newest or len(entry.publishers) > 1:
            return found
        return entry.subjects.newest(found) if entry.kind is JointState else found[-1:]

    def _message(self, entry: _PolledSubscription, data: bytes) -> Any:
        try:
            return deserialize_message(data, entry.kind)
        except Exception as error:  # noqa: BLE001 - bytes that are no message, text that is no UTF-8
            self._refused(entry.topic, error)
            return None


def _too_many(size: int, largest: float) -> str:
    if not size:
        return "a message that the network layer could not hand over"
    return f"{size:,} bytes are more than the {largest:,.0f} that it may have"


class Subjects:
    """Which serialized joint states speak of the same joints: those whose frame and names are the same bytes.

    A JointState in CDR begins with four bytes of encapsulation and eight of the stamp; frame and names follow.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}  # frame and names as they came, and what they are told by

    def newest(self, taken: Sequence[tuple[bytes, Any]]) -> list[tuple[bytes, Any]]:
        """The newest message about each subject, in the order in which these came."""
        last: dict[bytes, tuple[bytes, Any]] = {}
        for data, info in taken:
            subject = self._subject(bytes(data))
            last.pop(subject, None)
            last[subject] = (data, info)
        return list(last.values())

    def _subject(self, data: bytes) -> bytes:
        for known, subject in self._known.items():
            if data.startswith(known, STAMPED):
                return subject
        names = frame_and_names(data)
        if names and len(self._known) < SUBJECTS:
            self._known[data[STAMPED : STAMPED + len(names)]] = names
        return names


def frame_and_names(data: bytes) -> bytes:
    """The bytes of a serialized JointState that hold its frame and joint names; b"" if they are not to be found.

    Bytes between them, which are there to align and may be any, are zero.
    """
    found = bytearray(data)
    order, at = "<" if data[1:2] == b"\x01" else ">", STAMPED
    try:
        (size,) = struct.unpack_from(f"{order}I", data, at)  # frame_id: its length, then its characters and a zero
        at = _aligned(found, at + 4 + size)
        (count,) = struct.unpack_from(f"{order}I", data, at)
        at += 4
        if not 0 < count <= MOST_NAMES:
            return b""
        for _ in range(count):
            (size,) = struct.unpack_from(f"{order}I", data, at)
            end = at + 4 + size
            at = _aligned(found, end)
    except struct.error:
        return b""
    return bytes(found[STAMPED:end]) if end <= len(data) else b""


def _aligned(data: bytearray, end: int) -> int:
    """The next place of a four-byte number; counted from behind the encapsulation, which is four bytes itself. What is
    between becomes zero."""
    at = (end + 3) // 4 * 4
    data[end:at] = bytes(at - end)
    return at
