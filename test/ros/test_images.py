import array

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from pi0_ros.ros.images import (
    ENCODINGS,
    PictureError,
    compressed_message,
    decode_picture,
    image_message,
    thumbnail,
)

RED = (200, 30, 10)


def message(pixels, encoding, height=8, width=12, bigendian=False, padding=0):
    """An Image of a constant pixel given as the bytes of one pixel."""
    row = bytes(pixels) * width + b"\xee" * padding
    made = Image(height=height, width=width, encoding=encoding, step=len(row), is_bigendian=bigendian)
    made.data = array.array("B", row * height)
    return made


def wide(value, order="little"):
    """An 8-bit value as the 16-bit value that means the same brightness."""
    return (value * 257).to_bytes(2, order)


def constant(picture, colour, tolerance=0):
    assert picture.shape == (8, 12, 3) and picture.dtype == np.uint8
    np.testing.assert_allclose(picture.reshape(-1, 3), np.tile(colour, (96, 1)), atol=tolerance)


@pytest.mark.parametrize(
    ("encoding", "pixel", "expected"),
    [
        ("rgb8", RED, RED),
        ("bgr8", RED[::-1], RED),
        ("rgba8", (*RED, 255), RED),
        ("bgra8", (*RED[::-1], 255), RED),
        ("8UC3", RED[::-1], RED),
        ("8UC4", (*RED[::-1], 255), RED),
        ("mono8", (77,), (77, 77, 77)),
        ("8UC1", (77,), (77, 77, 77)),
        ("mono16", wide(77), (77, 77, 77)),
        ("rgb16", b"".join(map(wide, RED)), RED),
        ("bgr16", b"".join(map(wide, RED[::-1])), RED),
        ("rgba16", b"".join(map(wide, (*RED, 255))), RED),
        ("bgra16", b"".join(map(wide, (*RED[::-1], 255))), RED),
    ],
)
def test_every_plain_encoding_becomes_rgb(encoding, pixel, expected):
    constant(decode_picture(message(pixel, encoding)), expected)


@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if e.startswith("bayer")])
def test_a_bayer_mosaic_shows_its_colour_away_from_the_edge(encoding):
    values = {"r": 200, "g": 30, "b": 10}
    order = encoding.split("_")[1].rstrip("0123456789")
    tile = np.array([[values[order[0]], values[order[1]]], [values[order[2]], values[order[3]]]], np.uint16)
    plane = np.tile(tile, (4, 6))
    data = plane.astype(np.uint8) if encoding.endswith("8") else plane * 257
    made = Image(height=8, width=12, encoding=encoding, step=12 * data.itemsize)
    made.data = array.array("B", data.tobytes())
    inner = decode_picture(made)[2:-2, 2:-2].reshape(-1, 3)
    np.testing.assert_allclose(inner, np.tile((200, 30, 10), (len(inner), 1)), atol=1)


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv_pictures_become_rgb(encoding):
    yuv = cv2.cvtColor(np.full((1, 1, 3), RED, np.uint8), cv2.COLOR_RGB2YUV).ravel().astype(int)
    y, u, v = (int(c) for c in yuv)
    pair = [u, y, v, y] if encoding in ("yuv422", "uyvy") else [y, u, y, v]
    made = Image(height=8, width=12, encoding=encoding, step=24)
    made.data = array.array("B", bytes(pair) * 48)
    picture = decode_picture(made)
    assert picture.shape == (8, 12, 3)
    assert picture[..., 0].mean() > 150 and picture[..., 1:].mean() < 80


def test_nv21_pictures_become_rgb():
    made = Image(height=8, width=12, encoding="nv21", step=12)
    made.data = array.array("B", bytes([120] * 96 + [128] * 48))
    picture = decode_picture(made)
    assert picture.shape == (8, 12, 3)
    assert np.ptp(picture) <= 2 and abs(int(picture.mean()) - 121) < 3


def test_row_padding_is_cut_off():
    constant(decode_picture(message(RED, "rgb8", padding=5)), RED)


def test_the_other_byte_order_is_turned():
    pixel = b"".join(wide(c, "big") for c in (77,))
    values = message(pixel, "mono16", bigendian=True)
    values.data = array.array("B", np.full((8, 12), 77 * 257 + 3, ">u2").tobytes())
    constant(decode_picture(values), (77, 77, 77))


