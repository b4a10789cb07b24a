"""Takes what comes on many topics in a thread of its own: however busy the thread that spins is, nothing waits for it.

With sixty subscriptions rclpy's executor needs so long for one round, in which it takes one message of each, that a topic of
100 Hz is heard 27 times a second on a busy computer, and late.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node

from pi0_ros.ros.any_publisher import Repeats
from pi0_ros.ros.bag_topics import BagSubscription
from pi0_ros.ros.bounded import MAX_BYTES, MIB
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.polled_subscriptions import PolledGroup
from pi0_ros.ros.taking import LOOK_ANYWAY, Reader, Taken

TOGETHER = 0.005
"""Seconds in which messages gather before they are taken: fewer looks at topics on which there is nothing."""
LARGEST = 64 * MIB
"""Bytes of a message of a type that nothing else is said about."""
ENDING = 2.0
"""Seconds for the thread to end."""


@dataclass(frozen=True)
class _Source:
    """One reader of a topic. `repeats`: what several readers of it have delivered."""

    name: str
    listened: BagSubscription
    reader: Reader
    repeats: Repeats | None


class BagListener:
    """The subscriptions of a bag. `deliver(name, subscription, message)` is called in the listener's thread."""

    def __init__(
        self,
        node: Node,
        listed: Mapping[str, BagSubscription],
        deliver: Callable[[str, BagSubscription, Taken], None],
        log: Callable[[str], None],
    ) -> None:
        """listed: by resolved name. log: hears of what goes wrong."""
        self._node, self._deliver, self._ending = node, deliver, threading.Event()
        self._group = PolledGroup()
        self._sources = [source for name, listened in listed.items() for source in self._listen(name, listened)]
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        for source in self._sources:
            source.reader.ring(self._bell)
        self.thread = GuardedThread("bag listener", self._run, log).start()

    def _listen(self, name: str, listened: BagSubscription) -> list[_Source]:
        quiet = SubscriptionEventCallbacks(use_default_callbacks=False)  # of several readers one fits every publisher
        repeats = Repeats() if len(listened.profiles) > 1 else None
        subscriptions = [
            self._node.create_subscription(
                listened.kind, listened.topic, _unused, quality, callback_group=self._group, event_callbacks=quiet
            )
            for quality in listened.profiles
        ]
        return [_Source(name, listened, Reader(subscription), repeats) for subscription in subscriptions]

    def close(self) -> bool:
        """Unsubscribe; False if the thread does not end. Closing it twice is harmless."""
        if self._ending.is_set():
            return not self.thread.alive
        self._ending.set()
        os.eventfd_write(self._bell, 1)
        ended = self.thread.stop(ENDING)
        for source in self._sources:
            with contextlib.suppress(InvalidHandle):
                source.reader.ring(None)
            self._node.destroy_subscription(source.reader.subscription)
        self._sources.clear()
        if ended:
            os.close(self._bell)
        return ended

    def _run(self) -> None:
        bell = select.poll()
        bell.register(self._bell, select.POLLIN)
        while not self._ending.wait(TOGETHER):
            bell.poll(LOOK_ANYWAY * 1000.0)
            with contextlib.suppress(BlockingIOError):  # woken to look anyway
                os.eventfd_read(self._bell)
            try:
                self._take()
            except InvalidHandle:  # the node is gone
                return

    def _take(self) -> None:
        """All that has come, in the order in which it came."""
        found: list[tuple[int, _Source, Taken]] = []
        for source in self._sources:
            largest = MAX_BYTES.get(source.listened.kind, LARGEST)
            while (taken := source.reader.take(largest)) is not None:
                found.append((taken.received, source, taken))
        for _, source, taken in sorted(found, key=lambda item: item[0]):
            if taken.data is not None and not (source.repeats and source.repeats.seen(taken.sent, taken.data)):
                self._deliver(source.name, source.listened, taken)


def _unused(_: object) -> None:
    """The subscriptions are read by the listener, and no executor calls them."""
