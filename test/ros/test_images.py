import array

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from pi0_ros.robot.pictures import ENCODINGS as NAMED
from pi0_ros.robot.pictures import PictureOptions
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


# Red as BT.601 in the studio range has it: Y 82, U 90, V 240 (ITU-R BT.601, 255, 0, 0 rounded).
@pytest.mark.parametrize(("encoding", "colours"), [("nv12", (90, 240)), ("nv21", (240, 90))])
def test_pictures_with_colours_in_a_plane_of_their_own_become_rgb(encoding, colours):
    made = Image(height=8, width=12, encoding=encoding, step=12)
    made.data = array.array("B", bytes([82] * 96) + bytes(colours) * 24)
    constant(decode_picture(made), (255, 0, 0), tolerance=2)


@pytest.mark.parametrize(
    ("encoding", "height", "width", "sentence"),
    [
        ("yuv422_yuy2", 48, 63, "yuv422_yuy2 needs an even width, this picture is 63 wide"),
        ("uyvy", 48, 63, "uyvy needs an even width, this picture is 63 wide"),
        ("nv12", 47, 64, "nv12 needs an even height, this picture is 47 high"),
        ("nv21", 48, 63, "nv21 needs an even width, this picture is 63 wide"),
    ],
)
def test_an_odd_size_of_yuv_is_refused_in_one_sentence(encoding, height, width, sentence):
    made = Image(height=height, width=width, encoding=encoding, data=array.array("B", bytes(2 * height * width)))
    with pytest.raises(PictureError, match=f"^{sentence}$"):
        decode_picture(made)


@pytest.mark.parametrize("encoding", ["8UC3", "8UC4", "16UC3"])
def test_colours_in_an_unnamed_order_are_refused_with_the_way_out(encoding):
    with pytest.raises(PictureError, match="encoding: rgb.* for this camera in the robot YAML"):
        decode_picture(message((0,) * 8, encoding))


def test_the_robot_yaml_says_what_an_unnamed_encoding_is():
    constant(decode_picture(message(RED, "8UC3"), PictureOptions(encoding="rgb8")), RED)
    constant(decode_picture(message(RED[::-1], "8UC3"), PictureOptions(encoding="bgr8")), RED)
    constant(decode_picture(message(RED[::-1], "rgb8"), PictureOptions(encoding="bgr8")), RED)


@pytest.mark.parametrize(("bits", "full"), [(10, 1023), (12, 4095), (14, 16383)])
def test_a_camera_of_few_bits_is_as_bright_as_it_should_be(bits, full):
    options = PictureOptions(bits=bits)
    for share, wanted in ((1.0, 255), (0.5, 127), (0.0, 0)):
        value = int(share * full).to_bytes(2, "little")
        constant(decode_picture(message(value, "mono16"), options), (wanted,) * 3, tolerance=1)
        picture = np.full((8, 12), int(share * full), np.uint16)
        constant(decode_picture(png(picture, "mono16; png compressed "), options), (wanted,) * 3, tolerance=1)
    constant(decode_picture(message(wide(200), "mono16"), options), (255,) * 3)  # above full scale is full


def test_few_bits_of_a_picture_of_eight_are_refused():
    for made in (message(RED, "rgb8"), png(np.full((8, 12), 7, np.uint8), "mono8; png compressed ")):
        with pytest.raises(PictureError, match="bits: 12"):
            decode_picture(made, PictureOptions(bits=12))


def png(pixels, form):
    return CompressedImage(format=form, data=array.array("B", cv2.imencode(".png", pixels)[1].tobytes()))


@pytest.mark.parametrize("scale, suffix", [(1, "8"), (257, "16")])
def test_a_mosaic_that_was_compressed_as_grey_gets_its_colours(scale, suffix):
    tile = np.array([[200, 30], [30, 10]], np.uint16) * scale
    mosaic = np.tile(tile, (4, 6)).astype(np.uint8 if suffix == "8" else np.uint16)
    inner = decode_picture(png(mosaic, f"bayer_rggb{suffix}; png compressed "))[2:-2, 2:-2].reshape(-1, 3)
    np.testing.assert_allclose(inner, np.tile((200, 30, 10), (len(inner), 1)), atol=1)
    # A publisher that has made colours of it says so, and sends three values a pixel.
    colours = np.full((8, 12, 3), RED[::-1], np.uint8)
    constant(decode_picture(png(colours, f"bayer_rggb{suffix}; png compressed bgr8")), RED)


