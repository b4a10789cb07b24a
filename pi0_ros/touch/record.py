"""Collected frames as a LeRobot dataset: its features, and one row per frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from pi0_ros.robot import Robot
from pi0_ros.sim.world import COLOURS
from pi0_ros.touch.collect import CollectSettings
from pi0_ros.touch.disturbance import Frame
from pi0_ros.touch.tasks import parse_subtask


def dataset_features(robot: Robot, settings: CollectSettings) -> dict[str, dict[str, Any]]:
    """The features of a LeRobot v3.0 info.json, without those that every dataset has (timestamp, indices).

    `localisation`: `block_pixels` of all cameras behind one another, named camera.colour.x, .y and .visible.
    `perturbed`: 1 if the operator was pushed since the frame before. `aim`: the thing that it goes for, also once the words
    call it otherwise (`pi0 data retitle`); "" for none.
    """
    numbers = list(robot.channel_names)
    places = [f"{c}.{b}.{n}" for c in settings.cameras for b in COLOURS for n in ("x", "y", "visible")]
    picture = {
        "dtype": "video",
        "shape": (settings.size, settings.size, 3),
        "names": ["height", "width", "channels"],
    }
    return {
        **{f"observation.images.{camera}": dict(picture) for camera in settings.cameras},
        "observation.state": {"dtype": "float32", "shape": (len(numbers),), "names": numbers},
        "action": {"dtype": "float32", "shape": (len(numbers),), "names": numbers},
        "localisation": {"dtype": "float32", "shape": (len(places),), "names": places},
        "perturbed": {"dtype": "int64", "shape": (1,), "names": None},
        "aim": {"dtype": "string", "shape": (1,), "names": None},
        "high_level_task": {"dtype": "string", "shape": (1,), "names": None},
        "high_level_target": {"dtype": "string", "shape": (1,), "names": None},
    }


def dataset_row(frame: Frame) -> dict[str, Any]:
    """One frame under the names of `dataset_features`, and `task`: the subtask that the operator follows."""
    goal = parse_subtask(frame["subtask"])
    return {
        **{f"observation.images.{camera}": picture for camera, picture in frame["images"].items()},
        "observation.state": frame["state"],
        "action": frame["action"],
        "localisation": frame["localisation"].reshape(-1),
        "perturbed": np.array([int(frame["perturbed"])], np.int64),
        "aim": goal[0] if goal is not None else "",
        "high_level_task": frame["task"],
        "high_level_target": frame["target"],
        "task": frame["subtask"],
    }
