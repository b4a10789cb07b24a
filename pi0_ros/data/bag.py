"""Reading a recorded run (MCAP, or a rosbag2 folder of MCAP files) without ROS."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.errors import DataError
from pi0_ros.data.mcap_records import check_schema, messages_of
from pi0_ros.robot.quoting import escape, quote

CHUNK, JOINTS, ODOMETRY = "pi0_ros/msg/ActionChunk", "sensor_msgs/msg/JointState", "nav_msgs/msg/Odometry"
STATE = "pi0_ros/msg/ExecutorState"
ENDINGS = (".mcap", ".mcap.zstd")
ZSTD = b"\x28\xb5\x2f\xfd"  # how its frames begin
ROOM = 1 << 30  # [bytes] that any .mcap.zstd may decompress to
LARGEST_RATIO = 100  # of an .mcap.zstd
MAX_MESSAGES = 2 << 30  # [bytes] of all messages of one file that are decoded
MAX_MESSAGE = 64 << 20  # [bytes] of one decompressed message


@dataclass(frozen=True)
class RecordedMessage:
    """One message: when it arrived [s], on which topic, of which type, and the decoded message."""

    time: float
    topic: str
    type: str
    message: Any


@dataclass(frozen=True)
class Bag:
    """The messages of a recording in the order they were received, and what a reader should know of it (`notes`)."""

    messages: tuple[RecordedMessage, ...]
    notes: tuple[str, ...] = ()


def read_bag(path: Path, types: tuple[str, ...]) -> Bag:
    """The messages of these types, of an .mcap file or a rosbag2 folder holding some (compressed ones too).

    Other topics are not decoded, whatever they hold. Of a file that was cut off all that is whole is read, with a note.
    Raises: DataError if nothing can be read.
    """
    messages: list[RecordedMessage] = []
    notes: list[str] = []
    for file in mcap_files(path):
        with _plain(file) as plain:
            notes += _read_file(file, plain, types, messages)
    messages.sort(key=lambda message: message.time)
    return Bag(tuple(messages), tuple(notes))


def _read_file(file: Path, plain: Path, types: tuple[str, ...], into: list[RecordedMessage]) -> list[str]:
    """Append a file's messages; what is to be said of it. Raises DataError if not one record is whole."""
    from mcap_ros2.decoder import DecoderFactory

    decoders, factory, unpack = {}, DecoderFactory(), _unpacker()
    before, wrong, last, size = len(into), "", 0.0, 0
    with plain.open("rb") as stream:
        try:
            for schema, channel, record in messages_of(stream):
                last = record.log_time * 1e-9
                if schema is None or schema.name not in types:
                    continue
                size += len(record.data)
                if size > MAX_MESSAGES:
                    raise DataError(f"{file}: more than {MAX_MESSAGES} bytes of messages; cut it: ros2 bag convert")
                if schema.id not in decoders:
                    check_schema(schema.data.decode("utf-8"))
                    decoders[schema.id] = factory.decoder_for(channel.message_encoding, schema)
                decode = decoders[schema.id]
                if decode is None:
                    raise DataError(
                        f"{file}: {quote(channel.topic)} is {schema.name} as {quote(channel.message_encoding)}, which is not read; "
                        "record it as ROS 2 does (cdr)"
                    )
                message = decode(unpack(record.data))
                _FIELDS.get(schema.name, str)(message)
                into.append(RecordedMessage(last, channel.topic, schema.name, message))
        except DataError:
            raise
        except Exception as problem:  # noqa: BLE001 - decoders and decompressors each raise a family of their own
            wrong = str(problem) or type(problem).__name__
    if wrong and len(into) == before:
        raise DataError(
            f"{file}: is damaged or no MCAP file ({escape(wrong, 120)}); `mcap recover` may save what is whole"
        )
    if wrong:
        return [
            f"{file}: cut off or damaged after {last:.1f} s ({escape(wrong, 80)}); what is whole was read, `mcap recover` saves it"
        ]
    return []


