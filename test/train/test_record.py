"""The record of a run as a picture."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("torch")

from pi0_ros.train.record import _at, cut_back, draw_curves, read_lines, write_line


def test_a_point_lies_where_its_step_and_its_power_of_ten_say():
    """On 960 x 640 with a margin of 60: steps from 10 to 50 across, 0.01 to 10 upwards."""
    frame = (10, 50, -2, 1)
    assert _at((10, -2), frame) == (60, 580) and _at((50, 1), frame) == (900, 60)
    assert _at((20, -1), frame) == pytest.approx((60 + 840 / 4, 580 - 520 / 3))


def test_curves_and_their_axes_are_drawn(tmp_path, monkeypatch):
    """A loss of 0.1 in step 0 and of 10 in step 100; powers of ten at the left, five steps below."""
    texts = []
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, xy, text, fill: texts.append((text, tuple(np.round(xy, 3))))
    )
    lines = [
        {"step": s, "flow": v, "words": w} for s, v, w in ((0, 0.1, 1.0), (50, None, 0.0), (100, 10.0, float("inf")))
    ]
    draw_curves(lines, ("flow", "words"), tmp_path / "c.png")
    # From 10^-1 to 10^2, since the largest value lies on a power: 520 / 3 a power.
    powers = [(f"{10.0**k:g}", (8.0, round(580 - 520 / 3 * (k + 1) - 6, 3))) for k in (-1, 0, 1, 2)]
    steps = [(f"{25 * k}", (60 + 210 * k - 12.0, 590.0)) for k in range(5)]
    assert texts == [*powers, *steps, ("steps", (480, 616)), ("flow", (760, 60)), ("words", (760, 78))]
    pixels = np.asarray(Image.open(tmp_path / "c.png"))
    assert pixels.shape == (640, 960, 3)
    assert pixels[580, 60].tolist() == [200, 60, 40] and pixels[235, 896].tolist() == [200, 60, 40]


def test_a_single_point_is_no_curve(tmp_path):
    draw_curves([{"step": 3, "flow": 0.5}, {"step": 4, "flow": -1.0}], ("flow",), tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


def test_a_run_that_goes_on_has_its_first_step_at_the_left(tmp_path, monkeypatch):
    texts = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, xy, text, fill: texts.append(text))
    draw_curves([{"step": s, "flow": 0.5} for s in (20, 120)], ("flow",), tmp_path / "c.png")
    assert texts == ["0.1", "1", "20", "45", "70", "95", "120", "steps", "flow"]


def test_a_record_that_need_not_be_cut_is_not_written_again_and_lines_without_a_step_stay(tmp_path):
    file = tmp_path / "r.jsonl"
    cut_back(file, 3)
    assert not file.exists() and read_lines(file) == []
    for line in ({"note": "begun"}, {"step": 2}, {"step": 3, "flow": 0.5}):
        write_line(file, line)
    with file.open("a") as out:
        out.write('{"step": 4, "fl')  # cut off
    before = file.stat().st_ino
    assert read_lines(file) == [{"note": "begun"}, {"step": 2}, {"step": 3, "flow": 0.5}]
    cut_back(file, 3)
    assert file.stat().st_ino == before
    cut_back(file, 2)
    assert file.stat().st_ino != before and read_lines(file) == [{"note": "begun"}, {"step": 2}]
    cut_back(file, 0)
    assert read_lines(file) == [{"note": "begun"}]


def test_each_curve_has_a_colour_of_its_own_also_beside_its_name(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, xy, text, fill: drawn.append((text, fill)))
    line = ImageDraw.ImageDraw.line
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "line", lambda self, xy, fill, width=0: drawn.append((width, fill)) or line(self, xy, fill)
    )
    names = ("flow", "answer", "words", "chunk_near")
    draw_curves([{"step": s, **dict.fromkeys(names, 0.5)} for s in (1, 2)], names, tmp_path / "c.png")
    colours = {text: fill for text, fill in drawn if text in names}
    assert len(set(colours.values())) == 4 and all(len(c) == 3 and max(c) < 256 for c in colours.values())
    assert [fill for width, fill in drawn if width == 2] == list(colours.values())
    assert (
        len(
            {
                sum(abs(a - b) for a, b in zip(c, d, strict=True)) > 60
                for c in colours.values()
                for d in colours.values()
                if c != d
            }
        )
        == 1
    )


def test_of_steps_that_are_all_one_the_curve_is_still_drawn(tmp_path, monkeypatch):
    texts = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, xy, text, fill: texts.append(text))
    draw_curves([{"step": 20, "flow": 0.5, "words": 2.0}], ("flow", "words"), tmp_path / "c.png")
    assert texts[:8] == ["0.1", "1", "10", "20", "20", "20", "21", "21"] and (tmp_path / "c.png").exists()