@pytest.mark.parametrize("form", ["16UC1; compressedDepth png", "16UC1; png compressed ", "32FC1; compressedDepth png"])
def test_compressed_depth_is_refused_as_raw_depth_is(form):
    with pytest.raises(PictureError, match="depth"):
        decode_picture(png(np.full((8, 12), 900, np.uint16), form))


def test_red_and_blue_of_compressed_pictures_are_where_the_format_says():
    stored = np.full((8, 12, 3), (10, 30, 200), np.uint8)  # as OpenCV stores: a reader finds red 200, blue 10
    for form, wanted in (
        ("jpeg", RED),
        ("rgb8; jpeg compressed bgr8", RED),
        ("bgr8; png compressed bgr8", RED),
        ("rgb8; jpeg compressed rgb8", RED[::-1]),
    ):
        constant(decode_picture(png(stored, form)), wanted)
    constant(decode_picture(png(stored, "jpeg"), PictureOptions(encoding="bgr8")), RED[::-1])
    constant(decode_picture(png(stored, "rgb8; jpeg compressed rgb8"), PictureOptions(encoding="rgb8")), RED)


PATCHES = np.zeros((6, 9, 3), np.uint8)
PATCHES[0, 0], PATCHES[0, 8], PATCHES[5, 0], PATCHES[5, 8] = 10, 20, 30, 40  # corners in reading order


@pytest.mark.parametrize(
    ("options", "shape", "corners"),
    [
        (PictureOptions(), (6, 9), (10, 20, 30, 40)),
        (PictureOptions(rotate=90), (9, 6), (30, 10, 40, 20)),  # clockwise: the lower left corner comes up
        (PictureOptions(rotate=180), (6, 9), (40, 30, 20, 10)),
        (PictureOptions(rotate=270), (9, 6), (20, 40, 10, 30)),
        (PictureOptions(flip="horizontal"), (6, 9), (20, 10, 40, 30)),
        (PictureOptions(flip="vertical"), (6, 9), (30, 40, 10, 20)),
        (PictureOptions(flip="both"), (6, 9), (40, 30, 20, 10)),
        (PictureOptions(rotate=90, flip="horizontal"), (9, 6), (10, 30, 20, 40)),
        (PictureOptions(crop=(8, 0, 1, 6)), (6, 1), (20, 20, 40, 40)),
        (PictureOptions(crop=(0, 5, 9, 1), rotate=90), (9, 1), (30, 30, 40, 40)),
    ],
)
def test_a_picture_is_turned_as_its_camera_is_mounted(options, shape, corners):
    for made in (image_message(PATCHES, Time()), png(PATCHES, "png")):
        turned = decode_picture(made, options)[..., 0]
        assert turned.shape == shape
        assert (turned[0, 0], turned[0, -1], turned[-1, 0], turned[-1, -1]) == corners


def test_a_thumbnail_is_turned_too():
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[:30] = 250
    options = PictureOptions(rotate=90)
    for made in (image_message(picture, Time()), compressed_message(picture, Time())):
        small = decode_picture(CompressedImage(format="jpeg", data=thumbnail(made, options=options)))
        assert small.shape == (80, 60, 3)
        assert small[:, 40:].mean() > 240 and small[:, :20].mean() < 15


def test_a_crop_outside_the_picture_is_refused_with_both_sizes():
    with pytest.raises(PictureError, match=r"crop \[4, 0, 9, 8\] does not fit into a picture of 12x8"):
        decode_picture(message(RED, "rgb8"), PictureOptions(crop=(4, 0, 9, 8)))


@pytest.mark.parametrize("height, width", [(8192, 4097), (2**31, 2**31)])
def test_a_raw_picture_that_is_too_large_is_refused_before_anything_is_made_of_it(height, width):
    made = Image(height=height, width=width, encoding="rgb8")
    with pytest.raises(PictureError, match=f"{width}x{height} pixels; at most 33554432"):
        decode_picture(made)


