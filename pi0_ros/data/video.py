"""Pictures in MP4 files: written episode by episode, joined without encoding again, read by timestamp."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av import Packet, VideoCodecContext, VideoFrame, VideoStream
from av.container import InputContainer
from numpy.typing import NDArray

from pi0_ros.data.encoded_pictures import MAX_PIXELS, PictureError, check_size
from pi0_ros.data.errors import DataError
from pi0_ros.data.tables import pointer
from pi0_ros.robot.files import is_file

Picture = NDArray[np.uint8]

# A key frame every second picture, as lerobot writes: any picture is at most one step from a key frame.
GROUP = 2
CODEC, ENCODER = "h264", "libx264"
OPTIONS = {"crf": "20", "preset": "veryfast", "tune": "zerolatency", "bf": "0", "g": str(GROUP)}
PIXELS = "yuv420p"
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts"  # FFmpeg's names of what holds its pictures itself
TOLERANCE = 1e-4  # s, between a frame's timestamp and its picture's; lerobot's own
SEEK_AHEAD = 0.5  # s; what is nearer than that is reached by decoding on


class VideoWriter:
    """Encodes the pictures of one episode."""

    def __init__(self, file: Path, fps: int, shape: Sequence[int]) -> None:
        """shape: height, width, 3; both even. Raises DataError for others, or if the encoder is not there."""
        self.file, self.fps, self.shape, self.frames = file, fps, tuple(shape), 0
        height, width = self.shape[:2]
        if height % 2 or width % 2 or len(self.shape) != 3 or self.shape[2] != 3:
            raise DataError(f"{file}: pictures of shape {list(shape)} cannot be a video; give even height and width, 3")
        if ENCODER not in av.codecs_available:
            raise DataError(f"{file}: PyAV has no encoder {ENCODER} here; install its wheel from PyPI")
        self._container = av.open(str(file), "w")
        stream = cast(VideoStream, self._container.add_stream(ENCODER, rate=fps, options=OPTIONS))
        stream.width, stream.height, stream.pix_fmt = width, height, PIXELS
        stream.codec_context.thread_count = 1
        self._stream: VideoStream | None = stream

    def add(self, picture: Picture) -> None:
        """The next picture, uint8 [H, W, 3] RGB."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        frame.pts, frame.time_base = self.frames, Fraction(1, self.fps)
        assert self._stream is not None, "the file is finished"
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Finish the file; calling it again changes nothing."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            if self.frames:
                self._container.mux(stream.encode(None))
            self._container.close()


class StreamEncoder:
    """Encodes pictures one by one into a raw H.264 stream: every `add` gives the bytes of its picture.

    The stream can be cut behind any picture, and begins anew at every key frame, whose bytes say how it is encoded.
    """

    def __init__(self, fps: int, shape: Sequence[int]) -> None:
        """shape: height, width, 3; height and width even."""
        self._context = cast(VideoCodecContext, av.CodecContext.create(ENCODER, "w"))
        self._context.width, self._context.height, self._context.pix_fmt = int(shape[1]), int(shape[0]), PIXELS
        self._context.framerate = Fraction(fps)
        self._context.options, self._context.thread_count = OPTIONS, 1
        self._frames = 0

    def add(self, picture: Picture) -> bytes:
        """The bytes of the next picture, uint8 [H, W, 3] RGB."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        frame.pts = self._frames
        self._frames += 1
        return b"".join(bytes(packet) for packet in self._context.encode(frame))


@dataclass(frozen=True)
class Part:
    """Pictures `start` .. `start + frames - 1` of a video file; `start` is a key frame."""

    file: Path
    frames: int
    start: int = 0

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.file.stat().st_size


def concatenate(parts: Sequence[Part], target: Path, fps: float) -> None:
    """Put pictures of one encoder behind one another without encoding them again, picture n of all at n / fps seconds.

    Packets stand in the order of their pictures in all videos that are written here. In others a picture may be encoded by
    later ones (B-frames), whose packets stand before it: all are then decoded that many periods earlier, from before 0 on.
    Raises DataError if a file has fewer pictures.
    """
    rate = Fraction(fps).limit_denominator(100_000)
    orders = [_order(part.file, rate)[0] for part in parts]
    for part, places in zip(parts, orders, strict=True):
        if len(_shown(part, places)) != part.frames:
            raise DataError(f"{part.file}: has {len(places)} pictures, and not the {part.start + part.frames} needed")
    ahead = max(
        (n - shown for part, places in zip(parts, orders, strict=True) for n, shown in enumerate(_shown(part, places))),
        default=0,
    )
    with av.open(str(target), "w") as out:
        stream, frames = None, 0
        for part, places in zip(parts, orders, strict=True):
            inside = [part.start <= place < part.start + part.frames for place in places]
            with _opened(part.file, rate) as source:
                track = source.streams.video[0]
                stream = stream or out.add_stream_from_template(track, opaque=True)
                count = 0
                for place, wanted, packet in zip(places, inside, _packets(source, track), strict=True):
                    if not wanted:
                        continue
                    packet.time_base = 1 / rate
                    packet.pts, packet.dts = frames + place - part.start, frames + count - ahead
                    packet.duration = 1
                    packet.stream = stream
                    out.mux(packet)
                    count += 1
                frames += part.frames


def _shown(part: Part, places: Sequence[int]) -> list[int]:
    """Which picture of the part each of its packets holds, in the order of the packets."""
    return [place - part.start for place in places if part.start <= place < part.start + part.frames]


def _opened(file: Path, rate: Fraction) -> InputContainer:
    """A video file; a raw stream is read at `rate`. Playlists and scripts, which name other files, are none."""
    if file.suffix == ".h264":
        return av.open(str(file), format="h264", options={"framerate": str(rate)})
    return av.open(str(file), options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"})


def _tick_of(track: VideoStream) -> Fraction:
    """What times of a track are counted in [s]. Raises PictureError if it does not say."""
    if track.time_base is None:
        raise PictureError("its track has no time base")
    return track.time_base


def _packets(source: InputContainer, track: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets of a video; the empty one that ends it is left out."""
    return (packet for packet in source.demux(track) if packet.size)


