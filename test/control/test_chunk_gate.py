"""What becomes of a chunk that comes in: what is counted, noted and said of it, and what it tells of the policy."""

from types import SimpleNamespace

import numpy as np
import pytest
from story import Story, make_robot, middle

from pi0_ros.control import BlackBox, Chunk, ExecutorSettings, Mode
from pi0_ros.control.chunk import Ages, Cause, Verdict
from pi0_ros.control.chunk_gate import ages_of
from pi0_ros.control.journal import Now
from pi0_ros.control.mode_keeper import ModeEvent
from pi0_ros.control.modes import Trigger
from pi0_ros.control.parts import assemble
from pi0_ros.control.plan_making import AtOnce
from pi0_ros.robot.spec import Kind

ARM = "left_joint2"


def noted(story, name):
    return [(e.level, e.text) for s in story.steps for e in s.events if e.name == name]


@pytest.mark.parametrize(("delay", "said"), [(1.25, True), (0.95, False)])
def test_a_policy_that_is_too_late_for_a_moving_robot_is_told_to_be_too_slow(delay, said):
    """Its chunk is refused, as its observation is older than a second; how long it takes is known all the same."""
    story = Story(settings=ExecutorSettings(chunk_max_age=1.0)).autonomy(goal={ARM: 0.8}, rows=40)
    story.run(1.4)
    assert story.send(goal={ARM: 0.8}, rows=21, delay=delay).accepted is not said
    story.tick()
    story.send(goal={ARM: 0.8}, rows=21, delay=delay)
    story.tick()  # and it is told once
    text = "strategy wait: a chunk of 2.00 s arrives after 1.25 s; the robot stands while the policy thinks"
    assert noted(story, "wait") == [("warn", text)] * said


@pytest.mark.parametrize("strategy", ["blend", "replace"])
def test_who_chose_a_strategy_is_not_told_to_wait(strategy):
    story = Story(settings=ExecutorSettings(strategy=strategy)).autonomy(goal={ARM: 0.8}, rows=40)
    story.run(1.4)
    assert not story.send(goal={ARM: 0.8}, rows=21, delay=1.25).accepted
    story.tick()
    assert noted(story, "wait") == []


def test_a_delay_counts_for_who_drives_now_and_where_it_can_be_one():
    """Not one of a future stamp, of a minute, of another epoch, or while a person drives."""
    story = Story(make_robot(), ExecutorSettings(chunk_max_age=200.0, wait_max_age=200.0)).run(0.1)
    delays = story.executor._parts.plans.strategies.delays
    counted = []
    delays.add = lambda steady, delay: counted.append((steady, round(delay, 6)))
    story.send(delay=0.1)
    assert story.ask("autonomy").ok
    story.tick()
    for delay in (0.2, -0.1, 59.9, 60.1):
        story.send(delay=delay, rows=4)
    story.send(delay=0.3, epoch=story.last.epoch - 1)
    assert counted == [(story.steady, 0.2), (story.steady, 59.9)]


@pytest.mark.parametrize(("mode", "level"), [("autonomy", "error"), ("hold", "warn")])
def test_a_refused_chunk_is_an_error_while_the_policy_drives_and_counted_in_every_mode(mode, level):
    story = Story().autonomy(goal={ARM: 0.3}, rows=30)
    if mode == "hold":
        assert story.ask("hold").ok
        story.tick()
    sequence = story.sequence + 1
    verdict = story.send(period=99.0)
    assert verdict.cause is Cause.MALFORMED
    story.tick()
    assert noted(story, f"chunk {level}") == [(level, f"chunk {sequence} refused: {verdict.reason}")]
    assert story.last.counters.chunks_rejected == 1 and story.last.counters.chunks_accepted == 1


def test_what_was_under_way_when_the_owner_changed_is_no_error():
    story = Story().autonomy(goal={ARM: 0.3}, rows=30)
    assert story.ask("hold").ok and story.ask("autonomy").ok
    story.tick()
    assert not story.send(epoch=story.last.epoch - 2).accepted
    story.tick()
    ((level, text),) = noted(story, "chunk info")
    assert level == "info" and "is not the current epoch" in text


