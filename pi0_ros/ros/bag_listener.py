"""Takes what comes on many topics in a thread of its own: however busy the thread that spins is, nothing waits for it.

With sixty subscriptions rclpy's executor needs so long for one round, in which it takes one message of each, that a topic of
100 Hz is heard 27 times a second on a busy computer, and late.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from pi0_ros.ros.any_publisher import Repeats
from pi0_ros.ros.bag_topics import BagSubscription
from pi0_ros.ros.bounded import MAX_BYTES, MIB
from pi0_ros.ros.departures import RenewedSubscriptions, Subscriber
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.polled_subscriptions import PolledGroup
from pi0_ros.ros.taking import LOOK_ANYWAY, Reader, TakenMessage

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
        deliver: Callable[[str, BagSubscription, TakenMessage], None],
        log: Callable[[str], None],
        renewed: RenewedSubscriptions,
        recording: Callable[[], bool],
    ) -> None:
        """listed: by resolved name. log: hears of what goes wrong. renewed: makes the subscriptions to pictures anew, if that
        costs nothing of what is `recording`."""
        self._node, self._deliver, self._ending = node, deliver, threading.Event()
        self._group, self._renewed = PolledGroup(), renewed
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        steady = {name: listened for name, listened in listed.items() if not listened.picture}
        self._sources = [source for name, listened in steady.items() for source in self._listen(name, listened)]
        self._pictures: dict[str, _Source] = {}
        self._subscribers = [
            Subscriber(listened.topic, partial(self._listen_to_pictures, name, listened), recording)
            for name, listened in listed.items()
            if listened.picture
        ]
        for subscriber in self._subscribers:
            renewed.add(subscriber)
        self.thread = GuardedThread("bag listener", self._run, log).start()

    def _listen(self, name: str, listened: BagSubscription) -> list[_Source]:
        repeats = Repeats() if len(listened.profiles) > 1 else None
        return [_Source(name, listened, self._reader(listened, quality), repeats) for quality in listened.profiles]

    def _listen_to_pictures(self, name: str, listened: BagSubscription) -> Subscription:
        (source,) = self._listen(name, listened)
        self._pictures[name] = source
        return source.reader.subscription

    def _reader(self, listened: BagSubscription, quality: QoSProfile) -> Reader:
        quiet = SubscriptionEventCallbacks(use_default_callbacks=False)  # of several readers one fits every publisher
        subscription = self._node.create_subscription(
            listened.kind, listened.topic, _unused, quality, callback_group=self._group, event_callbacks=quiet
        )
        reader = Reader(subscription)
        reader.ring(self._bell)
        return reader

    def close(self) -> bool:
        """Unsubscribe; False if the thread does not end. Closing it twice is harmless."""
        if self._ending.is_set():
            return not self.thread.alive
        self._ending.set()
        for subscriber in self._subscribers:
            self._renewed.remove(subscriber)
        os.eventfd_write(self._bell, 1)
        ended = self.thread.stop(ENDING)
        for source in self._sources:
            with contextlib.suppress(InvalidHandle):
                source.reader.ring(None)
            self._node.destroy_subscription(source.reader.subscription)
        self._sources.clear()
        self._pictures.clear()
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
        sources = (*self._sources, *self._pictures.values())
        found = [(taken.received, source, taken) for source in sources for taken in _waiting(source)]
        for _, source, taken in sorted(found, key=lambda item: item[0]):
            if taken.data is not None and not (source.repeats and source.repeats.seen(taken.sent, taken.data)):
                self._deliver(source.name, source.listened, taken)


def _waiting(source: _Source) -> Iterator[TakenMessage]:
    """What waits to be taken; nothing of a subscription to pictures that is being made anew."""
    largest = MAX_BYTES.get(source.listened.kind, LARGEST)
    try:
        while (taken := source.reader.take(largest)) is not None:
            yield taken
    except InvalidHandle:
        if not source.listened.picture:
            raise


def _unused(_: object) -> None:
    """The subscriptions are read by the listener, and no executor calls them."""
