"""Episodes of ALOHA (Zhao et al. 2023, act/record_episodes.py; aloha/aloha_scripts): one HDF5 file each, 50 Hz.

/observations/qpos [T, 14] and /action [T, 14] hold the left arm's six joints and gripper (0 closed, 1 open), then the right
arm's; /observations/images/CAMERA is [T, H, W, 3] RGB, or [T, N] with JPEG bytes that OpenCV wrote, zeros behind them.

/compress_len [cameras, T] says how many bytes each has, by the order in which the recording program had its cameras; the file
does not say which that was (HDF5 lists them by the alphabet), so it is not used: a JPEG's last byte is no zero. OpenCV takes
what it encodes for BGR. Programs that gave it RGB, as ALOHA's own, wrote JPEG in which red and blue are exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pi0_ros.data.encoded_pictures import decode_rgb
from pi0_ros.data.errors import DataError
from pi0_ros.data.imports.episodes import Frame, ImportedEpisode

FPS = 50
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
NAMES = [f"{side}_{joint}" for side in ("left", "right") for joint in JOINTS]
VECTORS = {"observation.state": "observations/qpos", "action": "action"}
MORE = {"observation.velocity": "observations/qvel", "observation.effort": "observations/effort"}


def files_in(sources: Sequence[Path]) -> list[Path]:
    """The HDF5 files of these files and folders, by the numbers in their names. Raises DataError if there is none."""
    found = [f for s in sources for f in (sorted(s.glob("**/*.hdf5"), key=_number) if s.is_dir() else [s])]
    if not found:
        raise DataError(f"{sources[0]}: no .hdf5 file is there")
    return found


def _number(file: Path) -> tuple[str, int, str]:
    digits = "".join(c for c in file.stem if c.isdigit())
    return str(file.parent), int(digits or 0), file.stem


def aloha_episodes(sources: Sequence[Path], task: str | None, exchange: bool = False) -> Iterator[ImportedEpisode]:
    """One episode a file. `task`: the instruction, if the file has none in its attributes. `exchange`: red and blue of
    encoded pictures.

    Raises DataError if h5py is missing, or a file is no such episode.
    """
    try:
        import h5py
    except ImportError:
        raise DataError("reading HDF5 needs h5py: pip install 'pi0_ros[import]'") from None
    for file in files_in(sources):
        try:
            opened = h5py.File(file, "r")
        except OSError as problem:
            raise DataError(f"{file}: is damaged or no HDF5 file ({problem}); copy it again") from problem
        with opened:
            yield ImportedEpisode(_frames(file, opened, task, exchange), _names(opened), {"source": str(file)})


def _names(opened: Any) -> dict[str, list[str]]:
    keys = VECTORS | MORE
    return {f: NAMES for f, key in keys.items() if key in opened and opened[key].shape[1:] == (len(NAMES),)}


def _frames(file: Path, opened: Any, task: str | None, exchange: bool) -> Iterator[Frame]:
    for key in VECTORS.values():
        if key not in opened:
            raise DataError(f"{file}: lacks /{key}; it has {', '.join(opened)}: it is no episode of ALOHA")
    words = task or str(opened.attrs.get("task", "") or opened.attrs.get("language_instruction", ""))
    if not words:
        raise DataError(f"{file}: has no instruction; give one with --task")
    vectors = {f: opened[key] for f, key in (VECTORS | MORE).items() if key in opened}
    images = opened.get("observations/images", {})
    lengths = {key: len(v) for key, v in (*vectors.items(), *images.items())}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"{file}: vectors and pictures differ in length: {', '.join(f'{k} {n}' for k, n in lengths.items())}"
        )
    for t in range(lengths["action"]):
        shown = {f"observation.images.{camera}": _picture(file, images[camera], t, exchange) for camera in images}
        yield {**{f: np.asarray(v[t], np.float32) for f, v in vectors.items()}, **shown, "task": words}


def _picture(file: Path, pictures: Any, t: int, exchange: bool) -> np.ndarray:
    held = np.asarray(pictures[t])
    if held.ndim == 3:
        return held
    try:
        shown = decode_rgb(held.astype(np.uint8).tobytes().rstrip(b"\0"))
    except ValueError as problem:
        raise DataError(f"{file}: picture {t} of {pictures.name} is damaged ({problem})") from problem
    return shown[..., ::-1] if exchange else shown
