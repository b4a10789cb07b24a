"""Recent measurements and pictures, kept by time: as long as a picture may need it, whatever the rate."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

from pi0_ros.robot.measurement import nearest_turn

MAX_SAMPLES = 8192
"""Samples of one number: 4 s at 2 kHz. A faster source is kept for a shorter time."""
BRIDGE = 0.5
"""Seconds between two samples up to which what was between them is taken to be on the line between them."""
MAX_PICTURE_BYTES = 2**27
"""Bytes of the pictures of one camera. A larger stream is kept for a shorter time."""


@dataclass(frozen=True)
class Picture:
    """A picture message as it came: its stamp in ROS seconds and the steady time of its arrival."""

    stamp: float
    received: float
    message: object


class Track:
    """One measured number over the last `span` seconds; stamps rise.

    `continuous`: an angle, kept without jumps by whole turns. `max_age` [s] is that of the source it came from last.
    """

    def __init__(self, span: float = 2.0, continuous: bool = False) -> None:
        self._span, self._continuous, self.max_age = span, continuous, math.nan
        self._times: deque[float] = deque(maxlen=MAX_SAMPLES)
        self._values: deque[float] = deque(maxlen=MAX_SAMPLES)
        self.received = -math.inf

    def add(self, received: float, stamp: float, value: float) -> bool:
        """Append a sample; one that is not newer than the last, or not finite, is dropped and False is returned."""
        if not math.isfinite(value) or (self._times and stamp <= self._times[-1]):
            return False
        if self._continuous and self._values:
            value = nearest_turn(value, self._values[-1])
        self._times.append(stamp)
        self._values.append(value)
        self.received = received
        # One sample before the span stays, so that values can be interpolated at its very beginning.
        while len(self._times) > 2 and self._times[1] < stamp - self._span:
            self._times.popleft()
            self._values.popleft()
        return True

    @property
    def reached(self) -> float:
        """The stamp of the newest sample, minus infinity if there is none."""
        return self._times[-1] if self._times else -math.inf

    @property
    def newest(self) -> float:
        """The newest value, NaN if there is none."""
        return self._values[-1] if self._values else math.nan

    def at(self, stamp: float, reach: float) -> float | None:
        """Value at `stamp`, linear between samples, held up to `reach` seconds beyond the ends.

        None, too, in an outage of more than BRIDGE seconds, further than `reach` from the samples beside it.
        """
        times, values = self._times, self._values
        if not times or stamp < times[0] - reach or stamp > times[-1] + reach:
            return None
        k = bisect_left(times, stamp)
        if k == 0 or k == len(times):
            return values[min(k, len(times) - 1)]
        if times[k] - times[k - 1] > BRIDGE and min(stamp - times[k - 1], times[k] - stamp) > reach:
            return None
        share = (stamp - times[k - 1]) / (times[k] - times[k - 1])
        return values[k - 1] + share * (values[k] - values[k - 1])


class PictureHistory:
    """The pictures of one camera over the last `span` seconds; stamps rise."""

    def __init__(self, span: float) -> None:
        self._span = span
        self._pictures: deque[Picture] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0

    def add(self, picture: Picture, size: int = 0) -> bool:
        """Append a picture of `size` bytes; one that is not newer than the last is dropped and False is returned."""
        if self._pictures and picture.stamp <= self._pictures[-1].stamp:
            return False
        self._pictures.append(picture)
        self._sizes.append(size)
        self._bytes += size
        while len(self._pictures) > 1 and (
            self._pictures[0].stamp < picture.stamp - self._span or self._bytes > MAX_PICTURE_BYTES
        ):
            self._pictures.popleft()
            self._bytes -= self._sizes.popleft()
        return True

    @property
    def newest(self) -> Picture | None:
        """The newest picture."""
        return self._pictures[-1] if self._pictures else None

    def nearest(self, stamp: float) -> Picture:
        """The picture nearest to ROS time `stamp`; there must be one."""
        return min(self._pictures, key=lambda p: abs(p.stamp - stamp))

    @property
    def period(self) -> float:
        """Seconds from one picture to the next, usually (the median: an outage counts little); 0 with fewer than two."""
        steps = sorted(b.stamp - a.stamp for a, b in itertools.pairwise(self._pictures))
        return steps[(len(steps) - 1) // 2] if steps else 0.0

    def clear(self) -> None:
        """Forget everything."""
        self._pictures.clear()
        self._sizes.clear()
        self._bytes = 0