@pytest.mark.parametrize("encoding", ["32FC1", "64FC2", "8SC1", "16UC1", "", "rubbish", "nv24"])
def test_an_encoding_that_is_no_colour_picture_is_refused_by_name(encoding):
    with pytest.raises(PictureError, match=repr(encoding)):
        decode_picture(message((0,) * 8, encoding))


@pytest.mark.parametrize("height, width", [(0, 12), (8, 0)])
def test_an_empty_picture_is_refused(height, width):
    with pytest.raises(PictureError, match="empty"):
        decode_picture(message(RED, "rgb8", height, width))


def test_too_few_bytes_are_refused():
    short = message(RED, "rgb8")
    short.data = short.data[:-1]
    with pytest.raises(PictureError, match="needs 288"):
        decode_picture(short)


def test_a_row_that_is_too_short_is_refused():
    wrong = message(RED, "rgb8")
    wrong.step = 5
    with pytest.raises(PictureError, match="rows of 5"):
        decode_picture(wrong)


def test_ten_thousand_random_pictures_either_decode_or_are_refused():
    draw = np.random.default_rng(0)
    names = [*ENCODINGS, "32FC1", "x"]
    good = 0
    for _ in range(10_000):
        made = Image(
            height=int(draw.integers(0, 7)),
            width=int(draw.integers(0, 7)),
            encoding=names[draw.integers(len(names))],
            step=int(draw.integers(0, 30)),
            is_bigendian=bool(draw.integers(2)),
        )
        made.data = array.array("B", draw.bytes(int(draw.integers(0, 200))))
        try:
            picture = decode_picture(made)
        except PictureError:
            continue
        assert picture.shape == (made.height, made.width, 3) and picture.dtype == np.uint8
        good += 1
    assert good > 100


def test_raw_pictures_survive_the_way_through_a_message():
    picture = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    made = image_message(picture, Time(sec=3), "eye")
    assert (made.header.stamp.sec, made.header.frame_id, made.step) == (3, "eye", 15)
    np.testing.assert_array_equal(decode_picture(made), picture)


def test_compressed_pictures_keep_their_colours():
    picture = np.full((16, 16, 3), RED, np.uint8)
    np.testing.assert_allclose(decode_picture(compressed_message(picture, Time())).reshape(-1, 3)[0], RED, atol=8)


def test_grey_jpeg_and_png_are_read():
    grey = np.full((16, 16), 90, np.uint8)
    for kind in (".jpg", ".png"):
        made = CompressedImage(format=kind[1:], data=array.array("B", cv2.imencode(kind, grey)[1].tobytes()))
        np.testing.assert_allclose(decode_picture(made), np.full((16, 16, 3), 90), atol=2)


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\xff\xd8\xff"])
def test_bytes_that_are_no_picture_are_refused(data):
    with pytest.raises(PictureError):
        decode_picture(CompressedImage(format="jpeg", data=array.array("B", data)))


@pytest.mark.parametrize("shape", [(480, 640), (1080, 1920), (30, 4000), (224, 224), (1, 1)])
def test_a_thumbnail_is_small_and_keeps_the_sides_in_proportion(shape):
    picture = np.full((*shape, 3), RED, np.uint8)
    jpeg = thumbnail(image_message(picture, Time()), longest=320)
    small = decode_picture(CompressedImage(format="jpeg", data=jpeg))
    share = min(1.0, 320 / max(shape))
    assert small.shape == (max(1, round(shape[0] * share)), max(1, round(shape[1] * share)), 3)
    np.testing.assert_allclose(small.reshape(-1, 3).mean(axis=0), RED, atol=6)


def test_a_small_jpeg_stays_as_it_is_and_a_large_one_is_shrunk():
    rng = np.random.default_rng(0)
    small = compressed_message(rng.integers(0, 255, (60, 80, 3), np.uint8), Time())
    assert thumbnail(small) == bytes(small.data)
    large = compressed_message(rng.integers(0, 255, (480, 640, 3), np.uint8), Time())
    assert len(thumbnail(large)) < len(large.data) / 2


def test_a_thumbnail_of_no_picture_is_refused():
    with pytest.raises(PictureError):
        thumbnail(message(RED, "32FC7"))
    with pytest.raises(PictureError):
        thumbnail(CompressedImage(format="jpeg", data=b"\xff\xd8 is not enough" * 10_000))
