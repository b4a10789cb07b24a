import os
import subprocess
import sys

import numpy as np
import pytest

av = pytest.importorskip("av")

from pi0_ros.ros import video
from pi0_ros.ros.video import SIDE, VideoWriter, compose


def test_a_frame_has_the_cameras_in_order_and_text_below():
    red = np.zeros((10, 10, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    frame = compose({"b": red}, ["a", "b"], ["task: x", "mode: hold"])
    assert frame.shape[1] == 2 * SIDE and frame.shape[0] > SIDE and frame.shape[0] % 2 == 0
    assert frame[SIDE // 2, SIDE // 2].max() == 0
    assert tuple(frame[SIDE // 2, SIDE + SIDE // 2]) == (255, 0, 0)
    assert frame[SIDE:].max() > 200


def test_the_film_can_be_read_back(tmp_path):
    writer = VideoWriter(tmp_path / "film.mp4", 10)
    for k in range(12):
        writer.add(np.full((64, 96, 3), 20 * k, np.uint8))
    writer.close()
    with av.open(str(tmp_path / "film.mp4")) as film:
        frames = [f.to_ndarray(format="rgb24") for f in film.decode(video=0)]
    assert len(frames) == 12
    assert abs(int(frames[-1].mean()) - 220) < 6 and frames[0].mean() < 6


def test_a_film_without_frames_leaves_no_file(tmp_path):
    VideoWriter(tmp_path / "film.mp4", 10).close()
    assert not list(tmp_path.iterdir())


def test_a_video_that_cannot_be_written_is_told_and_blocks_nobody(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    writer = VideoWriter(tmp_path / "folder.mp4", 10)
    for _ in range(200):
        writer.add(np.zeros((64, 64, 3), np.uint8))
    writer.close()
    assert "folder.mp4: the video cannot be written" in writer.failure


FILMING = """
import sys, itertools
from pathlib import Path
import numpy as np
from pi0_ros.ros.video import VideoWriter
video = VideoWriter(Path(sys.argv[1]), 5)
picture = np.add.outer(np.arange(96), np.arange(128))[:, :, None].repeat(3, 2).astype(np.uint8)
for k in itertools.count():
    video._frames.put(np.roll(picture, k, 1))
"""


def test_the_film_of_a_process_that_is_killed_can_be_read_back(tmp_path):
    file = tmp_path / "film.mp4"
    with subprocess.Popen([sys.executable, "-c", FILMING, str(file)]) as filming:
        while not file.exists() or file.stat().st_size < 20_000:
            assert filming.poll() is None
            os.sched_yield()
        filming.kill()
        filming.wait()
    with av.open(str(file)) as film:
        assert sum(1 for _ in film.decode(video=0)) >= 5


def test_names_and_lines_stand_in_the_corner_of_what_they_are_of(monkeypatch):
    """Lines below the pictures, one below the other, 8 pixels from the left."""
    texts = []
    monkeypatch.setattr(video.cv2, "putText", lambda image, text, at, *how: texts.append((text, at, image.shape[:2])))
    side, line = video.SIDE, video.LINE
    compose({}, ["a", "b"], ["task: x", "mode: hold"])
    bar = (2 * ((2 * line + 9) // 2), 2 * side)
    assert texts == [
        ("a", (6, 16), (side, side)), ("b", (6, 16), (side, side)),
        ("task: x", (8, line - 4), bar), ("mode: hold", (8, 2 * line - 4), bar),
    ]  # fmt: skip
