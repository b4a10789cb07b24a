"""What the executor tells of each period: state, mode, log, plan and black box, each when there is news and not else."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from pi0_ros.msg import ExecutorState
from rclpy.qos import DurabilityPolicy

from pi0_ros.control import Chunk, Event
from pi0_ros.control.modes import Mode
from pi0_ros.control.step import Counters, Seam, Step
from pi0_ros.ros import executor_reporter
from pi0_ros.ros.clock import seconds
from pi0_ros.ros.control_thread import Period
from pi0_ros.ros.executor_reporter import ExecutorReporter, Publishing
from pi0_ros.ros.period_mailbox import STATE_PERIOD

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


# --- without its thread ---


def reports(*periods):
    """What is told of these periods, one after the other."""
    listener = Listener()
    reporter = ExecutorReporter(listener, listener, listener, 0.02, lambda at: f"the plan from {at}", listener.save)
    for each in periods:
        reporter.latest = each
        reporter._report(each.events)
    return reporter, listener


def test_before_the_first_step_nothing_is_told():
    assert reports(Period())[1].heard == []


def test_a_fault_is_logged_when_it_begins_and_when_another_one_does():
    faults = [period(fault=fault) for fault in ("", "one", "one", "two", "", "two")]
    assert len(reports(*faults)[1].of("error")) == 3


def test_trouble_is_over_with_a_new_core_and_not_before():
    lost = period([event("warn", "mode", "the policy was lost")])
    assert reports(lost)[0].trouble is lost.events[0] is reports(lost, period())[0].trouble
    broken = period(fault="one")
    assert (
        reports(lost, broken, broken)[0].trouble is lost.events[0]
        and reports(lost, broken, period())[0].trouble is None
    )
    assert reports(lost, period([event("error", "chunk", "refused")]))[0].trouble is lost.events[0]


def test_a_mode_and_a_plan_are_told_again_only_if_they_are_others():
    told = reports(period(), period(), period(epoch=2), period(epoch=2), period(epoch=2, plan_sequence=1))[1]
    assert told.of("mode") == [("mode", "hold")] and len(told.of("plan")) == 3 and len(told.of("state")) == 5
    assert [what for _, what in reports(period(), period(fault="one"), period(fault="one"), period())[1].of("plan")] == [
        "the plan from 2.5", None, "the plan from 2.5",
    ]  # fmt: skip


def test_garbage_is_collected_about_once_a_second_and_the_oldest_not_at_all(monkeypatch):
    collected = []
    monkeypatch.setattr(executor_reporter.gc, "collect", collected.append)
    seconds = {0.9: 0, 1.1: 1, 1.9: 1, 2.2: 2, 5.4: 5}
    for length, expected in seconds.items():
        collected.clear()
        reporter, _ = reports()
        left = iter([True] * round(length / STATE_PERIOD) + [False])
        reporter.periods = SimpleNamespace(wait=lambda left=left: next(left), take=list)
        reporter._run()
        assert collected == [1] * expected


class Publisher:
    def __init__(self, kind, quality):
        self.kind, self.quality, self.readers, self.messages = kind, quality, 0, []
        self.publish = self.messages.append
        self.get_subscription_count = lambda: self.readers


ARM = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
"""


@pytest.fixture
def publishing(small_robot):
    """(what publishes, its publishers by topic); the ROS clock stands at 77 s."""
    there = {}

    def create_publisher(kind, topic, quality):
        there[topic] = Publisher(kind, quality)
        return there[topic]

    owned = []
    node = SimpleNamespace(
        clocks=SimpleNamespace(ros=lambda: 77.0), create_publisher=create_publisher, own=lambda p: owned.append(p) or p
    )
    made = Publishing(node, small_robot(ARM))
    assert owned == list(there.values())
    return made, there


def test_state_mode_and_plan_have_a_topic_each_and_only_the_mode_is_kept_for_later(publishing):
    _, there = publishing
    assert {topic: p.kind.__name__ for topic, p in there.items()} == {
        "executor_state": "ExecutorState", "mode": "String", "~/trajectory_preview": "JointTrajectory",
        "~/markers": "MarkerArray",
    }  # fmt: skip
    kept = DurabilityPolicy.TRANSIENT_LOCAL
    assert [topic for topic, p in there.items() if p.quality.durability is kept] == ["mode"]
    publishing[0].mode("teleop")
    assert [m.data for m in there["mode"].messages] == ["teleop"]


def test_the_state_is_that_of_the_period(publishing):
    made, there = publishing
    step = STEP._replace(
        mode=Mode.TELEOP, reason="asked for", epoch=3, plan_sequence=5, plan_left=0.25, splice_delay=0.0625,
        measured=np.array([0.5, -0.75]),
        counters=Counters(chunks_accepted=11, chunks_rejected=12, underruns=13, limited=14),
    )  # fmt: skip
    made.state(Period())
    command = SimpleNamespace(stamp=12.5, values=np.array([0.125, 0.375]))
    made.state(Period(step, command, overruns=15))
    made.state(Period(step))
    one, none = there["executor_state"].messages
    assert (one.mode, one.reason, one.epoch) == (ExecutorState.TELEOP, "asked for", 3)
    assert (one.plan_sequence, one.plan_left, one.splice_delay) == (5, 0.25, 0.0625)
    assert seconds(one.header.stamp) == 12.5 and seconds(none.header.stamp) == 77.0
    assert list(one.channels) == ["j1", "j2"] and list(one.command) == [0.125, 0.375]
    assert len(none.command) == 2 and np.isnan(none.command).all()
    assert list(one.measured) == list(none.measured) == [0.5, -0.75]
    counts = (one.chunks_accepted, one.chunks_rejected, one.underruns, one.limited, one.overruns)
    assert counts == (11, 12, 13, 14, 15)


@pytest.mark.parametrize("readers", [(0, 0), (1, 0), (0, 1), (2, 1)])
def test_a_plan_is_drawn_if_somebody_looks_and_taken_away_if_there_is_none(publishing, readers):
    made, there = publishing
    there["~/markers"].readers, there["~/trajectory_preview"].readers = readers
    asked = []
    plan = Chunk(80.0, 0.1, ("j1", "j2"), np.array([[0.1, 0.2], [0.3, 0.4]]), 1, 1)
    for each in (plan, None):
        made.plan(lambda ros, each=each: asked.append(ros) or each)
    shown = any(readers)
    assert asked == [77.0] * 2 * shown and len(there["~/markers"].messages) == 2 * shown
    assert all(seconds(m.markers[0].header.stamp) == 77.0 for m in there["~/markers"].messages)
    trajectories = there["~/trajectory_preview"].messages
    assert [list(p.positions) for m in trajectories for p in m.points] == [[0.1, 0.2], [0.3, 0.4]] * shown
