"""What the black box keeps of what others send."""

from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.control import BlackBox, Chunk
from pi0_ros.control.blackbox import HEAD_VALUES, boxed_chunk

CHUNK = Chunk(10.0, 0.1, ("a", "b", "c"), np.arange(30.0).reshape(10, 3), 7, 2, "policy", 1, "touch the block")


@pytest.mark.parametrize("accepted", [True, False])
def test_an_ordinary_chunk_is_kept_whole_whether_it_was_accepted_or_not(accepted):
    kept, size = boxed_chunk(CHUNK, accepted)
    assert np.array_equal(kept.values, CHUNK.values) and (kept.names, kept.subtask) == (CHUNK.names, CHUNK.subtask)
    assert size >= CHUNK.values.nbytes + len("policy") + len("touch the block")


def test_of_a_giant_chunk_that_was_refused_the_head_is_kept_and_of_one_that_was_accepted_all():
    giant = replace(CHUNK, values=np.arange(3e6).reshape(-1, 3))
    head, size = boxed_chunk(giant, False)
    assert head.values.shape == (HEAD_VALUES // 3, 3) and np.array_equal(head.values, giant.values[: HEAD_VALUES // 3])
    assert head.values.base is None, "a view would keep the whole chunk in memory"
    assert size < 100_000
    assert boxed_chunk(giant, True)[0].values.size == 3_000_000


def test_texts_and_names_count_and_those_of_a_refused_chunk_are_cut():
    spoken = replace(
        CHUNK, subtask="x" * 10_000_000, source="y" * 1_000_000, names=tuple(f"n{i}" for i in range(100_000))
    )
    assert boxed_chunk(spoken, True)[1] > 11_000_000
    head, size = boxed_chunk(spoken, False)
    assert (len(head.subtask), len(head.source), len(head.names)) == (400, 400, 256) and size < 100_000


def test_values_that_are_no_table_are_cut_too():
    flat = replace(CHUNK, values=np.zeros(100_000))
    assert boxed_chunk(flat, False)[0].values.size == HEAD_VALUES


def test_texts_push_out_what_is_older_once_the_box_is_full():
    box = BlackBox(budget=1_000_000)
    for k in range(10):
        kept, size = boxed_chunk(replace(CHUNK, subtask="x" * 100_000), True)
        box.add(float(k), float(k), "chunk", kept, size)
    assert len(box) < 4 and box.size <= 1_000_000


def test_a_chunk_takes_the_room_of_its_numbers_and_four_bytes_for_every_character():
    assert boxed_chunk(CHUNK, True)[1] == 10 * 3 * 8 + 4 * len("policy" + "touch the block" + "abc")


@pytest.mark.parametrize(
    ("names", "shape", "kept"),
    [
        (("a",), (9000, 2), (8192, 1)),  # 8192 numbers in columns that have a name
        (("a", "b", "c"), (9000, 2), (2730, 2)),
        ((), (3, 5), (3, 5)),  # without any name its width is what there is
        ((), (9000, 1), (8192, 1)),
    ],
)
def test_of_a_refused_chunk_the_columns_that_have_a_name_are_kept(names, shape, kept):
    head, _ = boxed_chunk(replace(CHUNK, names=names, values=np.zeros(shape)), False)
    assert head.values.shape == kept
