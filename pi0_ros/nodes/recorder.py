"""recorder: writes what happened, with who was driving, as a LeRobot dataset that `pi0 train` reads.

`~/start` begins an episode, `~/stop` keeps it, `~/discard` drops it. Frames are taken at a fixed rate: the newest
synchronised observation, the command that the executor sent, the words that were followed, and the mode.
"""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from std_msgs.msg import String
from std_srvs.srv import Trigger

from pi0_ros.data.episodes import EpisodeRecording, next_folder
from pi0_ros.data.errors import DataError
from pi0_ros.msg import ExecutorState
from pi0_ros.robot import Robot, RobotError, load_robot
from pi0_ros.ros.any_publisher import subscribe_to_any
from pi0_ros.ros.bounded import listen
from pi0_ros.ros.conversions import MODE_NAMES
from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Health
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.loop import Loop, give_way
from pi0_ros.ros.parameters import Parameter, ParameterError
from pi0_ros.ros.prompt_source import OVERRIDE, one_line
from pi0_ros.ros.qos import RELIABLE
from pi0_ros.ros.run import run
from pi0_ros.ros.senses import PICTURE_FROZEN, Senses, View

COMMAND_MAX_AGE = 0.5


def features(robot: Robot, shapes: dict[str, tuple[int, int, int]]) -> dict[str, dict[str, Any]]:
    """Features of the dataset for pictures of these shapes [H, W, 3] by camera."""
    names = list(robot.channel_names)
    state = [*names, *robot.state_joints]
    vector = {"dtype": "float32", "shape": (len(names),), "names": names}
    video = {"dtype": "video", "names": ["height", "width", "channels"]}
    return {
        **{f"observation.images.{camera}": {**video, "shape": shape} for camera, shape in shapes.items()},
        "observation.state": {"dtype": "float32", "shape": (len(state),), "names": state},
        "action": dict(vector),
        "driver": {"dtype": "string", "shape": (1,), "names": None},
        "high_level_task": {"dtype": "string", "shape": (1,), "names": None},
        "high_level_target": {"dtype": "string", "shape": (1,), "names": None},
    }


def frame(robot: Robot, view: View, state: ExecutorState, task: str, subtask: str) -> dict[str, Any]:
    """One row: what was seen and measured, what was commanded, by whom, and the words."""
    command = dict(zip(state.channels, state.command, strict=True))
    return {
        **{f"observation.images.{camera}": picture for camera, picture in view.pictures.items()},
        "observation.state": np.array([view.state[n] for n in (*robot.channel_names, *robot.state_joints)], np.float32),
        "action": np.array([command[n] for n in robot.channel_names], np.float32),
        "driver": MODE_NAMES[state.mode],
        "high_level_task": task,
        "high_level_target": subtask,
        "task": subtask or task,
    }


