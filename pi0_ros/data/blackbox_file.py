"""The black box on disk: the last seconds before a fault as one MCAP file, readable by ROS tools and `pi0 replay`."""

from __future__ import annotations

import math
import os
import re
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pi0_ros.control import Chunk, Event, Record
from pi0_ros.data.cdr import (
    LAST_SECOND,
    UINT32,
    UINT64,
    Cdr,
    compressed_image,
    joint_state,
    log_line,
    odometry,
    within,
)
from pi0_ros.robot.resources import share

_HEADER = """
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
"""
_TIME = """
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
_DURATION = _TIME.replace("Time", "Duration")
_PLAIN = {
    "sensor_msgs/msg/JointState": "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\n"
    f"float64[] effort\n{_HEADER}{_TIME}",
    "sensor_msgs/msg/CompressedImage": f"std_msgs/Header header\nstring format\nuint8[] data\n{_HEADER}{_TIME}",
    "rcl_interfaces/msg/Log": "builtin_interfaces/Time stamp\nuint8 level\nstring name\nstring msg\nstring file\n"
    f"string function\nuint32 line\n{_TIME}",
}
_SEPARATOR = "================================================================================\nMSG: "
DEFINITIONS: Mapping[str, str] = {
    **_PLAIN,
    "nav_msgs/msg/Odometry": "std_msgs/Header header\nstring child_frame_id\ngeometry_msgs/PoseWithCovariance pose\n"
    "geometry_msgs/TwistWithCovariance twist\n"
    f"{_SEPARATOR}geometry_msgs/PoseWithCovariance\ngeometry_msgs/Pose pose\nfloat64[36] covariance\n"
    f"{_SEPARATOR}geometry_msgs/TwistWithCovariance\ngeometry_msgs/Twist twist\nfloat64[36] covariance\n"
    f"{_SEPARATOR}geometry_msgs/Pose\ngeometry_msgs/Point position\ngeometry_msgs/Quaternion orientation\n"
    f"{_SEPARATOR}geometry_msgs/Twist\ngeometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular\n"
    f"{_SEPARATOR}geometry_msgs/Point\nfloat64 x\nfloat64 y\nfloat64 z\n"
    f"{_SEPARATOR}geometry_msgs/Quaternion\nfloat64 x\nfloat64 y\nfloat64 z\nfloat64 w\n"
    f"{_SEPARATOR}geometry_msgs/Vector3\nfloat64 x\nfloat64 y\nfloat64 z{_HEADER}{_TIME}",
}
LEVELS = {"info": 20, "warn": 30, "error": 40}
CHUNK = "pi0_ros/msg/ActionChunk"
JOINTS = "sensor_msgs/msg/JointState"
PIECE = 1 << 20
"""Bytes that are compressed and written at once; compression does not hold the GIL."""
FOLDER_MODE, FILE_MODE = 0o700, 0o600


@dataclass(frozen=True)
class Keep:
    """How many black boxes stay in a folder: so many files, bytes, and days (0: however old)."""

    files: int = 20
    bytes: int = 512 << 20
    days: float = 30.0


KEEP = Keep()


def write_black_box(
    folder: Path, records: Iterable[Record], reason: str, channels: Sequence[str], keep: Keep = KEEP
) -> Path:
    """Write records as `<ROS time>_<reason>.mcap`; the oldest files go beyond what `keep` says.

    Topics: joint_states (in the robot's names, rad and m, with the topic they came on as frame), odom, executor/command, action_chunk,
    events, and <camera>/image_raw/compressed. The reason stands in the file's metadata record `pi0_ros` too. The name is given when
    the file is complete. Only its owner can read it: it holds pictures of people's homes. Returns the file.
    Raises OSError if the folder cannot be written.
    """
    from mcap.writer import Writer

    private_folder(folder)
    stored = list(records)
    file = folder / f"{_nanoseconds(stored[-1].ros if stored else 0.0) * 1e-9:.3f}_{_slug(reason)}.mcap"
    unfinished = file.with_suffix(".part")
    with open(unfinished, "wb", opener=_private) as stream:
        writer = Writer(stream, chunk_size=PIECE)
        writer.start(profile="ros2", library="pi0_ros")
        places = Places(writer)
        left_out: list[str] = []
        for sequence, record in enumerate(stored):
            try:
                _write(writer, places, record, sequence, channels)
            except (ValueError, TypeError, OverflowError, AttributeError, struct.error) as error:
                # What broke the robot may be just what no message holds: the others are written all the same.
                left_out.append(f"{record.kind} {sequence}: {error}")
        lost = {"records_left_out": str(len(left_out)), "first_left_out": left_out[0]} if left_out else {}
        writer.add_metadata("pi0_ros", {"reason": reason, **lost})
        writer.finish()
    unfinished.replace(file)
    forget(folder, keep)
    return file


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter, or make it so. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    if folder.stat().st_mode & 0o077:
        folder.chmod(FOLDER_MODE)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)


def _slug(reason: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", reason[:400].lower())[:60].strip("-") or "fault"


class Places:
    """Schemas and channels of a file, made when the first message of a topic comes."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}

    def channel(self, topic: str, kind: str) -> int:
        """The number of a topic's channel."""
        if kind not in self._schemas:
            text = _definitions()[kind].encode()
            self._schemas[kind] = self._writer.register_schema(name=kind, encoding="ros2msg", data=text)
        if topic not in self._channels:
            self._channels[topic] = self._writer.register_channel(
                topic=topic, message_encoding="cdr", schema_id=self._schemas[kind]
            )
        return self._channels[topic]


@cache
def _definitions() -> dict[str, str]:
    chunk = share("msg", "ActionChunk.msg").read_text(encoding="utf-8")
    return {**DEFINITIONS, CHUNK: f"{chunk}{_HEADER}{_TIME}{_DURATION}"}


def _write(writer: Any, places: Places, record: Record, sequence: int, channels: Sequence[str]) -> None:
    made = _message(record, channels)
    if made is None:
        return
    topic, kind, data = made
    moment = _nanoseconds(record.ros)
    writer.add_message(places.channel(topic, kind), log_time=moment, data=data, publish_time=moment, sequence=sequence)


def _nanoseconds(seconds: float) -> int:
    try:
        return int(min(max(seconds, 0.0), LAST_SECOND) * 1e9) if math.isfinite(seconds) else 0
    except OverflowError:  # a whole number that is no float
        return 0


def _message(record: Record, channels: Sequence[str]) -> tuple[str, str, bytes] | None:
    """(topic, type, bytes) of a record; None for a kind that has no message."""
    data = record.data
    if isinstance(data, Chunk):
        return "action_chunk", CHUNK, _chunk(data)
    if isinstance(data, Event):
        return "events", "rcl_interfaces/msg/Log", log_line(data.ros, LEVELS.get(data.level, 20), data.name, data.text)
    if not isinstance(data, tuple):
        return None
    if record.kind == "state":
        stamp, positions, topic = data
        return "joint_states", JOINTS, joint_state(stamp, list(positions), positions.values(), topic)
    if record.kind == "odometry":
        return "odom", "nav_msgs/msg/Odometry", odometry(*data)
    if record.kind == "command":
        stamp, values = data
        return "executor/command", JOINTS, joint_state(stamp, list(channels), values)
    if record.kind == "picture":
        camera, stamp, jpeg = data
        return (
            f"{camera}/image_raw/compressed",
            "sensor_msgs/msg/CompressedImage",
            compressed_image(stamp, camera, jpeg),
        )
    return None


def _chunk(chunk: Chunk) -> bytes:
    out = Cdr().header(chunk.start).text(chunk.source)
    out.pack("I", within(chunk.epoch, UINT32)).pack("Q", within(chunk.sequence, UINT64)).pack("d", chunk.period)
    out.texts(chunk.names).numbers(chunk.values, "<f4").pack("I", within(chunk.frozen_rows, UINT32)).text(chunk.subtask)
    return bytes(out.pack("i", 0).pack("I", 0))


def forget(folder: Path, keep: Keep = KEEP) -> None:
    """Delete the oldest files beyond what `keep` says; the newest stays however large or old."""
    files = [*folder.glob("*.mcap"), *folder.glob("*.part")]  # the latter of a process that was killed while it wrote
    found = []
    for file in files:
        with suppress(OSError):  # another process may tidy up too
            found.append((file.stat(), file))
    found.sort(key=lambda each: each[0].st_mtime_ns, reverse=True)
    total, now = 0, time.time()
    for rank, (state, file) in enumerate(found):
        total += state.st_size
        old = keep.days and now - state.st_mtime > keep.days * 86400.0
        if rank > 0 and (rank >= keep.files or total > keep.bytes or old):
            file.unlink(missing_ok=True)
