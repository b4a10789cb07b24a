"""Boxes in front of a subtask: said as PaliGemma says them, and no part of what is to be done."""

from __future__ import annotations

import numpy as np
import pytest

from pi0_ros.policy.boxes import Box, boxes_first, boxes_text, in_padded_picture, location, parted, without_boxes
from pi0_ros.policy.resize import pil_bilinear


def test_a_box_is_said_y_before_x_in_1024_places():
    cup = Box(0.25, 0.5, 0.75, 1.0, "cup")
    assert boxes_text([cup]) == "<loc0512><loc0256><loc1023><loc0768> cup"
    assert boxes_text([cup, Box(0.0, 0.1, 0.1, 0.2, "red lid")]).endswith(
        " cup ; <loc0102><loc0000><loc0204><loc0102> red lid"
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("pick up the cup", "pick up the cup"),
        ("<loc0512><loc0256><loc1023><loc0768> cup ; pick up the cup", "pick up the cup"),
        ("<loc0512> <loc0256> <loc1023> <loc0768> cup ; <loc0001><loc0002><loc0003><loc0004> lid ; open; then wait", "open; then wait"),
        ("<loc0512><loc0256><loc1023><loc0768> cup", ""),
        ("<loc0512><loc0256><loc1023><loc0768> cup ; <loc0001><loc0002>", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_subtask_is_what_follows_the_boxes(answer, words):
    assert without_boxes(answer) == words


@pytest.mark.parametrize("shape", [(48, 64), (64, 40), (32, 32), (20, 20)])
def test_a_box_lies_on_its_thing_in_the_picture_that_the_network_gets(shape):
    """A white thing from a quarter to three quarters across and from half to the lower edge, seen again between the black bars."""
    (height, width), size = shape, 32
    picture = np.zeros((height, width, 3), np.uint8)
    picture[height // 2 :, width // 4 : width * 3 // 4] = 255
    small = pil_bilinear(picture, (size, size))[..., 0] > 127
    rows, columns = np.flatnonzero(small.any(1)), np.flatnonzero(small.any(0))
    box = in_padded_picture(Box(0.25, 0.5, 0.75, 1.0, "thing"), shape, (size, size))
    edges = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / size
    np.testing.assert_allclose([box.x0, box.y0, box.x1, box.y1], edges, atol=0.5 / size)


def test_a_box_in_a_vga_picture_is_squeezed_by_three_quarters():
    """480 x 640 becomes 168 x 224 below 28 black rows: 28/224 is an eighth."""
    found = in_padded_picture(Box(0.1, 0.0, 0.9, 1.0, "table"), (480, 640), (224, 224))
    assert (found.x0, found.y0, found.x1, found.y1) == pytest.approx((0.1, 0.125, 0.9, 0.875))


def test_boxes_that_were_said_are_read_again_with_what_follows():
    said = boxes_text([Box(0.25, 0.5, 0.75, 1.0, "cup"), Box(0.0, 0.1, 0.1, 0.2, "red lid")])
    boxes, words = parted(f"{said} ; open; then wait")
    assert words == "open; then wait" and [box.label for box in boxes] == ["cup", "red lid"]
    assert boxes_text(boxes) == said
    assert parted("pick up the cup") == ((), "pick up the cup")


def test_a_number_of_a_location_stands_for_the_middle_of_its_place():
    (box, second), words = parted(
        "<loc0512><loc0256><loc1023><loc0768> cup ; <loc0000><loc0001><loc0002><loc0003> lid; go"
    )
    assert (box.y0, box.x0, box.y1, box.x1) == tuple((k + 0.5) / 1024 for k in (512, 256, 1023, 768))
    assert (second.y0, second.x0, second.y1, second.x1) == tuple((k + 0.5) / 1024 for k in range(4))
    assert (box.label, second.label, words) == ("cup", "lid", "go")
    assert [location(f) for f in (0.0, 0.5, 1023.9 / 1024, 1.0)] == [0, 512, 1023, 1023]


def test_an_answer_of_boxes_or_of_words_alone_has_nothing_between():
    assert boxes_first("<loc0000> cup", "go") == "<loc0000> cup ; go"
    assert (
        boxes_first("", "go") == "go"
        and boxes_first("<loc0000> cup", "") == "<loc0000> cup"
        and boxes_first("", "") == ""
    )


def test_a_picture_of_the_networks_size_keeps_its_boxes():
    box = Box(0.1, 0.2, 0.3, 0.4, "cup")
    found = in_padded_picture(box, (30, 50), (30, 50))
    assert (found.x0, found.y0, found.x1, found.y1) == pytest.approx((0.1, 0.2, 0.3, 0.4))
    tall = in_padded_picture(box, (64, 16), (32, 40))  # 32 x 8, with 16 black columns on either side
    assert (tall.x0, tall.y0, tall.x1, tall.y1) == pytest.approx(((16 + 0.8) / 40, 0.2, (16 + 2.4) / 40, 0.4))
