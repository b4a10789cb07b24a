"""Rows of tables: holes in time, rows that are there twice, values that are empty."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from small_lerobot import write

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.errors import DataError
from pi0_ros.data.rows import _broken, _check_frames, _counted, _files, _order, _owners, as_array, nan_where_empty


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
    assert read([True, False], (1,)).tolist() == [True, False] and read([[True, False]] * 2, (2,)).sum() == 2
    assert read([[1.0], [2.0]], None).tolist() == [[1.0], [2.0]] and read(["a", ""], (1,)).tolist() == ["a", ""]


@pytest.mark.parametrize(("version", "meta"), [("v3.0", "meta/episodes"), ("v2.1", "meta/episodes.jsonl")])
def test_an_episode_of_another_length_is_named_with_the_table_that_says_it(tmp_path, version, meta):
    longer = lambda table: [table[0], table[1] | {"length": 9}]
    dataset = Dataset(write(tmp_path / "d", version, lengths=(3, 2), meta=longer), skip_bad=True)
    (said,) = dataset.left_out
    with pytest.raises(DataError, match="episode 1: .* has 2 rows of it"):
        Dataset(dataset.folder).column("action")
    assert said.startswith("episode 1: data/chunk-000/") and said.endswith(f"has 2 rows of it, {meta} says 9")


def layout_of(lengths, indices=None, version="v3.0", folder="set"):
    episodes = [
        SimpleNamespace(index=index, length=length, data=Path(folder) / f"data/{k}.parquet")
        for k, (index, length) in enumerate(zip(indices or range(len(lengths)), lengths, strict=True))
    ]
    return SimpleNamespace(folder=Path(folder), version=version, episodes=episodes, frames=sum(lengths))


def test_episodes_have_their_own_rows_in_the_order_of_their_frames_wherever_they_stand():
    """Episode 7 before episode 4; a row of 4 twice, one of 7 missing."""
    layout = layout_of((3, 2), (7, 4))
    owner, frame = np.array([4, 7, 4, 7, 4]), np.array([1, 2, 0, 0, 1])
    order, problems = _order(layout, owner, frame, (Path("set/data/a"), Path("set/data/b")), np.array([0, 1, 0, 1, 0]))
    assert order.tolist() == [3, 1, 1, 2, 0], (
        "the last row stands for the missing one, the second of a pair is left out"
    )
    assert problems == {0: "episode 7: data/b has 2 rows of it, meta/episodes says 3"}
    longer, said = _order(layout_of((1, 1), (4, 9)), owner, frame, (Path("set/data/a"),), np.zeros(5, int))
    assert longer.tolist() == [2, 0]
    assert said == {
        0: "episode 4: data/a has 2 rows of it, meta/episodes says 1",
        1: "episode 9: the tables have 0 rows of it, meta/episodes says 1",
    }
    assert _order(layout_of(()), owner, frame, (), owner)[0].shape == (0,)


def test_rows_belong_to_the_episode_that_they_say_or_in_version_2_to_their_file():
    files = [Path("set/data/1.parquet"), Path("set/data/0.parquet")]
    file = np.array([0, 0, 1, 1, 1])
    said = np.array([5.0, 5.0, 6.0, 6.0, 6.0])
    assert _owners(layout_of((3, 2), (6, 5)), files, file, said).tolist() == [5, 5, 6, 6, 6]
    assert _owners(layout_of((3, 2), (6, 5), "v2.1"), files, file, said * 0).tolist() == [5, 5, 6, 6, 6]
    assert _owners(layout_of((3, 2), (6, 5)), files, file, None).tolist() == [6, 6, 6, 5, 5]
    with pytest.raises(DataError, match="set/data: not the 6 frames that meta/ says"):
        _owners(layout_of((4, 2), (6, 5)), files, file, None)


@pytest.mark.parametrize(("frames", "found", "sound"), [(10_200, 100, True), (10_201, 100, False), (3, 0, True)])
def test_meta_may_say_twice_as_many_frames_as_there_are_and_ten_thousand(frames, found, sound):
    if sound:
        _check_frames(layout_of((frames,)), found)
    else:
        with pytest.raises(DataError, match=f"set/meta: says {frames} frames, the tables have {found}"):
            _check_frames(layout_of((frames,)), found)


def test_all_tables_of_version_3_are_read_and_of_version_2_those_of_the_episodes(tmp_path):
    for name in ("data/chunk-001/a.parquet", "data/chunk-000/b.parquet", "data/c.parquet", "data/chunk-000/d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = _files(layout_of((1, 1), folder=str(tmp_path)))
    assert [f.relative_to(tmp_path).as_posix() for f in found] == [
        "data/chunk-000/b.parquet",
        "data/chunk-001/a.parquet",
    ]
    named = (tmp_path / "data/0.parquet", tmp_path / "data/1.parquet")
    assert _files(layout_of((1, 1), version="v2.1", folder=str(tmp_path))) == named
    again = layout_of((1, 1), folder=str(tmp_path / "none"))
    again.episodes[1].data = again.episodes[0].data
    assert _files(again) == (tmp_path / "none/data/0.parquet",)
