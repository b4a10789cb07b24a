"""recorder: writes what happened, with who was driving, as a LeRobot dataset that `pi0 train` reads.

`~/start` begins an episode, `~/stop` keeps it (`~/success` and `~/failure` say how it went), `~/discard` drops it; `~/score`
and `~/note` say more about it. Frames are of fixed times: what was seen and measured then, as the policy has it, the command
that the executor sent, the words that were followed, and who drove. A process of its own encodes and writes them.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rclpy.node import Node
from rclpy.subscription import Subscription
from std_msgs.msg import Float32, String
from std_srvs.srv import Trigger

from pi0_ros.data.episode_log import checked_label
from pi0_ros.data.errors import DataError
from pi0_ros.data.frame_selection import RecordMode
from pi0_ros.msg import ExecutorState
from pi0_ros.policy.errors import PolicyError
from pi0_ros.robot import Robot, RobotError, load_robot
from pi0_ros.ros.any_publisher import subscribe_to_any
from pi0_ros.ros.bag_recorder import BagRecorder, bag_folder
from pi0_ros.ros.bounded import listen
from pi0_ros.ros.configured import Configured
from pi0_ros.ros.diagnostics import Health
from pi0_ros.ros.frame_source import TOPICS, FrameSource
from pi0_ros.ros.latched_text import LatchedText
from pi0_ros.ros.lifecycle import ManagedNode
from pi0_ros.ros.loop import Loop, lower_priority
from pi0_ros.ros.observation_source import PICTURE_FROZEN, ObservationSource
from pi0_ros.ros.parameters import Overrides, Parameter, ParameterError
from pi0_ros.ros.qos import LATCHED, READ, RELIABLE
from pi0_ros.ros.recording_health import health, values
from pi0_ros.ros.recording_opening import RecordingOpening, adapter_for, check_writable, note_of, rows_a_second
from pi0_ros.ros.recording_session import OnGap, RecordingSession, SessionSettings
from pi0_ros.ros.run import run

REQUESTS = ("start", "stop", "success", "failure", "discard")
GOODBYE = 1.0
"""Seconds that a clean-up waits for what is being saved; it is saved all the same."""


@dataclass(frozen=True)
class RecorderParts:
    """What the node has while it is configured. folder: of the dataset; fps: frames a second."""

    robot: Robot
    folder: Path
    fps: int
    observations: ObservationSource
    source: FrameSource
    opening: RecordingOpening
    session: RecordingSession
    state: LatchedText


class RecorderNode(ManagedNode, Configured[RecorderParts]):
    """Writes episodes."""

    table = (
        Parameter("robot", "", "robot YAML: a file, or a name under config/robots", required=True),
        Parameter("folder", "", "folder of the dataset: a new one, or one that goes on", required=True),
        Parameter("checkpoint", "", "checkpoint whose policy drives: it is noted, and says the rate of its rows"),
        Parameter("adapter", "", "policy YAML in place of the checkpoint's own"),
        PICTURE_FROZEN,
        Parameter("fps", 0, "frames a second; 0: as many as the policy has rows, else 10", low=0, high=100),
        Parameter("mode", "everything", "what is recorded, by who drives", choices=tuple(RecordMode)),
        Parameter("before", 2.0, "seconds before a correction that are recorded too", low=0.0, high=30.0),
        Parameter(
            "on_gap", "split", "more than one missing frame ends an episode: split begins another", choices=tuple(OnGap)
        ),
        Parameter("min_episode", 1.0, "seconds that a piece between two gaps needs to be kept", low=0.0, high=60.0),
        Parameter("min_free", 500, "megabytes of the disk that are left alone", low=1, high=10_000_000),
        Parameter("mcap", False, "write all that is said on the robot's topics into FOLDER_mcap too, while recording"),
        Parameter("begin", False, "record at once, without being asked to start"),
    )
    expected = (ParameterError, RobotError, DataError, PolicyError)

    def __init__(self, name: str = "recorder", parameter_overrides: Overrides = None) -> None:
        super().__init__(name, parameter_overrides)
        self.observations: ObservationSource | None = None
        self.bag: BagRecorder | None = None
        self._parts: RecorderParts | None = None
        self._problem = ""
        self._loop: Loop | None = None
        self._lock = threading.Lock()
        for request in REQUESTS:  # answered in every state: nobody waits for a service in vain
            self.create_service(Trigger, f"~/{request}", partial(self._on_request, request))

    @property
    def session(self) -> RecordingSession:
        """What is recorded; only while the node is configured."""
        return self.parts.session

    def setup(self) -> None:
        """Subscribe, and open the dataset as far as it is known; a new one waits for the size of the pictures."""
        values, robot = self.values, load_robot(self.values.robot)
        adapter = adapter_for(values.checkpoint, values.adapter)
        folder = Path(values.folder).expanduser()
        fps = values.fps or rows_a_second(adapter)
        observations = self.observations = ObservationSource(self, robot, self.clocks, values.picture_frozen)
        source = FrameSource(robot, observations, self.clocks)
        lead, free = round(values.before * fps), values.min_free * 10**6
        opening = RecordingOpening(folder, fps, robot, source.sizes, lead, free)
        note = note_of(robot, values.checkpoint, adapter, values.mode)
        if values.mcap:
            place, log = bag_folder(folder, datetime.now(UTC)), self.get_logger().warning
            self.bag = BagRecorder(self, self.clocks, robot, place, free, log, observations.renewed)
            for thread in self.bag.threads:
                self.watch_thread(thread)
            note["mcap"] = f"{place.parent.name}/{place.name}"
        settings = SessionSettings(fps, RecordMode(values.mode), OnGap(values.on_gap), note, values.min_episode)
        session = RecordingSession(settings, source, lambda text: self.get_logger().warning(text))
        self._problem = ""
        for subscription in subscribe_to_words(self, source):
            self.own(subscription)
        self.own(listen(self, String, "~/note", lambda m: self._on_label(note=m.data), RELIABLE))
        self.own(listen(self, Float32, "~/score", lambda m: self._on_label(score=float(m.data)), RELIABLE))
        state = LatchedText(self.own(self.create_publisher(String, "~/state", LATCHED)))
        self._parts = RecorderParts(robot, folder, fps, observations, source, opening, session, state)

    def start(self) -> None:
        """Begin to look for frames; they are kept only while an episode is recorded."""
        check_writable(self.parts.folder)
        if self.parts.opening.known and self.session.episodes.client is None:
            self._open()  # refuse here what cannot go on
        lower_priority()
        if self.values.begin or self.values.mode != RecordMode.EVERYTHING:
            self.session.start()
        self._loop = Loop(1.0 / self.parts.fps, self._work, self._failed, name="frames")
        self._loop.start()

    def halt(self) -> None:
        """End; an episode that is being recorded is kept."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None
        with self._lock:
            if self._parts is not None and self.session.recording:
                try:
                    self.get_logger().info(self.session.stop())
                except DataError as nothing:
                    self.get_logger().info(str(nothing))
        if self.bag is not None:
            self.bag.record(False)

    def teardown(self) -> None:
        """Let go of the dataset and of the subscriptions. What is not saved yet is saved by the process that writes."""
        if self.bag is not None:
            if not self.bag.close(GOODBYE):
                self.get_logger().warning(f"{self.bag.folder}: its last file may not be complete: mcap recover FILE")
            self.bag = None
        if self._parts is not None:
            folder, client = self._parts.folder, self._parts.session.episodes.client
            if client is not None and not client.close(GOODBYE):
                self.get_logger().info(f"{folder}: is still being written, by process {client.pid}")
            self._parts.session.episodes.client = None
            self._parts = None
        if self.observations is not None:
            self.observations.close()
            self.observations = None

    # --- requests ---

    def _on_request(self, request: str, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if not self.active:
            response.success, response.message = False, "the recorder is not active"
            return response
        with self._lock:
            try:
                response.success, response.message = True, self._answer(request)
            except DataError as error:
                response.success, response.message = False, str(error)
        self._tell()
        return response

    def _answer(self, request: str) -> str:
        """Do what is requested; the sentence that says so. Raises DataError."""
        session = self.session
        if request in ("start", "stop", "discard"):
            return {"start": session.start, "stop": session.stop, "discard": session.discard}[request]()
        label = checked_label(outcome=request)
        return session.stop(label) if session.recording else session.label(label)

    def _on_label(self, score: float | None = None, note: str | None = None) -> None:
        with self._lock:
            try:
                self.get_logger().info(self.session.label(checked_label(score=score, note=note)))
            except DataError as error:
                self.get_logger().warning(str(error))

    # --- work ---

    def _work(self, deadline: float, late: float) -> None:
        if self.session.episodes.client is None:
            self._open()
        with self._lock:
            self.session.tick(self.clocks.ros())
        self._tell()

    def _open(self) -> None:
        """Start the process that writes, once the size of the pictures is known."""
        try:
            client = self.parts.opening.open(self.clocks.steady())
        except DataError as error:
            self._problem = str(error)
            raise
        if isinstance(client, str):
            self.session.why = client
            return
        self._problem = ""
        self.get_logger().info(self.parts.opening.opening_line(client))
        with self._lock:
            self.session.episodes.attach(client)

    def _failed(self, trace: str) -> None:
        self._problem = trace.strip().splitlines()[-1].removeprefix("pi0_ros.data.errors.DataError: ")
        self.get_logger().error(f"recording fails:\n{trace}", throttle_duration_sec=5.0)

    # --- reports ---

    def _tell(self) -> None:
        """Say on `~/state`, as JSON, what is recorded, when that has changed; and tell the bag."""
        session = self.session
        saved = len(session.episodes.client.saved) if session.episodes.client is not None else 0
        state = {"recording": session.recording, "folder": str(self.parts.folder), "episodes": session.episodes.number}
        self.parts.state.say(json.dumps({**state, "saved": saved, "mode": self.values.mode, "why": session.why}))
        if self.bag is not None:
            self.bag.record(session.recording)

    def health(self) -> Health:
        """Episodes, frames, disk."""
        parts = self.parts
        cameras = tuple(c.name for c in parts.robot.cameras)
        numbers = {**values(parts.session, parts.folder), **parts.observations.values(cameras)}
        odd = parts.observations.warnings(cameras)
        if self.bag is not None:
            numbers |= self.bag.values()
            odd += [self.bag.problem] if self.bag.problem else []
        return health(parts.session, parts.folder, self._problem, odd, numbers)


def subscribe_to_words(node: Node, source: FrameSource) -> list[Subscription]:
    """The subscriptions that tell `source` who drives and what is asked for."""

    def words(topic: str) -> list[Subscription]:
        return subscribe_to_any(node, String, topic, lambda message: source.update_words(topic, message.data))

    state = listen(node, ExecutorState, "executor_state", source.update_state, READ)
    return [state, *(subscription for topic in TOPICS for subscription in words(topic))]


def main() -> int:
    """Run the node."""
    return run(lambda _: [RecorderNode()])


if __name__ == "__main__":
    raise SystemExit(main())
