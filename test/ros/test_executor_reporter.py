"""What the executor tells of each period: state, mode, log, plan and black box, each when there is news and not else."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from pi0_ros.control import Event
from pi0_ros.control.modes import Mode
from pi0_ros.control.step import Counters, Seam, Step
from pi0_ros.ros.control_thread import Period
from pi0_ros.ros.executor_reporter import ExecutorReporter

STEP = Step(
    command=None, mode=Mode.HOLD, reason="started", owner="hold", epoch=1, plan_sequence=0, plan_left=0.0,
    starved=False, splice_delay=0.0, delay_p95=0.0, strategy="", seam=Seam(), plan_rate=1.0, tracking_error=0.0,
    measured=np.zeros(2), counters=Counters(), events=(),
)  # fmt: skip


class Listener:
    """Publishers, log, jerk meter and black box: notes what it is told, and waits until it was."""

    def __init__(self):
        self.heard, self._news = [], threading.Condition()

    def note(self, kind, what):
        with self._news:
            self.heard.append((kind, what))
            self._news.notify_all()

    def state(self, period):
        self.note("state", (period.mode, period.reason))

    def mode(self, mode):
        self.note("mode", mode)

    def plan(self, remaining):
        self.note("plan", remaining(2.5))

    def see(self, period):
        self.note("jerk", float(period.command.velocities[0]))

    def save(self, reason):
        self.note("box", reason)

    def __getattr__(self, level):
        return lambda text: self.note(level, text)

    def of(self, *kinds):
        return [entry for entry in self.heard if entry[0] in kinds]

    def wait(self, condition):
        with self._news:
            assert self._news.wait_for(condition, 30.0), self.heard


@pytest.fixture
def told():
    """(reporter, listener); periods of 20 ms."""
    listener = Listener()
    reporter = ExecutorReporter(listener, listener, listener, 0.02, lambda at: f"the plan from {at}", listener.save)
    reporter.start()
    yield reporter, listener
    reporter.stop()
    assert not reporter.thread.alive


def period(events=(), fault="", sent=False, velocity=0.0, **step):
    command = SimpleNamespace(velocities=[velocity])
    return Period(STEP._replace(**step), command, sent, fault, "the trace" if fault else "", tuple(events))


def event(level, name, text):
    return Event(1.0, 2.0, level, name, text)


def heard_of(told, *periods, until):
    reporter, listener = told
    for each in periods:
        reporter.periods.offer(each)
    listener.wait(lambda: until(listener))


def test_a_mode_is_told_when_it_changes_and_the_plan_when_another_is_followed(told):
    plans = [
        (Mode.HOLD, 0, 1),
        (Mode.AUTONOMY, 0, 2),
        (Mode.AUTONOMY, 1, 2),
        (Mode.AUTONOMY, 2, 2),
        (Mode.AUTONOMY, 2, 3),
    ]
    for count, (mode, sequence, epoch) in enumerate(plans, 1):
        now = period(mode=mode, plan_sequence=sequence, epoch=epoch)
        heard_of(told, now, until=lambda to, n=count: len(to.of("plan")) == n)
    listener = told[1]
    assert listener.of("mode") == [("mode", "hold"), ("mode", "autonomy")]
    assert listener.of("plan") == [("plan", "the plan from 2.5")] * 5 and not listener.of("box")


def test_every_event_is_logged_once_at_its_level_though_periods_come_faster_than_they_are_told(told):
    events = [
        event(level, name, f"{level} {name}") for level in ("info", "warn", "error") for name in ("chunk", "splice")
    ]
    quick = [period([each]) for each in events]
    heard_of(told, *quick, period(reason="over"), until=lambda to: ("state", ("hold", "over")) in to.heard)
    heard_of(told, until=lambda to: len(to.of("info", "warning", "error")) == 6)
    assert told[1].of("info", "warning", "error") == [
        ("info", "info chunk"), ("info", "info splice"), ("warning", "warn chunk"), ("warning", "warn splice"),
        ("error", "error chunk"), ("error", "error splice"),
    ]  # fmt: skip


def test_only_commands_of_their_own_period_count_for_the_jerk(told):
    periods = [period(sent=True, velocity=0.1), period(velocity=0.2), period(sent=True, velocity=0.3, reason="over")]
    heard_of(told, *periods, until=lambda to: ("state", ("hold", "over")) in to.heard)
    assert told[1].of("jerk") == [("jerk", 0.1), ("jerk", 0.3)]


def test_what_ends_a_motion_is_trouble_until_a_mode_was_wished_for_and_has_a_black_box_of_its_own(told):
    reporter, listener = told
    lost = event("warn", "mode", "the policy was lost")
    heard_of(told, period(epoch=2, reason="lost", events=[lost]), until=lambda to: to.of("box"))
    assert reporter.trouble is lost and listener.of("box") == [("box", "the policy was lost")]
    wished = event("info", "mode", "autonomy was asked for")
    heard_of(
        told, period(epoch=3, mode=Mode.AUTONOMY, events=[wished]), until=lambda to: ("mode", "autonomy") in to.heard
    )
    heard_of(told, until=lambda to: ("info", "autonomy was asked for") in to.heard)
    assert reporter.trouble is None
    stopped = period(epoch=4, mode=Mode.STOPPED, reason="e-stop")
    heard_of(told, stopped, stopped, until=lambda to: len(to.of("box")) == 2)
    heard_of(told, period(epoch=4, mode=Mode.STOPPED, reason="e-stop, still"), period(epoch=5),
             until=lambda to: ("state", ("hold", "started")) in to.heard)  # fmt: skip
    assert listener.of("box")[1:] == [("box", "e-stop")]


def test_a_fault_is_logged_with_its_trace_once_takes_the_plan_away_and_is_over_with_a_new_core(told):
    reporter, listener = told
    bump = event("error", "mode", "it hit something")
    heard_of(told, period([bump], epoch=2), until=lambda to: to.of("box"))
    broken = [period(fault="ZeroDivisionError: no", epoch=2) for _ in range(3)]
    heard_of(told, *broken, until=lambda to: ("plan", None) in to.heard)
    assert listener.of("error")[1:] == [("error", "the control step failed, braking:\nthe trace")]
    assert listener.of("box")[1:] == [("box", "fault in the executor: ZeroDivisionError: no")]
    assert listener.of("mode")[-1] == ("mode", "stopped")
    heard_of(told, period(epoch=9), until=lambda to: to.of("mode")[-1] == ("mode", "hold"))
    heard_of(told, until=lambda to: to.of("plan")[-1] != ("plan", None))
    assert reporter.trouble is None and len(listener.of("box")) == 2


def test_one_stop_has_one_black_box_and_the_next_epoch_or_fault_another():
    listener = Listener()
    reporter = ExecutorReporter(listener, listener, listener, 0.02, lambda at: "", listener.save)
    for number, (fault, epoch) in enumerate((("", 1), ("", 2), ("broken", 2)), 1):
        for _ in range(2):
            stopped = period(fault=fault, mode=Mode.STOPPED, reason=f"stop {number}", epoch=epoch)
            reporter._save_if_in_trouble(stopped, epoch)
            assert len(listener.of("box")) == number
    reporter._save_if_in_trouble(period(), 9)
    assert len(listener.of("box")) == 3
