"""Collected frames as a LeRobot dataset: its features, and one row per frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pi0_ros.robot import Robot
from pi0_ros.sim.world import COLOURS
from pi0_ros.touch.collect import CollectSettings
from pi0_ros.touch.disturbance import Frame
from pi0_ros.touch.localised import SPOT
from pi0_ros.touch.tasks import parse_subtask

Features = dict[str, dict[str, Any]]


def named_numbers(names: Sequence[str]) -> dict[str, Any]:
    """A feature of float32 numbers with these names."""
    return {"dtype": "float32", "shape": (len(names),), "names": list(names)}


def base_features(robot: Robot, cameras: Sequence[str], size: int, things: Sequence[str] = COLOURS) -> Features:
    """What every recording of an operator has, as features of a LeRobot v3.0 info.json, without those that every dataset
    has (timestamp, indices). cameras: of the robot; size: width and height of the pictures; things: what lies about.

    `localisation`: `block_pixels` of all cameras behind one another, named camera.thing.x, .y and .visible.
    `perturbed`: 1 if the operator, or what it works on, was disturbed since the frame before. `aim`: the thing that it goes
    for, also once the words call it otherwise (`pi0 data retitle`); "" for none.
    """
    picture = {"dtype": "video", "shape": (size, size, 3), "names": ["height", "width", "channels"]}
    places = [f"{camera}.{thing}.{n}" for camera in cameras for thing in things for n in SPOT]
    return {
        **{f"observation.images.{camera}": dict(picture) for camera in cameras},
        "observation.state": named_numbers(robot.channel_names),
        "action": named_numbers(robot.channel_names),
        "localisation": named_numbers(places),
        "perturbed": {"dtype": "int64", "shape": (1,), "names": None},
        "aim": {"dtype": "string", "shape": (1,), "names": None},
    }


def dataset_features(robot: Robot, settings: CollectSettings) -> Features:
    """`base_features`, and what the high level is asked and answers."""
    return {
        **base_features(robot, settings.cameras, settings.size),
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
