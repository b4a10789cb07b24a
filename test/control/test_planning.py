"""When the policy is asked for the next chunk."""

from dataclasses import replace

import numpy as np
import pytest
from story import Story

from pi0_ros.control import Chunk, planning
from pi0_ros.control.plan_cover import standing_time
from pi0_ros.control.planning import Situation, Timetable, behind, due, prefix

TABLE = Timetable(replan=0.4, idle=1.0, margin=0.1)


def asked(since, left, latency=0.05, mode="autonomy", epoch=3, last_epoch=3, changed=False):
    now = Situation(received=20.0, mode=mode, epoch=epoch, plan_sequence=1, plan_left=left)
    return due(TABLE, now, 20.0, 20.0 - since, last_epoch, changed, latency)


def test_a_robot_without_a_usable_plan_asks_once_in_a_replan_period():
    assert not asked(since=0.1, left=0.0) and not asked(since=0.39, left=0.0)
    assert asked(since=0.41, left=0.0)


def test_a_plan_that_runs_out_sooner_is_renewed_before_it_ends():
    assert asked(since=0.2, left=0.12) and not asked(since=0.2, left=0.3)


def test_a_new_owner_or_another_prompt_is_planned_for_at_once():
    assert asked(since=0.01, left=0.0, epoch=4)
    assert asked(since=0.01, left=0.9, changed=True)
    assert not asked(since=9.0, left=0.0, epoch=4, mode="stopped")


def test_while_a_person_drives_the_idle_period_counts():
    assert not asked(since=0.9, left=0.0, mode="teleop") and asked(since=1.1, left=0.0, mode="teleop")


@pytest.mark.parametrize(("latency", "duration", "stands"), [(0.61, 0.96, 0.26), (0.3, 0.96, 0.0), (1.2, 0.96, 1.44)])
def test_plans_that_take_more_than_half_of_what_they_last_leave_the_robot_standing(latency, duration, stands):
    assert standing_time(latency, duration) == pytest.approx(stands)


def test_an_end_that_is_kept_stays_the_same_while_the_executor_tells_of_the_plan_before():
    def chunk(sequence, end, rows=4):
        values = np.linspace([0.0, 0.0], end, rows)
        return Chunk(0.0, 0.1, ("a", "b"), values, sequence, 7, "policy")

    there = Situation(0.0, "autonomy", 7, 1, 1.0)
    moving = np.zeros(2, bool)
    first = planning.finished(chunk(1, [0.5, -0.2]), chunk(2, [0.4, 0.1]), there, True, 10.0)
    assert first.sequence == 1  # nothing is kept yet: what the executor follows ends here
    kept = planning.stay(first, 1.0, moving)
    assert np.all(kept.values == [0.5, -0.2])
    # The executor has meanwhile begun plan 2, which was on its way; the end that is kept is still that of plan 1.
    again = planning.finished(chunk(2, [0.4, 0.1]), kept, there, True, 10.5)
    assert np.all(planning.stay(again, 1.5, moving).values == [0.5, -0.2])
    half = Chunk(50.0, 0.2, ("a", "b"), np.array([[0.4, 0.1], [0.4, 0.2]]), 3, 7, "policy")
    assert planning.finished(chunk(2, [0.4, 0.1]), half, there, True, 10.0).sequence == 2  # one of both moves still
    assert planning.finished(None, None, there, True, 10.0) is None
    for other in ((there, False, 10.0), (there, True, 0.1), (Situation(0.0, "hold", 7, 1, 1.0), True, 10.0)):
        assert planning.finished(chunk(2, [0.4, 0.1]), kept, *other) is None
    assert planning.finished(chunk(2, [0.4, 0.1]), kept, Situation(0.0, "autonomy", 8, 1, 1.0), True, 10.0) is None


def running(period=0.2, rows=6, start=50.0):
    """Channel a rises by 0.1 a row from 0.5 on, b by -0.3 from 0: row k is for 50 + 0.2 k."""
    k = np.arange(rows)
    return Chunk(start, period, ("a", "b"), np.stack([0.5 + 0.1 * k, -0.3 * k], axis=1), 4, 7, "policy")


def test_rows_of_the_running_plan_are_looked_up_at_the_next_plans_period():
    found = planning.running_rows(running(), 50.25, 0.1, 5)
    at = np.array([0.25, 0.35, 0.45, 0.55, 0.65]) / 0.2
    np.testing.assert_allclose(found, np.stack([0.5 + 0.1 * at, -0.3 * at], axis=1))
    # Only while it lasts: its last row is for 51.0.
    assert len(planning.running_rows(running(), 50.75, 0.1, 9)) == 3
    np.testing.assert_allclose(planning.running_rows(running(), 51.0, 0.1, 9), [[1.0, -1.5]])
    # And only from its start on.
    np.testing.assert_allclose(planning.running_rows(running(), 49.95, 0.1, 2), [[0.525, -0.075]])


def told(same=True, latency=0.25, replan=0.45, stamp=50.2, horizon=10, period=0.1):
    return planning.prefix(running(), stamp, period, horizon, latency, replan, same)


def test_rows_that_pass_before_the_next_plan_can_be_used_are_certain_and_the_rest_is_guidance():
    found = told()
    assert (found.delay_rows, found.execution_rows, found.names) == (3, 5, ("a", "b"))
    at = 1.0 + 0.5 * np.arange(9)  # 50.2 .. 51.0
    np.testing.assert_allclose(found.values, np.stack([0.5 + 0.1 * at, -0.3 * at], axis=1))


def test_of_another_prompts_plan_only_the_certain_rows_are_told():
    np.testing.assert_allclose(told(same=False).values, told().values[:3])


