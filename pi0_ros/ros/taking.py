"""Takes messages out of the network layer without holding the GIL; their size is checked before they are Python objects.

rclpy copies a message twice, into new memory and while holding the GIL, before anybody can ask for its size: a
chunk of 12 MB held the control loop up for 100 to 300 ms on a busy machine. What is called here is the function of rcl
that rclpy calls (`rcl_take_serialized_message`), into memory that is there already, and from ctypes, which lets the other
threads go on meanwhile. A `Collector` does that in a thread of its own, so that not even the copying is waited for.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from rclpy.exceptions import InvalidHandle
from rclpy.subscription import Subscription

from pi0_ros.ros.guarded_thread import GuardedThread

OK, NOTHING_THERE = 0, 401  # rcl/types.h: RCL_RET_OK, RCL_RET_SUBSCRIPTION_TAKE_FAILED
UNKNOWN = 2**64 - 1  # rmw/types.h: RMW_MESSAGE_INFO_SEQUENCE_NUMBER_UNSUPPORTED
USUAL = 1 << 16  # [bytes] of memory that a reader keeps; what a larger message needed is given back
LOOK_ANYWAY = 0.25  # [s]; nothing is lost if a wake-up is
ENDING = 1.0  # [s] for a thread to end


class _Allocator(ctypes.Structure):
    """`rcutils_allocator_t` (rcutils/allocator.h): functions that give and take memory, and what they are called with.

    It is handed on and never called from here.
    """

    _fields_ = [(name, ctypes.c_void_p) for name in ("allocate", "deallocate", "reallocate", "zeros", "state")]


class _Bytes(ctypes.Structure):
    """`rcutils_uint8_array_t` (rcutils/types/uint8_array.h): a `buffer` with room for `capacity` bytes, of which `length` are
    a message."""

    _fields_ = [
        ("buffer", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("capacity", ctypes.c_size_t),
        ("allocator", _Allocator),
    ]


class _Info(ctypes.Structure):
    """`rmw_message_info_t` (rmw/types.h): when a message was sent and received [ns since the epoch], its number among those of
    its publisher and among those received, and the publisher's `rmw_gid_t` (the name of the RMW implementation, 16 bytes).

    `rest` is room for what later versions have behind that, so that they do not write past the end.
    """

    _fields_ = [
        ("sent", ctypes.c_int64),
        ("received", ctypes.c_int64),
        ("sequence", ctypes.c_uint64),
        ("reception", ctypes.c_uint64),
        ("implementation", ctypes.c_void_p),
        ("publisher", ctypes.c_uint8 * 16),
        ("rest", ctypes.c_uint8 * 200),
    ]


@cache
def _libraries() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """rcl and rcutils, which rclpy has loaded, with the types of what is called."""
    rcl, rcutils = ctypes.CDLL("librcl.so"), ctypes.CDLL("librcutils.so")
    rcutils.rcutils_get_default_allocator.restype = _Allocator
    rcutils.rcutils_uint8_array_init.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    rcutils.rcutils_uint8_array_resize.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    rcutils.rcutils_uint8_array_fini.argtypes = [ctypes.c_void_p]
    rcl.rcl_take_serialized_message.argtypes = [ctypes.c_void_p] * 4
    rcl.rcl_subscription_set_on_new_message_callback.argtypes = [ctypes.c_void_p] * 3
    return rcl, rcutils


@dataclass(frozen=True)
class TakenMessage:
    """A message: its bytes, None if they are too many or could not be taken; how many; sent and received when [ns].

    sequence: its number among those of its publisher, from 1; 0 if the network layer does not say. publisher: the
    publisher's id, which the graph calls `endpoint_gid`.
    """

    data: bytes | None
    size: int
    sent: int = 0
    received: int = 0
    sequence: int = 0
    publisher: bytes = b""


class Reader:
    """Takes the messages of one subscription. Of one thread at a time."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        rcl, self._rcutils = _libraries()
        self._take, self._ring = rcl.rcl_take_serialized_message, rcl.rcl_subscription_set_on_new_message_callback
        self._bytes, self._info = _Bytes(), _Info()
        allocator = self._rcutils.rcutils_get_default_allocator()
        if self._rcutils.rcutils_uint8_array_init(ctypes.byref(self._bytes), USUAL, ctypes.byref(allocator)):
            raise MemoryError
        self._arguments = ctypes.byref(self._bytes), ctypes.byref(self._info), None

    def __del__(self) -> None:
        self._rcutils.rcutils_uint8_array_fini(ctypes.byref(self._bytes))

    def take(self, largest: float) -> TakenMessage | None:
        """The next message, without its bytes if they are more than `largest`; None if there is none."""
        handle, into, info = self.subscription.handle, self._bytes, self._info
        with handle:
            code = self._take(handle.pointer, *self._arguments)
        if code == NOTHING_THERE:
            return None
        if code != OK:
            self._rcutils.rcutils_reset_error()
            return TakenMessage(None, 0)
        size = into.length
        data = ctypes.string_at(into.buffer, size) if size <= largest else None
        if into.capacity > USUAL and self._rcutils.rcutils_uint8_array_resize(ctypes.byref(into), USUAL):
            self._rcutils.rcutils_reset_error()
        sequence = 0 if info.sequence == UNKNOWN else info.sequence
        return TakenMessage(data, size, info.sent, info.received, sequence, bytes(info.publisher))

    def ring(self, bell: int | None) -> None:
        """Have the network layer itself write to this eventfd whenever a message comes; with None no longer.

        It calls `callback(pointer, number of messages)`, and `eventfd_write(descriptor, number)` is exactly that.
        """
        call = None if bell is None else ctypes.cast(ctypes.CDLL(None).eventfd_write, ctypes.c_void_p)
        handle = self.subscription.handle
        with handle:
            if self._ring(handle.pointer, call, bell):
                self._rcutils.rcutils_reset_error()


