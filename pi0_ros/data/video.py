"""Pictures in MP4 files: written episode by episode, joined without encoding again, read by timestamp."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.encoded_pictures import PictureError, check_size
from pi0_ros.data.errors import DataError
from pi0_ros.data.tables import pointer

Picture = NDArray[np.uint8]

# A key frame every second picture, as lerobot writes: any picture is at most one step from a key frame.
GROUP = 2
CODEC, ENCODER = "h264", "libx264"
OPTIONS = {"crf": "20", "preset": "veryfast", "tune": "zerolatency", "bf": "0", "g": str(GROUP)}
PIXELS = "yuv420p"
TOLERANCE = 1e-4  # s, between a frame's timestamp and its picture's; lerobot's own
SEEK_AHEAD = 0.5  # s; what is nearer than that is reached by decoding on


class VideoWriter:
    """Encodes the pictures of one episode."""

    def __init__(self, file: Path, fps: int, shape: Sequence[int]) -> None:
        """shape: height, width, 3; both even. Raises DataError for others, or where the encoder is not there."""
        self.file, self.fps, self.shape, self.frames = file, fps, tuple(shape), 0
        height, width = self.shape[:2]
        if height % 2 or width % 2 or len(self.shape) != 3 or self.shape[2] != 3:
            raise DataError(f"{file}: pictures of shape {list(shape)} cannot be a video; give even height and width, 3")
        if ENCODER not in av.codecs_available:
            raise DataError(f"{file}: PyAV has no encoder {ENCODER} here; install its wheel from PyPI")
        self._container = av.open(str(file), "w")
        self._stream: Any = self._container.add_stream(ENCODER, rate=fps, options=OPTIONS)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, PIXELS
        self._stream.codec_context.thread_count = 1

    def add(self, picture: Picture) -> None:
        """The next picture, uint8 [H, W, 3] RGB."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        frame.pts, frame.time_base = self.frames, Fraction(1, self.fps)
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Finish the file; again is no harm."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            if self.frames:
                self._container.mux(stream.encode(None))
            self._container.close()


def concatenate(parts: Sequence[Path], target: Path, fps: int) -> None:
    """Put videos of one encoder and rate behind one another, frame n of all at n / fps seconds."""
    with av.open(str(target), "w") as out:
        stream, frames = None, 0
        for part in parts:
            with av.open(str(part)) as source:
                track = source.streams.video[0]
                stream = stream or out.add_stream_from_template(track, opaque=True)
                tick = round(1 / (fps * track.time_base))
                count = 0
                for packet in source.demux(track):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + frames * tick, packet.dts + frames * tick
                    packet.stream = stream
                    out.mux(packet)
                    count += 1
                frames += count


def describe(shape: Sequence[int], fps: int) -> dict[str, Any]:
    """The "info" of a video feature in info.json."""
    return {
        "video.height": int(shape[0]),
        "video.width": int(shape[1]),
        "video.codec": CODEC,
        "video.pix_fmt": PIXELS,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
        "video.g": GROUP,
        "video.crf": int(OPTIONS["crf"]),
        "video.preset": OPTIONS["preset"],
        "video.fast_decode": 0,
        "video.video_backend": "pyav",
        "video.extra_options": {},
        "is_depth_map": False,
    }


class VideoReader:
    """One open video file; keeps its place, so that pictures in order cost one decoding each."""

    def __init__(self, file: Path) -> None:
        """Raises DataError where there is no file or no video in it."""
        if not file.is_file():
            raise DataError(f"{file}: this video of the dataset is missing; copy or download the whole folder again")
        self.file = file
        try:
            self._container = av.open(str(file))
            self._track = self._container.streams.video[0]
            check_size(self._track.codec_context.width, self._track.codec_context.height)
        except (av.FFmpegError, IndexError, PictureError) as problem:
            raise self._damaged(problem) from problem
        self._track.codec_context.thread_count = 1
        self._frames: Iterator[Any] = iter(())
        self.drift = 0.0  # [s] how far a picture was from its frame's time, at most
        self._last: tuple[float, Any] | None = None  # the frame decoded last and its time

    def _damaged(self, problem: Exception) -> DataError:
        return DataError(pointer(self.file) or f"{self.file}: cannot be decoded ({problem}); copy or download it again")

    def at(self, seconds: Sequence[float], tolerance: float = TOLERANCE) -> list[Picture]:
        """The pictures nearest to these times of the file, uint8 [H, W, 3] RGB each.

        Raises DataError where there is none within `tolerance` seconds.
        """
        found: dict[float, Picture] = {}
        for second in sorted(set(seconds)):
            time, frame = self._nearest(second, tolerance)
            if abs(time - second) > tolerance:
                raise DataError(
                    f"{self.file}: has no picture within {tolerance:.4f} s of {second:.4f} s, the nearest is at "
                    f"{time:.4f} s; LeRobot expects frame n at n / fps s from where meta/episodes says that the episode "
                    "begins, so either that is wrong or the video has another rate: encode it again at a constant rate"
                )
            self.drift = max(self.drift, abs(time - second))
            found[second] = frame.to_ndarray(format="rgb24")
        return [found[second] for second in seconds]

    def _nearest(self, second: float, tolerance: float) -> tuple[float, Any]:
        """The frame nearest to `second` among those from `tolerance` before it on, or the last one."""
        near = self._last is not None and 0 <= second - self._last[0] + TOLERANCE <= SEEK_AHEAD
        try:
            if not near:
                self._seek(second - tolerance)
            while self._last is None or self._last[0] < second - TOLERANCE:
                frame = next(self._frames, None)
                if frame is None:
                    break
                before, self._last = self._last, (float(frame.pts * self._track.time_base), frame)
                if before is not None and second - before[0] < self._last[0] - second:
                    self._frames, self._last = itertools.chain([frame], self._frames), before
                    break
        except av.FFmpegError as problem:
            raise self._damaged(problem) from problem
        if self._last is None:
            raise self._damaged(EOFError("it ends before the wanted picture"))
        return self._last

    def _seek(self, second: float) -> None:
        ticks = max(0, round(second / self._track.time_base))
        self._container.seek(ticks, stream=self._track, backward=True)
        self._frames, self._last = self._container.decode(self._track), None

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()
