"""What the cameras saw, side by side with a line of text, as an MP4 file."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from pi0_ros.robot.quoting import escape
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.loop import lower_priority

SIDE = 224
LINE = 22
WAITING = 30
NICENESS = 10
CLOSING = 30.0
"""Seconds that what is left to encode may take."""
PIECES = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
"""The file is a row of pieces that can be read by themselves: one that is cut short is a shorter film, and not a broken one."""
PIECE = 1 << 22
"""Bytes that are kept until a piece is whole; one has a second, which are a tenth of that."""


def compose(pictures: Mapping[str, NDArray[np.uint8]], order: Sequence[str], lines: Sequence[str]) -> NDArray[np.uint8]:
    """One frame: the pictures in `order` in a row, SIDE pixels each (black if one is missing), lines of text below."""
    black = np.zeros((SIDE, SIDE, 3), np.uint8)
    views = [cv2.resize(pictures[n], (SIDE, SIDE)) if n in pictures else black.copy() for n in order]
    for name, view in zip(order, views, strict=True):
        cv2.putText(view, name, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    row = np.hstack(views)
    # H.264 stores colour for every second pixel, so both sides have to be even.
    bar = np.full((2 * ((len(lines) * LINE + 9) // 2), row.shape[1], 3), 24, np.uint8)
    for k, text in enumerate(lines):
        cv2.putText(bar, text, (8, LINE * (k + 1) - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([row, bar])


class VideoWriter:
    """Encodes frames in a thread of its own; frames that come faster than they can be encoded are dropped."""

    def __init__(self, file: Path, rate: int) -> None:
        self._file, self._rate = file, rate
        self._frames: queue.Queue[NDArray[np.uint8] | None] = queue.Queue(WAITING)
        self.failure = ""
        """Why the video cannot be written, "" as long as it can."""
        self._thread = GuardedThread("video", self._run, self._note, died=self._note).start()

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Append an RGB frame [H, W, 3]."""
        with contextlib.suppress(queue.Full):
            self._frames.put_nowait(frame)

    def close(self) -> None:
        """Finish the file."""
        until = time.monotonic() + CLOSING
        while self._thread.alive and time.monotonic() < until:
            with contextlib.suppress(queue.Full):
                self._frames.put(None, timeout=0.1)
                break
        self._thread.stop(CLOSING)

    def _run(self) -> None:
        try:
            self._encode()
        except Exception as error:  # noqa: BLE001 - the caller gets it, and goes on
            self._note(str(error))

    def _note(self, reason: str) -> None:
        self.failure = self.failure or f"{self._file}: the video cannot be written: {escape(reason)}"

    def _encode(self) -> None:
        lower_priority(NICENESS)
        frame = self._frames.get()
        if frame is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._file.open("wb", buffering=0) as file,
            av.open(file, "w", format="mp4", options=PIECES, buffer_size=PIECE) as container,
        ):
            stream = container.add_stream("libx264", rate=self._rate, options={"preset": "veryfast", "crf": "26"})
            stream.codec_context.gop_size = self._rate  # a piece a second
            stream.height, stream.width = frame.shape[:2]
            stream.codec_context.thread_count = 1  # one thread of low priority: filming must not slow what is filmed
            stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, self._rate)
            while frame is not None:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
                frame = self._frames.get()
            container.mux(stream.encode())
