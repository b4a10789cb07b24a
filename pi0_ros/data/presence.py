"""Which cameras gave a picture: a camera that the robot can do without is recorded as black if it was silent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.dataset import Dataset


def present_rows(dataset: Dataset, camera: str) -> NDArray[np.bool_]:
    """In which frames [N] a camera was there, by the column `camera_present`; in all if a recording does not say."""
    names = dataset.features.get("camera_present", {}).get("names")
    if not isinstance(names, list) or camera not in names:
        return np.ones(len(dataset), bool)
    return np.asarray(dataset.column("camera_present")).reshape(len(dataset), -1)[:, names.index(camera)].astype(bool)
