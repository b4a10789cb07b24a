"""The pictures of all cameras of a robot: which are fresh, and which belong to one moment.

Pure: no clock is read here, and pictures are opaque until somebody decodes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pi0_ros.robot.spec import Camera
from pi0_ros.ros.history import Picture, PictureHistory
from pi0_ros.ros.source_clocks import SourceClocks

MAX_SKEW = 0.1
"""Seconds that a picture may be away from its observation's time, if half of its camera's period is less."""
HALF_A_FRAME = 0.6
"""Share of a camera's period that its nearest picture is away at most: a half, and some jitter."""
GONE = 0.5
"""Seconds without a picture after which none is expected of a camera any more."""


@dataclass(frozen=True)
class PictureChoice:
    """The picture of each camera that is nearest to one moment.

    distances [s] from that moment, of all cameras; too_far: those of the cameras whose picture is not among `pictures`.
    """

    pictures: Mapping[str, Picture]
    distances: Mapping[str, float]
    too_far: Mapping[str, float]

    @property
    def skew(self) -> float:
        """How far [s] the pictures are from the moment at most, 0 without any."""
        return max(self.distances.values(), default=0.0)


class CameraPictures:
    """The newest pictures of all cameras, as far back as one may be used. All times in seconds, passed in."""

    def __init__(self, cameras: Sequence[Camera], span: float, clocks: SourceClocks) -> None:
        """`span` [s] that pictures are kept; `clocks` of the cameras' topics."""
        self._cameras = {c.name: c for c in cameras}
        self._histories = {name: PictureHistory(span) for name in self._cameras}
        self._clocks = clocks

    @property
    def names(self) -> tuple[str, ...]:
        """All cameras."""
        return tuple(self._cameras)

    def add(self, camera: str, picture: Picture, size: int) -> None:
        """A picture of `size` bytes came; it is dropped if it is not newer than the last."""
        self._histories[camera].add(picture, size)

    def clear(self) -> None:
        """Forget everything."""
        for history in self._histories.values():
            history.clear()

    def newest(self, camera: str) -> Picture | None:
        """The newest picture of a camera."""
        return self._histories[camera].newest

    def age(self, camera: str, steady: float, ros: float) -> float:
        """Age [s] of a camera's newest picture: since it was taken or since it arrived, whichever is more."""
        newest = self.newest(camera)
        return math.inf if newest is None else max(steady - newest.received, ros - newest.stamp)

    def stale(self, cameras: Iterable[str], steady: float, ros: float) -> dict[str, str]:
        """Which of the cameras have no picture young enough, with the sentence that says so."""
        stale = {}
        for camera in (self._cameras[name] for name in cameras):
            age = self.age(camera.name, steady, ros)
            if age > camera.max_age:
                stale[camera.name] = f"camera {camera.name}: {self._why_stale(camera, age, steady)}"
        return stale

    def _why_stale(self, camera: Camera, age: float, steady: float) -> str:
        arrived = self._clocks.arrival_age(camera.topic, steady)
        if arrived <= camera.max_age and (sentences := self._clocks.behind({camera.topic: camera.max_age}, steady)):
            return sentences[0]
        if math.isinf(min(age, arrived)):
            return f"no picture yet on {camera.topic} (at most {camera.max_age:g} s)"
        if arrived <= camera.max_age:
            return f"the picture that has just come on {camera.topic} is {age:.2f} s old (at most {camera.max_age:g} s)"
        return f"last picture {min(age, arrived):.2f} s ago on {camera.topic} (at most {camera.max_age:g} s)"

    def blocking(self, cameras: Sequence[str], unusable: Mapping[str, str]) -> dict[str, str]:
        """Of the `unusable` cameras with their sentences, those without which there is no observation of `cameras`.

        These are the ones that the robot YAML requires; or all, if no camera is left. {}: there is an observation.
        """
        required = {name: why for name, why in unusable.items() if self._cameras[name].required}
        left = [name for name in cameras if name not in unusable]
        return required or ({} if left or not cameras else dict(unusable))

    def reached(self, cameras: Sequence[str], steady: float, ros: float) -> float:
        """The ROS time [s] up to which every camera that still sends pictures has come; infinity without any."""
        stale = self.stale(cameras, steady, ros)
        newest = [(self.newest(name), name in stale) for name in cameras]
        stamps = [p.stamp for p, old in newest if p is not None and not (old and steady - p.received > GONE)]
        return min(stamps, default=math.inf)

    def common(self, cameras: Sequence[str]) -> float:
        """The newest ROS time [s] at which each of these cameras, all with a picture, has one; infinity without cameras."""
        newest = [self.newest(name) for name in cameras]
        return min((picture.stamp for picture in newest if picture is not None), default=math.inf)

    def nearest(self, cameras: Sequence[str], stamp: float) -> PictureChoice:
        """The pictures of these cameras, which all have some, that are nearest to ROS time `stamp` [s]."""
        pictures = {name: self._histories[name].nearest(stamp) for name in cameras}
        distances = {name: abs(picture.stamp - stamp) for name, picture in pictures.items()}
        too_far = {name: far for name, far in distances.items() if far > self._skew_limit(name)}
        return PictureChoice({n: p for n, p in pictures.items() if n not in too_far}, distances, too_far)

    def skew_problem(self, choice: PictureChoice) -> str:
        """Why a choice is no observation: a required camera's picture is too far; "" if none is."""
        if not any(self._cameras[name].required for name in choice.too_far):
            return ""
        name = max(choice.too_far, key=choice.too_far.__getitem__)
        return (
            f"camera {name}: its nearest picture on {self._cameras[name].topic} is {choice.too_far[name]:.2f} s away from the "
            f"other cameras' (at most {self._skew_limit(name):.2f} s); are all cameras of one clock, and none far behind?"
        )

    def _skew_limit(self, camera: str) -> float:
        return max(MAX_SKEW, HALF_A_FRAME * self._histories[camera].period)
