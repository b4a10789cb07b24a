"""Pictures to MP4 and back, through PyAV (FFmpeg)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.errors import DataError

UInt8 = NDArray[np.uint8]
_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "20", "g": "2"},
    "libsvtav1": {"preset": "12", "crf": "30", "g": "2"},
}
CODECS = tuple(_OPTIONS)


class VideoWriter:
    """One MP4 that grows picture by picture, a key frame every second picture so that any frame is near (LeRobot)."""

    def __init__(self, path: Path, fps: int, height: int, width: int, codec: str = "libx264") -> None:
        """Raises DataError for an unknown codec or odd sizes, which yuv420p cannot hold."""
        if codec not in CODECS:
            raise DataError(f"video codec '{codec}' is not known; choose one of {', '.join(CODECS)}")
        if height % 2 or width % 2:
            raise DataError(f"{path}: pictures of {width}x{height} cannot be encoded; width and height must be even")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.frames, self._shape = path, 0, (height, width, 3)
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream(codec, rate=fps, options=_OPTIONS[codec])
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.time_base = Fraction(1, fps)

    def add(self, picture: UInt8) -> None:
        """One RGB picture [H, W, 3]. Raises DataError for another shape."""
        if picture.shape != self._shape or picture.dtype != np.uint8:
            raise DataError(f"{self.path}: expected a uint8 picture {self._shape}, got {picture.dtype} {picture.shape}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts = self.frames
        self.frames += 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is left; the file is readable afterwards."""
        self._container.mux(self._stream.encode())
        self._container.close()


def read_frames(path: Path, start: float = 0.0, count: int | None = None, tolerance: float = 1e-4) -> Iterator[UInt8]:
    """RGB pictures [H, W, 3] in order, from time `start` in s on.

    Raises DataError where the file cannot be read or ends early.
    """
    given = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            base = stream.time_base or Fraction(1, 1)
            container.seek(max(0, int(start / base)), stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.time is not None and frame.time < start - tolerance:
                    continue
                if count is not None and given >= count:
                    return
                given += 1
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError, IndexError) as error:
        raise DataError(f"{path}: cannot be decoded ({error}); record the episode again or leave it out") from error
    if count is not None and given < count:
        raise DataError(f"{path}: holds {given} pictures after {start:g} s, the dataset says {count}")


def video_info(shape: tuple[int, ...], fps: int, codec: str) -> dict[str, Any]:
    """The `info` of a video feature in info.json."""
    return {
        "video.height": shape[0],
        "video.width": shape[1],
        "video.codec": {"libx264": "h264", "libsvtav1": "av1"}[codec],
        "video.pix_fmt": "yuv420p",
        "video.fps": fps,
        "video.channels": shape[2],
        "has_audio": False,
        "is_depth_map": False,
    }
