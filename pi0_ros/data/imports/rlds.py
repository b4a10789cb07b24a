"""RLDS episodes as TFDS stores them in TFRecord (Open X-Embodiment, Bridge v2, DROID): a record is an episode.

Steps are flattened (tfds FeaturesDict of a Dataset): `steps/observation/NAME` holds T pictures as JPEG or PNG bytes, or T times
n numbers, `steps/action` T times n numbers, `steps/language_instruction` T texts, `steps/is_first` T flags.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pi0_ros.data.encoded_pictures import decode_rgb
from pi0_ros.data.errors import DataError
from pi0_ros.data.imports.episodes import Frame, ImportedEpisode
from pi0_ros.data.imports.tfrecord import Value, read_examples

PRESENT = "episode_metadata/has_"
"""Bridge says of each camera whether an episode has it; its pictures are black if not."""
WORDLESS = "no step has an instruction; give one with --task, or its key with --map task=KEY"
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n")


@dataclass(frozen=True)
class Keys:
    """Which keys below `steps/` are what; several of a vector are joined in order. cameras: () is every picture."""

    fps: int | None = None
    state: tuple[str, ...] = ("observation/state",)
    action: tuple[str, ...] = ("action",)
    task: tuple[str, ...] = ("language_instruction", "observation/natural_language_instruction")
    cameras: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, list[str]] = field(default_factory=dict)


_EE = ["x", "y", "z", "roll", "pitch", "yaw"]
_ARM = [f"joint{i}" for i in range(1, 8)]
PRESETS = {
    "": Keys(),
    # Walke et al. 2023, bridge_dataset 1.0: 5 Hz; state is the pose of the gripper and its opening, action its change.
    "bridge": Keys(
        5,
        cameras={f"image_{i}": f"observation/image_{i}" for i in range(4)},
        names={"observation.state": [*_EE, "gripper"], "action": [*(f"d{n}" for n in _EE), "gripper"]},
    ),
    # Khazatsky et al. 2024, droid 1.0.0: 15 Hz; joint velocities are what π0.5-DROID gives.
    "droid": Keys(
        15,
        ("observation/joint_position", "observation/gripper_position"),
        ("action_dict/joint_velocity", "action_dict/gripper_position"),
        ("language_instruction", "language_instruction_2", "language_instruction_3"),
        {
            "exterior_image_1_left": "observation/exterior_image_1_left",
            "exterior_image_2_left": "observation/exterior_image_2_left",
            "wrist_image_left": "observation/wrist_image_left",
        },
        {"observation.state": [*_ARM, "gripper"], "action": [*(f"{n}_velocity" for n in _ARM), "gripper"]},
    ),
}


def files_in(sources: Sequence[Path]) -> list[Path]:
    """The TFRecord files of these files and folders. Raises DataError if there is none."""
    found = [f for s in sources for f in (sorted(s.glob("**/*.tfrecord*")) if s.is_dir() else [s])]
    if not found:
        raise DataError(f"{sources[0]}: no .tfrecord file is there (datasets of file format array_record are not read)")
    return found


def rlds_episodes(sources: Sequence[Path], keys: Keys, task: str | None) -> Iterator[ImportedEpisode]:
    """One episode a record. `task`: the instruction of steps that have none; without it an episode of such steps alone is
    left out, as a third of DROID's are. Raises DataError for other records.
    """
    for file in files_in(sources):
        for number, example in enumerate(read_examples(file)):
            where = f"{file.name}, record {number}"
            origin = example.get("episode_metadata/file_path")
            note = {"source": where, **({"origin": _text(origin[0])} if isinstance(origin, list) and origin else {})}
            steps = {n.removeprefix("steps/"): value for n, value in example.items() if n.startswith("steps/")}
            count = _length(where, steps)
            words = [_words(steps, keys, t, task) for t in range(count)]
            if not any(words):
                yield ImportedEpisode((), {}, note, left_out=WORDLESS)
                continue
            cameras = _cameras(steps, keys, count)
            present = {c: bool(example[PRESENT + c][0]) for c in cameras if PRESENT + c in example}
            names = {**keys.names, **({"camera_present": list(cameras)} if present else {})}
            yield ImportedEpisode(_frames(where, steps, keys, words, cameras, present), names, note)


def _frames(
    where: str,
    steps: Mapping[str, Value],
    keys: Keys,
    words: Sequence[str],
    cameras: Mapping[str, list[bytes]],
    present: Mapping[str, bool],
) -> Iterator[Frame]:
    """present: whether each camera was there, {} if nothing is said of that."""
    count = len(words)
    vectors = {
        "observation.state": _vector(where, steps, keys.state, count),
        "action": _vector(where, steps, keys.action, count),
    }
    there = {"camera_present": np.array([present.get(c, True) for c in cameras])} if present else {}
    for t in range(count):
        shown = {}
        for camera, pictures in cameras.items():
            try:
                shown[f"observation.images.{camera}"] = decode_rgb(pictures[t])
            except ValueError as problem:
                raise DataError(f"{where}: picture {t} of {camera} is damaged ({problem})") from problem
        yield {
            **{name: values[t] for name, values in vectors.items()},
            **shown,
            **there,
            "task": words[t] or next(filter(None, words)),
        }


def _length(where: str, steps: Mapping[str, Value]) -> int:
    for key in ("is_first", "is_last", "reward", "discount"):
        if key in steps and len(steps[key]):
            return len(steps[key])
    lists = [len(v) for v in steps.values() if isinstance(v, list)]
    if not lists:
        raise DataError(f"{where}: holds no steps; it is no RLDS episode")
    return max(lists)


def _vector(where: str, steps: Mapping[str, Value], wanted: Sequence[str], count: int) -> np.ndarray:
    """The numbers of these keys joined, [T, n]."""
    parts = []
    for key in wanted:
        values = steps.get(key)
        if values is None or isinstance(values, list) or len(values) % count or not len(values):
            there = ", ".join(k for k, v in steps.items() if not isinstance(v, list))
            raise DataError(f"{where}: {key!r} is not {count} vectors; numbers are under {there}: name them with --map")
        parts.append(np.asarray(values, np.float32).reshape(count, -1))
    return np.concatenate(parts, axis=1)


def _cameras(steps: Mapping[str, Value], keys: Keys, count: int) -> dict[str, list[bytes]]:
    """Encoded pictures by camera; those that are empty (a camera that an episode lacks) are left out by the caller's keys."""
    named = keys.cameras or {
        name.rpartition("/")[2]: name
        for name, value in steps.items()
        if isinstance(value, list) and len(value) == count and value[0].startswith(SIGNATURES)
    }
    found = {camera: steps[key] for camera, key in named.items() if key in steps}
    return {
        camera: pictures for camera, pictures in found.items() if isinstance(pictures, list) and len(pictures) == count
    }


def _words(steps: Mapping[str, Value], keys: Keys, t: int, task: str | None) -> str:
    for key in keys.task:
        texts = steps.get(key)
        if isinstance(texts, list) and texts:
            text = _text(texts[t if len(texts) > t else 0]).strip()
            if text:
                return text
    return task or ""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
