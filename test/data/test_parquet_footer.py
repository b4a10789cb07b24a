"""Footers of Parquet files, byte by byte in Thrift's compact protocol, beside pyarrow's own reading of a sound one."""

import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pi0_ros.data import table_size
from pi0_ros.data.parquet_footer import ColumnSize, _Thrift, column_sizes
from pi0_ros.data.table_size import check_table


def test_sizes_are_those_that_pyarrow_gives(tmp_path):
    file = tmp_path / "t.parquet"
    table = pa.table(
        {"a": range(1000), "b": [[float(k), 2.0] for k in range(1000)], "c": [f"text {k}" for k in range(1000)]}
    )
    pq.write_table(table, file, row_group_size=400)
    rows, found = column_sizes(file)
    read = pq.ParquetFile(file).metadata
    expected = [read.row_group(g).column(c) for g in range(3) for c in range(3)]
    assert rows == 1000 and [c.path for c in found] == [c.path_in_schema for c in expected]
    assert [c.values for c in found] == [c.num_values for c in expected]
    assert [c.bytes for c in found] == [c.total_uncompressed_size for c in expected]
    kinds = {"INT64": 2, "DOUBLE": 5, "BYTE_ARRAY": 6}  # parquet.thrift, enum Type
    assert [c.type for c in found] == [kinds[c.physical_type] for c in expected]


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"\x11\x12\x00", {1: True, 2: False}),
        (b"\x13\x05\x00", {1: 5}),
        (b"\x14\x04\x00", {1: 2}),
        (b"\x15\x02\x26\x03\x00", {1: 1, 3: -2}),  # zigzag: 2 is 1, 3 is -2
        (b"\x16\x80\x02\x00", {1: 128}),
        (b"\x05\x28\x0e\x00", {20: 7}),  # a field whose number stands behind its type
        (b"\x17" + struct.pack("<d", 0.75) + b"\x00", {1: 0.75}),
        (b"\x18\x03abc\x00", {1: b"abc"}),
        (b"\x19\x35\x02\x04\x06\x00", {1: [1, 2, 3]}),
        (b"\x19\x21\x01\x02\x00", {1: [True, False]}),  # truth values of a list take a byte each
        (b"\x19\xf5\x0f" + b"\x02" * 15 + b"\x00", {1: [1] * 15}),  # from 15 on the length stands behind
        (b"\x1c\x15\x08\x00\x15\x0a\x00", {1: {1: 4}, 2: 5}),
        (b"\x00", {}),
    ],
)
def test_a_structure_is_read_as_the_protocol_has_it(data, fields):
    assert _Thrift(data).structure() == fields


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x1d\x00", "unknown type 13"),
        (b"\x18\x05abc\x00", "cut off"),
        (b"\x19\x95\x02\x00", "a list longer than itself"),
        (b"\x19\x35\x02\x04", "a list longer than itself"),
        (b"\x16" + b"\xff" * 11 + b"\x00", "too long"),
        (b"\x1c" * 32 + b"\x00" * 33, "nested too deep"),
    ],
)
def test_what_cannot_be_is_refused(data, problem):
    with pytest.raises(ValueError, match=problem):
        _Thrift(data).structure()


def test_32_structures_may_lie_in_one_another():
    found = _Thrift(b"\x1c" * 31 + b"\x00" * 32).structure()
    for _ in range(31):
        found = found[1]
    assert found == {}


def test_texts_that_many_rows_share_are_named_where_they_may_be_large(tmp_path):
    """Values times bytes of a column of text above a gigabyte; numbers never."""
    file = tmp_path / "t.parquet"
    pq.write_table(
        pa.table({"a": ["x" * 2000] * 2000, "b": ["y"] * 2000, "n": range(2000)}), file, use_dictionary=False
    )
    assert check_table(file, ["a", "b", "n"]) == ["a"] and check_table(file, ["b", "n"]) == []
    for data, problem in (
        (b"PAR1" * 2, "8 bytes are no Parquet file"),
        (b"PAR1" + bytes(8) + b"PAR2", "was it cut off"),
    ):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=problem):
            column_sizes(file)
    file.write_bytes(b"PAR1" + struct.pack("<I", 5) + b"PAR1")  # a footer longer than what stands before it
    with pytest.raises(ValueError, match="was it cut off"):
        column_sizes(file)


@pytest.mark.parametrize(
    ("rows", "values", "size", "good"),
    [
        (2**28, 2**28, 2**33, True),
        (2**28 + 1, 1, 1, False),
        (1, 2**28 + 1, 1, False),
        (1, 1, 2**33 + 1, False),
    ],
)
def test_a_quarter_of_a_thousand_million_numbers_in_eight_gigabytes_are_read(
    tmp_path, monkeypatch, rows, values, size, good
):
    """Those of one column in all row groups together."""
    groups = [ColumnSize("a", 5, values - 1, size - 1), ColumnSize("a", 5, 1, 1), ColumnSize("b", 5, 2**40, 2**40)]
    monkeypatch.setattr(table_size, "column_sizes", lambda file: (rows, groups))
    if good:
        assert check_table(tmp_path, ["a"]) == []
    else:
        with pytest.raises(ValueError, match="than is read|at most 268435456 are read"):
            check_table(tmp_path, ["a"])
