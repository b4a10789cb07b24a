"""Rows of tables: holes in time, rows that are there twice, values that are empty."""

import math

import numpy as np
import pyarrow as pa
import pytest
from small_lerobot import write

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.errors import DataError
from pi0_ros.data.rows import _broken, _counted, as_array, nan_where_empty


@pytest.mark.parametrize(("late", "hole"), [(0.045, False), (0.055, True), (-0.055, True), (-0.045, False)])
def test_a_step_of_time_half_a_period_off_is_a_hole(late, hole):
    time = np.arange(6) * 0.1
    time[3:] += late
    columns = {"frame_index": np.arange(6), "timestamp": time}
    assert _broken(columns, [6], 10.0).tolist() == [False, False, hole, False, False, False]


def test_a_frame_number_that_is_left_out_is_a_hole_and_the_end_of_an_episode_is_none():
    columns = {"frame_index": np.array([0, 1, 3, 0, 2, 3])}
    assert _broken(columns, [3, 3], 10.0).tolist() == [False, True, False, True, False, False]
    assert _broken({"frame_index": np.array([0])}, [1], 10.0).tolist() == [False]
    assert _broken({"frame_index": np.array([0, 2])}, [2], 10.0).tolist() == [True, False]


def test_frames_without_numbers_are_counted_in_each_episode():
    assert _counted(np.array([4, 4, 7, 4, 7, 7])).tolist() == [0, 1, 0, 2, 1, 2]


@pytest.mark.parametrize(
    ("values", "kind", "filled"),
    [
        ([1.5, None, 2.0], pa.float32(), [1.5, math.nan, 2.0]),
        ([1.5, 2.0], pa.float64(), [1.5, 2.0]),
        ([[1.0, None], None, [3.0, 4.0]], pa.list_(pa.float32()), [[1.0, math.nan], [math.nan] * 2, [3.0, 4.0]]),
        ([None, [3.0, None]], pa.list_(pa.float32(), 2), [[math.nan] * 2, [3.0, math.nan]]),
        ([[1.0], None], pa.large_list(pa.float64()), [[1.0], [math.nan]]),
        ([1, None], pa.int64(), [1, None]),
        ([[1], None], pa.list_(pa.int64()), [[1], None]),
    ],
)
def test_empty_floats_become_nan_and_nothing_else_does(values, kind, filled):
    found = nan_where_empty(pa.array(values, kind))
    assert found.type == kind
    assert [repr(v) for v in found.to_pylist()] == [repr(v) for v in filled]


@pytest.mark.parametrize(
    ("values", "shape", "match"),
    [
        ([1, None], None, "x of row 1 is empty"),
        ([[1.0], [2.0, 3.0]], (1,), r"x is no table of numbers of one width a row \(rows have from 1 to 2 entries\)"),
        ([[1.0, 2.0]] * 3, (3,), r"x has 2 numbers per row, info\.json says the shape \[3\]"),
        ([b"a"], None, "it holds binary"),
    ],
)
def test_a_column_that_is_no_table_of_numbers_is_named(tmp_path, values, shape, match):
    with pytest.raises(DataError, match=f"f.parquet: .*{match}"):
        as_array(tmp_path / "f.parquet", "x", pa.chunked_array([pa.array(values)]), shape)


def test_columns_have_the_shape_that_info_says(tmp_path):
    def read(values, shape):
        return as_array(tmp_path / "f", "x", pa.chunked_array([pa.array(values[:1]), pa.array(values[1:])]), shape)

    assert read([[1, 2, 3, 4], [5, 6, 7, 8]], (2, 2)).tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert read([[[1, 2]], [[3, 4]]], (1, 2)).tolist() == [[[1, 2]], [[3, 4]]]
    assert read([[1.0], [2.0]], (1,)).tolist() == [1.0, 2.0] and read([1, 2], (1,)).tolist() == [1, 2]
    assert read([[1.0], [2.0]], None).tolist() == [[1.0], [2.0]] and read(["a", ""], (1,)).tolist() == ["a", ""]


@pytest.mark.parametrize(("version", "meta"), [("v3.0", "meta/episodes"), ("v2.1", "meta/episodes.jsonl")])
def test_an_episode_of_another_length_is_named_with_the_table_that_says_it(tmp_path, version, meta):
    longer = lambda table: [table[0], table[1] | {"length": 9}]
    dataset = Dataset(write(tmp_path / "d", version, lengths=(3, 2), meta=longer), skip_bad=True)
    (said,) = dataset.left_out
    assert said.startswith("episode 1: data/chunk-000/") and said.endswith(f"has 2 rows of it, {meta} says 9")
