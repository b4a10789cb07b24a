"""Statistics of all frames of a dataset together: exact quantiles, not bounds from those of the episodes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.layout import STATS
from pi0_ros.data.statistics import QUANTILES, PictureStatistics, Stats
from pi0_ros.data.tables import write_json
from pi0_ros.robot.replacing import replacing


def exact_statistics(dataset: Dataset, pictures: bool = True) -> dict[str, Stats]:
    """Of every feature that is a number, and of the pictures [3, 1, 1] in 0..1, over all frames.

    Quantiles are those of numpy (linear between the two values beside it).
    """
    found: dict[str, Stats] = {}
    for key, feature in dataset.features.items():
        if feature["dtype"] in ("string", "video", "image"):
            continue
        values = np.asarray(dataset.column(key)).reshape(len(dataset), -1).astype(np.float64)
        found[key] = {
            "min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0),
            "count": np.array([len(values)], np.int64),
            **dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values()), axis=0), strict=True)),
        }  # fmt: skip
    for camera in dataset.cameras if pictures else ():
        levels = PictureStatistics()
        for position in range(len(dataset.episodes)):
            for picture in dataset.pictures(camera, position):
                levels.add(picture)
        found[dataset.layout.cameras[camera]] = levels.result()
    return found


def settle_statistics(folder: Path) -> None:
    """Put the exact statistics of all numbers into a dataset that is complete; those of pictures stay bounds. What is no
    number somewhere keeps what stands there."""
    with Dataset(folder) as dataset:
        exact = exact_statistics(dataset, pictures=False)
        sound = {key: s for key, s in exact.items() if all(np.isfinite(v).all() for v in s.values())}
        stats = {key: sound.get(key, named) for key, named in dataset.stats.items()}
    write_json(folder / STATS, {key: {n: np.asarray(v).tolist() for n, v in s.items()} for key, s in stats.items()})


def replace_statistics(folder: Path, stats: dict[str, Stats]) -> Path | None:
    """Write meta/stats.json; the copy of what stood there before, None if nothing did."""
    file, copy = folder / STATS, None
    if file.is_file():
        copy = next(c for n in itertools.count(1) if not (c := file.with_name(f"stats.{n}.json")).exists())
        with replacing(copy) as new:
            new.write_bytes(file.read_bytes())
    write_json(file, {key: {name: value.tolist() for name, value in named.items()} for key, named in stats.items()})
    return copy
