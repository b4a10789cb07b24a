"""A mixture in one YAML: which data, of which robot, how often, and which of their frames.

    sources:
      - {name: home, dataset: data/home, policy: mobile_bimanual, drivers: [teleop, autonomy], outcome: success}
      - {name: single, dataset: data/ur5, policy: ur5e.yaml, control_mode: joint, stages: [1]}
      - {name: questions, text: data/vqa.jsonl}

Source of the weights and of the stages: π0, arXiv 2410.24164, section V; π0.5, arXiv 2504.16054, section IV.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pi0_ros.robot.yaml_nodes import read_plain
from pi0_ros.train.errors import TrainError

STAGES = (1, 2)
DRIVERS = ("hold", "teleop", "autonomy", "stopped")
OUTCOMES = ("success", "failure", "none")  # none: nobody said how it went


@dataclass(frozen=True)
class Choice:
    """Which frames of a dataset are trained on; the default is all.

    drivers, outcomes: those whose frames are taken, () for all. shortest, longest: episodes of so many seconds.
    interventions: how much more often than another a frame is drawn in which a person corrects the policy. every: one of so many
    frames of an episode is taken, and neighbours that hardly differ are left out.
    """

    drivers: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    shortest: float = 0.0
    longest: float = math.inf
    interventions: float = 1.0
    every: int = 1


@dataclass(frozen=True)
class Source:
    """One entry. Exactly one of dataset, frames and text is given, or episodes of the simulator are asked for.

    policy: policy YAML, "" for the run's. control_mode: the word in the prompt, "" as that YAML says. weight: share of the
    draws against the other sources', 0: by n^0.43 of the frames of each task. stages: of training in which it is used.
    boxes: a file of boxes on frames of a dataset (`box_labels`), "" without one.
    """

    name: str
    dataset: str = ""
    frames: str = ""
    text: str = ""
    sim_episodes: int = 0
    policy: str = ""
    control_mode: str = ""
    weight: float = 0.0
    stages: tuple[int, ...] = STAGES
    choice: Choice = field(default_factory=Choice)
    boxes: str = ""


def load_mixture(file: str | Path, stage: int = 0) -> tuple[Source, ...]:
    """The sources of a YAML file that are used in a stage (0: all of them). Paths are relative to the file.

    Raises: TrainError naming file, source and key.
    """
    path = Path(file)
    given = read_plain(path, TrainError)
    entries = given.get("sources") if isinstance(given, dict) and set(given) == {"sources"} else None
    if not isinstance(entries, list) or not entries:
        raise TrainError(f"--mixture {path}: has to be one key, `sources:`, with a list of one source or more")
    sources = [_source(entry, f"{path}: source {number}", path.parent) for number, entry in enumerate(entries, 1)]
    _check_together(sources, path)
    used = tuple(s for s in sources if not stage or stage in s.stages)
    if not any(not s.text for s in used):
        raise TrainError(
            f"{path}: no source with actions is used{f' in stage {stage}' if stage else ''}; text alone is no policy's data"
        )
    return used


def _check_together(sources: list[Source], path: Path) -> None:
    names = [s.name for s in sources]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise TrainError(f"{path}: two sources are called {twice[0]!r}; give each a name of its own")
    unweighted = [s.name for s in sources if not s.weight]
    if unweighted and len(unweighted) < len(sources):
        raise TrainError(f"{path}: source {unweighted[0]} has no weight; give one to every source, or to none")


_KINDS = ("dataset", "frames", "text", "sim_episodes")
_CHOICES = ("drivers", "outcome", "shortest", "longest", "interventions", "every")
_KEYS = tuple(f.name for f in fields(Source) if f.name != "choice") + _CHOICES


def _source(entry: Any, where: str, folder: Path) -> Source:
    if not isinstance(entry, dict):
        raise TrainError(f"{where}: has to be a mapping of {', '.join(_KEYS)}")
    unknown = [str(key) for key in entry if key not in _KEYS]
    if unknown:
        raise TrainError(f"{where}: unknown key {unknown[0]!r}; there are {', '.join(_KEYS)}")
    kinds = [kind for kind in _KINDS if entry.get(kind)]
    if len(kinds) != 1:
        raise TrainError(f"{where}: give one of {', '.join(_KINDS)}; it has {', '.join(kinds) or 'none'}")
    kind = kinds[0]
    place = "" if kind == "sim_episodes" else str(_path(_text(entry, kind, where), folder))
    name = _text(entry, "name", where) or (kind if kind == "sim_episodes" else Path(place).stem)
    where = f"{where} ({name})"
    forbidden = [key for key in (*_CHOICES, "policy", "control_mode", "boxes") if kind == "text" and key in entry]
    forbidden += [key for key in (*_CHOICES, "boxes") if kind in ("frames", "sim_episodes") and key in entry]
    if forbidden:
        raise TrainError(
            f"{where}: {forbidden[0]} does not apply to a source by `{kind}`; it is for a dataset's frames"
        )
    policy, boxes = _text(entry, "policy", where), _text(entry, "boxes", where)
    paths = {kind: place} if kind != "sim_episodes" else {kind: int(_number(entry, kind, where, 1, 1e6))}
    return Source(
        name,
        **paths,
        policy=str(_path(policy, folder)) if policy.endswith((".yaml", ".yml", ".json")) else policy,
        control_mode=_text(entry, "control_mode", where),
        weight=_number(entry, "weight", where, 1e-9, 1e9) if "weight" in entry else 0.0,
        stages=_words(entry, "stages", where, STAGES) or STAGES,
        choice=_choice(entry, where),
        boxes=str(_path(boxes, folder)) if boxes else "",
    )


def _choice(entry: Mapping[str, Any], where: str) -> Choice:
    shortest = _number(entry, "shortest", where, 0.0, 1e9) if "shortest" in entry else 0.0
    longest = _number(entry, "longest", where, 0.0, 1e9) if "longest" in entry else math.inf
    if longest <= shortest:
        raise TrainError(f"{where}: longest {longest:g} has to be above shortest {shortest:g}")
    weight = _number(entry, "interventions", where, 0.0, 1e6) if "interventions" in entry else 1.0
    drivers, outcomes = _words(entry, "drivers", where, DRIVERS), _words(entry, "outcome", where, OUTCOMES)
    every = _number(entry, "every", where, 1, 1000) if "every" in entry else 1
    if every != int(every):
        raise TrainError(f"{where}: every {every:g} has to be a whole number")
    return Choice(drivers, outcomes, shortest, longest, weight, int(every))


def _path(text: str, folder: Path) -> Path:
    path = Path(text).expanduser()
    return path if path.is_absolute() else folder / path


def _text(entry: Mapping[str, Any], key: str, where: str) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise TrainError(f"{where}: {key} {value!r} has to be text")
    return value


def _number(entry: Mapping[str, Any], key: str, where: str, least: float, most: float) -> float:
    value = entry[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise TrainError(f"{where}: {key} {value!r} has to be a number from {least:g} to {most:g}")
    return float(value)


def _words(entry: Mapping[str, Any], key: str, where: str, known: tuple[Any, ...]) -> tuple[Any, ...]:
    value = entry.get(key, [])
    listed = value if isinstance(value, list) else [value]
    wrong = [word for word in listed if isinstance(word, bool) or word not in known]
    if wrong:
        raise TrainError(f"{where}: {key} {wrong[0]!r} is not one of {', '.join(map(str, known))}")
    return tuple(listed)
