"""A film of a demo: what the cameras saw, with the task in words below."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rclpy.node import Node

from pi0_ros.data.encoded_pictures import PictureError
from pi0_ros.robot.spec import Camera
from pi0_ros.ros.bounded import MessageInfo, MessageRefusedError, parse_message
from pi0_ros.ros.images import decode_picture
from pi0_ros.ros.subscribe import PICTURE_TYPES, subscribe_camera
from pi0_ros.ros.video import VideoWriter, compose

RATE = 10


class DemoFilm:
    """Subscribes to the cameras and writes an MP4 file until it is closed."""

    def __init__(
        self, node: Node, cameras: tuple[Camera, ...], file: Path, lines: Callable[[], tuple[str, ...]],
        fault: Callable[[str], None],
    ) -> None:  # fmt: skip
        """`lines`: the text below the pictures; `fault` is called with what is wrong with a camera."""
        self._names, self._lines, self._fault = [c.name for c in cameras], lines, fault
        self._pictures: dict[str, np.ndarray] = {}
        self._video = VideoWriter(file, RATE)
        for camera in cameras:
            subscribe_camera(node, camera, partial(self._on_picture, camera))

    def add_frame(self) -> None:
        """Append what is seen now."""
        if self._pictures:
            self._video.add(compose(self._pictures, self._names, self._lines()))

    def close(self) -> None:
        """Write the file to its end."""
        self._video.close()
        if self._video.failure:
            self._fault(self._video.failure)

    def _on_picture(self, camera: Camera, data: bytes, _: MessageInfo) -> None:
        try:
            message = parse_message(data, PICTURE_TYPES[camera.type])
            self._pictures[camera.name] = decode_picture(message, camera.options)
        except (PictureError, MessageRefusedError) as error:
            self._fault(f"camera {camera.name}: {error}")
