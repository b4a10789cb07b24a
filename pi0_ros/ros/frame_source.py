"""Frames of a recording: everything at one moment, as the policy sees it, or what is missing for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.errors import DataError
from pi0_ros.data.features import checked_features, with_standard
from pi0_ros.data.stored import Feature, Features
from pi0_ros.msg import ExecutorState
from pi0_ros.robot import Robot
from pi0_ros.ros.clock import Clocks, seconds
from pi0_ros.ros.command_history import CommandHistory
from pi0_ros.ros.conversions import MODE_NAMES
from pi0_ros.ros.observation_source import ObservationSource, SensorSnapshot
from pi0_ros.ros.prompt_source import OVERRIDE
from pi0_ros.ros.spoken_words import WordHistory, words_of

PICTURES = "observation.images."
TOPICS = ("task", "subtask", OVERRIDE)


class DropCause(StrEnum):
    """Why there is no frame for a moment."""

    OBSERVATION = "no observation"
    SIZE = "pictures of another size"
    COMMAND = "no command"
    WORDS = "no words"
    ENCODER = "encoder behind"
    CLOCK = "clock set"
    FAULT = "fault"
    SHORT = "too short a piece between gaps"


@dataclass(frozen=True)
class Missing:
    """There is no frame for a moment."""

    cause: DropCause
    sentence: str


@dataclass(frozen=True)
class SourceFrame:
    """A frame: numbers and words by feature with "task", pictures [H, W, 3] by feature, and who drove."""

    row: Mapping[str, Any]
    pictures: Mapping[str, NDArray[np.uint8]]
    driver: str


def features_of(robot: Robot, sizes: Mapping[str, tuple[int, int]]) -> Features:
    """The features of a recording of this robot, whose cameras have pictures of `sizes` (height, width).

    Raises DataError for a size that no video can have.
    """
    names, cameras = list(robot.channel_names), [c.name for c in robot.cameras]
    for camera, (height, width) in sizes.items():
        if height % 2 or width % 2:
            raise DataError(
                f"camera {camera} has pictures of {width}x{height}, and a video needs even numbers: give it a crop in the "
                "robot YAML"
            )
    state = [*names, *robot.state_joints]
    text = {"dtype": "string", "shape": (1,), "names": None}
    axes = ["height", "width", "channels"]
    pictures = {f"{PICTURES}{c}": {"dtype": "video", "shape": (*sizes[c], 3), "names": axes} for c in cameras}
    about = {
        "picture_offset": {"dtype": "float32", "shape": (len(cameras),), "names": cameras},
        "camera_present": {"dtype": "bool", "shape": (len(cameras),), "names": cameras},
    }
    features: dict[str, Feature] = {
        **pictures,
        "observation.state": {"dtype": "float32", "shape": (len(state),), "names": state},
        "action": {"dtype": "float32", "shape": (len(names),), "names": names},
        "driver": text,
        "intervention": {"dtype": "bool", "shape": (1,), "names": None},
        "high_level_task": text,
        "high_level_target": text,
        "subtask_source": text,
        "stamp": {"dtype": "float64", "shape": (1,), "names": None},
        **(about if cameras else {}),
    }
    return with_standard(checked_features(features))


class FrameSource:
    """What is seen through `observations`, commanded and said, put together by time."""

    def __init__(self, robot: Robot, observations: ObservationSource, clocks: Clocks) -> None:
        self._robot, self._observations, self._clocks = robot, observations, clocks
        self._cameras = tuple(c.name for c in robot.cameras)
        self._commands = CommandHistory()
        self._words = {topic: WordHistory() for topic in TOPICS}
        self._words[OVERRIDE].add(-np.inf, "")  # what was done before the first word of an operator was done without it

    def update_state(self, message: ExecutorState) -> None:
        """Take what the executor says."""
        driver = MODE_NAMES.get(message.mode, "hold")
        self._commands.add(seconds(message.header.stamp), driver, message.channels, message.command)
        self._observations.update_command(message)

    def update_words(self, topic: str, text: str) -> None:
        """Take what was said on one of TOPICS."""
        self._words[topic].add(self._clocks.ros(), text)

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Height and width of the pictures of the cameras that have some now, by camera."""
        view = self._observations.view(self._cameras, state=())
        return {name: (p.shape[0], p.shape[1]) for name, p in view.pictures.items()}

    @property
    def restarts(self) -> int:
        """How often the ROS clock was set: what was before is of other times."""
        return self._observations.restarts

    def newest(self) -> float | Missing:
        """The newest moment [ROS s] of which everything that is needed is known."""
        view = self._observations.view(self._cameras, moment=self._observations.reached(self._cameras))
        return Missing(DropCause.OBSERVATION, "; ".join(view.missing)) if view.missing else view.stamp

    def reaches(self, moment: float) -> bool:
        """Whether everything has come as far as `moment`."""
        return self._commands.reached >= moment and self._observations.reached(self._cameras) >= moment

    def at(self, moment: float, features: Features) -> SourceFrame | Missing:
        """The frame of ROS time `moment` [s] of a dataset of these features."""
        view = self._observations.view(self._cameras, moment=moment)
        if view.missing:
            return Missing(DropCause.OBSERVATION, "; ".join(view.missing))
        commanded = self._commands.at(moment)
        if commanded is None:
            return Missing(DropCause.COMMAND, "no executor_state")
        if not np.all(np.isfinite([commanded.command.get(n, np.nan) for n in self._robot.channel_names])):
            return Missing(DropCause.COMMAND, "the executor has commanded nothing yet")
        words = words_of(commanded.driver, *(self._words[topic].at(moment) for topic in TOPICS))
        if not words.instruction:
            return Missing(DropCause.WORDS, "no words on task or subtask say what is being done")
        shapes = {c: tuple(features[PICTURES + c]["shape"]) for c in self._cameras}
        for camera, picture in view.pictures.items():
            if picture.shape != shapes[camera]:
                sizes = "{1}x{0}".format(*picture.shape), "{1}x{0}".format(*shapes[camera])
                return Missing(
                    DropCause.SIZE, f"camera {camera} has pictures of {sizes[0]}, and this dataset of {sizes[1]}"
                )
        # What a camera that may be missing does not show is black, as it is for the policy, and marked.
        pictures = {PICTURES + c: view.pictures.get(c, np.zeros(shapes[c], np.uint8)) for c in self._cameras}
        row = {
            **self._numbers(view, commanded.command, moment),
            "driver": commanded.driver,
            "high_level_task": words.task,
            "high_level_target": words.subtask,
            "subtask_source": str(words.origin),
            "task": words.instruction,
        }
        return SourceFrame(row, pictures, commanded.driver)

    def _numbers(self, view: SensorSnapshot, command: Mapping[str, float], moment: float) -> dict[str, Any]:
        robot = self._robot
        found = {
            "observation.state": np.array(
                [view.state[n] for n in (*robot.channel_names, *robot.state_joints)], np.float32
            ),
            "action": np.array([command[n] for n in robot.channel_names], np.float32),
            "stamp": np.array([moment]),
        }
        if self._cameras:
            offsets = [view.stamps.get(c, moment) - moment for c in self._cameras]
            found |= {
                "picture_offset": np.array(offsets, np.float32),
                "camera_present": np.array([c in view.pictures for c in self._cameras]),
            }
        return found


def between(before: SourceFrame, after: SourceFrame, period: float) -> SourceFrame:
    """The frame between two, if it was missed: numbers half-way, words of the one before, whose pictures stand."""
    row = dict(before.row)
    for key in ("observation.state", "action", "stamp"):
        row[key] = (0.5 * (before.row[key].astype(float) + after.row[key])).astype(before.row[key].dtype)
    if "picture_offset" in row:
        row["picture_offset"] = (row["picture_offset"] - np.float32(period)).astype(np.float32)
    return SourceFrame(row, before.pictures, before.driver)
