"""The messages of a rosbag2 recording as ROS message objects, whatever its storage and compression (by way of `rosbags`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pi0_ros.data.errors import DataError
from pi0_ros.ros.bounded import MAX_BYTES, MessageRefusedError, parse_message
from pi0_ros.ros.topic_check import ros_type_name

KINDS = {ros_type_name(kind): kind for kind in MAX_BYTES}


@dataclass(frozen=True)
class BagMessage:
    """One message. time: of its arrival [s]. role: what `open_bag` was given for its topic."""

    time: float
    topic: str
    type: str
    data: bytes
    role: tuple[str, Any]


@contextmanager
def open_bag(path: Path, wanted: Mapping[str, tuple[str, Any]]) -> Iterator[Iterator[BagMessage]]:
    """The messages on the wanted topics, in order of arrival. A topic is one whose name is, or ends with, a wanted one.

    Raises DataError if the bag cannot be read, or several topics could be a wanted one.
    """
    try:
        from rosbags.highlevel import AnyReader, AnyReaderError
    except ImportError:
        raise DataError("reading bags needs rosbags: pip install 'pi0_ros[import]'") from None
    try:
        reader = AnyReader([path if path.is_dir() or path.suffix == ".bag" else _folder_of(path)])
        reader.open()
    except (AnyReaderError, OSError, ValueError, KeyError) as problem:
        raise DataError(
            f"{path}: cannot be read as a rosbag2 recording ({problem}); give its folder with metadata.yaml"
        ) from problem
    try:
        roles = _roles(path, wanted, {c.topic for c in reader.connections})
        connections = [c for c in reader.connections if c.topic in roles]
        yield (
            BagMessage(at * 1e-9, roles[c.topic][0], c.msgtype, bytes(data), roles[c.topic][1])
            for c, at, data in reader.messages(connections=connections)
        )
    finally:
        reader.close()


def _folder_of(path: Path) -> Path:
    """The recording that a file belongs to."""
    if not (path.parent / "metadata.yaml").is_file():
        raise DataError(
            f"{path}: is one file of a recording; give its folder, with its metadata.yaml (`ros2 bag reindex` writes it)"
        )
    return path.parent


def _roles(
    path: Path, wanted: Mapping[str, tuple[str, Any]], there: set[str]
) -> dict[str, tuple[str, tuple[str, Any]]]:
    """By recorded topic: the wanted topic that it is, and its role."""
    found: dict[str, tuple[str, tuple[str, Any]]] = {}
    for topic, role in wanted.items():
        exact = [t for t in there if t.strip("/") == topic.strip("/")]
        alike = exact or sorted(t for t in there if t.endswith("/" + topic.strip("/")))
        if len(alike) > 1:
            raise DataError(
                f"{path}: {topic} of the robot may be any of {', '.join(alike)}; record the robot's own alone"
            )
        if alike:
            found[alike[0]] = topic, role
    return found


def parsed(message: BagMessage) -> Any:
    """The ROS message. Raises DataError for bytes that are none, or too many."""
    kind = KINDS.get(message.type)
    if kind is None:
        raise DataError(f"{message.topic} is {message.type}, and not one of {', '.join(sorted(KINDS))}")
    try:
        return parse_message(message.data, kind)
    except MessageRefusedError as problem:
        raise DataError(f"{message.topic}: {problem}") from problem
