"""A small picture of every camera at intervals, for the black box, at next to no cost.

The network layer keeps the newest picture of each camera without ever waking Python; a thread takes one when it is due.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from rclpy.node import Node
from rclpy.subscription import Subscription

from pi0_ros.data.encoded_pictures import PictureError
from pi0_ros.robot.spec import Camera
from pi0_ros.ros.bounded import MAX_BYTES, MessageRefusedError, check_size, parse_message
from pi0_ros.ros.clock import seconds
from pi0_ros.ros.departures import Departures
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.images import thumbnail
from pi0_ros.ros.polled_subscriptions import PolledGroup
from pi0_ros.ros.qos import NEWEST
from pi0_ros.ros.subscribe import PICTURE_TYPES
from pi0_ros.ros.taking import Reader

Keep = Callable[[str, float, bytes], None]
"""What is done with a picture: `keep(camera, stamp [ROS s], JPEG)`."""


class CameraThumbnails:
    """One picture of each camera every `period` [s], one camera after the other, as small JPEGs."""

    def __init__(self, node: Node, cameras: Sequence[Camera], period: float, keep: Keep) -> None:
        self._node, self._period, self._keep = node, period, keep
        # rclpy holds groups weakly.
        self._group = PolledGroup()
        self._readers = {c.name: (c, Reader(self._subscribe(c))) for c in cameras}
        self._departures = {c.name: Departures(node, c.topic) for c in cameras}
        self._ending = threading.Event()
        self.thread: GuardedThread | None = None
        self.taken = 0
        self.refused: dict[str, str] = {}
        """Cameras whose last picture could not be read, and why."""

    def _subscribe(self, camera: Camera) -> Subscription:
        kind = PICTURE_TYPES[camera.type]
        return self._node.create_subscription(kind, camera.topic, lambda _: None, NEWEST, callback_group=self._group)

    def start(self) -> GuardedThread:
        """Begin to take pictures."""
        self._ending.clear()
        self.thread = GuardedThread("thumbnails", self._run, self._node.get_logger().error).start()
        return self.thread

    def stop(self) -> None:
        """End."""
        self._ending.set()
        if self.thread is not None:
            self.thread.stop(1.0)

    def close(self) -> None:
        """End and unsubscribe."""
        self.stop()
        for _, reader in self._readers.values():
            self._node.destroy_subscription(reader.subscription)
        self._readers.clear()

    def _run(self) -> None:
        while self._readers:
            for camera, reader in list(self._readers.values()):
                # Spread over the period, so that no moment has all the work.
                if self._ending.wait(self._period / len(self._readers)):
                    return
                self._take(camera, reader)
                if self._departures[camera.name].look():
                    self._node.destroy_subscription(reader.subscription)
                    self._readers[camera.name] = camera, Reader(self._subscribe(camera))

    def _take(self, camera: Camera, reader: Reader) -> None:
        kind = PICTURE_TYPES[camera.type]
        taken = reader.take(MAX_BYTES[kind])
        if taken is None:
            return
        try:
            check_size(taken.size, kind)
            message = parse_message(taken.data or b"", kind)
            jpeg = thumbnail(message, options=camera.options)
        except (PictureError, MessageRefusedError) as error:
            self.refused[camera.name] = str(error)
            return
        self.refused.pop(camera.name, None)
        self._keep(camera.name, seconds(message.header.stamp), jpeg)
        self.taken += 1
