"""A recorded run as the executor received it: which topics are the robot's, on one clock, from its beginning on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pi0_ros.data.bag import CHUNK, JOINTS, ODOMETRY, STATE, RecordedMessage, read_bag, stamp_of
from pi0_ros.data.errors import DataError
from pi0_ros.robot.spec import Robot
from pi0_ros.robot.wording import counted

COMMAND = "executor/command"  # a topic of black boxes alone
KINDS = {"joint_state": JOINTS, "odometry": ODOMETRY}
BOX_TOPICS = {"joint_states": JOINTS, "odom": ODOMETRY}
PAUSE = 3600.0  # [s] without a message: what is before or behind such a pause is another run
OTHER_CLOCK = 1.0  # [s] between arrival and stamp from which on they are of two clocks
STEADY = 0.5  # [s] by which that difference may vary for the clocks to run alike


@dataclass(frozen=True)
class Recording:
    """What the executor received, in order of arrival, and what a reader should know of it (`notes`).

    Topics are those of the robot YAML. black_box: the executor wrote it, so its joint states are in the robot's words.
    """

    file: Path
    messages: tuple[RecordedMessage, ...]
    notes: tuple[str, ...] = ()
    black_box: bool = False

    @property
    def start(self) -> float:
        """Arrival of the first message [s]."""
        return self.messages[0].time

    @property
    def end(self) -> float:
        """Arrival of the last message [s]."""
        return self.messages[-1].time


def load_recording(file: Path, robot: Robot) -> Recording:
    """Chunks, joint states, odometry and modes of one robot in a bag.

    Raises: DataError if chunks or joint states are missing, several topics could be the robot's, or arrival times
    and stamps are of clocks that do not run alike.
    """
    bag = read_bag(file, (CHUNK, JOINTS, ODOMETRY, STATE))
    for needed in (CHUNK, JOINTS):
        if not any(message.type == needed for message in bag.messages):
            raise DataError(f"{file}: holds no {needed}; record action_chunk and the robot's joint states")
    black_box = any(_within(message.topic, COMMAND) is not None for message in bag.messages)
    named = BOX_TOPICS if black_box else {s.topic: KINDS[s.type] for s in robot.state}
    messages, notes = _of_robot(file, bag.messages, named)
    messages, more = _one_run(file, messages)
    messages, clock = _on_stamps(file, messages)
    return Recording(file, messages, (*bag.notes, *notes, *more, *clock), black_box)


def _of_robot(
    file: Path, messages: Sequence[RecordedMessage], wanted: Mapping[str, str]
) -> tuple[tuple[RecordedMessage, ...], list[str]]:
    """The messages of the robot's own topics (`wanted`: topic to type): those of one namespace, the chunks'."""
    topics = {kind: sorted({h.topic for h in messages if h.type == kind}) for kind in (CHUNK, JOINTS, ODOMETRY, STATE)}
    chunks = [t for t in topics[CHUNK] if _within(t, "action_chunk") is not None] or topics[CHUNK]
    if len(chunks) > 1:
        raise DataError(f"{file}: chunks for several robots ({', '.join(chunks)}); give a recording of one of them")
    namespace = _within(chunks[0], "action_chunk") or ""
    taken = {chunks[0]: chunks[0]}
    notes = []
    for topic, kind in wanted.items():
        found, note = _match(file, topic, namespace, topics[kind])
        if found:
            taken[found] = topic
        notes += [note] if note else []
    state = [t for t in topics[STATE] if _within(t, "executor_state") == namespace]
    taken |= {t: t for t in state}
    renamed = tuple(replace(h, topic=taken[h.topic]) for h in messages if h.topic in taken)
    return renamed, notes


def _within(topic: str, name: str) -> str | None:
    """The namespace in which `topic` is called `name` ("" for none), None if it is called otherwise."""
    path, wanted = topic.strip("/"), name.strip("/")
    if path == wanted:
        return ""
    return path.removesuffix(f"/{wanted}") if path.endswith(f"/{wanted}") else None


def _match(file: Path, topic: str, namespace: str, there: Sequence[str]) -> tuple[str, str]:
    """The recorded topic that a topic of the robot YAML is, "" if none is, and a remark.

    It is the topic itself in the chunks' namespace; failing that the only one that ends so.
    """
    exact = [t for t in there if _within(t, topic) == ("" if topic.startswith("/") else namespace)]
    if exact:
        return exact[0], ""
    alike = [t for t in there if _within(t, topic) is not None]
    if len(alike) > 1:
        raise DataError(f"{file}: {topic} of the robot may be any of {', '.join(alike)}; record the robot's own alone")
    return (alike[0], f"{alike[0]} is taken for {topic}") if alike else ("", f"nothing was recorded on {topic}")


def _one_run(file: Path, messages: tuple[RecordedMessage, ...]) -> tuple[tuple[RecordedMessage, ...], list[str]]:
    """The longest stretch of messages without a long pause; what is left out is said."""
    times = np.array([h.time for h in messages])
    cuts = np.flatnonzero(np.diff(times) > PAUSE) + 1
    if not len(cuts):
        return messages, []
    parts = np.split(np.arange(len(messages)), cuts)
    longest = max(parts, key=len)
    first, last = times[longest[0]], times[longest[-1]]
    note = (
        f"{file}: left out: {counted(len(messages) - len(longest), 'message')} more than {PAUSE / 3600:g} h from the run of "
        f"{first:.1f} .. {last:.1f} s (published before the clock was set?)"
    )
    return tuple(messages[i] for i in longest), [note]


def _on_stamps(file: Path, messages: tuple[RecordedMessage, ...]) -> tuple[tuple[RecordedMessage, ...], list[str]]:
    """Arrival times on the clock of the stamps, if the bag was recorded on another (simulation without
    `--use-sim-time`). Raises DataError if the two do not run alike."""
    late = np.array([h.time - stamp_of(h.message.header) for h in messages if h.type == JOINTS])
    stamped = np.array([stamp_of(h.message.header) > 0.0 for h in messages if h.type == JOINTS], bool)
    late = late[stamped]
    if not len(late) or abs(float(np.median(late))) < OTHER_CLOCK:
        return messages, []
    offset, spread = float(np.median(late)), float(np.quantile(late, 0.95) - np.quantile(late, 0.05))
    if spread > STEADY:
        raise DataError(
            f"{file}: messages arrived on another clock than their stamps' ({offset:.1f} s apart, drifting by "
            f"{spread:.1f} s): record simulations with `ros2 bag record --use-sim-time`"
        )
    shifted = tuple(replace(h, time=h.time - offset) for h in messages)
    return shifted, [f"{file}: arrival times are {offset:.1f} s beside the stamps; they are put on the stamps' clock"]
