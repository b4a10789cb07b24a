"""Where things are in a recorded dataset, from its `localisation` column, and which of them is meant, from `aim`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.dataset import Dataset
from pi0_ros.touch.grounding import NONE, Grounding, place_number
from pi0_ros.touch.words import DONE, TOUCH_ALL


def unknown_things(dataset: Dataset) -> list[str]:
    """What deserves a look before training: instructions that name no thing of `localisation`, if no `aim` says which is meant."""
    if "localisation" not in dataset.features or "aim" in dataset.features:
        return []
    things = list(dict.fromkeys(name.split(".")[1] for name in dataset.features["localisation"]["names"]))
    texts = dict.fromkeys(task for episode in dataset.episodes for task in episode.tasks)
    unknown = [text for text in texts if text not in (DONE, TOUCH_ALL) and not set(things) & set(text.split())]
    if not unknown:
        return []
    return [
        (
            f"{dataset.folder}: {unknown[0]!r}{' and others' if unknown[1:] else ''} names none of {', '.join(things)}, and no column "
            "`aim` says which is meant: its place cannot be learned. Collect it anew (`pi0 collect` writes `aim`), then retitle"
        )
    ]


def localised(dataset: Dataset, row: int) -> NDArray[np.int16]:
    """`Frames.facts` from a dataset's `localisation`; the way to the target and lamps are not known there.

    The target is what `aim` says, whatever the words call it; without that column the thing that the words name.
    """
    if "localisation" not in dataset.features:
        return np.zeros(0, np.int16)
    names = [n.split(".") for n in dataset.features["localisation"]["names"]]
    values = dataset.column("localisation")[row]
    seen = {(camera, thing, kind): float(v) for (camera, thing, kind), v in zip(names, values, strict=True)}
    things = list(dict.fromkeys(thing for _, thing, _ in names))
    text = dataset.task_of(row).split()
    meant = [str(dataset.column("aim")[row])] if "aim" in dataset.features else text
    target = next((t for t in things if t in meant), None)
    wrist = next((c for c, _, _ in names if c.endswith("_wrist") and c.split("_")[0] in text), None)
    cameras = list(dict.fromkeys(camera for camera, _, _ in names))
    known = Grounding(
        target=np.array(_spot(seen, "base", target), np.int16),
        wrist=np.array(_spot(seen, wrist, target), np.int16),
        way=np.full(3, NONE, np.int16),
        blocks=np.array([_spot(seen, "base", thing) for thing in things], np.int16),
        lamps=np.full(len(things), NONE, np.int16),
        others=np.array([[_spot(seen, camera, thing) for thing in things] for camera in cameras[1:]], np.int16),
    )
    return known.numbers()


def _spot(seen: dict[tuple[str, str, str], float], camera: str | None, thing: str | None) -> list[int]:
    """Row and column of a thing in a picture in 1024ths, -1 if it is not seen."""
    if camera is None or thing is None or seen.get((camera, thing, "visible"), 0.0) < 0.5:
        return [-1, -1]
    return [place_number(seen[(camera, thing, kind)]) for kind in ("y", "x")]