def test_chunks_of_another_policy_are_ignored_one_by_one_and_not_refused():
    story = Story().autonomy(goal={ARM: 0.3}, rows=30)
    for sequence in (1, 2, 3):
        verdict = story.send(source="another", sequence=sequence)
        assert not verdict.accepted and verdict.cause is Cause.NOT_DRIVING
    story.tick()
    assert (story.last.counters.ignored, story.last.counters.chunks_rejected) == (3, 0)


def test_where_nobody_asked_for_autonomy_chunks_are_ignored_without_a_word():
    story = Story().run(0.1)
    verdict = story.send(goal={ARM: 0.3})
    assert not verdict.accepted and verdict.reason == "ignored: the mode is hold"
    assert story.tick().counters.ignored == 1 and noted(story, "second policy") == []


def test_with_the_strategy_wait_a_chunk_that_was_observed_while_the_robot_moved_is_refused():
    story = Story(settings=ExecutorSettings(strategy="wait")).autonomy(goal={ARM: 0.5}, rows=30)
    story.run(0.4)
    verdict = story.send(goal={ARM: 0.5}, rows=30)
    assert verdict.accepted is False and verdict.cause is Cause.DELAY
    assert verdict.reason.startswith("wait: its observation was taken while the robot was still executing")
    story.run(0.1)
    assert story.last.plan_sequence == 1 and story.last.counters.chunks_rejected == 1


def test_a_second_policy_is_told_of_every_ten_seconds():
    story = Story().autonomy(goal={ARM: 0.3}, rows=30)
    for later in (0.0, 9.9, 10.1):
        chunk = story.chunk(source="another")
        story.executor.on_chunk(story.steady + later, story.ros, chunk)
    told = [e for e in story.tick().events if e.name == "second policy"]
    assert [e.steady for e in told] == [story.steady - story.period, story.steady - story.period + 10.1]
    assert {e.text for e in told} == {"two policies publish plans: 'policy' is driving, 'another' is ignored"}


@pytest.mark.parametrize(("late", "taken"), [(0.55, True), (0.05, False)])
def test_a_standing_robot_takes_up_a_plan_where_it_comes_by_until_now(late, taken):
    """Its rows come from 0.4 rad away to where the robot stands within half a second; it may begin 0.2 rad away."""
    story = Story().run(0.1)
    assert story.ask("autonomy").ok
    story.tick()
    rows = np.tile(story.values, (16, 1))
    rows[:, story.robot.index[ARM]] += 0.4 * np.clip(1.0 - np.arange(16) / 5.0, 0.0, 1.0)
    verdict = story.send(values=rows, delay=late)
    assert verdict.accepted is taken
    assert taken or (verdict.cause is Cause.FAR_START and ARM in verdict.reason)


def test_sequences_that_go_back_and_on_again_come_from_two_processes_and_end_autonomy():
    story = Story().run(0.1)
    assert story.ask("autonomy").ok
    story.tick()
    verdicts = [story.send(goal={ARM: 0.4}, rows=30, sequence=sequence) for sequence in (5, 3, 6)]
    text = "two processes publish plans as 'policy', or it was restarted"
    assert [v.accepted for v in verdicts] == [True, False, False]
    assert (verdicts[2].reason, verdicts[2].cause) == (text, Cause.NOT_DRIVING)
    step = story.tick()
    assert (step.mode, step.reason) == (Mode.HOLD, text)


ROBOT = make_robot()
JOINT = ROBOT.index[ARM]
HOME = np.where([c.kind is Kind.VELOCITY for c in ROBOT.channels], 0.0, middle(ROBOT))
SOON, NOW = Now(40.0, 900.0), Now(40.5, 900.5)