def _order(file: Path, rate: Fraction) -> tuple[list[int], list[bool]]:
    """Which picture of a file, by its time, each packet holds, and whether it is a key frame."""
    with _opened(file, rate) as source:
        found = [(packet.pts, packet.is_keyframe) for packet in _packets(source, source.streams.video[0])]
    times, keys = [pts for pts, _ in found], [key for _, key in found]
    known = [pts for pts in times if pts is not None]
    if len(known) < len(found) or known == sorted(known):
        return list(range(len(found))), keys
    places = [0] * len(found)
    for place, packet in enumerate(sorted(range(len(found)), key=known.__getitem__)):
        places[packet] = place
    return places, keys


def picture_count(file: Path) -> int:
    """How many pictures a video has. Raises DataError for a file that is none."""
    return len(_known_order(file)[0])


def may_be_cut_out(file: Path, start: int, frames: int) -> bool:
    """Whether pictures `start` .. `start + frames - 1` can be decoded without the others of their video.

    The first has to be a key frame, and none of them may be encoded by what is shown behind the last one (B-frames): in the
    order of decoding nothing of that stands before them. Raises DataError for a file that is none.
    """
    places, keys = _known_order(file)
    inside = [n for n, place in enumerate(places) if start <= place < start + frames]
    if not inside or not keys[inside[0]] or places[inside[0]] != start:
        return False
    return all(place < start + frames for place in places[inside[0] : inside[-1]])


def _known_order(file: Path) -> tuple[list[int], list[bool]]:
    try:
        return _order(file, Fraction(30))
    except (OSError, ValueError, av.FFmpegError) as problem:
        raise _damaged(file, problem) from problem


def _damaged(file: Path, problem: Exception) -> DataError:
    return DataError(pointer(file) or f"{file}: cannot be decoded ({problem}); copy or download it again")


def describe(shape: Sequence[int], fps: float) -> dict[str, object]:
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
        """Raises DataError if there is no file or no video in it."""
        if not is_file(file):
            raise DataError(f"{file}: this video of the dataset is missing; copy or download the whole folder again")
        self.file = file
        try:
            self._container = _opened(file, Fraction(30))
            self._track = self._container.streams.video[0]
            self._tick = _tick_of(self._track)
            check_size(self._track.codec_context.width, self._track.codec_context.height)
            self._track.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # it may grow from picture to picture
        except (av.FFmpegError, IndexError, PictureError) as problem:
            raise self._damaged(problem) from problem
        self._track.codec_context.thread_count = 1
        self._frames: Iterator[VideoFrame] = iter(())
        self.drift = 0.0  # [s] how far a picture was from its frame's time, at most
        self._last: tuple[float, VideoFrame] | None = None  # the frame decoded last and its time

    def _damaged(self, problem: Exception) -> DataError:
        return _damaged(self.file, problem)

    def at(self, seconds: Sequence[float], tolerance: float = TOLERANCE) -> list[Picture]:
        """The pictures nearest to these times of the file, uint8 [H, W, 3] RGB each.

        Raises DataError if there is none within `tolerance` seconds.
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
            found[second] = cast(Picture, frame.to_ndarray(format="rgb24"))
        return [found[second] for second in seconds]

    def _nearest(self, second: float, tolerance: float) -> tuple[float, VideoFrame]:
        """The frame nearest to `second` among those from `tolerance` before it on, or the last one."""
        near = self._last is not None and 0 <= second - self._last[0] + TOLERANCE <= SEEK_AHEAD
        try:
            if not near:
                self._seek(second - tolerance)
            while self._last is None or self._last[0] < second - TOLERANCE:
                frame = next(self._frames, None)
                if frame is None:
                    break
                before, self._last = self._last, (self._time_of(frame), frame)
                if before is not None and second - before[0] < self._last[0] - second:
                    self._frames, self._last = itertools.chain([frame], self._frames), before
                    break
        except av.FFmpegError as problem:
            raise self._damaged(problem) from problem
        if self._last is None:
            raise self._damaged(EOFError("it ends before the wanted picture"))
        return self._last

    def _time_of(self, frame: VideoFrame) -> float:
        if frame.pts is None:
            raise self._damaged(ValueError("one of its pictures has no time"))
        return float(frame.pts * self._tick)

    def _seek(self, second: float) -> None:
        ticks = max(0, round(second / self._tick))
        self._container.seek(ticks, stream=self._track, backward=True)
        self._frames, self._last = self._container.decode(self._track), None

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()
