"""Subscriptions that a loop reads by itself, once a period, instead of being called by the thread that spins.

Waiting for messages, rclpy spends more on each than there is in it, holding the interpreter, at moments of the sender's
choosing. Read at the start of a period, they neither interrupt the loop nor make it wait when it wakes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription

MOST = 64  # messages of one topic in one period
RECOUNT = 50  # periods between two looks at how many publishers there are


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

    `alone`: only the `newest` message counts, and no more than one publisher was seen.
    """

    subscription: Subscription
    kind: type
    take: Callable[[type, bool], tuple[Any, Any] | None]
    topic: str
    newest: bool
    alone: bool = False


class Inlets:
    """The subscriptions of one node that are read in turn. `refused(topic, error)` hears of unreadable messages."""

    def __init__(self, node: Node, refused: Callable[[str, Exception], None]) -> None:
        self._node, self._refused = node, refused
        self._inlets: list[_Inlet] = []
        self._taken = 0
        self.group = Unspun()
        self.age = 0.0
        """How long ago [s] the message that a callback is called with was received."""

    def add(self, kind: type, topic: str, callback: Callable[[Any], None], qos: object) -> Subscription:
        """Subscribe; the callback is called by `take`."""
        return self.keep(self._node.create_subscription(kind, topic, callback, qos, callback_group=self.group))

    def keep(self, subscription: Subscription, newest: bool = False) -> Subscription:
        """Read this subscription, of the callback group `group`, too.

        `newest`: all but the newest message is dropped, as long as there is one publisher; of several, each may speak of
        something else (an arm and its gripper on one `joint_states`), so that all is read.
        """
        kind, take = subscription.msg_type, subscription.handle.take_message
        self._inlets.append(_Inlet(subscription, kind, take, subscription.topic_name, newest))
        return subscription

    def take(self, longest: float) -> None:
        """Call the callbacks with everything that has come; none is taken to be older than `longest` [s]."""
        if self._taken % RECOUNT == 0:
            for inlet in self._inlets:
                inlet.alone = inlet.newest and self._node.count_publishers(inlet.topic) <= 1
        self._taken += 1
        for inlet in self._inlets:
            for message, info in self._read(inlet, inlet.alone):
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
                # Turning bytes into Python is what costs: done once, however fast the sender is.
                data, info = found[-1]
                return [(deserialize_message(data, kind), info)]
        except Exception as error:  # noqa: BLE001 - bytes that are no message, text that is no UTF-8
            self._refused(inlet.topic, error)
            return [] if newest else found
        return found
