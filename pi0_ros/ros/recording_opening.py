"""What a recording is begun with: its folder, the size of its pictures, the process that writes, and what is noted."""

from __future__ import annotations

import math
import xml.etree.ElementTree as xml
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from pi0_ros.data.errors import DataError
from pi0_ros.data.frame_slots import frame_bytes
from pi0_ros.data.layout import INFO, PICTURES, checked_info
from pi0_ros.data.recording_client import RecordingClient
from pi0_ros.data.recording_process import RUNNING, RecordingSettings
from pi0_ros.data.stored import Features
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.adapter_reading import adapter_of_checkpoint, load_adapter
from pi0_ros.robot import Robot
from pi0_ros.robot.resources import checkpoint_folder, share
from pi0_ros.robot.wording import counted
from pi0_ros.ros.frame_source import features_of

BUFFER, LEAST = 2.0, 0.8
"""Seconds of frames that may be on their way to the encoder; and if that is more than ROOM."""
ROOM = 96 * 10**6
"""Bytes of pictures that may be on their way to the encoder, if LEAST seconds are less."""
OPTIONAL = 2.0
"""Seconds that a new dataset waits for the first picture of a camera that may be missing."""
USUAL_FPS = 10


class RecordingOpening:
    """Starts the process that writes, once the size of every camera's pictures is known."""

    def __init__(
        self,
        folder: Path,
        fps: int,
        robot: Robot,
        sizes: Callable[[], Mapping[str, tuple[int, int]]],
        lead: int,
        min_free: int,
    ) -> None:
        """sizes: height and width of the pictures of the cameras that have some now. lead: frames that are kept before a
        correction. min_free: bytes. Raises DataError for a folder that holds something else than a dataset."""
        self._folder, self._fps, self._robot, self._look = folder, fps, robot, sizes
        self._lead, self._min_free, self._since = lead, min_free, math.nan
        self._sizes = known_sizes(folder)

    @property
    def known(self) -> bool:
        """Whether there is a dataset already, which says how large its pictures are."""
        return (self._folder / INFO).is_file()

    def open(self, steady: float) -> RecordingClient | str:
        """The process, at steady time `steady` [s]; or what is waited for. Raises DataError if the folder cannot be used."""
        features = self._features(steady)
        if isinstance(features, str):
            return features
        slots = slots_for(self._fps, frame_bytes(features))
        return RecordingClient(
            RecordingSettings(self._folder, self._fps, features, self._robot.name, slots, self._min_free, self._lead)
        )

    def opening_line(self, client: RecordingClient) -> str:
        """A sentence about a process that was opened."""
        settings = client.settings
        memory = settings.slots * frame_bytes(settings.features) / 1e6
        return (
            f"recording into {self._folder}: {self._fps} frames a second, {counted(client.report.expected, 'episode')} so far, at most "
            f"{memory:.1f} MB of pictures on their way"
        )

    def _features(self, steady: float) -> Features | str:
        """The features of the dataset; or what is waited for, while the size of a camera's pictures is not known."""
        sizes = dict(self._sizes or self._look())
        absent = [c for c in self._robot.cameras if c.name not in sizes]
        if absent and not self._sizes:
            if sizes and not any(c.required for c in absent) and math.isnan(self._since):
                self._since = steady
            if not steady - self._since >= OPTIONAL:
                return f"camera {absent[0].name}: no picture yet on {absent[0].topic}"
        if absent and sizes:
            sizes |= {c.name: next(iter(sizes.values())) for c in absent}
        return features_of(self._robot, sizes)


def slots_for(fps: int, size: int) -> int:
    """How many frames of `size` bytes of pictures may be on their way to the encoder: that much a computer may stand still."""
    return max(4, round(LEAST * fps), min(round(BUFFER * fps), ROOM // max(1, size)))


def adapter_for(checkpoint: str, adapter: str) -> Adapter | None:
    """The policy YAML that drives, if one is named or the checkpoint has its own."""
    if adapter:
        return load_adapter(adapter)
    config = Path(checkpoint_folder(checkpoint)) / "config.json" if checkpoint and "://" not in checkpoint else None
    return adapter_of_checkpoint(config) if config is not None and config.is_file() else None


def rows_a_second(adapter: Adapter | None) -> int:
    """As many frames a second as the policy's plans have rows, if that is a whole number of at most 100."""
    rate = round(1.0 / adapter.period, 3) if adapter is not None else USUAL_FPS
    return int(rate) if rate == int(rate) and 1 <= rate <= 100 else USUAL_FPS


def known_sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Height and width of the pictures by camera, as a dataset that is there has them; {} if there is none."""
    if not (folder / INFO).is_file():
        if folder.is_dir() and any(f.name != RUNNING for f in folder.iterdir()):
            raise DataError(f"{folder}: is not empty and holds no dataset; give a new folder")
        return {}
    features = checked_info(folder / INFO)["features"]
    return {
        key.removeprefix(PICTURES): (int(f["shape"][0]), int(f["shape"][1]))
        for key, f in features.items()
        if f["dtype"] == "video"
    }


def check_writable(folder: Path) -> None:
    """Raises DataError if the dataset's folder cannot be made or written."""
    place = folder if folder.is_dir() else folder.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        probe = place / ".pi0_ros_writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise DataError(f"parameter folder: {place} cannot be written: {error.strerror}") from None


def note_of(robot: Robot, checkpoint: str, adapter: Adapter | None, mode: str) -> dict[str, object]:
    """What is noted of every episode: robot and limits, policy, versions."""
    bounds = {c.name: (c.limits.lower, c.limits.upper, c.limits.velocity) for c in robot.channels}
    limits = {name: [b if math.isfinite(b) else None for b in found] for name, found in bounds.items()}
    return {
        "robot": robot.name,
        "checkpoint": checkpoint,
        "adapter": adapter.name if adapter is not None else "",
        "mode": mode,
        "limits": limits,
        "versions": {name: installed(name) for name in ("pi0_ros", "av", "numpy")},
    }


def installed(package: str) -> str:
    """The version of an installed package, "" if it is not known."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        file = share("package.xml") if package == "pi0_ros" else None
        return xml.parse(file).findtext("version") or "" if file is not None and file.is_file() else ""
