"""A frozen or covered camera is noticed; a quiet scene is not mistaken for one."""

import numpy as np
import pytest

from pi0_ros.ros.picture_watch import (
    PictureWatch,
    alike,
    blank_sentence,
    colour_differences,
    exchanged_sentence,
    same_bytes,
    sampled,
)

DRAW = np.random.default_rng(0)
STILL = {"j1": 0.5, "base_vx": 0.0}


def test_the_same_bytes_are_counted_from_their_first_appearance():
    watch = PictureWatch()
    watch.update(10.0, b"abc", STILL)
    watch.update(10.5, b"abd", STILL)
    for k in range(20):
        watch.update(10.6 + 0.1 * k, b"abd", STILL)
    assert watch.unchanged == pytest.approx(2.0)
    watch.update(13.0, b"abe", STILL)
    assert watch.unchanged == 0.0


@pytest.mark.parametrize(
    "now, moved", [({"j1": 0.51}, False), ({"j1": 0.53}, True), ({"j1": 0.5, "base_vx": -0.1}, True)]
)
def test_whether_the_robot_moved_is_asked_since_the_picture_last_changed(now, moved):
    watch = PictureWatch()
    watch.update(10.0, b"abc", {"j1": -3.0, "base_vx": 0.0})
    watch.update(10.5, b"abd", STILL)
    watch.update(11.0, b"abd", {"j1": 0.49})
    assert watch.moved(now) is moved


def test_a_single_byte_makes_another_picture():
    one = DRAW.integers(0, 256, 100_000, np.uint8).tobytes()
    other = bytearray(one)
    other[77_777] ^= 1
    assert same_bytes(one, bytes(one)) and same_bytes(memoryview(one)[12:], memoryview(one)[12:])
    assert not same_bytes(one, bytes(other)) and not same_bytes(one, one[:-1]) and not same_bytes(b"", b"")


def noisy(colour, spread, shape=(48, 64)):
    return np.clip(np.array(colour) + DRAW.integers(0, spread, (*shape, 3)), 0, 255).astype(np.uint8)


