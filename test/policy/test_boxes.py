"""Boxes in front of a subtask: said as PaliGemma says them, and no part of what is to be done."""

from __future__ import annotations

import pytest

from pi0_ros.policy.boxes import Box, boxes_text, without_boxes


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