def core(robot=ROBOT, start=HOME, autonomy=True, **settings):
    """The parts of a control core whose robot stands at `start`; who drives began at ROS second 900."""
    parts = assemble(robot, ExecutorSettings(**settings), 6, AtOnce(), BlackBox())
    parts.start_up.begin()
    parts.drive.begin(start)
    if autonomy:
        parts.modes.fire(SOON, ModeEvent(Trigger.ASK_AUTONOMY, "autonomy requested", "info"))
        parts.journal.take(SOON)
    return parts


def chunk(sequence=1, start=900.5, epoch=7, source="policy", slope=0.0, rows=20, **more):
    values = np.tile(HOME, (rows, 1))
    values[:, JOINT] += slope * 0.1 * np.arange(rows)
    return Chunk(start, 0.1, ROBOT.channel_names, values, sequence, epoch, source, **more)


def took(parts, given, now=NOW):
    """The verdict, and what is noted in the moment in which a chunk comes."""
    verdict = parts.gate.take(now, now.ros, given)
    parts.plans.following.coming = None
    return verdict, [(e.level, e.name, e.text) for e in parts.journal.take(now)]


def test_how_old_and_early_a_chunk_may_be_is_what_the_settings_say():
    assert ages_of(ExecutorSettings(chunk_max_age=0.7, wait_max_age=8.0, chunk_max_ahead=0.3)) == Ages(0.7, 8.0, 0.3)


def test_of_what_a_person_should_know_of_a_plan_each_is_noted():
    parts, other = core(), ROBOT.index["right_joint3"]
    values, end = chunk().values.copy(), ROBOT.channels[other].limits.upper
    values[:, JOINT] += 0.45 * np.sin(0.6 * np.arange(20))  # 2.7 rad/s where 2.5 is allowed
    values[:, other] = np.where(np.arange(20) == 5, end + 0.01, end - 0.01)
    parts.drive.begin(values[0])
    verdict, notes = took(parts, Chunk(900.5, 0.1, ROBOT.channel_names, values, 1, 7, "policy"))
    assert verdict.accepted
    clamped, slowed = notes
    assert clamped == ("warn", "clamped", "right_joint3 was planned beyond its limits and clamped")
    assert slowed[:2] == ("warn", "slowed") and "left_joint2 would need" in slowed[2]
    parts.drive.begin(HOME)
    assert took(parts, chunk(2))[1] == []


def test_a_plan_that_was_not_found_is_an_error_once_and_the_reason_for_which_the_robot_stands():
    parts = core()
    parts.plans.following.unfound = "chunk 3: no motion"
    assert took(parts, chunk())[1] == [("error", "no plan", "chunk 3: no motion")]
    assert parts.gate.refusal == "chunk 3: no motion" and parts.plans.following.unfound == ""
    parts = core()
    assert took(parts, chunk())[1] == [] and parts.gate.refusal == ""


def test_a_policy_that_is_waited_for_is_told_so_each_time_that_begins():
    """Within half a second, too: it is no repetition."""
    parts = core()
    said = []
    for sequence, slow in enumerate((False, True, True, False, True), 1):
        parts.plans.strategies.waits = "it is slow" if slow else ""
        said.append(took(parts, chunk(sequence), Now(40.5 + 0.1 * sequence, 900.5))[1])
    told = [("warn", "wait", "it is slow")]
    assert said == [[], told, [], [], told]
    parts.gate.change_owner(41.0)
    parts.plans.strategies.waits = "it is slow"
    assert took(parts, chunk(7), Now(41.0, 900.5))[1] == told
    parts = core(autonomy=False)
    parts.plans.strategies.waits = "it is slow"
    assert told[0] in took(parts, chunk(1, epoch=5))[1]


