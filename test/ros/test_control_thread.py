"""The control thread, period by period: what it reads when, what goes out, what becomes of a fault, and when it is at rest."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from pi0_ros.control import Answer, Chunk, ExecutorSettings
from pi0_ros.control.modes import Mode
from pi0_ros.robot import load_robot
from pi0_ros.ros.control_thread import ControlThread, Period

ROBOT = load_robot("mobile_bimanual")
WAIT = 60.0
MIDDLE = np.array(
    [0.0 if c.kind.value == "velocity" else 0.5 * (c.limits.lower + c.limits.upper) for c in ROBOT.channels]
)
GRIPPERS = {g.channels[0].name: g.gripper for g in ROBOT.groups if g.gripper}


def joints(values):
    """What the joints report where the channels are at `values` [D]."""
    found = {}
    for channel, joint in ROBOT.joint_of_channel.items():
        value, grip = float(values[ROBOT.index[channel]]), GRIPPERS.get(channel)
        found[joint] = grip.closed + value * (grip.open - grip.closed) if grip else value
    return found


class Stage:
    """A robot that follows its commands, seen by the control thread; each period is announced."""

    def __init__(self, **settings):
        self.log, self.sent, self.asked, self.answers, self.unmeasured = [], [], [], [], []
        self.chunks, self.publishers, self.polled = [], ("/policy",), []
        self.periods, self.changed = [], threading.Condition()
        self.at = MIDDLE.copy()
        self.clocks = SimpleNamespace(steady=time.monotonic, ros=lambda: 1_000_000.0 + time.monotonic())
        given = {"engage_time": 0.0, "tracking_error": 5.0} | settings
        self.control = ControlThread(ROBOT, ExecutorSettings(**given), self.clocks, self, self, self, self._report)

    # --- the inputs
    def deliver_to(self, core):
        self.log.append("deliver")
        self.core = core

    def replace_core(self, core):
        self.log.append("replace")
        self.core = core

    def read_routine(self):
        self.log.append("routine")
        steady, ros = self.clocks.steady(), self.clocks.ros()
        self.core.on_state(steady, ros, ros, joints(self.at))
        self.core.on_odometry(steady, ros, ros, 0.0, 0.0, 0.0)

    def read_chunks(self):
        self.log.append("chunks")
        if not self.chunks:
            return False
        self.verdict = self.core.on_chunk(self.clocks.steady(), self.clocks.ros(), self.chunks.pop(0)(self.core))
        return True

    def read_urgent(self):
        self.log.append("urgent")

    def policies(self):
        return self.publishers

    def events(self):
        return ()

    # --- the writer
    def include_unmeasured(self, driven):
        self.unmeasured.append(driven)

    def send(self, command):
        self.log.append("send")
        self.sent.append(command)
        self.at = np.where([c.kind.value == "velocity" for c in ROBOT.channels], 0.0, command.values)

    # --- the services
    def poll(self, polled):
        self.polled.append(polled)

    def take(self, answer):
        while self.asked:
            self.answers.append(answer(self.asked.pop(0)))

    def reply(self):
        self.log.append("reply")

    # --- what is told
    def _report(self, period):
        with self.changed:
            self.periods.append(period)
            self.changed.notify_all()

    def wait(self, condition, what):
        with self.changed:
            assert self.changed.wait_for(lambda: self.periods and condition(), WAIT), what

    def more(self, count):
        first = len(self.periods)
        self.wait(lambda: len(self.periods) >= first + count, "periods")

    def ask(self, name) -> Answer:
        known = len(self.answers)
        self.asked.append(name)
        self.wait(lambda: len(self.answers) > known, f"an answer to {name}")
        return self.answers[-1]


@pytest.fixture
def stage():
    made = []

    def start(**settings):
        made.append(Stage(**settings))
        made[-1].control.start(0, -1)
        made[-1].wait(lambda: made[-1].sent, "commands")
        return made[-1]

    yield start
    for each in made:
        each.control.stop(0.1)


def drive(stage, channel="left_joint2", speed=0.5):
    """Autonomy along one chunk of 2 s that moves one joint."""
    assert stage.ask("autonomy").ok
    moved = np.tile(stage.at, (20, 1))
    moved[:, ROBOT.index[channel]] += speed * 0.1 * np.arange(20)

    def chunk(core):
        return Chunk(stage.clocks.ros(), 0.1, ROBOT.channel_names, moved, 1, core.epoch, "policy")

    stage.chunks.append(chunk)
    stage.wait(lambda: any(abs(c.velocities).max() > 0.2 for c in stage.sent[-5:]), "motion")


def test_it_begins_with_what_comes_in_and_grippers_that_nobody_measures_are_told_nothing_until_somebody_drives(stage):
    told = stage()
    assert told.log[0] == "deliver" and told.unmeasured == [False] and told.polled == [True]
    told.more(5)
    assert told.unmeasured == [False]
    drive(told)
    assert told.unmeasured[1:] and all(told.unmeasured[1:])


def test_in_every_period_measurements_are_read_before_the_urgent_and_answers_go_out_after_the_command(stage):
    told = stage()
    told.more(10)
    kept = [word for word in told.log if word != "chunks"]
    first = kept.index("send") + 2
    rest = kept[first : first + 24]
    assert rest == ["routine", "urgent", "send", "reply"] * 6


def test_what_is_told_of_a_period_is_its_command_its_mode_and_its_reason(stage):
    told = stage()
    told.more(3)
    period = told.periods[-1]
    assert period.sent and period.command is not None and period.fault == ""
    assert (period.mode, period.reason) == ("hold", "started")
    assert Period().mode == "hold" and Period().reason == "starting" and not Period().sent
    broken = period._replace(fault="ValueError: no")
    assert (broken.mode, broken.reason) == ("stopped", "fault in the executor: ValueError: no")


def test_autonomy_is_asked_for_with_the_policies_that_there_are_now(stage):
    told = stage()
    told.publishers = ()
    refused = told.ask("autonomy")
    assert not refused.ok and "nobody publishes action_chunk" in refused.message
    told.publishers = ("/policy", "/planner")
    refused = told.ask("autonomy")
    assert not refused.ok and "/planner and /policy publish action_chunk" in refused.message
    told.publishers = ("/policy", "/policy")  # restarted; the network has not forgotten the first one yet
    assert told.ask("autonomy").ok


def test_a_fault_brakes_from_the_last_command_and_reset_begins_anew_in_hold(stage):
    told = stage()
    drive(told)
    i = ROBOT.index["left_joint2"]
    epoch, core = told.core.epoch, told.core

    sent = []

    def broken(steady, ros):
        sent.append(len(told.sent))
        raise RuntimeError("one\nmore line")

    told.control.core.step = broken
    told.wait(lambda: told.periods[-1].fault, "the fault")
    told.wait(lambda: not told.sent[-1].velocities.any(), "rest")
    first = next(k for k, p in enumerate(told.periods) if p.fault)
    assert told.periods[first].fault == "more line" and "RuntimeError: one" in told.periods[first].trace
    assert not told.periods[first].sent and told.periods[-1].sent
    # From the last command on, and a period's deceleration slower in each.
    (broke,) = sent
    before, after = told.sent[broke - 1], told.sent[broke]
    slower = before.velocities[i] - ROBOT.channels[i].limits.acceleration / ROBOT.control_rate
    assert before.velocities[i] > 0.1 and after.velocities[i] == pytest.approx(max(slower, 0.0))
    assert after.values[i] == pytest.approx(before.values[i] + max(slower, 0.0) / ROBOT.control_rate)
    assert after.stamp > before.stamp
    assert not told.ask("autonomy").ok and told.answers[-1].message.endswith("reset first: more line")
    assert told.ask("reset").ok and told.core is not core and "replace" in told.log
    told.wait(lambda: not told.periods[-1].fault and told.periods[-1].mode == "hold" and told.periods[-1].sent, "hold")
    assert told.core.epoch != epoch
    assert abs(told.sent[-1].values[i] - before.values[i]) < 0.1


def test_stopping_decelerates_and_says_whether_it_came_to_rest(stage):
    told = stage()
    drive(told)
    assert told.control.stop(WAIT)
    at_rest = [bool(abs(c.velocities).max() < 1e-4) for c in told.sent]
    assert at_rest[-3:] == [True] * 3 and not all(at_rest)
    assert told.polled == [True, False] and told.periods[-1].step.mode is Mode.HOLD


def test_what_cannot_come_to_rest_in_time_is_said(stage):
    told = stage()
    drive(told)
    assert not told.control.stop(0.0)