def test_a_thumbnail_keeps_no_picture_that_would_be_too_large_to_open():
    data = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = (30000).to_bytes(2, "big") * 2
    for damaged in (bytes(data), cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()[:-9]):
        with pytest.raises(PictureError):
            thumbnail(CompressedImage(format="jpeg", data=array.array("B", damaged)))


def test_the_robot_yaml_takes_every_encoding_that_names_its_colours():
    assert set(NAMED) | {"8UC1"} == set(ENCODINGS)


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
    with pytest.raises(PictureError, match="12x8 rgb8 with step 36 needs 288 bytes, but the picture has 287"):
        decode_picture(short)


def test_a_row_that_is_too_short_is_refused():
    wrong = message(RED, "rgb8")
    wrong.step = 12  # the width in pixels
    with pytest.raises(PictureError, match="step is 12, but a row of 12 rgb8 pixels has 36 bytes"):
        decode_picture(wrong)


def test_the_last_row_needs_no_padding():
    padded = message(RED, "rgb8", padding=5)
    padded.data = padded.data[:-5]
    constant(decode_picture(padded), RED)
    padded.data = padded.data[:-1]
    with pytest.raises(PictureError, match="12x8 rgb8 with step 41 needs 323 bytes, but the picture has 322"):
        decode_picture(padded)


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


def test_a_crop_may_reach_the_edge_and_no_further_in_either_direction():
    for crop, fits in (((4, 2, 8, 6), True), ((4, 2, 8, 7), False), ((4, 2, 9, 6), False), ((0, 0, 8, 12), False)):
        if fits:
            assert decode_picture(message(RED, "rgb8"), PictureOptions(crop=crop)).shape == (6, 8, 3)
        else:
            with pytest.raises(PictureError, match="does not fit into a picture of 12x8"):
                decode_picture(message(RED, "rgb8"), PictureOptions(crop=crop))


def test_a_jpeg_that_is_small_enough_and_whole_is_its_own_thumbnail():
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    made = compressed_message(picture, Time())
    data, size = bytes(made.data), len(made.data)
    assert thumbnail(made, most=size, longest=100) == data
    assert (
        thumbnail(made, most=size - 1, longest=100)
        != data
        != thumbnail(made, most=size, options=PictureOptions(flip="both"))
    )
    padded = CompressedImage(format="jpeg", data=array.array("B", data + bytes(3)))
    assert thumbnail(padded, most=size + 3) == data + bytes(3)
    with pytest.raises(PictureError):
        thumbnail(CompressedImage(format="jpeg", data=array.array("B", data[:-600])), most=size)


def test_what_is_no_jpeg_becomes_one_however_it_ends():
    for tail in (b"", b"\xff\xd9"):
        other = png(np.full((8, 12, 3), RED[::-1], np.uint8), "png")
        other.data = array.array("B", bytes(other.data) + tail)
        assert thumbnail(other)[:2] == b"\xff\xd8"


def test_a_thumbnail_of_the_longest_side_is_not_resized_and_a_thin_picture_keeps_a_pixel():
    shape = lambda height, width, longest: decode_picture(
        CompressedImage(
            format="jpeg", data=thumbnail(image_message(np.full((height, width, 3), RED, np.uint8), Time()), longest)
        )
    ).shape[:2]
    assert shape(40, 60, 60) == (40, 60) and shape(60, 40, 45) == (45, 30)
    assert shape(2, 600, 100) == (1, 100) and shape(600, 2, 100) == (100, 1)


def test_the_quality_of_a_jpeg_is_that_which_is_asked_for():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sizes = [len(compressed_message(picture, Time(), quality=q).data) for q in (30, 90, 95)]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3 and len(compressed_message(picture, Time()).data) == sizes[1]
    raw = image_message(picture, Time())
    small, usual, large = (len(thumbnail(raw, **q)) for q in ({"quality": 60}, {}, {"quality": 95}))
    assert small < usual < large and usual == len(thumbnail(raw, quality=80))


def test_a_compressed_message_says_what_it_is_and_when_and_where_it_was_taken():
    made = compressed_message(np.full((16, 16, 3), RED, np.uint8), Time(sec=3, nanosec=7), "eye")
    assert made.format == "rgb8; jpeg compressed bgr8" and made.header.frame_id == "eye"
    assert (made.header.stamp.sec, made.header.stamp.nanosec) == (3, 7)