def _unpacker() -> Callable[[bytes], bytes]:
    """Undoes rosbag2's compression of single messages; others are left as they are (CDR begins with a zero)."""
    import zstandard

    unpacker = zstandard.ZstdDecompressor()

    def unpack(data: bytes) -> bytes:
        if data[:4] != ZSTD:
            return data
        # A frame that says its own size is decompressed to that, whatever limit is given.
        size = zstandard.frame_content_size(data)
        if size > MAX_MESSAGE:
            raise ValueError(f"a message of {size} bytes; at most {MAX_MESSAGE} are read")
        return bytes(unpacker.decompress(data, max_output_size=MAX_MESSAGE))

    return unpack


@contextmanager
def _plain(file: Path) -> Iterator[Path]:
    """The file itself, or, for an .mcap.zstd, a temporary copy without that compression."""
    if file.suffix != ".zstd":
        yield file
        return
    import zstandard

    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / file.stem
        try:
            with file.open("rb") as source, plain.open("wb") as target:
                most = LARGEST_RATIO * file.stat().st_size + ROOM
                for piece in zstandard.ZstdDecompressor().read_to_iter(source):
                    if target.tell() > most:
                        raise DataError(f"{file}: unpacks to more than {most} bytes; it is no recording")
                    target.write(piece)
        except (zstandard.ZstdError, OSError) as problem:
            raise DataError(f"{file}: cannot be decompressed ({problem}); copy it again, make room") from problem
        yield plain


def mcap_files(path: Path) -> list[Path]:
    """The MCAP files of a path, in the order of their names. Raises DataError if there are none."""
    if path.is_file() and path.name.endswith(ENDINGS):
        return [path]
    files = sorted(f for ending in ENDINGS for f in path.glob(f"*{ending}")) if path.is_dir() else []
    if files:
        return files
    if any(path.glob("*.db3*")):
        raise DataError(
            f"{path}: is stored as sqlite3; write it as MCAP: `ros2 bag convert -i {path} -o convert.yaml` with "
            "storage_id: mcap in convert.yaml"
        )
    raise DataError(f"{path}: no such recording; give an .mcap file or a rosbag2 folder with some")


def stamp_of(header: Any) -> float:
    """A std_msgs/Header's stamp in seconds."""
    return float(header.stamp.sec) + float(header.stamp.nanosec) * 1e-9


def joint_positions(message: Any) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Positions and velocities of a JointState by the driver's joint names; velocities are empty if it gives none."""
    speeds = message.velocity if len(message.velocity) == len(message.name) else []
    return (
        {n: float(v) for n, v in zip(message.name, message.position, strict=False)},
        {n: float(v) for n, v in zip(message.name, speeds, strict=False)},
    )


def rows_of(message: Any) -> NDArray[np.float64]:
    """Values [H, D] of an ActionChunk; [1, N] if they do not divide by its channels."""
    flat = np.asarray(message.values, dtype=np.float64)
    width = len(message.channels)
    return flat.reshape(-1, width) if width and flat.size % width == 0 else flat.reshape(1, -1)


def _chunk_fields(message: Any) -> object:
    texts = (message.source, message.subtask, *message.channels)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a chunk whose names are no text")
    numbers = float(message.period), int(message.epoch), int(message.sequence), int(message.frozen_rows)
    return stamp_of(message.header), rows_of(message), numbers


def _joint_fields(message: Any) -> object:
    if not all(isinstance(name, str) for name in message.name):
        raise TypeError("joints whose names are no text")
    return stamp_of(message.header), joint_positions(message)


def _odometry_fields(message: Any) -> object:
    twist, q = message.twist.twist, message.pose.pose.orientation
    axes = (twist.linear, twist.angular)
    return [float(getattr(axis, name)) for axis in axes for name in "xyz"], float(q.w), str(message.child_frame_id)


# A file says itself which fields its messages have: those that are used later are looked at when they are read.
_FIELDS: Mapping[str, Callable[[Any], object]] = {
    CHUNK: _chunk_fields,
    JOINTS: _joint_fields,
    ODOMETRY: _odometry_fields,
    STATE: lambda message: (stamp_of(message.header), int(message.mode)),
}
