"""The records of an MCAP file, decompressed in bounded memory: a megabyte of zstd or LZ4 can stand for a terabyte."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, Any

MAX_RECORD = 1 << 30
"""Bytes of one record of the file; a chunk holds a few seconds."""
MAX_CHUNK = 512 << 20
"""Bytes of one decompressed chunk; rosbag2 writes 0.8 MB, Foxglove 4 MB."""
ROOM = 100_000
"""Records that chunks may have beyond one for each of their compressed bytes: a kilobyte can stand for millions."""
MESSAGE_HEAD = 22  # [bytes] before the data of a message


def messages_of(stream: IO[bytes]) -> Iterator[tuple[Any, Any, Any]]:
    """(schema, channel, message) from the front of a file, without the index at its end: what was cut off has none.

    Raises ValueError for a chunk of more than `MAX_CHUNK` bytes, and whatever the libraries raise for damage.
    """
    from mcap.records import Channel, Message, Schema

    schemas: dict[int, Any] = {}
    channels: dict[int, Any] = {}
    for record in _records(stream):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, Message):
            channel = channels[record.channel_id]
            yield schemas.get(channel.schema_id), channel, record


def _records(stream: IO[bytes]) -> Iterator[Any]:
    from mcap.records import Chunk
    from mcap.stream_reader import StreamReader

    stored = count = 0
    for record in StreamReader(stream, emit_chunks=True, record_size_limit=MAX_RECORD).records:
        if not isinstance(record, Chunk):
            yield record
            continue
        stored += len(record.data)
        for inner in _chunk_records(_decompressed(record)):
            count += 1
            if count > ROOM + stored:
                raise ValueError(f"chunks of {stored} bytes with more records than that")
            yield inner


def _chunk_records(data: bytes) -> Iterator[Any]:
    """Schemas, channels and messages of a decompressed chunk, one after the other: a chunk has nothing else in it."""
    from mcap.data_stream import ReadDataStream
    from mcap.opcode import Opcode
    from mcap.records import Channel, Message, Schema

    stream = ReadDataStream(io.BytesIO(data))
    while stream.count < len(data):
        opcode, length = stream.read1(), stream.read8()
        if length > len(data) - stream.count:
            raise ValueError(f"a record of {length} bytes in what is left of a chunk, {len(data) - stream.count}")
        if opcode == Opcode.MESSAGE and length >= MESSAGE_HEAD:
            yield Message.read(stream, length)
        elif opcode == Opcode.CHANNEL:
            yield Channel.read(stream)
        elif opcode == Opcode.SCHEMA:
            yield Schema.read(stream)
        else:
            raise ValueError(f"a chunk that holds a record of {length} bytes with the opcode {opcode}")


def _decompressed(chunk: Any) -> bytes:
    size = chunk.uncompressed_size
    if size > MAX_CHUNK:
        raise ValueError(f"a chunk of {size} bytes; at most {MAX_CHUNK} are read")
    if not chunk.compression:
        return bytes(chunk.data)
    if chunk.compression == "zstd":
        import zstandard

        # A frame that says its own size is decompressed to that, whatever limit is given.
        if zstandard.frame_content_size(chunk.data) > size:
            raise ValueError(f"a zstd frame of more than the {size} bytes that are announced")
        return bytes(zstandard.ZstdDecompressor().decompress(chunk.data, max_output_size=size))
    if chunk.compression == "lz4":
        import lz4.frame

        data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=size + 1)
        if len(data) > size:
            raise ValueError(f"an LZ4 frame of more than the {size} bytes that are announced")
        return bytes(data)
    raise ValueError(f"chunks are compressed by {chunk.compression[:20]!r}, which is not read")


def check_schema(text: str) -> None:
    """Raises ValueError for a definition with a message of no fields: a list of those takes no bytes and endless time."""
    for section in text.split("=" * 80):
        lines = [line.split("#")[0].strip() for line in section.splitlines()]
        if not any(line and not line.startswith("MSG:") and "=" not in line for line in lines):
            raise ValueError("a message without fields")
