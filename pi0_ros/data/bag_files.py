"""All messages of a robot's topics, as MCAP files of bounded size: an append-only rosbag2 recording.

What a kill leaves is whole up to the last chunk; the file then has no index, and `mcap recover` gives it one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pi0_ros.data.tables import write_json

if TYPE_CHECKING:
    from mcap.writer import Writer

CHUNK = 32 << 10
"""Bytes that are compressed and written at once: what a kill may cost, a fraction of a second of joint states."""
METADATA = "metadata.yaml"
METADATA_VERSION = 5
"""The oldest layout of metadata.yaml that has all this; every rosbag2 since Humble reads it."""


@dataclass(frozen=True)
class BagTopic:
    """A topic. type: as "sensor_msgs/msg/Image". latched: its newest message counts until the next one."""

    name: str
    type: str
    definition: str
    latched: bool = False


@dataclass(frozen=True)
class BagMessage:
    """A serialized message; times in nanoseconds, of its arrival and as its publisher says."""

    topic: str
    log_time: int
    publish_time: int
    data: bytes


@dataclass(frozen=True)
class SplitLimits:
    """When another file is begun: bytes, and seconds of log time."""

    bytes: int = 1 << 30
    seconds: float = 600.0


@dataclass
class _File:
    """What metadata.yaml says of one file."""

    path: str
    begin: int
    end: int
    counts: Counter[str] = field(default_factory=Counter)

    def entry(self) -> dict[str, object]:
        return {
            "path": self.path,
            "starting_time": {"nanoseconds_since_epoch": self.begin},
            "duration": {"nanoseconds": self.end - self.begin},
            "message_count": self.counts.total(),
        }


class BagFiles:
    """Files `<folder's name>_N.mcap` and metadata.yaml. Every file begins with the newest latched messages."""

    def __init__(self, folder: Path, topics: Mapping[str, BagTopic], limits: SplitLimits = SplitLimits()) -> None:
        """The folder is made with the first message."""
        self.folder, self._topics, self._limits = folder, topics, limits
        self.bytes = 0
        """Of all files that are complete, and of the running one as far as it is written."""
        self._complete = 0
        self._files: list[_File] = []
        self._stream: IO[bytes] | None = None
        self._writer: Writer | None = None
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._latched: dict[str, BagMessage] = {}

    def remember(self, message: BagMessage) -> None:
        """Take note of a message that is not written, since it may count later."""
        before = self._latched.get(message.topic)
        if self._topics[message.topic].latched and (before is None or before.log_time <= message.log_time):
            self._latched[message.topic] = message

    def write(self, message: BagMessage) -> None:
        """Append a message. Raises OSError if it cannot be written."""
        if self._stream is not None and self._is_full(message.log_time):
            self.end_file()
        if self._stream is None:
            self._begin(message.log_time)
        self.remember(message)
        self._add(message)

    def _is_full(self, now: int) -> bool:
        written = self.bytes - self._complete
        return written >= self._limits.bytes or now - self._files[-1].begin >= self._limits.seconds * 1e9

    def _begin(self, now: int) -> None:
        from mcap.writer import Writer

        self.folder.mkdir(parents=True, exist_ok=True)
        path = f"{self.folder.name}_{len(self._files)}.mcap"
        self._stream = (self.folder / path).open("xb")
        writer = Writer(self._stream, chunk_size=CHUNK)
        writer.start(profile="ros2", library="pi0_ros")
        self._writer, self._schemas, self._channels = writer, {}, {}
        self._files.append(_File(path, now, now))
        for message in list(self._latched.values()):  # others may come meanwhile
            self._add(replace(message, log_time=now))

    def _add(self, message: BagMessage) -> None:
        channel = self._channels.get(message.topic) or self._channel(self._topics[message.topic])
        file = self._files[-1]
        number = file.counts[message.topic]
        assert self._writer is not None, "a file is begun before its first message"
        self._writer.add_message(channel, message.log_time, message.data, message.publish_time, number)
        file.counts[message.topic] += 1
        file.begin, file.end = min(file.begin, message.log_time), max(file.end, message.log_time)

    def _channel(self, topic: BagTopic) -> int:
        assert self._writer is not None, "a file is begun before its first channel"
        if topic.type not in self._schemas:
            text = topic.definition.encode()
            self._schemas[topic.type] = self._writer.register_schema(topic.type, "ros2msg", text)
        schema, metadata = self._schemas[topic.type], {"offered_qos_profiles": ""}
        self._channels[topic.name] = self._writer.register_channel(topic.name, "cdr", schema, metadata)
        return self._channels[topic.name]

    def flush(self) -> None:
        """Hand to the system what is in whole chunks. Raises OSError."""
        if self._stream is not None:
            self._stream.flush()
            self.bytes = self._complete + self._stream.tell()

    def end_file(self) -> None:
        """Complete the running file; the next message begins another one. Raises OSError."""
        stream, writer = self._stream, self._writer
        self._stream = self._writer = None
        if stream is None or writer is None:
            return
        with stream:
            writer.finish()
            self.bytes = self._complete = self._complete + stream.tell()
        write_json(self.folder / METADATA, {"rosbag2_bagfile_information": self._metadata()})

    def _metadata(self) -> dict[str, object]:
        counts: Counter[str] = Counter()
        for file in self._files:
            counts += file.counts
        begin, end = min(f.begin for f in self._files), max(f.end for f in self._files)
        return {
            "version": METADATA_VERSION,
            "storage_identifier": "mcap",
            "duration": {"nanoseconds": end - begin},
            "starting_time": {"nanoseconds_since_epoch": begin},
            "message_count": counts.total(),
            "topics_with_message_count": [
                {"topic_metadata": self._topic_metadata(name), "message_count": count} for name, count in counts.items()
            ],
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [f.path for f in self._files],
            "files": [f.entry() for f in self._files],
        }

    def _topic_metadata(self, name: str) -> dict[str, str]:
        kind = self._topics[name].type
        return {"name": name, "type": kind, "serialization_format": "cdr", "offered_qos_profiles": ""}
