"""Whether one camera can be used, beyond the age of its pictures: two publishers, a frozen stream, blank pictures."""

from __future__ import annotations

from collections.abc import Mapping

from pi0_ros.robot.spec import Camera
from pi0_ros.ros.diagnostics import Rate
from pi0_ros.ros.picture_watch import PictureWatch
from pi0_ros.ros.topic_check import SequenceWatch, TopicFault, TopicProblem

STAMP_END = 12
"""Bytes of a serialized picture up to the end of its stamp: what follows is the same if the picture is."""


class CameraWatch:
    """What is watched of one camera: rate, sequence of its messages, sameness and blankness of its pictures."""

    def __init__(self, camera: Camera, frozen: float) -> None:
        """`frozen` [s]: see the parameter picture_frozen."""
        self._camera, self._frozen = camera, frozen
        self.rate, self._sequence, self._pictures = Rate(), SequenceWatch(), PictureWatch()
        self.blank = ""
        """What is wrong with the picture that was decoded last, "" if it shows something."""

    def update(self, steady: float, number: int, data: bytes, state: Mapping[str, float]) -> None:
        """A serialized picture with this publication sequence number came at `steady` [s]; `state`: newest by channel."""
        self.rate.tick(steady)
        self._sequence.update(steady, number)
        self._pictures.update(steady, memoryview(data)[STAMP_END:], state)

    def problem(self, steady: float, stale: str, topic: TopicProblem | None, state: Mapping[str, float]) -> str:
        """Why the camera cannot be used at `steady` [s], "" if it can.

        stale: why its pictures are too old, "" if they are not; topic: what the graph says; state: newest by channel.
        """
        if topic is not None and topic.fault is TopicFault.TWO_PUBLISHERS:
            return stale if self._sequence.one_publisher(steady) else f"camera {self._camera.name}: {topic.sentence}"
        if topic is not None and stale:
            return f"camera {self._camera.name}: {topic.sentence}"
        return stale or self._frozen_sentence(state)

    def _frozen_sentence(self, state: Mapping[str, float]) -> str:
        if not (self._unchanging and self._pictures.moved(state)):
            return ""
        return (
            f"camera {self._camera.name}: frozen, the same picture on {self._camera.topic} for "
            f"{self._pictures.unchanged:.1f} s while the robot moved; restart its driver (a simulation without "
            "noise: picture_frozen:=0)"
        )

    @property
    def _unchanging(self) -> bool:
        return 0.0 < self._frozen < self._pictures.unchanged

    def warnings(self, steady: float) -> list[str]:
        """What is odd about it though it can be used: blank or unchanging pictures."""
        name, odd = self._camera.name, []
        if self.blank:
            odd.append(f"camera {name}: {self.blank}")
        if self._unchanging and self.rate.hz(steady) > 0.0:
            odd.append(f"camera {name}: the same picture for {self._pictures.unchanged:.0f} s: frozen?")
        return odd
