"""Subscriptions that a loop reads by itself, once a period, instead of being called by the thread that spins.

Waiting for messages, rclpy spends more on each than there is in it, holding the interpreter, at moments of the sender's
choosing. Read at the start of a period, they neither interrupt the loop nor make it wait when it wakes.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState

MOST = 64  # messages of one topic in one period
RECOUNT = 50  # periods between two looks at how many publishers there are
STAMPED = 12  # bytes before a JointState's frame: encapsulation and stamp
SUBJECTS = 16  # sets of joint names that are told apart on one topic
MOST_NAMES = 1024


class Unspun(CallbackGroup):
    """Entities that no executor waits for."""

    def can_execute(self, entity: object) -> bool:
        """Never: they are read with `Inlets.take`."""
        return False

    def beginning_execution(self, entity: object) -> bool:
        """Never."""
        return False

    def ending_execution(self, entity: object) -> None:
        """Nothing to be done."""


@dataclass
class _Inlet:
    """A subscription with what reading it takes at hand: most periods find nothing, and asking is all that is done.

    `newest`: older messages about the same are dropped. `publishers`: names of the nodes that send.
    """

    subscription: Subscription
    kind: type
    take: Callable[[type, bool], tuple[Any, Any] | None]
    topic: str
    newest: bool
    publishers: tuple[str, ...] = ()
    subjects: Subjects = field(default_factory=lambda: Subjects())


class Inlets:
    """The subscriptions of one node that are read in turn. `refused(topic, error)` hears of unreadable messages."""

    def __init__(self, node: Node, refused: Callable[[str, Exception], None]) -> None:
        self._node, self._refused = node, refused
        self._inlets: list[_Inlet] = []
        self._counted = 0
        self.group = Unspun()
        self.age = 0.0
        """How long ago [s] the message that a callback is called with was received."""

    def add(self, kind: type, topic: str, callback: Callable[[Any], None], qos: object) -> Subscription:
        """Subscribe; the callback is called by `take`."""
        return self.keep(self._node.create_subscription(kind, topic, callback, qos, callback_group=self.group))

    def keep(self, subscription: Subscription, newest: bool = False) -> Subscription:
        """Read this subscription, of the callback group `group`, too.

        `newest`: of one publisher's messages about the same joints all but the newest are dropped. Messages about other
        joints (an arm and its gripper in turn on one `joint_states`) and of several publishers are all read.
        """
        kind, take = subscription.msg_type, subscription.handle.take_message
        self._inlets.append(_Inlet(subscription, kind, take, subscription.topic_name, newest))
        return subscription

    def recount(self) -> bool:
        """Look now and then who publishes; whether that has changed for a subscription that wants the newest alone."""
        self._counted += 1
        if self._counted % RECOUNT != 1:
            return False
        changed = False
        for inlet in self._inlets:
            if inlet.newest and self._node.count_publishers(inlet.topic) != len(inlet.publishers):
                found = self._node.get_publishers_info_by_topic(inlet.topic)
                inlet.publishers = tuple(sorted(f"{i.node_namespace.rstrip('/')}/{i.node_name}" for i in found))
                changed = True
        return changed

    def publishers(self, subscription: Subscription) -> tuple[str, ...]:
        """Names of the nodes that publish what a subscription reads, as they were at the last `recount`."""
        return next((inlet.publishers for inlet in self._inlets if inlet.subscription is subscription), ())

    def take(self, longest: float) -> None:
        """Call the callbacks with everything that has come; none is taken to be older than `longest` [s]."""
        for inlet in self._inlets:
            for message, info in self._read(inlet, inlet.newest and len(inlet.publishers) <= 1):
                # A step of the system clock in between must not make a message younger than now, or old.
                self.age = min(max(time.time() - info["received_timestamp"] * 1e-9, 0.0), longest)
                inlet.subscription.callback(message)

    def drain(self) -> None:
        """Forget what has come so far."""
        for inlet in self._inlets:
            self._read(inlet, True)

    def _read(self, inlet: _Inlet, newest: bool) -> list[tuple[Any, Any]]:
        kind, take = inlet.kind, inlet.take
        found: list[tuple[Any, Any]] = []
        try:
            while len(found) < MOST and (taken := take(kind, newest)) is not None:
                found.append(taken)
            if newest and found:
                # Turning bytes into Python is what costs: done once for each subject, however fast the sender is.
                kept = inlet.subjects.newest(found) if kind is JointState else found[-1:]
                return [(deserialize_message(data, kind), info) for data, info in kept]
        except Exception as error:  # noqa: BLE001 - bytes that are no message, text that is no UTF-8
            self._refused(inlet.topic, error)
            return [] if newest else found
        return found


class Subjects:
    """Which serialized joint states speak of the same joints: those whose frame and names are the same bytes.

    A JointState in CDR begins with four bytes of encapsulation and eight of the stamp; frame and names follow.
    """

    def __init__(self) -> None:
        self._known: list[bytes] = []

    def newest(self, taken: Sequence[tuple[bytes, Any]]) -> list[tuple[bytes, Any]]:
        """The newest message about each subject, in the order in which these came."""
        last: dict[bytes, tuple[bytes, Any]] = {}
        for data, info in taken:
            subject = self._subject(bytes(data))
            last.pop(subject, None)
            last[subject] = (data, info)
        return list(last.values())

    def _subject(self, data: bytes) -> bytes:
        for known in self._known:
            if data.startswith(known, STAMPED):
                return known
        names = frame_and_names(data)
        if names and len(self._known) < SUBJECTS:
            self._known.append(names)
        return names


def frame_and_names(data: bytes) -> bytes:
    """The bytes of a serialized JointState that hold its frame and joint names; b"" where they are not to be found."""
    order, at = "<" if data[1:2] == b"\x01" else ">", STAMPED
    try:
        (size,) = struct.unpack_from(f"{order}I", data, at)  # frame_id: its length, then its characters and a zero
        at = _aligned(at + 4 + size)
        (count,) = struct.unpack_from(f"{order}I", data, at)
        at += 4
        if not 0 < count <= MOST_NAMES:
            return b""
        for _ in range(count):
            (size,) = struct.unpack_from(f"{order}I", data, at)
            end = at + 4 + size
            at = _aligned(end)
    except struct.error:
        return b""
    return data[STAMPED:end] if end <= len(data) else b""


def _aligned(at: int) -> int:
    """The next place of a four-byte number; counted from behind the encapsulation, which is four bytes itself."""
    return (at + 3) // 4 * 4
