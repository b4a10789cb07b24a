"""Types of the contents of a dataset's files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
"""A column of frames [N, ...], of the kind of numbers or text that the file has."""
Numbers = NDArray[np.floating | np.integer]
"""Numbers of any width."""
Feature = Mapping[str, Any]
"""A feature as info.json describes it: dtype, shape, names, and the info of a video."""
Features = Mapping[str, Feature]
"""Features by name."""
Row = Mapping[str, Any]
"""A frame: its values by feature, and its instruction as "task"."""
Note = Mapping[str, object]
"""What meta/pi0_episodes.json says of an episode: outcome, score, note, and how it was recorded."""