def test_a_black_picture_is_said_with_its_usual_causes():
    assert "lens cap" in blank_sentence(noisy((5, 5, 5), 3))
    twelve_bits = np.full((48, 64, 3), 4095 // 257, np.uint8)  # full white of a 12-bit camera read as 16 bits
    assert "bits: 12" in blank_sentence(twelve_bits)


def test_a_picture_of_one_colour_is_said():
    assert "one colour" in blank_sentence(noisy((200, 30, 10), 3)) and "one colour" in blank_sentence(
        noisy((90, 90, 90), 8)
    )


def test_a_picture_that_shows_something_is_fine():
    night = noisy((5, 5, 5), 3)
    night[20:24, 20:40] = 220  # a lamp
    assert blank_sentence(night) == ""
    wall = noisy((120, 120, 120), 3)
    wall += np.linspace(0, 40, 64).astype(np.uint8)[None, :, None]
    assert blank_sentence(wall) == "" and blank_sentence(DRAW.integers(0, 255, (5, 7, 3)).astype(np.uint8)) == ""


def table(colours=((150, 110, 70), (220, 40, 30), (40, 60, 200), (245, 245, 245), (25, 25, 25))):
    """A scene [96, 128, 3]: a wooden table with things of several colours, sensor noise and a shadow."""
    scene = np.empty((96, 128, 3))
    scene[:] = colours[0]
    for k, colour in enumerate(colours[1:]):
        scene[12 + 18 * k : 28 + 18 * k, 10 + 26 * k : 36 + 26 * k] = colour
    scene *= np.linspace(1.0, 0.55, 128)[None, :, None]
    return np.clip(scene + DRAW.normal(0.0, 3.0, scene.shape), 0, 255).astype(np.uint8)


def packed(scene, order):
    """A scene as 4:2:2 bytes [H, W, 2], ITU-R BT.601: brightness in every first byte (yuyv) or every second (uyvy)."""
    r, g, b = np.moveaxis(scene.astype(float), -1, 0)
    bright = 0.299 * r + 0.587 * g + 0.114 * b
    colour = np.where(np.arange(scene.shape[1]) % 2 == 0, 0.564 * (b - bright), 0.713 * (r - bright))
    parts = 16 + bright * 219 / 255, 128 + colour * 224 / 255
    return np.stack(parts if order == "yuyv" else parts[::-1], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("said", "sent", "cure"), [("yuv422", "yuyv", "yuyv"), ("uyvy", "yuyv", "yuyv"), ("yuv422_yuy2", "uyvy", "uyvy")]
)
def test_a_driver_that_says_the_wrong_order_of_brightness_and_colour_is_told_and_the_cure_works(said, sent, cure):
    pytest.importorskip("rclpy", reason="needs ROS's messages")
    from array import array

    from sensor_msgs.msg import Image

    from pi0_ros.robot.pictures import PictureOptions
    from pi0_ros.ros.images import decode_image

    scene = table()
    message = Image(height=96, width=128, encoding=said, step=256)
    message.data = array("B", packed(scene, sent).tobytes())
    wrong = decode_image(message)
    assert f"say encoding: {cure}" in exchanged_sentence(wrong, said)
    right = decode_image(message, PictureOptions(encoding=cure))
    assert np.abs(right.astype(int) - scene).mean() < 6.0
    assert np.abs(wrong.astype(int) - scene).mean() > 30.0
    assert exchanged_sentence(right, cure) == ""


@pytest.mark.parametrize(
    "colours", [((200, 30, 30), (30, 160, 40), (30, 40, 200), (240, 220, 40), (0, 0, 0)), ((90, 90, 90),) * 5]
)
def test_a_colourful_scene_and_a_grey_one_are_not_suspected(colours):
    assert exchanged_sentence(table(colours), "uyvy") == ""


def test_other_encodings_have_nothing_to_exchange():
    flat = np.full((96, 128, 3), 120, np.uint8)
    flat[40:, :, 1], flat[:20, :, 1] = 220, 20
    assert exchanged_sentence(flat, "yuyv") and not exchanged_sentence(flat, "rgb8")


def test_a_watch_that_has_seen_nothing_says_nothing_and_takes_the_first_state_that_it_hears():
    watch = PictureWatch()
    assert watch.unchanged == 0.0 and not watch.moved({"j1": 9.0})
    watch.update(10.0, b"abc", {})
    watch.update(10.5, b"abc", {"j1": 0.5})
    watch.update(11.0, b"abc", {"j1": 0.6})
    assert watch.moved({"j1": 0.6}) and not watch.moved({"j1": 0.5, "new": 7.0})
    watch.clear()
    assert watch.unchanged == 0.0 and not watch.moved({"j1": 0.6})
    watch.update(12.5, b"abc", STILL)
    watch.update(13.0, b"abc", STILL)
    assert watch.unchanged == 0.5, "what was before it was cleared does not count"


@pytest.mark.parametrize(
    "shape, expected", [((127, 300), (127, 300)), ((128, 300), (64, 150)), ((320, 192), (107, 64))]
)
def test_of_a_large_picture_as_much_is_looked_at_as_tells_something(shape, expected):
    picture = DRAW.integers(0, 256, (*shape, 3), np.uint8)
    found = sampled(picture)
    assert found.shape == (*expected, 3)
    np.testing.assert_array_equal(found[0, 0], picture[0, 0])
    np.testing.assert_array_equal(
        found[-1, -1], picture[((shape[0] - 1) // (s := shape[1] // expected[1])) * s, s * (expected[1] - 1)]
    )


def spotted(value, rest, share, shape=(50, 80)):
    """A picture with a share of its pixels of one value."""
    picture = np.empty((*shape, 3), np.uint8)
    picture[:] = rest
    picture.reshape(-1, 3)[: round(share * shape[0] * shape[1])] = value
    return picture


def test_from_which_brightness_on_and_with_how_many_bright_pixels_a_picture_is_not_black():
    for few, wanted in ((0.004, "black (brightest 3 of"), (0.006, "")):
        assert wanted in blank_sentence(spotted(200, 3, few)) and bool(blank_sentence(spotted(200, 3, few))) == bool(
            wanted
        )
    for colour, wanted in (((0, 25, 1), "black (brightest 25 of"), ((0, 26, 1), "one colour")):
        assert wanted in blank_sentence(spotted(colour, colour, 0.0))


def test_a_picture_shows_something_if_one_colour_varies_by_more_than_noise():
    for apart, blank in ((8, True), (9, False)):
        assert bool(blank_sentence(spotted((90, 60, 30 + apart), (90, 60, 30), 0.1))) is blank


def test_colour_differences_are_those_of_the_standard():
    """The matrix of JFIF 1.02 for BT.601, rounded there to four digits and here to three."""
    matrix = np.array([[-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    picture = DRAW.integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_allclose(colour_differences(picture), np.moveaxis(picture @ matrix.T, -1, 0), atol=0.2)


def together(spread, share):
    """Two fields [20, 30] of these standard deviations with this correlation."""
    one, other = np.linalg.qr(np.column_stack([np.ones(600), DRAW.normal(size=(600, 2))]))[0].T[1:] * np.sqrt(600.0)
    mixed = share * one + np.sqrt(1.0 - share**2) * other
    return (spread[0] * one).reshape(20, 30), (spread[1] * mixed).reshape(20, 30)


@pytest.mark.parametrize(
    ("spread", "share", "expected"),
    [
        ((4.1, 30.0), 0.95, True), ((30.0, 4.1), 0.95, True), ((3.9, 30.0), 0.95, False), ((30.0, 3.9), 0.95, False),
        ((20.0, 30.0), 0.91, True), ((20.0, 30.0), 0.89, False), ((20.0, 30.0), -0.95, False),
    ],
)  # fmt: skip
def test_colour_differences_are_alike_if_both_vary_and_vary_together(spread, share, expected):
    assert alike(*together(spread, share)) is expected


def test_a_picture_without_colour_has_no_differences_that_are_alike():
    flat = np.zeros((4, 4))
    assert alike(flat, flat) is False
