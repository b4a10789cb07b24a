"""A frozen or covered camera is noticed; a quiet scene is not mistaken for one."""

import numpy as np
import pytest

from pi0_ros.ros.picture_watch import PictureWatch, blank_sentence, same_bytes

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
