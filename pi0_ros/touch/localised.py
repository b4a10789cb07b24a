"""Where things are in a recorded dataset, from its `localisation` column, and which of them is meant, from `aim`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.dataset import Dataset
from pi0_ros.touch.grounding import LIT, NONE, UNLIT, Grounding, place_number, way_numbers
from pi0_ros.touch.words import DONE, TOUCH_ALL, words_of

WAY = ("forward", "left", "up")
"""Names of the last three numbers of `goal`: from the fingertips, in the base frame."""
PLACES = ("localisation", "aim", "goal", "held")
"""Columns of a recording that say where things are."""
SPOT = ("x", "y", "visible")
"""Names of the numbers of a place in a picture."""


def unknown_things(dataset: Dataset) -> list[str]:
    """What deserves a look before training: instructions that name no thing of `localisation`, if no `aim` says which is meant."""
    if "localisation" not in dataset.features or "aim" in dataset.features:
        return []
    things = list(dict.fromkeys(name.split(".")[1] for name in dataset.features["localisation"]["names"]))
    texts = dict.fromkeys(task for episode in dataset.episodes for task in episode.tasks)
    unknown = [text for text in texts if text not in (DONE, TOUCH_ALL) and not set(things) & set(words_of(text))]
    if not unknown:
        return []
    return [
        (
            f"{dataset.folder}: {unknown[0]!r}{' and others' if unknown[1:] else ''} names none of {', '.join(things)}, and no column "
            "`aim` says which is meant: its place cannot be learned. Collect it anew (`pi0 collect` writes `aim`), then retitle"
        )
    ]


def localised(dataset: Dataset, row: int) -> NDArray[np.int16]:
    """`Frames.facts` from a row of a dataset: its `place_numbers`."""
    there = [name for name in PLACES if name in dataset.features]
    values = {name: dataset.column(name)[row] for name in there}
    return place_numbers(dataset.features, values, dataset.task_of(row))


def place_numbers(features: Mapping[str, Any], row: Mapping[str, Any], text: str) -> NDArray[np.int16]:
    """`Frames.facts` from the columns `PLACES` of a row, those of them that `features` has. text: the instruction.

    The target is what `aim` says, whatever the words call it; without that column the thing that the words name. A column `goal`
    says where the fingertips go next, in pictures and as a way [m]: that is the target then. A column `held` says of each thing
    whether a hand holds it, in place of lamps. Without these columns the way and the lamps are not known.
    """
    if "localisation" not in features:
        return np.zeros(0, np.int16)
    seen = _named(features, row, "localisation")
    things = list(dict.fromkeys(name.split(".")[1] for name in seen))
    cameras = list(dict.fromkeys(name.split(".")[0] for name in seen))
    words = words_of(text)
    meant = [str(row["aim"])] if "aim" in features else words
    target = next((t for t in things if t in meant), None)
    wrist = next((c for c in cameras if c.endswith("_wrist") and c.split("_")[0] in words), None)
    goal = _named(features, row, "goal") if "goal" in features else {}
    spots = goal if goal else {f"{c}.{n}": seen[f"{c}.{target}.{n}"] for c in cameras for n in SPOT} if target else {}
    held = np.asarray(row["held"]) if "held" in features else np.full(len(things), np.nan)
    known = Grounding(
        target=np.array(_spot(spots, "base"), np.int16),
        wrist=np.array(_spot(spots, wrist), np.int16),
        way=np.array(way_numbers([goal[axis] for axis in WAY]) if goal else [NONE] * 3, np.int16),
        blocks=np.array([_spot(seen, f"base.{thing}") for thing in things], np.int16),
        lamps=np.where(np.isnan(held), NONE, np.where(held > 0.5, LIT, UNLIT)).astype(np.int16),
        others=np.array([[_spot(seen, f"{camera}.{thing}") for thing in things] for camera in cameras[1:]], np.int16),
    )
    return known.numbers()


def _named(features: Mapping[str, Any], row: Mapping[str, Any], feature: str) -> dict[str, float]:
    """The numbers of a row by their names."""
    return dict(zip(features[feature]["names"], np.asarray(row[feature]).tolist(), strict=True))


def _spot(seen: Mapping[str, float], of: str | None) -> list[int]:
    """Row and column of something in a picture in 1024ths, -1 if it is not seen. of: what stands before `.x` in its name."""
    if of is None or seen.get(f"{of}.visible", 0.0) < 0.5:
        return [NONE, NONE]
    return [place_number(seen[f"{of}.{kind}"]) for kind in ("y", "x")]
