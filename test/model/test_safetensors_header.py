"""Files of numbers, written here byte by byte, and read as arrays; and each damage to a header."""

import json
import struct

import numpy as np
import pytest

from pi0_ros.model.errors import CheckpointError
from pi0_ros.model.safetensors_header import MAX_HEADER, read_arrays, read_header


def written(file, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return file


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1", "BOOL": "?"}  # fmt: skip


@pytest.mark.parametrize("dtype", NUMBERS)
def test_each_type_of_numbers_is_read_as_it_is_and_halves_as_float32(tmp_path, dtype):
    values = np.array([[1, 0, 3], [100, 5, 6]]).astype(NUMBERS[dtype])
    other = np.array([7.5, -2.0], "<f4")
    file = written(tmp_path / "a", {
        "__metadata__": {"by": "hand"}, "b": entry("F32", [2], 0, 8), "a": entry(dtype, [2, 3], 8, 8 + values.nbytes),
    }, other.tobytes() + values.tobytes())  # fmt: skip
    found = read_arrays(file)
    np.testing.assert_array_equal(found["a"], values)
    np.testing.assert_array_equal(found["b"], other)
    assert found["a"].dtype == (np.float32 if dtype == "F16" else values.dtype)
    entries, metadata = read_header(file)
    base = file.stat().st_size - values.nbytes - 8
    assert metadata == {"by": "hand"} and (entries["b"].begin, entries["b"].end) == (base, base + 8)
    assert (entries["a"].dtype, entries["a"].shape, entries["a"].end) == (dtype, (2, 3), file.stat().st_size)


def test_brain_floats_are_the_upper_halves_of_float32(tmp_path):
    values = np.array([1.0, -2.5, 3.0e38, 0.15625], "<f4")
    data = (values.view("<u4") >> 16).astype("<u2").tobytes()
    found = read_arrays(written(tmp_path / "a", {"a": entry("BF16", [4], 0, 8)}, data))["a"]
    np.testing.assert_array_equal(found, (values.view("<u4") >> 16 << 16).view("<f4"))
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        ({"a": entry("F32", [2], 0, 8), "b": entry("F32", [1], 4, 8)}, 8, "overlaps another tensor or leaves a gap"),
        ({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}, 12, "overlaps another tensor or leaves a gap"),
        ({"a": entry("F32", [1], 4, 8)}, 8, "overlaps another tensor or leaves a gap"),
        ({"a": entry("F32", [2], 0, 8)}, 7, "truncated, [0-9]+ bytes are announced and [0-9]+ are there"),
        ({"a": entry("F32", [2], 0, 8)}, 9, "1 bytes follow the last tensor"),
        ({"a": entry("F32", [2], 0, 9)}, 9, r"of shape \[2\] does not fill its 9 bytes"),
        ({"a": entry("F8", [2], 0, 2)}, 2, "has dtype 'F8'; known are F64, F32"),
        ({"a": entry("F32", [1] * 17, 0, 4)}, 4, "'a' is malformed"),
        ({"a": entry("F32", [-1], 0, 4)}, 4, "'a' is malformed"),
        ({"a": entry("F32", [True], 0, 4)}, 4, "'a' is malformed"),
        ({"a": entry("F32", [1.0], 0, 4)}, 4, "'a' is malformed"),
        ({"a": entry("F32", "1", 0, 4)}, 4, "'a' is malformed"),
        ({"a": entry(4, [1], 0, 4)}, 4, "'a' is malformed"),
        ({"a": entry("F32", [2**63], 0, 4)}, 4, "'a' is malformed"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 4]}}, 4, "'a' is malformed"),
        ({"a": [1]}, 4, "'a' is malformed"),
        (b'{"a": 1, "a": 2}', 0, "not valid JSON .*a key occurs twice"),
        (b"[]", 0, "not a JSON object"),
        (b"{", 0, "not valid JSON"),
    ],
)
def test_a_damaged_header_is_refused_with_what_is_wrong(tmp_path, header, data, words):
    with pytest.raises(CheckpointError, match=words):
        read_header(written(tmp_path / "a", header, bytes(data)))


def test_the_largest_axes_numbers_and_lengths_that_fit_are_taken(tmp_path):
    entries, metadata = read_header(
        written(tmp_path / "a", {"a": entry("I8", [1] * 16, 0, 1), "b": entry("I8", [0], 1, 1)}, b"x")
    )
    assert entries["a"].shape == (1,) * 16 and entries["b"].shape == (0,) and metadata == {}
    assert read_header(written(tmp_path / "b", {"__metadata__": "text"}))[1] == {}
    assert read_header(written(tmp_path / "c", {})) == ({}, {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "truncated, only 0 bytes"), (bytes(7), "truncated, only 7 bytes"),
        (struct.pack("<Q", MAX_HEADER + 1) + bytes(9), f"announces a header of {MAX_HEADER + 1} bytes"),
        (struct.pack("<Q", MAX_HEADER) + bytes(9), "truncated inside its header"),
        (struct.pack("<Q", 3) + b"{}", "truncated inside its header"), (struct.pack("<Q", 0), "not valid JSON"),
        (b"PK\x03\x04" + bytes(60), "a zip archive"), (b"\x1f\x8b" + bytes(60), "a gzip archive"),
        (b"\x89HDF" + bytes(60), "an HDF5 file"), (b"GGUF" + bytes(60), "a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1", "a git-lfs pointer"), (b"<!DOCTYPE html>", "a web page"),
        (bytes(257) + b"ustar" + bytes(300), "a tar archive"),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_said_by_its_first_bytes(tmp_path, content, words):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        read_header(tmp_path / "a")
