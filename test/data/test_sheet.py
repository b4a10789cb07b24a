"""The contact sheet: what is written and drawn where, pixel by pixel as far as it is no letter."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("av")

from pi0_ros.data.curation.sheet import COLOURS, DRIVERS, INK, PALE, PAPER, contact_sheet
from pi0_ros.data.dataset import Dataset, DatasetWriter

FPS, HEIGHT, WIDTH = 10, 32, 48
EYE = "observation.images.eye_of_the_left_wrist"  # names are cut to 17 characters, instructions to 20
FEATURES = {
    EYE: {"dtype": "video", "shape": (HEIGHT, WIDTH, 3), "names": ["height", "width", "channels"]},
    "observation.state": {"dtype": "float32", "shape": (2,), "names": ["lift", "still"]},
    "driver": {"dtype": "string", "shape": (1,), "names": None},
}


def grey(k):
    return 40 + 9 * k


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """12 frames: "wave", from frame 8 on "nod"; the policy drives from frame 5 on. And 4 frames without a note."""
    folder = tmp_path_factory.mktemp("sheet") / "set"
    with DatasetWriter(folder, FPS, FEATURES) as writer:
        for length, note in ((12, {"outcome": "success", "note": "good"}), (4, {})):
            for k in range(length):
                shown = np.full((HEIGHT, WIDTH, 3), grey(k), np.uint8)
                row = {"observation.state": [0.1 * k - 3.0, 0.5], "driver": "hold" if k < 5 else "autonomy"}
                writer.add_frame(row | {EYE: shown, "task": "wave" if k < 8 else "nod to whoever is there"})
            writer.save_episode(note)
    return Dataset(folder)


def drawn(dataset, positions, file, monkeypatch):
    """The sheet's pixels [H, W, 3], and its texts: (x, y), text and colour each."""
    texts = []

    def noted(self, xy, text, fill, font):
        texts.append((tuple(int(v) for v in xy), text, fill))

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    contact_sheet(dataset, positions, file, columns=3)
    return np.asarray(Image.open(file).convert("RGB")).astype(int), texts


def test_every_text_stands_where_it_belongs(dataset, tmp_path, monkeypatch):
    """Two lines above; beside the pictures the camera; below each its time, and the instruction where it changes; the drivers."""
    _, texts = drawn(dataset, [0], tmp_path / "s.png", monkeypatch)
    assert texts == [
        ((4, 1), "episode 0: 12 frames, 1.2 s at 10 Hz, outcome success, note good", INK),
        ((4, 15), "“wave · nod to whoever is there”", INK),
        ((4, 66), "eye_of_the_left_w", INK),
        ((110, 116), "0.0 s", PALE), ((110, 129), "wave", INK),
        ((234, 116), "0.5 s", PALE), ((234, 129), "…", INK),
        ((358, 116), "1.1 s", PALE), ((358, 129), "nod to whoever is th", INK),
        ((17, 162), "hold", INK), ((17, 178), "autonomy", INK),
        ((4, 148), "state", INK),
    ]  # fmt: skip


def test_times_that_are_close_together_have_two_decimals(dataset, tmp_path, monkeypatch):
    _, texts = drawn(dataset, [1], tmp_path / "s.png", monkeypatch)
    assert [text for _, text, _ in texts if text.endswith(" s")] == ["0.00 s", "0.10 s", "0.30 s"]
    assert texts[0][1] == "episode 1: 4 frames, 0.4 s at 10 Hz"


def test_pictures_drivers_and_curves_are_where_their_frames_are(dataset, tmp_path, monkeypatch):
    """Pictures 120 wide; a block: 2 lines of 16, 80 + 4 of picture, 2 lines, 90 of curves, 8; and 8 below each."""
    pixels, _ = drawn(dataset, [0, 1], tmp_path / "s.png", monkeypatch)
    assert pixels.shape == (2 * (32 + 84 + 32 + 90 + 8 + 8), 110 + 3 * 124, 3)
    for k, frame in enumerate((0, 5, 11)):
        assert np.abs(pixels[32 + 40, 110 + 124 * k + 60] - grey(frame)).max() <= 2
    edges = (pixels[33, 109], pixels[111, 109], pixels[33, 231], pixels[113, 160])
    assert all((edge == PAPER).all() for edge in edges), "beside, between and below the pictures is paper"
    for y in (148, 148 + 90):  # the curves' frame: above and below
        assert (pixels[y, 200] == PALE).all()
    at = np.linspace(110, 478, 12)
    shades = {"hold": (230, 230, 230), "autonomy": (198, 219, 239)}
    for k in (1, 4, 5, 10):  # who drove, behind the curves, which leave a margin of 3
        assert (pixels[149, int(at[k]) + 8] == shades["hold" if k < 5 else "autonomy"]).all()
    for k, shade in enumerate(shades.values()):  # what the shades mean: squares of 9, 16 below one another
        assert (pixels[148 + 16 * (k + 1) + 4, 8] == shade).all() and (
            pixels[148 + 16 * (k + 1) + 12, 8] == PAPER
        ).all()
    assert (pixels[238 - 3, 112] == COLOURS[0]).all() and (pixels[148 + 3, 476] == COLOURS[0]).all()
    assert not (pixels == COLOURS[1]).all(axis=2).any(), "a channel that never moves has no curve"


def test_curves_have_the_colours_of_tableaus_ten_and_the_rest_is_grey():
    tableau = ("1f77b4", "ff7f0e", "2ca02c", "d62728", "9467bd", "8c564b", "e377c2")
    assert tuple(tuple(bytes.fromhex(colour)) for colour in tableau) == COLOURS
    assert [set(colour) for colour in (INK, PALE, PAPER)] == [{20}, {150}, {255}]


def test_drivers_are_pale_shades_of_colorbrewer():
    """Blues, greens and reds; who holds is grey."""
    shades = {"autonomy": "c6dbef", "teleop": "c7e9c0", "stopped": "fcbba1", "hold": "e6e6e6"}
    assert {name: bytes(shade).hex() for name, shade in DRIVERS.items()} == shades
