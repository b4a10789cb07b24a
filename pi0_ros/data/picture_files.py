"""The pictures of a dataset's frames, in videos or in its tables; files stay open while they are used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import Episode, Layout
from pi0_ros.data.rows import Rows
from pi0_ros.data.stills import Stills
from pi0_ros.data.video import TOLERANCE, Picture, VideoReader

_log = logging.getLogger(__name__)
OPEN_VIDEOS = 16
WITHIN = 0.49  # of a frame: how far a picture may be from its frame's time


class PictureFiles:
    """Reads pictures by camera and frame. `rows()`: the rows of the tables, asked for if pictures lie in them."""

    def __init__(self, layout: Layout, rows: Callable[[], Rows]) -> None:
        self._layout, self._rows, self._keys = layout, rows, layout.cameras
        self._videos: dict[Path, VideoReader] = {}
        self._stills: dict[str, tuple[Path, Stills]] = {}
        self._drift_is_known = False

    def close(self) -> None:
        """Let go of open files."""
        for video in self._videos.values():
            video.close()
        self._videos.clear()
        self._stills.clear()

    def read(self, camera: str, episode: Episode, frames: Sequence[int]) -> list[Picture]:
        """Pictures of frames of one episode, uint8 [H, W, 3] RGB.

        Raises DataError for an unknown camera or an unreadable file.
        """
        if camera not in self._keys:
            raise DataError(f"{self._layout.folder}: no camera {camera!r}; there are {', '.join(self._keys) or 'none'}")
        if camera not in episode.videos:
            return [self._still(self._keys[camera], frame) for frame in frames]
        file, begin = episode.videos[camera]
        fps = self._layout.fps
        try:
            video = self._video(file)
            found = video.at([begin + (frame - episode.start) / fps for frame in frames], WITHIN / fps)
        except DataError as problem:
            raise DataError(f"{problem}; episode {episode.index} of {camera} is read from it") from problem
        if video.drift > TOLERANCE and not self._drift_is_known:
            self._drift_is_known = True
            _log.warning(
                "%s: pictures are %.1f ms or more beside their frames' times; the nearest is taken",
                file,
                1e3 * video.drift,
            )
        return found

    def _video(self, file: Path) -> VideoReader:
        if file not in self._videos:
            if len(self._videos) >= OPEN_VIDEOS:
                oldest = next(iter(self._videos))
                self._videos.pop(oldest).close()
            self._videos[file] = VideoReader(file)
        return self._videos[file]

    def _still(self, key: str, frame: int) -> Picture:
        """A picture that lies in a table; the pictures of one file of each feature are kept."""
        rows = self._rows()
        file = rows.files[rows.file[frame]]
        if key not in self._stills or self._stills[key][0] != file:
            self._stills[key] = file, Stills(self._layout.folder, file, key)
        return self._stills[key][1].at(int(rows.place[frame]))
