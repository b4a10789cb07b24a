"""Records of MCAP files: sound ones of any size, and definitions whose messages have fields."""

import io
import os
import struct
from types import SimpleNamespace

import pytest

pytest.importorskip("mcap")

import lz4.frame
import zstandard
from mcap.records import Chunk
from mcap.writer import CompressionType, Writer

from pi0_ros.data import mcap_records
from pi0_ros.data.mcap_records import _chunk_records, _decompressed, check_schema, messages_of


@pytest.mark.parametrize("compression", list(CompressionType))
def test_messages_come_in_order_with_schema_and_channel_however_they_are_compressed(compression):
    """Half a megabyte of noise, which no compression makes smaller than the records it may hold."""
    stream, sent = io.BytesIO(), [os.urandom(1000) for _ in range(500)]
    writer = Writer(stream, compression=compression, chunk_size=100_000)
    writer.start(profile="ros2", library="")
    schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data\n")
    channels = [writer.register_channel(topic, "cdr", schema) for topic in ("/a", "/b")]
    for k, data in enumerate(sent):
        writer.add_message(channels[k % 3 == 0], 1000 + k, data, 2000 + k)
    writer.finish()
    stream.seek(0)
    found = list(messages_of(stream))
    assert [m.data for _, _, m in found] == sent and [m.log_time for _, _, m in found] == list(range(1000, 1500))
    assert [c.topic for _, c, _ in found] == ["/b" if k % 3 == 0 else "/a" for k in range(500)]
    assert {s.name for s, _, _ in found} == {"std_msgs/msg/String"}


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("string data\n", True),
        ("uint8 A=3\nuint8 x  # a field\n", True),
        ("uint8 A=3\n", False),  # a constant is no field
        ("# uint8 x\n", False),
        ("", False),
        (f"x/Y y\n{'=' * 80}\nMSG: x/Y\nint8 z\n", True),
        (f"x/Y y\n{'=' * 80}\nMSG: x/Y\n", False),
        (f"int8 z\n{'=' * 80}\nMSG: x/Y\n# none\nint8 A = 1\n", False),
    ],
)
def test_a_definition_has_a_field_in_every_message(text, sound):
    if sound:
        check_schema(text)
    else:
        with pytest.raises(ValueError, match="a message without fields"):
            check_schema(text)


def of_chunk(opcode, length, body):
    return struct.pack("<BQ", opcode, length) + body


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (of_chunk(5, 40, bytes(39)), "a record of 40 bytes in what is left of a chunk, 39"),
        (of_chunk(5, 21, bytes(21)), "a record of 21 bytes with the opcode 5"),  # a message has 22 before its data
        (of_chunk(7, 3, bytes(3)), "a record of 3 bytes with the opcode 7"),
    ],
)
def test_a_chunk_holds_schemas_channels_and_messages_and_nothing_else(data, problem):
    sound = of_chunk(5, 25, bytes(25))
    assert [m.data for m in _chunk_records(sound + sound)] == [bytes(3)] * 2
    with pytest.raises(ValueError, match=problem):
        list(_chunk_records(sound + data))


def test_a_compression_that_is_not_known_is_named():
    chunk = SimpleNamespace(uncompressed_size=3, compression="", data=b"abc")
    assert _decompressed(chunk) == b"abc"
    chunk.compression = "brotli, or whatever comes next"
    with pytest.raises(ValueError, match="chunks are compressed by 'brotli, or whatever ', which is not read"):
        _decompressed(chunk)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize(("less", "sound"), [(0, True), (1, False)])
def test_a_chunk_is_no_longer_than_it_says(compression, less, sound):
    data = bytes(range(200)) * 3
    packed = {"zstd": zstandard.ZstdCompressor().compress, "lz4": lz4.frame.compress}[compression](data)
    chunk = SimpleNamespace(uncompressed_size=len(data) - less, compression=compression, data=packed)
    if sound:
        assert _decompressed(chunk) == data
    else:
        with pytest.raises(ValueError, match=rf"(?i){compression} frame of more than the 599 bytes"):
            _decompressed(chunk)


def test_a_chunk_of_more_than_half_a_gigabyte_is_not_decompressed():
    chunk = SimpleNamespace(uncompressed_size=512 << 20, compression="", data=b"abc")
    assert _decompressed(chunk) == b"abc"
    chunk.uncompressed_size += 1
    with pytest.raises(ValueError, match="a chunk of 536870913 bytes; at most 536870912 are read"):
        _decompressed(chunk)


@pytest.mark.parametrize(("counts", "sound"), [((5, 3), True), ((6, 0), False), ((5, 4), False), ((0, 8), True)])
def test_chunks_have_no_more_records_than_bytes_and_some_room(monkeypatch, counts, sound):
    """Two chunks of 3 bytes, and room for 2 records: their bytes and records are counted together."""
    chunks = [Chunk("", n.to_bytes(3, "big"), 0, 0, 0, 3) for n in counts]
    records = [chunks[0], "between", chunks[1]]
    monkeypatch.setattr(
        "mcap.stream_reader.StreamReader", lambda stream, **limits: SimpleNamespace(records=iter(records))
    )
    monkeypatch.setattr(mcap_records, "_chunk_records", lambda data: iter(range(int.from_bytes(data, "big"))))
    monkeypatch.setattr(mcap_records, "ROOM", 2)
    if sound:
        found = list(mcap_records._records(None))
        assert found == [*range(counts[0]), "between", *range(counts[1])]
    else:
        with pytest.raises(ValueError, match="chunks of [36] bytes with more records than that"):
            list(mcap_records._records(None))
