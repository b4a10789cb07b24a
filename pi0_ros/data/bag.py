"""Reading a recorded run (MCAP, or a rosbag2 folder of MCAP files) without ROS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.errors import DataError

CHUNK, JOINTS, ODOMETRY = "pi0_ros/msg/ActionChunk", "sensor_msgs/msg/JointState", "nav_msgs/msg/Odometry"


@dataclass(frozen=True)
class Heard:
    """One message: when it arrived [s], on which topic, of which type, and the decoded message."""

    time: float
    topic: str
    type: str
    message: Any


def read_bag(path: Path, types: tuple[str, ...]) -> Iterator[Heard]:
    """The messages of these types in the order they were received.

    Args: path, an .mcap file or a rosbag2 folder holding some.
    Raises: DataError where nothing can be read.
    """
    from mcap.exceptions import McapError
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    for file in mcap_files(path):
        try:
            with file.open("rb") as stream:
                reader = make_reader(stream, decoder_factories=[DecoderFactory()])
                for schema, channel, record, message in reader.iter_decoded_messages():
                    if schema is not None and schema.name in types:
                        yield Heard(record.log_time * 1e-9, channel.topic, schema.name, message)
        except (McapError, EOFError, ValueError) as problem:
            raise DataError(f"{file}: is damaged or no MCAP file: {problem}") from problem


def mcap_files(path: Path) -> list[Path]:
    """The MCAP files of a path, in the order of their names. Raises DataError where there are none."""
    if path.is_file() and path.suffix == ".mcap":
        return [path]
    files = sorted(path.glob("*.mcap")) if path.is_dir() else []
    if files:
        return files
    if path.is_dir() and any(path.glob("*.db3")):
        raise DataError(f"{path}: is stored as sqlite3; `ros2 bag convert` writes it as mcap")
    raise DataError(f"{path}: no such recording; give an .mcap file or a rosbag2 folder with some")


def stamp_of(header: Any) -> float:
    """A std_msgs/Header's stamp in seconds."""
    return float(header.stamp.sec) + float(header.stamp.nanosec) * 1e-9


def joint_positions(message: Any) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Positions and velocities of a JointState by the driver's joint names; velocities are empty where it gives none."""
    speeds = message.velocity if len(message.velocity) == len(message.name) else []
    return (
        {n: float(v) for n, v in zip(message.name, message.position, strict=False)},
        {n: float(v) for n, v in zip(message.name, speeds, strict=False)},
    )


def rows_of(message: Any) -> NDArray[np.float64]:
    """Values [H, D] of an ActionChunk; [1, N] where they do not divide by its channels."""
    flat = np.asarray(message.values, dtype=np.float64)
    width = len(message.channels)
    return flat.reshape(-1, width) if width and flat.size % width == 0 else flat.reshape(1, -1)