class Collector:
    """A thread that takes what a few subscriptions get, as soon as it comes, `waiting` messages of each at most.

    While that many wait to be read nothing more is taken, so that the network layer drops the oldest as it always does.
    """

    def __init__(
        self, readers: Sequence[Reader], waiting: int, largest: float, name: str, log: Callable[[str], None]
    ) -> None:
        """`largest` [bytes]: a larger message is known by its size alone. `log` hears of what goes wrong."""
        self._readers, self._waiting, self._largest = readers, waiting, largest
        self._queues: dict[Reader, deque[TakenMessage]] = {reader: deque() for reader in readers}
        self._taking, self._ending = threading.Lock(), False
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        for reader in readers:
            reader.ring(self._bell)
        self.thread = GuardedThread(name, self._run, log).start()

    def take(self, reader: Reader) -> TakenMessage | None:
        """The next message of this subscription that has been collected."""
        queue = self._queues[reader]
        if not queue:
            return None
        if len(queue) >= self._waiting:
            os.eventfd_write(self._bell, 1)
        return queue.popleft()

    def collect(self) -> None:
        """Take what has come, now."""
        with self._taking:
            for reader, queue in self._queues.items():
                while len(queue) < self._waiting and (taken := reader.take(self._largest)) is not None:
                    queue.append(taken)

    def close(self) -> None:
        """End the thread; the subscriptions are there still, or are gone already."""
        self._ending = True
        os.eventfd_write(self._bell, 1)
        ended = self.thread.stop(ENDING)
        for reader in self._readers:
            try:
                reader.ring(None)
            except InvalidHandle:  # destroyed, and nobody rings any more
                continue
        if ended:
            os.close(self._bell)

    def _run(self) -> None:
        bell = select.poll()
        bell.register(self._bell, select.POLLIN)
        while not self._ending:
            bell.poll(LOOK_ANYWAY * 1000.0)
            with contextlib.suppress(BlockingIOError):  # woken to end, or to look anyway
                os.eventfd_read(self._bell)
            try:
                self.collect()
            except InvalidHandle:  # the subscriptions are gone
                return
