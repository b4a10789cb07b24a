"""Rows of a picture message on both sides of every bound, and few bits as eight."""

import numpy as np
import pytest

from pi0_ros.data.encoded_pictures import PictureError
from pi0_ros.ros.encodings import rows_of_bytes, to_eight_bits, to_rgb


@pytest.mark.parametrize(
    ("encoding", "step", "length", "words"),
    [
        ("rgb8", 9, 18, ""),
        ("rgb8", 0, 18, ""),
        ("rgb8", 8, 40, "step is 8, but a row of 3 rgb8 pixels has 9 bytes"),
        ("rgb8", 12, 21, ""),  # the last row needs no padding
        ("rgb8", 12, 20, "3x2 rgb8 with step 12 needs 21 bytes, but the picture has 20"),
        ("rgb8", 9, 17, "3x2 rgb8 with step 9 needs 18 bytes, but the picture has 17"),
        ("rgb16", 0, 36, ""),
        ("rgb16", 0, 35, "needs 36 bytes"),
        ("rgba8", 12, 24, ""),
        ("mono8", 3, 99, ""),
        ("yuyv", 6, 12, "yuyv needs an even width, this picture is 3 wide"),
    ],
)
def test_a_picture_has_the_bytes_of_its_rows(encoding, step, length, words):
    data = bytes(k % 251 for k in range(length))
    if words:
        with pytest.raises(PictureError, match=words):
            rows_of_bytes(encoding, 3, 2, step, data)
        return
    rows = rows_of_bytes(encoding, 3, 2, step, data)
    row = {"rgb8": 9, "rgb16": 18, "rgba8": 12, "mono8": 3}[encoding]
    assert rows.shape == (2, row)
    for k in range(2):
        start = k * (step or row)
        assert bytes(rows[k]) == data[start : start + row]


@pytest.mark.parametrize(("step", "length"), [(0, 24), (4, 24), (6, 34)])
def test_colour_planes_follow_in_half_as_many_rows(step, length):
    data = bytes(range(length))
    rows = rows_of_bytes("nv12", 4, 4, step, data)
    assert rows.shape == (6, 4) and bytes(rows[5]) == data[5 * (step or 4) : 5 * (step or 4) + 4]
    with pytest.raises(PictureError, match=f"needs {length} bytes"):
        rows_of_bytes("nv12", 4, 4, step, data[:-1])
    for width, height, words in (
        (3, 4, "even width, this picture is 3 wide"),
        (4, 3, "even height, this picture is 3 high"),
    ):
        with pytest.raises(PictureError, match=words):
            rows_of_bytes("nv12", width, height, 0, bytes(99))
    assert rows_of_bytes("uyvy", 2, 3, 0, bytes(12)).shape == (3, 4), "only its width is in pairs"


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
def test_the_largest_value_of_some_bits_is_white_and_nothing_is_beyond_it(bits):
    full = 2**bits - 1
    found = to_eight_bits(np.array([0, full // 2 + 1, full - 1, full, min(full + 5, 65535)], np.uint16), bits)
    assert found.dtype == np.uint8 and found.tolist() == [
        0,
        (full // 2 + 1) * 255 // full,
        (full - 1) * 255 // full,
        255,
        255,
    ]


def test_what_opencv_refuses_is_named_with_size_and_encoding():
    with pytest.raises(PictureError, match="^3x2 bgr8 cannot be converted: "):
        to_rgb("bgr8", np.zeros((2, 3, 2), np.uint8), "3x2")
    same = np.zeros((2, 3, 3), np.uint8)
    assert to_rgb("rgb8", same) is same
