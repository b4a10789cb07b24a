"""Writes small rosbag2 recordings, as `ros2 bag record` does, by way of `rosbags`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

GROUP = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
"""
START, FPS, RATE = 1_700_000_000.0, 15, 100
MODES = {"file": CompressionMode.FILE, "message": CompressionMode.MESSAGE}


@dataclass(frozen=True)
class Log:
    """What was published when."""

    pictures: tuple[float, ...]

    def position(self, stamp: float) -> float:
        """j1 at a moment [s]."""
        return float(np.sin(stamp - START))

    def taken(self, picture) -> float:
        """When a picture was taken, told by its grey."""
        return self.pictures[round((float(picture.mean()) - 20) / 4)]


def write_bag(folder, robot, storage, compression, seconds, outage, late):
    """A bag of `seconds`, in which nothing is published during `outage`; pictures arrive `late` seconds behind their stamp."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    header = lambda at: types["std_msgs/msg/Header"](
        types["builtin_interfaces/msg/Time"](int(at), round((at - int(at)) * 1e9)), ""
    )
    events, log = [], []
    gone = lambda t: outage[0] < t < outage[1]
    for k in range(round(seconds * RATE)):
        t = k / RATE
        if gone(t):
            continue
        position = np.array([np.sin(t), 0.1])
        joint = types["sensor_msgs/msg/JointState"](header(START + t), ["j1", "j2"], position, np.zeros(2), np.zeros(0))
        events.append((START + t + 0.001, "joint_states", joint))
    for k in range(round(seconds * FPS)):
        t = k / FPS
        log.append(START + t)
        if gone(t):
            continue
        pixels = np.full(16 * 16 * 3, 20 + 4 * k, np.uint8)
        image = types["sensor_msgs/msg/Image"](header(START + t), 16, 16, "rgb8", 0, 48, pixels)
        events.append((START + t + late, "front/image_raw", image))
    writer = Writer(
        folder, version=9, storage_plugin=StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    )
    if compression:
        writer.set_compression(MODES[compression], CompressionFormat.ZSTD)
    with writer:
        known = {}
        for at, topic, message in sorted(events, key=lambda e: e[0]):
            if topic not in known:
                known[topic] = writer.add_connection(f"/{topic}", message.__msgtype__, typestore=store)
            data = store.serialize_cdr(message, message.__msgtype__)
            writer.write(known[topic], round(at * 1e9), data)
    return Log(tuple(log))
