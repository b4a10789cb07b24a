"""openpi's wire format, byte by byte: what is sent, and what is read of what others send."""

import msgpack
import numpy as np
import pytest

from pi0_ros.policy.backends.wire import pack, unpack
from pi0_ros.policy.errors import PolicyError

ROWS = np.arange(6, dtype="<f4").reshape(2, 3)


def test_arrays_and_numbers_are_sent_as_maps_with_marks():
    sent = msgpack.unpackb(pack({"a": ROWS, "b": np.float32(1.5), "c": 2}))
    assert sent == {
        "a": {b"__ndarray__": True, b"data": ROWS.tobytes(), b"dtype": "<f4", b"shape": [2, 3]},
        "b": {b"__npgeneric__": True, b"data": 1.5, b"dtype": "<f4"},
        "c": 2,
    }


@pytest.mark.parametrize("value", [np.array([1j]), np.complex64(1j), np.array(["x", None], object), object()])
def test_what_the_format_has_no_place_for_is_not_sent(value):
    with pytest.raises(PolicyError, match="cannot be sent"):
        pack([value])


@pytest.mark.parametrize("marks", [str, str.encode])
def test_an_array_is_read_as_a_copy_of_ones_own_in_either_layout(marks):
    openpi = {"__ndarray__": True, "data": ROWS.tobytes(), "dtype": "<f4", "shape": [2, 3]}
    library = {"nd": True, "type": "<f4", "kind": "", "shape": [2, 3], "data": ROWS.tobytes()}
    for sent in (openpi, library, {**library, "kind": None}):
        found = unpack(msgpack.packb({marks(key): value for key, value in sent.items()}))
        np.testing.assert_array_equal(found, ROWS)
        found[0, 0] = 7.0
        assert found.dtype == np.float32
    number = {"nd": False, "type": "<f4", "data": ROWS[1, :1].tobytes()}
    assert unpack(msgpack.packb({marks(key): value for key, value in number.items()})) == 3.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "abcd"}, "the data of an array are str, not bytes"),
        ({"data": b"abc"}, "is not openpi's msgpack"),
        ({"dtype": 4}, "the type of an array is int, not text"),
        ({"dtype": "bfloat16"}, "of type bfloat16, which NumPy does not know; send float32"),
        ({"dtype": "<c8"}, "of type complex64, which is refused"),
        ({"shape": 1}, "the shape of an array is int, not a list of numbers"),
        ({"shape": [1, 1.0]}, "the shape of an array is list, not a list of numbers"),
        ({"shape": [2]}, "is not openpi's msgpack"),
    ],
)
def test_an_array_that_is_none_is_told_with_what_is_wrong(change, words):
    whole = {"__ndarray__": True, "data": b"abcd", "dtype": "<f4", "shape": [1]}
    assert unpack(msgpack.packb(whole)).shape == (1,)
    with pytest.raises(PolicyError, match=words):
        unpack(msgpack.packb(whole | change))
    if "shape" in change or "data" in change:
        library = {"nd": True, "type": "<f4", "kind": "", "shape": [1], "data": b"abcd"}
        with pytest.raises(PolicyError, match=words):
            unpack(msgpack.packb(library | change))
