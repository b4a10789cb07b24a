"""Which strategy a chunk is followed with, by what was set and by how long the policy takes."""

from __future__ import annotations

from pi0_ros.control.chunk import Chunk
from pi0_ros.control.delay import DelayEstimator
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.splice import Choice, choose


class Strategies:
    """Decides for each chunk; remembers the policy's delays and what `auto` settled on."""

    def __init__(self, settings: ExecutorSettings) -> None:
        self._wanted = settings.strategy
        self.delays = DelayEstimator()
        self._choice, self.waits = Choice(), ""
        """`waits`: why the robot stands while the policy thinks, "" where it does not."""

    def forget(self) -> None:
        """Begin anew; the next delay is a cold start."""
        self._choice, self.waits = Choice(), ""
        self.delays.cold_start()

    def decide(self, ros: float, chunk: Chunk, drives: bool, executed: float) -> tuple[str, str]:
        """The strategy for a chunk that came at `ros`, and why it cannot be used at all, "" if it can.

        `drives`: a plan is running. `executed`: path seconds since the chunk's observation.
        """
        wanted, delay, span = self._wanted, ros - chunk.start, chunk.end - chunk.start
        self._choice = choose(self._choice, delay, self.delays.p95, span, chunk.frozen_rows * chunk.period)
        if wanted == "auto" and self._choice.strategy == "wait":
            self.say_wait(max(delay, self.delays.p95), span)
        if wanted == "wait" and (drives or executed > 0.0):
            return "wait", "wait: its observation was taken while the robot was still executing the chunk before"
        if wanted == "wait" or (wanted == "auto" and self._choice.strategy == "wait"):
            return "wait", ""
        if not drives:
            return "replace", ""
        if wanted == "rtc" and not chunk.frozen_rows:
            return "blend", ""
        return (self._choice.strategy if wanted == "auto" else wanted), ""

    def say_wait(self, delay: float, span: float) -> None:
        """Note that the policy is too slow for anything but standing meanwhile: `delay` [s] for a chunk of `span` [s]."""
        self.waits = f"strategy wait: a chunk of {span:.2f} s arrives after {delay:.2f} s; the robot stands while the policy thinks"
