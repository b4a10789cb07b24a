"""What becomes of a chunk that comes in: what is counted, noted and said of it, and what it tells of the policy."""

import numpy as np
import pytest
from story import Story, make_robot

from pi0_ros.control import ExecutorSettings, Mode
from pi0_ros.control.chunk import Cause

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
