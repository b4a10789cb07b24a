"""Everything on the robot's topics, as it came, into MCAP files beside the dataset; in a thread that may fall behind.

Messages are taken as bytes, by a thread that does nothing else, and wait in a queue of fixed size: where the disk is too slow,
pictures are left out first.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rclpy.node import Node

from pi0_ros.data.bag_files import BagFiles, BagMessage, BagTopic
from pi0_ros.robot.spec import Robot
from pi0_ros.ros.bag_listener import BagListener
from pi0_ros.ros.bag_topics import BagSubscription, bag_topics
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.departures import RenewedSubscriptions
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.message_definitions import definition_of
from pi0_ros.ros.taking import TakenMessage
from pi0_ros.ros.topic_check import ros_type_name

PICTURES = 64 << 20
"""Bytes of messages that may wait when another picture comes."""
MOST = 96 << 20
"""Bytes that may wait in all."""
AT_ONCE = 8 << 20
"""Bytes that are taken from the queue at once."""
LOOK = 1.0
"""Seconds between two looks at the disk."""
LATEST = 5.0
"""Seconds that a message may have waited to be taken; more is no such time."""
GIVES_WAY = 2
"""Times the dataset's reserve of the disk that a bag leaves: it is the first to end."""


def bag_folder(dataset: Path, at: datetime) -> Path:
    """Where the bag of a recorder that began at `at` lies: beside the dataset, which people upload as a whole."""
    return dataset.with_name(f"{dataset.name}_mcap") / f"{at:%Y%m%d_%H%M%S}"


def arrival(ros: float, system: float, received: int) -> float:
    """When a message came [ROS s] that is taken at `ros` and was `received` [ns] by the system's clock, which says `system`
    [s] now."""
    waited = system - received * 1e-9
    return ros - (waited if 0.0 < waited < LATEST else 0.0)


class BagQueue:
    """Messages on their way to the disk, a bounded number of bytes of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[BagMessage | None] = deque()
        self._bytes, self._closed = 0, False
        self.dropped: Counter[str] = Counter()
        """Messages that found no room, by topic."""

    def put(self, message: BagMessage, picture: bool) -> bool:
        """Whether there was room."""
        with self._changed:
            if self._bytes + len(message.data) > (PICTURES if picture else MOST):
                self.dropped[message.topic] += 1
                return False
            self._bytes += len(message.data)
            self._waiting.append(message)
            self._changed.notify_all()
        return True

    def end_file(self) -> None:
        """What comes behind is of another file."""
        with self._changed:
            self._waiting.append(None)
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, timeout: float) -> list[BagMessage | None] | None:
        """What waits, None for the end of a file, [] after `timeout` [s]; None once it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout)
            found: list[BagMessage | None] = []
            size = 0
            while self._waiting and size < AT_ONCE:
                found.append(self._waiting.popleft())
                size += len(found[-1].data) if found[-1] is not None else 0
            self._bytes -= size
            return None if self._closed and not found else found


class BagRecorder:
    """Subscribes at once, and writes between start and stop. The files of one recorder lie in one folder."""

    def __init__(
        self,
        node: Node,
        clocks: Clocks,
        robot: Robot,
        folder: Path,
        min_free: int,
        log: Callable[[str], None],
        renewed: RenewedSubscriptions,
    ) -> None:
        """folder: made with the first message. min_free: bytes that the dataset wants left of the disk. renewed: the node's
        other subscriptions to the cameras."""
        self.folder, self._clocks, self._log = folder, clocks, log
        self._room = GIVES_WAY * min_free
        """Bytes of the disk that are left to the dataset."""
        self._queue, self._wanted, self._recording, self.problem = BagQueue(), False, False, ""
        listed = {node.resolve_topic_name(s.topic): s for s in bag_topics(robot)}
        topics = {
            name: BagTopic(name, ros_type_name(s.kind), definition_of(s.kind), s.latched) for name, s in listed.items()
        }
        self._files = BagFiles(folder, topics)
        self._listener = BagListener(node, listed, self._take, log, renewed, lambda: self._recording)
        self._thread = GuardedThread("bag", self._run, log).start()
        self.threads = (self._thread, self._listener.thread)

    def _take(self, name: str, listened: BagSubscription, taken: TakenMessage) -> None:
        if not (self._recording or listened.latched) or taken.data is None:
            return
        came = arrival(self._clocks.ros(), time.time(), taken.received)
        message = BagMessage(name, round(came * 1e9), taken.sent or round(came * 1e9), taken.data)
        if self._recording:
            self._queue.put(message, listened.picture)
        else:
            self._files.remember(message)

    def record(self, wanted: bool) -> None:
        """Write from now on, or no more; calling it again changes nothing."""
        if wanted == self._wanted:
            return
        self._wanted = self._recording = wanted
        if wanted:
            self.problem = ""
        else:
            self._queue.end_file()

    def close(self, patience: float) -> bool:
        """Unsubscribe, and write what waits; False if that takes longer than `patience` [s]."""
        self._recording = False
        listening = not self._listener.close()
        self._queue.close()
        return self._thread.stop(patience) and not listening

    def values(self) -> dict[str, object]:
        """Numbers for /diagnostics."""
        found: dict[str, object] = {"bag": str(self.folder), "bag_mb": self._files.bytes / 1e6}
        dropped = self._queue.dropped
        return found | {f"bag dropped: {topic}": count for topic, count in dict(dropped).items()}

    def _run(self) -> None:
        last_look = 0.0
        while (messages := self._queue.take(LOOK)) is not None:
            if time.monotonic() - last_look > LOOK:
                last_look = time.monotonic()
                self._check_disk()
            try:
                for message in messages:
                    self._write(message)
                self._files.flush()
            except OSError as error:
                self._end(f"the bag in {self.folder} cannot be written: {error.strerror or error}")
        self._end_file()

    def _write(self, message: BagMessage | None) -> None:
        if message is None:
            self._files.end_file()
        elif self.problem:
            self._files.remember(message)
        else:
            self._files.write(message)

    def _check_disk(self) -> None:
        place = next(p for p in (self.folder, *self.folder.parents) if p.exists())
        free = shutil.disk_usage(place).free
        if self._recording and free < self._room:
            self._end(
                f"the bag in {self.folder} has ended: {free / 1e6:.0f} MB of the disk are left, and the dataset needs them"
            )

    def _end(self, why: str) -> None:
        """End the bag by oneself; the dataset goes on."""
        self.problem, self._recording = why, False
        self._log(why)
        self._end_file()

    def _end_file(self) -> None:
        try:
            self._files.end_file()
        except OSError as error:
            self._log(f"{self.folder}: its last file is not complete ({error.strerror or error}): mcap recover FILE")