def test_a_slow_policy_runs_its_plan_for_at_least_its_delay():
    assert told(latency=0.42, replan=0.2).execution_rows == 5


def test_nothing_is_told_before_the_plan_begins_or_when_it_ends_too_soon_or_the_delay_is_half_a_plan():
    assert told(stamp=49.9) is None
    assert told(stamp=50.75) is None and told(stamp=50.65) is not None  # 3 rows are left, then 4
    assert told(latency=0.45, horizon=9) is None and told(latency=0.45, horizon=10) is not None
    assert told(latency=0.0) is None


def test_a_share_of_latencies_is_not_exceeded():
    kept = planning.Latency()
    assert kept.quantile(0.95) == 0.0
    for k in range(60):
        kept.add(1.0 if k < 10 else 0.01 * (k - 9))  # the first ten are forgotten: 0.01 .. 0.50 stay
    assert kept.quantile(0.0) == pytest.approx(0.01) and kept.quantile(0.5) == pytest.approx(0.26)
    assert kept.quantile(0.95) == pytest.approx(0.48) and kept.quantile(1.0) == pytest.approx(0.50)


def test_a_plan_is_renewed_no_sooner_than_it_takes_to_make_and_its_age_counts():
    assert not asked(since=0.04, left=0.01) and asked(since=0.06, left=0.01)
    now = Situation(
        received=19.8, mode="autonomy", epoch=3, plan_sequence=1, plan_left=0.45
    )  # 0.2 s ago, 0.25 s are left
    assert not due(TABLE, now, 20.0, 19.9, 3, False, 0.05)
    assert due(TABLE, now, 20.0, 19.79, 3, False, 0.2)
    assert not due(TABLE, Situation(20.1, "autonomy", 3, 1, 0.2), 20.0, 19.7, 3, False, 0.05)


def test_answers_of_several_requests_come_before_the_plan_ends():
    # An answer takes 0.65 s and a plan 0.96 s: the next answer has to come within 0.31 s of the one before, and 0.4 s is too late.
    plan = Situation(received=20.0, mode="autonomy", epoch=3, plan_sequence=1, plan_left=0.31)
    asked_again = [
        since for since in np.arange(0.0, 0.7, 0.01) if due(TABLE, plan, 20.0, 20.0 - since, 3, False, 0.65, 3)
    ]
    assert 0.2 < asked_again[0] < 0.25, "a third of what an answer takes"
    without = Situation(received=20.0, mode="autonomy", epoch=3, plan_sequence=1, plan_left=0.0)
    assert due(TABLE, without, 20.0, 19.77, 3, False, 0.65, 3) and not due(
        TABLE, without, 20.0, 19.77, 3, False, 0.65, 1
    )
    assert not due(TABLE, without, 20.0, 19.85, 3, False, 0.65, 3)


def test_what_is_kept_rests_where_the_plan_ends_and_a_base_stands():
    kept = planning.stay(replace(running(), frozen_rows=3), 60.0, np.array([False, True]))
    assert kept.start == 60.0 and kept.values.shape == (6, 2) and kept.frozen_rows == 0
    np.testing.assert_allclose(kept.values, [[1.0, 0.0]] * 6)


RAMP = Chunk(100.0, 0.1, ("a", "b"), np.outer(np.arange(16), [0.1, -0.03]), 1, 7, "policy")


@pytest.mark.parametrize(("left", "first"), [(1.0, 0.55), (1.2, 0.35), (0.9, 0.65)])
def test_the_next_plan_is_told_the_rows_that_are_executed_and_not_those_that_were_to_be(left, first):
    """The plan ends at 101.5, so at 100.5 a second of it should be left; row k is for 100 + 0.1 k."""
    now = Situation(0.0, "autonomy", 7, 1, left, 100.5)
    rest = prefix(RAMP, 100.55, 0.1, 16, 0.12, 0.4, True, behind(RAMP, now))
    assert rest.values[0] == pytest.approx([first, -0.3 * first]) and rest.values[1] == pytest.approx(
        [first + 0.1, -0.3 * (first + 0.1)]
    )
    assert rest.delay_rows == 2 and len(rest.values) == int((1.5 - first) / 0.1 + 1e-6) + 1


def test_a_plan_of_which_nothing_is_left_or_whose_executor_says_no_time_is_told_as_its_rows_say():
    assert behind(RAMP, Situation(0.0, "autonomy", 7, 1, 0.0, 103.0)) == 0.0
    assert behind(RAMP, Situation(0.0, "autonomy", 7, 1, 1.2)) == 0.0
    assert prefix(RAMP, 100.1, 0.1, 16, 0.12, 0.4, True, late=0.2) is None, "the robot has not begun it"


def test_in_the_slow_first_second_the_first_row_that_is_told_is_where_the_robot_is():
    story = Story().run(0.1)
    assert story.ask("autonomy").ok
    story.tick()
    joint, rows = story.robot.index["left_joint1"], np.tile(story.values, (16, 1))
    rows[:, joint] += 0.15 * np.arange(16)  # 1.5 rad/s, of which 0.5 are allowed
    chunk = story.chunk(start=story.ros, values=rows, rows=16)
    assert story.send(chunk).accepted
    story.run(0.6)
    now = Situation(story.steady, "autonomy", story.last.epoch, 1, story.last.plan_left, story.ros)
    assert behind(chunk, now) > 0.3
    told = prefix(chunk, story.ros, 0.1, 16, 0.05, 0.4, True, behind(chunk, now))
    assert told.values[0, joint] == pytest.approx(story.values[joint], abs=0.03)
    on_time = prefix(chunk, story.ros, 0.1, 16, 0.05, 0.4, True)
    assert on_time.values[0, joint] - story.values[joint] > 0.4
