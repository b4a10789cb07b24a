"""The running episode of a recorder: pictures are encoded as they come, and frames go to a journal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.features import video_keys
from pi0_ros.data.journal import EncodedFrame
from pi0_ros.data.journal_queue import JournalQueue
from pi0_ros.data.statistics import PictureStatistics, levels_of
from pi0_ros.data.stored import Features, Note, Row
from pi0_ros.data.video import GROUP, StreamEncoder

Pictures = Mapping[str, NDArray[np.uint8]]


class EpisodeStream:
    """One episode. Frames that may become its beginning (`lead`) are kept encoded in memory, a bounded number of them."""

    def __init__(self, folder: Path, features: Features, fps: int, note: Note, lead: int = 0) -> None:
        """`folder`: of the journal, made with the first frame that is written. `lead`: frames that may be kept."""
        self._folder, self._features, self._fps, self._note, self._lead = folder, features, fps, dict(note), lead
        self._encoders = {key: StreamEncoder(fps, features[key]["shape"]) for key in video_keys(features)}
        self.statistics = {key: PictureStatistics() for key in self._encoders}
        self._last: Pictures = {}
        self._kept: deque[EncodedFrame] = deque()
        self.journal: JournalQueue | None = None
        self.seconds = 0.0
        """Processor time that encoding took."""

    @property
    def frames(self) -> int:
        """Frames that are written, or on their way."""
        return self.journal.frames if self.journal is not None else 0

    def add(self, row: Row, pictures: Pictures | None, write: bool) -> None:
        """The next frame; None holds the pictures of the one before. Not to `write` it is to keep it as lead.

        Raises OSError once writing has failed, as where the disk is full.
        """
        frame = self._encode(row, self._last if pictures is None else pictures)
        if not write:
            self._keep(frame)
            return
        if self.journal is None:
            self.journal = JournalQueue(self._folder, self._features, self._fps, self._note)
            while self._kept:
                self._write(self._kept.popleft())
        self._write(frame)

    def _encode(self, row: Row, pictures: Pictures) -> EncodedFrame:
        began = time.thread_time()
        data = {key: encoder.add(pictures[key]) for key, encoder in self._encoders.items()}
        levels = {key: levels_of(pictures[key]) for key in self._encoders}
        self._last = {key: np.array(picture) for key, picture in pictures.items()}
        self.seconds += time.thread_time() - began
        return EncodedFrame(row, data, levels)

    def _keep(self, frame: EncodedFrame) -> None:
        self._kept.append(frame)
        while len(self._kept) >= self._lead + GROUP:  # what is left begins with a key frame
            for _ in range(GROUP):
                self._kept.popleft()

    def _write(self, frame: EncodedFrame) -> None:
        assert self.journal is not None
        self.journal.add(frame)
        for key, levels in frame.levels.items():
            self.statistics[key].add_levels(levels)
