"""The black box on disk: the last seconds of everything as one MCAP file, readable by ROS tools and `pi0 replay`."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pi0_ros.control import Chunk, Event, Record
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
LAST_SECOND = 2.0**31 - 1.0  # [s] that a stamp can hold
FLOAT32 = float(np.finfo(np.float32).max)
CHUNK = "pi0_ros/msg/ActionChunk"
DISK = 512 << 20  # [bytes] of black boxes in one folder


def write_black_box(
    folder: Path, records: Iterable[Record], reason: str, channels: Sequence[str], keep: int = 20, budget: int = DISK
) -> Path:
    """Write records as `<ROS time>_<reason>.mcap`; the oldest files go beyond `keep` of them or `budget` bytes.

    Topics: joint_states (in the robot's names, rad and m, with the topic they came on as frame), odom, executor/command, action_chunk, events, and <camera>/image_raw/compressed. The reason
    stands in the file's metadata record `pi0_ros` too. The name is given when the file is complete. Returns the file.
    Raises OSError where the folder cannot be written.
    """
    from mcap_ros2.writer import Writer

    folder.mkdir(parents=True, exist_ok=True)
    kept = list(records)
    stamp = kept[-1].ros if kept and math.isfinite(kept[-1].ros) else 0.0
    file = folder / f"{stamp:.3f}_{re.sub(r'[^a-z0-9]+', '-', reason.lower())[:60].strip('-') or 'fault'}.mcap"
    unfinished = file.with_suffix(".part")
    with unfinished.open("wb") as stream:
        writer = Writer(stream)
        schemas = {name: writer.register_msgdef(name, text) for name, text in _definitions().items()}
        left_out: list[str] = []
        for sequence, record in enumerate(kept):
            try:
                _write(writer, schemas, record, sequence, channels)
            except (ValueError, TypeError, OverflowError, struct.error) as error:
                # What broke the robot may be just what no message holds: the others are written all the same.
                left_out.append(f"{record.kind} {sequence}: {error}")
        lost = {"records_left_out": str(len(left_out)), "first_left_out": left_out[0]} if left_out else {}
        writer._writer.add_metadata("pi0_ros", {"reason": reason, **lost})
        writer.finish()
    unfinished.replace(file)
    _forget(folder, keep, budget)
    return file


def _definitions() -> dict[str, str]:
    chunk = share("msg", "ActionChunk.msg").read_text(encoding="utf-8")
    return {**DEFINITIONS, CHUNK: f"{chunk}{_HEADER}{_TIME}{_DURATION}"}


def _write(writer: Any, schemas: Mapping[str, Any], record: Record, sequence: int, channels: Sequence[str]) -> None:
    made = _message(record, channels)
    if made is None:
        return
    topic, schema, message = made
    nanoseconds = int(min(max(record.ros, 0.0), LAST_SECOND) * 1e9) if math.isfinite(record.ros) else 0
    writer.write_message(topic, schemas[schema], message, nanoseconds, nanoseconds, sequence)


def _message(record: Record, channels: Sequence[str]) -> tuple[str, str, dict[str, Any]] | None:
    """(topic, type, fields) of a record; None for a kind that has no message."""
    if record.kind == "state" and isinstance(record.data, tuple):
        stamp, positions, topic = record.data
        message = _joint_state(stamp, list(positions), positions.values())
        return "joint_states", "sensor_msgs/msg/JointState", message | {"header": _header(stamp, topic)}
    if record.kind == "odometry" and isinstance(record.data, tuple):
        return "odom", "nav_msgs/msg/Odometry", _odometry(*record.data)
    if record.kind == "command" and isinstance(record.data, tuple):
        stamp, values = record.data
        return "executor/command", "sensor_msgs/msg/JointState", _joint_state(stamp, list(channels), values)
    if isinstance(record.data, Chunk):
        return "action_chunk", CHUNK, _chunk(record.data)
    if isinstance(record.data, Event):
        event = record.data
        log = {"level": LEVELS.get(event.level, 20), "name": event.name, "msg": event.text, "file": "", "function": ""}
        return "events", "rcl_interfaces/msg/Log", {**log, "stamp": _time(event.ros), "line": 0}
    if record.kind == "picture" and isinstance(record.data, tuple):
        camera, stamp, jpeg = record.data
        return (
            f"{camera}/image_raw/compressed",
            "sensor_msgs/msg/CompressedImage",
            {
                "header": _header(stamp, camera),
                "format": "jpeg",
                "data": jpeg,
            },
        )
    return None


def _chunk(chunk: Chunk) -> dict[str, Any]:
    return {
        "header": _header(chunk.start),
        "source": chunk.source,
        "epoch": min(max(chunk.epoch, 0), 2**32 - 1),
        "sequence": min(max(chunk.sequence, 0), 2**64 - 1),
        "period": chunk.period,
        "channels": list(chunk.names),
        "values": np.clip(chunk.values.ravel(), -FLOAT32, FLOAT32).tolist(),
        "frozen_rows": min(max(chunk.frozen_rows, 0), 2**32 - 1),
        "subtask": chunk.subtask,
        "inference_time": {"sec": 0, "nanosec": 0},
    }


def _joint_state(stamp: float, names: list[str], positions: Iterable[float]) -> dict[str, Any]:
    values = [float(v) for v in positions]
    return {"header": _header(stamp), "name": names, "position": values, "velocity": [], "effort": []}


def _odometry(stamp: float, twist: tuple[float, float, float]) -> dict[str, Any]:
    """Only the twist is known."""
    nothing, none = {"x": 0.0, "y": 0.0, "z": 0.0}, [0.0] * 36
    linear, angular = {**nothing, "x": twist[0], "y": twist[1]}, {**nothing, "z": twist[2]}
    pose = {"position": nothing, "orientation": {**nothing, "w": 1.0}}
    return {
        "header": _header(stamp, "odom"),
        "child_frame_id": "base_link",
        "pose": {"pose": pose, "covariance": none},
        "twist": {"twist": {"linear": linear, "angular": angular}, "covariance": none},
    }


def _header(stamp: float, frame: str = "") -> dict[str, Any]:
    return {"stamp": _time(stamp), "frame_id": frame}


def _time(seconds: float) -> dict[str, int]:
    """A stamp; the nearest that there is where `seconds` is none."""
    inside = min(max(seconds, 0.0), LAST_SECOND) if math.isfinite(seconds) else 0.0
    whole = int(inside)
    return {"sec": whole, "nanosec": min(int((inside - whole) * 1e9), 999_999_999)}


def _forget(folder: Path, keep: int, budget: int) -> None:
    """Delete the oldest files beyond `keep` of them and beyond `budget` bytes; the newest stays however large."""
    files = [*folder.glob("*.mcap"), *folder.glob("*.part")]  # the latter of a process that was killed while it wrote
    newest_first = sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True)
    total = 0
    for rank, file in enumerate(newest_first):
        total += file.stat().st_size
        if rank >= max(keep, 1) or (rank > 0 and total > budget):
            file.unlink(missing_ok=True)
