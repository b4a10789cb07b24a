"""TFRecords of tf.train.Example, by hand after record_writer.h and example.proto."""

import struct

import google_crc32c as crc
import numpy as np


def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n > 0x7F:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def chunk(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def feature(value):
    """A list of bytes, of floats or of whole numbers, or an array of floats."""
    if isinstance(value[0], bytes):
        return chunk(1, b"".join(chunk(1, v) for v in value))
    if isinstance(value, np.ndarray) or isinstance(value[0], float):
        return chunk(2, chunk(1, np.asarray(value, "<f4").tobytes()))
    return chunk(3, chunk(1, b"".join(varint(v) for v in value)))


def example(features):
    return chunk(1, b"".join(chunk(1, chunk(1, name.encode()) + chunk(2, feature(v))) for name, v in features.items()))


def record(data):
    def masked(part):
        c = crc.value(part)
        return struct.pack("<I", ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    size = struct.pack("<Q", len(data))
    return size + masked(size) + data + masked(data)
