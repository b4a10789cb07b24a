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
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

from pi0_ros.data.errors import DataError
from pi0_ros.data.writer import DatasetWriter
from pi0_ros.msg import ExecutorState
from pi0_ros.robot import Robot, RobotError, load_robot
from pi0_ros.ros.bounded import listen
from pi0_ros.ros.conversions import MODE_NAMES
from pi0_ros.ros.diagnostics import OK, WARN, Health
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.loop import Loop, give_way
from pi0_ros.ros.parameters import Parameter, ParameterError
from pi0_ros.ros.qos import LATCHED, RELIABLE
from pi0_ros.ros.run import Signals, run
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
        self._writer: DatasetWriter | None = None
        self._loop: Loop | None = None

    def setup(self) -> None:
        """Subscribe; the dataset is begun with the first frame, whose pictures say how large they are."""
        self.robot = load_robot(self.values.robot)
        folder = Path(self.values.folder).expanduser()
        if folder.exists() and any(folder.iterdir()):
            raise DataError(f"{folder}: is not empty; give a new folder")
        self._lock = threading.Lock()
        self._recording, self._skipped, self._episodes = False, 0, 0
        self._frames: list[dict[str, Any]] = []
        self._state, self._state_heard, self._task, self._subtask, self._why = None, 0.0, "", "", ""
        self.senses = Senses(self, self.robot, self.clocks, self.values.picture_frozen)
        self.own(listen(self, ExecutorState, "executor_state", self._on_state, RELIABLE))
        self.own(listen(self, String, "task", partial(self._on_words, "_task"), LATCHED))
        self.own(listen(self, String, "subtask", partial(self._on_words, "_subtask"), LATCHED))
        for name, answer in (("start", self._start), ("stop", self._keep), ("discard", self._discard)):
            self.own(self.create_service(Trigger, f"~/{name}", partial(self._on_request, answer)))

    def start(self) -> None:
        """Begin to take frames; they are kept only between `~/start` and `~/stop`."""
        give_way()
        self._loop = Loop(1.0 / self.values.fps, self._take, self._failed, name="frames")
        self._loop.start()

    def halt(self) -> None:
        """End; an episode that is being recorded is kept."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None
        with self._lock:
            if self._recording and self._frames:
                self._keep()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def teardown(self) -> None:
        """Let go of the subscriptions."""
        if self.senses is not None:
            self.senses.close()
            self.senses = None

    def _on_state(self, message: ExecutorState) -> None:
        self._state, self._state_heard = message, self.clocks.steady()
        self.senses.hear_command(message)

    def _on_words(self, name: str, message: String) -> None:
        setattr(self, name, " ".join(message.data.split()))

    def _on_request(self, answer: Any, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            try:
                response.success, response.message = answer()
            except DataError as error:
                response.success, response.message = False, str(error)
        return response

    def _start(self) -> tuple[bool, str]:
        if not self.active:
            return False, "the recorder is not active"
        if self._recording:
            return False, f"episode {self._episodes} is being recorded already"
        self._recording, self._frames, self._skipped = True, [], 0
        return True, f"recording episode {self._episodes}"

    def _keep(self) -> tuple[bool, str]:
        if not self._recording:
            return False, "nothing is being recorded"
        self._recording = False
        if not self._frames:
            return False, f"no frame was taken: {self._why or 'too short'}"
        frames, self._frames = self._frames, []
        writer = self._dataset(frames[0])
        for kept in frames:
            writer.add_frame(kept)
        writer.save_episode()
        self._episodes += 1
        return True, f"episode {self._episodes - 1}: {len(frames)} frames kept, {self._skipped} could not be taken"

    def _discard(self) -> tuple[bool, str]:
        if not self._recording:
            return False, "nothing is being recorded"
        dropped, self._recording, self._frames = len(self._frames), False, []
        return True, f"{dropped} frames dropped"

    def _dataset(self, first: dict[str, Any]) -> DatasetWriter:
        """The dataset, begun by its first episode, whose pictures say how large they are."""
        if self._writer is None:
            images = "observation.images."
            shapes = {n.removeprefix(images): v.shape for n, v in first.items() if n.startswith(images)}
            folder = Path(self.values.folder).expanduser()
            self._writer = DatasetWriter(folder, self.values.fps, features(self.robot, shapes), self.robot.name)
        return self._writer

    def _take(self, deadline: float, late: float) -> None:
        if not self._recording:
            return
        view, state = self.senses.view(c.name for c in self.robot.cameras), self._state
        self._why = self._objection(view)
        with self._lock:
            if not self._recording:
                return
            if self._why:
                self._skipped += 1
                return
            self._frames.append(frame(self.robot, view, state, self._task, self._subtask))

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
        values = {
            "recording": self._recording,
            "episodes": self._episodes,
            "frames": len(self._frames),
            "frames that could not be taken": self._skipped,
            **self.senses.values(c.name for c in self.robot.cameras),
        }
        if self._recording and self._why:
            return Health(WARN, f"no frame: {self._why}", values)
        if odd := self.senses.warnings(c.name for c in self.robot.cameras):
            return Health(WARN, "; ".join(odd), values)
        return Health(OK, f"recording episode {self._episodes}" if self._recording else "ready", values)


def make(_: Signals) -> list[Node]:
    """The node of this process."""
    return [RecorderNode()]


def main() -> int:
    """Run the node."""
    return run(make)


if __name__ == "__main__":
    raise SystemExit(main())
