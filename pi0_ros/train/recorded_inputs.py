"""Recorded frames as what a policy makes of them: the network's inputs, one observation at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pi0_ros.data.dataset import Dataset
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.pipeline import ModelInputs, Pipeline
from pi0_ros.policy.tokenizer import Tokenizer
from pi0_ros.train.errors import TrainError
from pi0_ros.train.from_dataset import dataset_cameras
from pi0_ros.train.recorded_vectors import model_vectors


def recorded_inputs(
    dataset: Dataset, adapter: Adapter, pipeline: Pipeline, tokenizer: Tokenizer, count: int
) -> Iterator[ModelInputs]:
    """Model inputs of up to `count` frames, spread evenly over those that have an instruction.

    Raises: TrainError if the dataset lacks a camera or channel of the adapter, or no frame has an instruction.
    """
    cameras = dataset_cameras(dataset, adapter)
    states, _ = model_vectors(dataset, adapter)
    worded = np.array([bool(dataset.task_of(frame)) for frame in range(len(dataset))])
    usable = np.flatnonzero(worded & np.isfinite(states).all(axis=1))
    if not len(usable):
        raise TrainError(f"{dataset.folder}: no frame has an instruction and a finite state")
    for frame in usable[np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int)]:
        pictures = {slot: dataset.picture(camera, int(frame)) for slot, camera in cameras}
        yield pipeline.inputs(pictures, states[frame], dataset.task_of(int(frame)), tokenizer)
