"""From a chunk that came in to a plan that is being made, or to the reason why not."""

from __future__ import annotations

from pi0_ros.control.chunk import Ages, Cause, Chunk, Verdict, check_chunk, on_nearest_turn
from pi0_ros.control.command_latency import sent_ahead
from pi0_ros.control.drive import Drive
from pi0_ros.control.engage import Engage
from pi0_ros.control.inputs import Inputs
from pi0_ros.control.journal import Journal, Now
from pi0_ros.control.mode_keeper import ModeEvent, ModeKeeper
from pi0_ros.control.modes import Mode, Trigger
from pi0_ros.control.plan_sources import Sources
from pi0_ros.control.plans import Plans
from pi0_ros.control.plausibility import Plausibility
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.robot.quoting import quote
from pi0_ros.robot.spec import Robot

AGAIN = 10.0  # [s] between two log lines about a second policy
OLDEST_DELAY = 60.0  # [s]; a chunk older than this says nothing about how long the policy takes


class ChunkGate:
    """Judges chunks, and hands the good ones of the policy that drives to the plans."""

    def __init__(
        self,
        robot: Robot,
        settings: ExecutorSettings,
        inputs: Inputs,
        modes: ModeKeeper,
        plans: Plans,
        drive: Drive,
        engage: Engage,
        journal: Journal,
    ) -> None:
        self._robot, self._settings, self._inputs, self._journal = robot, settings, inputs, journal
        self._modes, self._plans, self._drive, self._engage = modes, plans, drive, engage
        self.plausibility = Plausibility(robot, settings)
        self.sources, self.refusal = Sources(), ""
        """Who plans in this epoch, and why the newest chunk was refused, "" for none."""
        self._waits = ""

    def change_owner(self, _: float) -> None:
        """Somebody else drives: whoever plans first owns the new epoch."""
        self.sources, self.refusal, self._waits = Sources(), "", ""

    def take(self, now: Now, plan_time: float, chunk: Chunk) -> Verdict:
        """Judge a chunk; a good one is followed from the next period on. `plan_time`: ROS time [s] on the plan clock."""
        epoch, executed = self._modes.epoch, self._plans.progress.since(chunk.start)
        verdict = check_chunk(
            chunk, self._robot, now.ros, ages_of(self._settings), executed, epoch, self.sources.sequences
        )
        if chunk.epoch == epoch and self.sources.namesakes(chunk.source, chunk.sequence):
            text = f"two processes publish plans as {quote(chunk.source)}, or it was restarted"
            self._modes.fire(now, ModeEvent(Trigger.NAMESAKE, text))
            return Verdict(False, text, Cause.NOT_DRIVING)
        self._note_delay(now, chunk)
        if verdict.accepted and (other := self._not_driving(chunk.source)):
            return self._ignore(now, chunk.source, other)
        if verdict.accepted:
            chunk = on_nearest_turn(chunk, self._robot, self._drive.commanded[0])
            verdict = self.plausibility.judge(chunk, self._plans.following.running)
        if verdict.accepted:
            verdict = self._offer(now, plan_time, sent_ahead(chunk, self._robot))
        self._note_plans(now)
        self._conclude(now, chunk, verdict)
        return verdict

    def _note_plans(self, now: Now) -> None:
        """Log what a person should know about the newest plan."""
        plans, following = self._plans, self._plans.following
        for name, text in (("clamped", plans.clamped), ("slowed", plans.maker.slowed)):
            if text:
                self._journal.note(now, "warn", name, text)
        if following.unfound:
            self.refusal, following.unfound = following.unfound, ""
            self._journal.note(now, "error", "no plan", self.refusal)
        waits = plans.strategies.waits
        if waits and not self._waits:
            self._journal.note(now, "warn", "wait", waits, throttle=0.0)
        self._waits = waits

    def _note_delay(self, now: Now, chunk: Chunk) -> None:
        """How long the policy that drives takes, also if its chunk is then refused."""
        if self._modes.mode is not Mode.AUTONOMY or chunk.epoch != self._modes.epoch:
            return
        age, settings = now.ros - chunk.start, self._settings
        if settings.strategy == "auto" and settings.chunk_max_age < age < settings.wait_max_age:
            self._plans.strategies.say_wait(age, chunk.end - chunk.start)
        if 0.0 <= age < OLDEST_DELAY:
            self._plans.strategies.delays.add(now.steady, age)

    def _not_driving(self, source: str) -> str:
        """Why this source of chunks does not own the robot, "" if it does; the first in an epoch does."""
        if self._modes.mode is not Mode.AUTONOMY:
            return f"the mode is {self._modes.mode.value}"
        owner = self.sources.owner
        return f"{quote(owner)} is driving" if owner not in (None, source) else ""

    def _ignore(self, now: Now, source: str, why: str) -> Verdict:
        self._journal.count(ignored=1)
        if self._modes.mode is Mode.AUTONOMY:
            self.sources.ignore(source)
            text = f"two policies publish plans: {why}, {quote(source)} is ignored"
            self._journal.note(now, "warn", "second policy", text, AGAIN)
        return Verdict(False, f"ignored: {why}", Cause.NOT_DRIVING)

    def _offer(self, now: Now, plan_time: float, chunk: Chunk) -> Verdict:
        commanded = self._drive.commanded
        measured = self._inputs.measured.or_commanded(commanded[0])
        scales = self._engage.scale_ahead(now.steady, now.ros, self._plans.following.running is not None)
        return self._plans.offer(now.ros, plan_time, chunk, commanded, measured, scales)

    def _conclude(self, now: Now, chunk: Chunk, verdict: Verdict) -> None:
        if verdict.accepted:
            self._journal.count(chunks_accepted=1)
            self.sources.accept(chunk.source, chunk.sequence)
            return
        self.refusal = verdict.reason
        self._journal.count(chunks_rejected=1)
        # What was under way when the owner changed comes too late by nature; if nobody drives, nothing is lost.
        driving = "error" if self._modes.mode is Mode.AUTONOMY else "warn"
        level = "info" if chunk.epoch < self._modes.epoch else driving
        self._journal.note(now, level, f"chunk {level}", f"chunk {chunk.sequence} refused: {verdict.reason}")


def ages_of(settings: ExecutorSettings) -> Ages:
    """How old and how early a chunk's observation may be."""
    return Ages(settings.chunk_max_age, settings.wait_max_age, settings.chunk_max_ahead)