def test_chunks_are_judged_in_the_epoch_and_by_the_sequences_of_who_drives():
    parts = core()
    for sequence, accepted, words in ((4, True, ""), (4, False, "does not follow 4"), (9, True, ""), (5, False, "does not follow 9")):  # fmt: skip
        verdict, _ = took(parts, chunk(sequence))
        assert verdict.accepted is accepted and words in verdict.reason
    late, notes = took(parts, chunk(10, epoch=6))  # of two processes, but of before: of no importance
    assert "epoch 6 is not the current epoch 7" in late.reason and notes[0][0] == "info"
    assert parts.modes.mode is Mode.AUTONOMY
    verdict, _ = took(parts, chunk(10))
    assert verdict.cause is Cause.NOT_DRIVING and "two processes publish plans as 'policy'" in verdict.reason
    assert parts.modes.mode is Mode.HOLD and parts.modes.state.trigger is Trigger.NAMESAKE
    assert parts.modes.state.reason == verdict.reason


def test_the_first_policy_owns_the_epoch_and_another_one_is_known_until_somebody_else_drives():
    parts = core()
    assert took(parts, chunk(source="first"))[0].accepted and parts.gate.sources.owner == "first"
    verdict, notes = took(parts, chunk(source="second"))
    assert verdict == Verdict(False, "ignored: 'first' is driving", Cause.NOT_DRIVING)
    text = "two policies publish plans: 'first' is driving, 'second' is ignored"
    assert notes == [("warn", "second policy", text)]
    assert (parts.gate.sources.other, parts.journal.counters.ignored) == ("second", 1)
    assert took(parts, chunk(2, source="first"))[0].accepted
    parts.gate.refusal = "as before"
    parts.gate.change_owner(41.0)
    assert (parts.gate.sources.owner, parts.gate.sources.other, parts.gate.refusal) == (None, "", "")
    assert took(parts, chunk(1, source="second"))[0].accepted


@pytest.mark.parametrize(("autonomy", "level"), [(True, "error"), (False, "warn")])
def test_a_refused_chunk_is_counted_and_noted_and_why_is_what_is_waited_for(autonomy, level):
    parts = core(autonomy=autonomy)
    epoch = 7 if autonomy else 6
    verdict, notes = took(parts, chunk(3, epoch=epoch, start=911.0))
    assert verdict.cause is Cause.MALFORMED and "in the future" in verdict.reason
    assert notes == [(level, f"chunk {level}", f"chunk 3 refused: {verdict.reason}")]
    assert parts.gate.refusal == verdict.reason and parts.journal.counters.chunks_rejected == 1
    assert parts.gate.sources.owner is None and parts.journal.counters.chunks_accepted == 0
    _, notes = took(parts, chunk(3, epoch=epoch - 1))
    assert [note[:2] for note in notes] == [("info", "chunk info")] and parts.journal.counters.chunks_rejected == 2
    assert took(parts, chunk(3, epoch=epoch))[0].accepted is autonomy
    assert parts.journal.counters.chunks_accepted == autonomy and parts.journal.counters.ignored == (not autonomy)
    if not autonomy:
        assert took(parts, chunk(4, epoch=epoch))[0].reason == "ignored: the mode is hold"
        assert parts.gate.sources.other == ""


def test_a_delay_is_counted_where_the_driving_policy_has_one():
    for autonomy, now, start, epoch, wanted in (
        (True, NOW, 900.3, 7, [(40.5, 0.2)]),
        (True, NOW, 900.5, 7, [(40.5, 0.0)]),
        (True, NOW, 900.6, 7, []),  # stamped ahead
        (True, Now(40.5, 959.9), 900.0, 7, [(40.5, 59.9)]),  # refused, and a delay all the same
        (True, Now(40.5, 960.1), 900.0, 7, []),
        (True, NOW, 900.3, 6, []),
        (False, NOW, 900.3, 6, []),
    ):
        parts, counted = core(autonomy=autonomy), []
        parts.plans.strategies.delays.add = lambda steady, age, counted=counted: counted.append((steady, round(age, 6)))
        took(parts, chunk(start=start, epoch=epoch), now)
        assert counted == wanted


