"""Episodes while they are recorded: frames are checked one by one, and none is dropped before it is on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pi0_ros.data.errors import DataError
from pi0_ros.data.writer import DatasetWriter

PICTURES = "observation.images."

Shapes = Mapping[str, tuple[int, ...]]
"""Shape [H, W, 3] of the pictures of each camera."""


class EpisodeRecording:
    """One dataset, episode after episode. What cannot be done raises DataError, and nothing is lost by that."""

    def __init__(
        self, folder: Path, fps: int, describe: Callable[[Shapes], Mapping[str, Any]], robot_type: str
    ) -> None:
        """`describe(shapes)` gives the features of the dataset, once the first frame has said which pictures there are."""
        self.folder, self._fps, self._describe, self._robot_type = folder, fps, describe, robot_type
        self._writer: DatasetWriter | None = None
        self._shapes: Shapes = {}
        self.frames: list[dict[str, Any]] = []
        self.recording, self.skipped, self.episodes = False, 0, 0

    @property
    def begun(self) -> bool:
        """Whether the dataset is on disk."""
        return self._writer is not None

    def check_writable(self) -> None:
        """Raises DataError if the dataset's folder cannot be made or written."""
        place = self.folder if self.folder.is_dir() else self.folder.parent
        try:
            place.mkdir(parents=True, exist_ok=True)
            probe = place / ".pi0_ros_writable"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise DataError(f"parameter folder: {place} cannot be written: {error.strerror}") from None

    def start(self) -> str:
        """Begin an episode; what is told about it."""
        if self.recording:
            raise DataError(f"episode {self.episodes} is being recorded already")
        if self.frames:
            raise DataError(f"episode {self.episodes} is not on disk yet: stop again to save it, or discard it")
        self.recording, self.skipped = True, 0
        if self._writer is None:
            self._shapes = {}
        return f"recording episode {self.episodes}"

    def take(self, frame: Mapping[str, Any]) -> str:
        """Take a frame into the episode; why it cannot be taken, "" if it was. The cameras are those of the first frame."""
        shapes = {k.removeprefix(PICTURES): v.shape for k, v in frame.items() if k.startswith(PICTURES)}
        if not self._shapes:
            self._shapes = shapes
        for camera, shape in self._shapes.items():
            if camera not in shapes:
                return f"camera {camera} has no picture now; this dataset has one in every frame"
            if shapes[camera] != shape:
                return f"camera {camera} has pictures of {shapes[camera]}; this dataset has {shape}"
        late = {PICTURES + camera for camera in shapes if camera not in self._shapes}
        self.frames.append({key: value for key, value in frame.items() if key not in late})
        return ""

    def keep(self, why_none: str = "") -> str:
        """End the episode and put it on disk; what is told about it. If that fails its frames stay, to be saved again.

        `why_none`: why no frame could be taken, for the answer where there is none.
        """
        if not self.recording and not self.frames:
            raise DataError("nothing is being recorded")
        self.recording = False
        if not self.frames:
            raise DataError(f"no frame was taken: {why_none or 'too short'}")
        try:
            writer = self._begin_dataset()
            for frame in self.frames:
                writer.add_frame(frame)
            writer.save_episode()
        except (DataError, OSError) as error:
            if self._writer is not None:
                self._writer.drop_episode()
            text = f"{self.folder}: {error.strerror}" if isinstance(error, OSError) else str(error)
            raise DataError(
                f"{text}; {len(self.frames)} frames are kept: stop again to save them, or discard them"
            ) from error
        kept, self.frames = len(self.frames), []
        self.episodes += 1
        return f"episode {self.episodes - 1}: {kept} frames kept, {self.skipped} could not be taken"

    def discard(self) -> str:
        """Drop the episode; what is told about it."""
        if not self.recording and not self.frames:
            raise DataError("nothing is being recorded")
        dropped, self.recording, self.frames = len(self.frames), False, []
        return f"{dropped} frames dropped"

    def close(self) -> None:
        """No more episodes."""
        if self._writer is not None:
            self._writer.close()

    def _begin_dataset(self) -> DatasetWriter:
        if self._writer is None:
            self._writer = DatasetWriter(self.folder, self._fps, self._describe(self._shapes), self._robot_type)
        return self._writer


def next_folder(folder: Path) -> Path:
    """The first of FOLDER_2, FOLDER_3, … that is not there."""
    number = 2
    while (other := folder.with_name(f"{folder.name}_{number}")).exists():
        number += 1
    return other
