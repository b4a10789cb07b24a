"""Tables as they are written and read: texts that rows share, types of columns, rows behind rows."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pi0_ros.data import table_size, tables
from pi0_ros.data.errors import DataError
from pi0_ros.data.table_size import plain_table
from pi0_ros.data.tables import (
    STILL,
    append_rows,
    arrow_schema,
    read_json,
    read_json_lines,
    read_table,
    write_json,
    write_tasks,
)

SHARED = pa.dictionary(pa.int32(), pa.string())


def shared(values):
    return pa.array(values, pa.string()).dictionary_encode()


def kinds_of_text() -> pa.Table:
    """Texts that rows share, by themselves, in lists, and in structures; and what needs no writing out."""
    words = shared(["ab", "c", "ab", None])
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 2, 3, 4], pa.int32()), shared(["ab", "c", "de", "ab"]))
    parts = pa.StructArray.from_arrays(
        [shared(["x", "yz", "x", "x"]), pa.array([1, 2, 3, 4])],
        fields=[pa.field("word", SHARED, nullable=False), pa.field("number", pa.int64())],
    )
    return pa.table({"words": words, "lists": lists, "parts": parts, "plain": pa.array([1.0, 2.0, 3.0, 4.0])})


def test_texts_that_rows_share_are_written_out_wherever_they_are_and_nothing_else_changes():
    table = kinds_of_text()
    found = plain_table(table)
    assert found.to_pylist() == table.to_pylist() and found.column_names == table.column_names
    assert found.schema.field("words").type == pa.string()
    assert found.schema.field("lists").type == pa.list_(pa.string())
    parts = found.schema.field("parts").type
    assert [(f.name, f.type, f.nullable) for f in parts] == [
        ("word", pa.string(), False), ("number", pa.int64(), True),
    ]  # fmt: skip
    assert found.column("plain") is not None and found.schema.field("plain").type == pa.float64()


@pytest.mark.parametrize(("column", "size"), [("words", 5), ("lists", 7), ("parts", 5)])
def test_texts_count_once_for_each_row_that_has_them(monkeypatch, column, size):
    table = kinds_of_text().select([column])
    monkeypatch.setattr(table_size, "MAX_TEXT", size)
    plain_table(table)
    monkeypatch.setattr(table_size, "MAX_TEXT", size - 1)
    with pytest.raises(
        ValueError, match=f"{column} holds {size} bytes of text, more than the {size - 1} that are read"
    ):
        plain_table(table)
    twice = pa.concat_tables([table, table])
    monkeypatch.setattr(table_size, "MAX_TEXT", 2 * size - 1)
    with pytest.raises(ValueError, match=f"{column} holds {2 * size} bytes"):
        plain_table(twice)


def test_columns_are_read_by_name_in_the_files_order_or_all_but_some(tmp_path):
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1], "b": [2], "c": [3]}), file)
    assert read_table(file).column_names == ["a", "b", "c"]
    assert read_table(file, ["c", "x", "a"]).column_names == ["c", "a"]
    assert read_table(file, without=["b"]).column_names == ["a", "c"]
    assert read_table(file, ["a", "b"], ["b"]).column_names == ["a"]
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), file)
    with pytest.raises(DataError, match="t.parquet: is damaged .*the column 'a' is there twice"):
        read_table(file)


def test_rows_are_put_behind_those_that_are_there_in_the_new_ones_types(tmp_path):
    file = tmp_path / "deep" / "t.parquet"
    append_rows(file, pa.table({"a": pa.array([1, 2], pa.int32()), "b": ["x", "y"]}))
    append_rows(file, pa.table({"a": pa.array([3], pa.int64()), "b": ["z"]}))
    found = pq.read_table(file)
    assert found.to_pydict() == {"a": [1, 2, 3], "b": ["x", "y", "z"]} and found.schema.field("a").type == pa.int64()
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "SNAPPY"


FEATURES = {
    "pose": {"dtype": "float32", "shape": (3,)},
    "grip": {"dtype": "float64", "shape": (1,)},
    "open": {"dtype": "bool", "shape": [1]},
    "flags": {"dtype": "bool", "shape": [2]},
    "word": {"dtype": "string", "shape": (1,)},
    "eye": {"dtype": "image", "shape": (4, 6, 3)},
    "film": {"dtype": "video", "shape": (4, 6, 3)},
}


def test_columns_have_the_types_of_their_features_and_the_note_by_which_datasets_knows_them():
    schema = arrow_schema(FEATURES)
    assert {f.name: f.type for f in schema} == {
        "pose": pa.list_(pa.float32(), 3), "grip": pa.float64(), "open": pa.bool_(), "flags": pa.list_(pa.bool_(), 2),
        "word": pa.string(), "eye": STILL,
    }  # fmt: skip
    value = lambda dtype: {"dtype": dtype, "_type": "Value"}
    assert json.loads(schema.metadata[b"huggingface"]) == {
        "info": {
            "features": {
                "pose": {"feature": value("float32"), "length": 3, "_type": "List"},
                "grip": value("float64"),
                "open": value("bool"),
                "flags": {"feature": value("bool"), "length": 2, "_type": "List"},
                "word": value("string"),
                "eye": {"_type": "Image"},
            }
        }
    }


def test_tasks_are_numbered_with_their_words_as_the_index(tmp_path):
    write_tasks(tmp_path / "tasks.parquet", ["wave", "nod"])
    table = pq.read_table(tmp_path / "tasks.parquet")
    assert table.to_pydict() == {"task_index": [0, 1], "task": ["wave", "nod"]}
    note = json.loads(table.schema.metadata[b"pandas"])
    assert note["index_columns"] == ["task"] and [c["name"] for c in note["columns"]] == ["task_index", "task"]
    assert [(c["pandas_type"], c["numpy_type"]) for c in note["columns"]] == [("int64", "int64"), ("unicode", "object")]


def test_json_is_read_as_it_was_written_and_lines_of_blanks_are_none(tmp_path):
    write_json(tmp_path / "a.json", {"word": "grün", "n": [1, 2]})
    assert (
        read_json(tmp_path / "a.json") == {"word": "grün", "n": [1, 2]} and "grün" in (tmp_path / "a.json").read_text()
    )
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n  \n[2]\n')
    assert read_json_lines(tmp_path / "a.jsonl") == [{"a": 1}, [2]]
    with pytest.raises(DataError, match="none.json: this file of the dataset is missing; copy or download"):
        read_json(tmp_path / "none.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(DataError, match="b.json: .*; copy or download the whole dataset folder again"):
        read_json(tmp_path / "b.json")


def test_a_pointer_of_git_lfs_is_told_from_a_file_that_begins_otherwise(tmp_path):
    (tmp_path / "a").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    (tmp_path / "b").write_bytes(b" version https://git-lfs")
    assert "run `git lfs pull`" in tables.pointer(tmp_path / "a")
    assert tables.pointer(tmp_path / "b") == tables.pointer(tmp_path / "none") == ""


def test_numbers_of_a_list_are_of_one_width_in_the_table(tmp_path):
    table = pa.table(
        [pa.array([[1.0, 2.0, 3.0]], pa.list_(pa.float32(), 3))], schema=arrow_schema({"pose": FEATURES["pose"]})
    )
    append_rows(tmp_path / "t.parquet", table)
    assert np.asarray(read_table(tmp_path / "t.parquet").column("pose").to_pylist()).shape == (1, 3)