@pytest.mark.parametrize(
    ("strategy", "age", "said"),
    [("auto", 1.1, True), ("auto", 0.9, False), ("auto", 7.9, True), ("auto", 8.1, False), ("blend", 1.1, False)],
)
def test_a_policy_too_late_for_a_moving_robot_is_waited_for_as_long_as_a_standing_one_waits(strategy, age, said):
    parts = core(strategy=strategy, chunk_max_age=1.0, wait_max_age=8.0)
    parts.plans.progress.add(880.0, 0.1)
    parts.plans.progress.add(900.4, 0.1)  # it moves, so that the chunk is refused and no strategy is decided on
    took(parts, chunk(start=900.5 - age, rows=11))
    waits = f"strategy wait: a chunk of 1.00 s arrives after {age:.2f} s; the robot stands while the policy thinks"
    assert parts.plans.strategies.waits == (waits if said else "")


def test_a_plan_is_asked_for_with_what_is_commanded_and_measured_and_the_slow_first_second():
    """Nothing follows a plan yet: it is as if the slow second began in the next period."""
    parts = core(engage_scale=0.3, engage_time=1.0, engage_ramp=0.5)
    asked = []
    parts.plans.offer = lambda *given: asked.append(given) or Verdict(True, "replace")
    parts.inputs.measured.or_commanded = lambda command: command + 0.25
    state = parts.drive.commanded
    later, given = Now(41.3, 900.5), chunk()
    for running in (None, "a plan"):
        parts.plans.following.running = None if running is None else SimpleNamespace(plan=SimpleNamespace(path=SimpleNamespace(start=1.0, end=2.0)))  # fmt: skip
        assert parts.gate.take(later, 900.37, given).accepted
        given = chunk(2)
    for k, (ros, now, offered, commanded, measured, scales) in enumerate(asked):
        assert (ros, now, offered.sequence) == (900.5, 900.37, k + 1)
        assert commanded is state
        np.testing.assert_array_equal(measured, state[0] + 0.25)
        # The slow time is kept 0.1 s longer ahead; autonomy was asked for 1.3 s ago.
        at = np.array([900.5, 901.5 + 0.02 + 0.1 - 1e-3, 901.5 + 0.02 + 0.1 + 0.25])
        np.testing.assert_allclose(scales(at), [0.3, 0.3, 0.65] if k == 0 else [0.58, 1.0, 1.0])


ENDLESS = """
arm:
  kind: position
  channels: [j1, wrist]
  command: {topic: arm, type: joint_state}
  limits: {source: urdf, acceleration: 5.0}
  command_latency: 0.2
"""


def test_a_joint_without_ends_is_planned_on_the_turn_of_its_command_and_sent_ahead_by_its_latency(small_robot):
    robot = small_robot(ENDLESS)
    parts = core(robot, np.array([0.1, 12.7]))
    wrist = 0.2 + 0.01 * np.arange(12)
    values = np.stack([np.full(12, 0.1), wrist], axis=1)
    verdict = parts.gate.take(NOW, NOW.ros, Chunk(900.5, 0.1, ("j1", "wrist"), values, 1, 7, "policy"))
    assert verdict.accepted
    rows = parts.plans.following.coming.joined.path.rows
    np.testing.assert_allclose(rows[:, 1], np.append(wrist[2:], [wrist[-1]] * 2) + 4.0 * np.pi)


def test_a_row_far_beyond_its_limit_is_refused_before_any_plan_is_asked_for():
    parts = core()
    values = chunk().values.copy()
    values[7, JOINT] = 99.0
    verdict, _ = took(parts, Chunk(900.5, 0.1, ROBOT.channel_names, values, 1, 7, "policy"))
    assert verdict.cause is Cause.BEYOND_LIMIT and parts.plans.clamped == ""
    parts.plans.following.running = None
    parts.gate.plausibility.history.add(900.5, HOME + 0.9, HOME + 0.9)
    verdict, _ = took(parts, chunk(2))
    assert verdict.cause is Cause.FAR_START