class RecorderNode(ManagedNode):
    """Writes episodes."""

    table = (
        Parameter("robot", "", "robot YAML: a file, or a name under config/robots", required=True),
        Parameter("folder", "", "new folder for the dataset", required=True),
        PICTURE_FROZEN,
        Parameter("fps", 10, "frames a second", low=1, high=100),
    )
    expected = (ParameterError, RobotError, DataError)

    def __init__(self, name: str = "recorder", **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        self.senses: Senses | None = None
        self._episodes: EpisodeRecording | None = None
        self._datasets: set[Path] = set()
        self._loop: Loop | None = None
        for request in ("start", "stop", "discard"):  # answered in every state: nobody waits for a service in vain
            self.create_service(Trigger, f"~/{request}", partial(self._on_request, request))

    def setup(self) -> None:
        """Subscribe; the dataset is begun with the first frame, whose pictures say how large they are."""
        self.robot = load_robot(self.values.robot)
        self._lock = threading.Lock()
        self._episodes = self._new_dataset()
        self._state, self._state_heard, self._why = None, 0.0, ""
        self._said: dict[str, str] = {}
        self.senses = Senses(self, self.robot, self.clocks, self.values.picture_frozen)
        self.own(listen(self, ExecutorState, "executor_state", self._on_state, RELIABLE))
        for topic in ("task", "subtask", OVERRIDE):
            for subscription in subscribe_to_any(self, String, topic, partial(self._on_words, topic)):
                self.own(subscription)

    def _new_dataset(self) -> EpisodeRecording:
        folder = Path(self.values.folder).expanduser()
        if folder in self._datasets:  # ours, of an earlier life
            folder = next_folder(folder)
            self.get_logger().info(f"the dataset goes on in {folder}")
        if folder.exists() and any(folder.iterdir()):
            raise DataError(f"{folder}: is not empty; give a new folder")
        return EpisodeRecording(folder, self.values.fps, partial(features, self.robot), self.robot.name)

    def start(self) -> None:
        """Begin to take frames; they are kept only between `~/start` and `~/stop`."""
        self._episodes.check_writable()
        give_way()
        self._loop = Loop(1.0 / self.values.fps, self._take, self._failed, name="frames")
        self._loop.start()

    def halt(self) -> None:
        """End; an episode that is being recorded is kept."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None
        with self._lock:
            if self._episodes.frames:
                self._keep()

    def teardown(self) -> None:
        """Let go of the dataset and of the subscriptions."""
        if self._episodes is not None:
            if self._episodes.begun:
                self._datasets.add(Path(self.values.folder).expanduser())
            self._episodes.close()
            self._episodes = None
        if self.senses is not None:
            self.senses.close()
            self.senses = None

    def _on_state(self, message: ExecutorState) -> None:
        self._state, self._state_heard = message, self.clocks.steady()
        self.senses.hear_command(message)

    def _on_words(self, name: str, message: String) -> None:
        self._said[name] = one_line(message.data)

    @property
    def _task(self) -> str:
        return self._said.get("task", "")

    @property
    def _subtask(self) -> str:
        return self._said.get(OVERRIDE, "") or self._said.get("subtask", "")

    def _on_request(self, request: str, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if not self.active:
            response.success, response.message = False, "the recorder is not active"
            return response
        answers = {"start": self._episodes.start, "stop": self._keep, "discard": self._episodes.discard}
        with self._lock:
            try:
                response.success, response.message = True, answers[request]()
            except DataError as error:
                response.success, response.message = False, str(error)
        return response

    def _keep(self) -> str:
        return self._episodes.keep(self._why)

    def _take(self, deadline: float, late: float) -> None:
        if not self._episodes.recording:
            return
        view, state = self.senses.view(c.name for c in self.robot.cameras), self._state
        why = self._objection(view)
        with self._lock:
            if not self._episodes.recording:
                return
            self._why = why or self._episodes.take(frame(self.robot, view, state, self._task, self._subtask))
            self._episodes.skipped += bool(self._why)

    def _objection(self, view: View) -> str:
        """Why there is no frame to take now, "" where there is."""
        if view.missing:
            return "; ".join(view.missing)
        if self._state is None or self.clocks.steady() - self._state_heard > COMMAND_MAX_AGE:
            return "no executor_state"
        if not np.all(np.isfinite(self._state.command)):
            return "the executor has commanded nothing yet"
        return "" if self._task or self._subtask else "no words on task or subtask say what is being done"

    def _failed(self, trace: str) -> None:
        self._why = trace.strip().splitlines()[-1]
        self.get_logger().error(f"a frame could not be taken:\n{trace}", throttle_duration_sec=5.0)

    def health(self) -> Health:
        """Episodes and frames."""
        kept = self._episodes
        values = {
            "recording": kept.recording,
            "folder": kept.folder,
            "episodes": kept.episodes,
            "frames": len(kept.frames),
            "frames that could not be taken": kept.skipped,
            **self.senses.values(c.name for c in self.robot.cameras),
        }
        if kept.frames and not kept.recording:
            return Health(
                ERROR, f"episode {kept.episodes} is not on disk: stop again to save it, or discard it", values
            )
        if kept.recording and self._why:
            return Health(WARN, f"no frame: {self._why}", values)
        if odd := self.senses.warnings(c.name for c in self.robot.cameras):
            return Health(WARN, "; ".join(odd), values)
        return Health(OK, f"recording episode {kept.episodes}" if kept.recording else "ready", values)


def main() -> int:
    """Run the node."""
    return run(lambda _: [RecorderNode()])


if __name__ == "__main__":
    raise SystemExit(main())
