"""What counts as a server's answer, on both sides of every bound, without a server."""

import numpy as np
import pytest

from pi0_ros.policy.backends.answers import (
    MAX_ROWS,
    NotFiniteAnswerError,
    WrongShapeError,
    actions_of,
    described,
)
from pi0_ros.policy.backends.server_errors import ServerError

ROWS = np.arange(6.0, dtype=np.float32).reshape(3, 2)


def test_a_bare_array_a_list_and_a_batch_of_one_are_the_actions():
    for answer in (
        ROWS,
        {"a": ROWS},
        {"a": ROWS.tolist()},
        {"a": ROWS[None]},
        {"a": ROWS[None, None]},
        ROWS.astype(int),
    ):
        found = actions_of(answer, ("a",), 2, "p.yaml")
        assert found.dtype == np.float64 and found.tolist() == ROWS.tolist()


def test_parts_are_joined_row_by_row_in_the_order_of_their_keys():
    answer = {"b": ROWS + 10.0, "a": ROWS[:, :1], "c": ROWS}
    np.testing.assert_array_equal(actions_of(answer, ("a", "b"), 3, "p"), np.c_[ROWS[:, :1], ROWS + 10.0])
    with pytest.raises(WrongShapeError, match=r"different numbers of rows: a \[3, 1\], b \[2, 2\]"):
        actions_of({"a": ROWS[:, :1], "b": ROWS[:2]}, ("a", "b"), 3, "p")


@pytest.mark.parametrize("width", [1, 3])
def test_rows_have_exactly_the_width_of_the_adapter(width):
    with pytest.raises(WrongShapeError, match=f"2 numbers per row and p.yaml wants {width}: .*width: 2"):
        actions_of(ROWS, ("a",), width, "p.yaml")


@pytest.mark.parametrize(("rows", "good"), [(1, False), (2, True), (MAX_ROWS, True), (MAX_ROWS + 1, False)])
def test_a_plan_has_from_two_rows_to_a_thousand(rows, good):
    assert MAX_ROWS == 1000
    if good:
        assert len(actions_of(np.zeros((rows, 2)), ("a",), 2, "p")) == rows
    else:
        with pytest.raises(WrongShapeError, match=f"a has {rows} rows; a plan has from 2 to 1000"):
            actions_of(np.zeros((rows, 2)), ("a",), 2, "p")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.zeros(4), "a single row"),
        (np.zeros((3, 1, 2)), "the server keeps a batch dimension"),
        (np.zeros((2, 3, 2)), "the server keeps a batch dimension"),
        (np.zeros((1, 3)).reshape(3, 1)[:0], "no rows"),
        (np.zeros((3, 0)), "no rows"),
        (np.zeros((2, 2, 2, 2)), "no rows"),
        (np.float32(1.0), "no rows"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(value, reason):
    with pytest.raises(WrongShapeError, match=rf"a is .*wanted \[H, D\]: {reason}"):
        actions_of({"a": value}, ("a",), 2, "p")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3.5e38])
def test_the_first_row_that_no_chunk_can_carry_is_named(bad):
    rows = np.ones((5, 2))
    rows[3, 1] = rows[4, 0] = bad
    with pytest.raises(NotFiniteAnswerError, match="beyond float32 in row 3;"):
        actions_of(rows, ("a",), 2, "p")
    rows[3:] = 3.4e38
    assert actions_of(rows, ("a",), 2, "p")[3, 1] == 3.4e38


@pytest.mark.parametrize("value", [np.array([["a", "b"]] * 2), np.ones((2, 2), bool), np.ones((2, 2), complex), None])
def test_what_are_no_numbers_is_refused(value):
    with pytest.raises(ServerError, match="a is .*, not numbers"):
        actions_of({"a": value}, ("a",), 2, "p")


def test_an_answer_without_actions_says_what_it_has_or_what_the_server_says():
    with pytest.raises(ServerError, match="the answer is list, not a map with a"):
        actions_of([1], ("a",), 2, "p")
    for field in ("error", "message", "detail"):
        with pytest.raises(ServerError, match="the server says: busy"):
            actions_of({field: "busy", "b": ROWS}, ("a",), 2, "p")
    with pytest.raises(ServerError) as refused:
        actions_of({"b": ROWS, "n": np.float32(1.0), "c": ROWS, "error": 3}, ("a",), 2, "p.yaml")
    assert "has no a, but b (float32 [3, 2]), n (float32), c (float32 [3, 2]), error (int)" in str(refused.value)
    assert str(refused.value).endswith("write remote: {actions: [b, c]} into p.yaml")
    with pytest.raises(ServerError, match=r"has no a, but n \(int\)$"):
        actions_of({"n": 1}, ("a",), 2, "p")
    with pytest.raises(ServerError, match=r"a is a map; name its parts: remote: \{actions: \[a/left, a/right\]\}"):
        actions_of({"a": {"left": ROWS, "right": ROWS}}, ("a",), 2, "p")


def test_things_are_described_by_type_and_shape():
    assert described({}) == "an empty map" and described("x") == "str" and described(ROWS) == "float32 [3, 2]"
    assert described({"a": {"b": 1}, "c": []}) == "a (b (int)), c (list)"
