"""Which frames of a dataset a source of a mixture takes, and how often each is drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.data.stored import Values
from pi0_ros.train.errors import TrainError
from pi0_ros.train.mixture import Choice


def chosen_frames(dataset: Dataset, choice: Choice) -> NDArray[np.bool_]:
    """Frames [N] that are taken. Raises TrainError if the dataset does not have what is asked for."""
    taken = np.ones(len(dataset), bool)
    if choice.drivers:
        taken &= np.isin(_column(dataset, "driver", "drivers"), choice.drivers)
    notes = EpisodeLog(dataset.folder).read() if choice.outcomes else {}
    if choice.outcomes and not any(note.get("outcome") for note in notes.values()) and "none" not in choice.outcomes:
        raise TrainError(
            f"{dataset.folder}: its episodes have no outcome, and the mixture's `outcome` selects {', '.join(choice.outcomes)}; "
            "label them with `pi0 data label`, or leave the key out"
        )
    for episode in dataset.episodes:
        seconds = episode.length / dataset.fps
        outcome = notes.get(episode.index, {}).get("outcome") or "none"
        fits = choice.shortest <= seconds <= choice.longest and (not choice.outcomes or outcome in choice.outcomes)
        taken[episode.start : episode.stop] &= fits
    return taken


def frame_weights(dataset: Dataset, choice: Choice) -> NDArray[np.float32]:
    """How often each frame [N] is drawn against the others of its source."""
    weights = np.ones(len(dataset), np.float32)
    if choice.interventions != 1.0:
        weights[_column(dataset, "intervention", "interventions").astype(bool)] = choice.interventions
    return weights


def _column(dataset: Dataset, name: str, key: str) -> Values:
    if name not in dataset.features:
        raise TrainError(
            f"{dataset.folder}: has no column {name!r}, which `{key}` needs; the recorder writes it, other tools do not. "
            "Leave the key out of the mixture"
        )
    return np.asarray(dataset.column(name))
