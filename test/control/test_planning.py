"""When the policy is asked for the next chunk."""

import numpy as np
import pytest

from pi0_ros.control import Chunk, planning
from pi0_ros.control.plan_cover import standing_time
from pi0_ros.control.planning import Situation, Timetable, due

TABLE = Timetable(replan=0.4, idle=1.0, margin=0.1)


def asked(since, left, latency=0.05, mode="autonomy", epoch=3, last_epoch=3, changed=False):
    now = Situation(heard=20.0, mode=mode, epoch=epoch, plan_sequence=1, plan_left=left)
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
    for other in ((there, False, 10.0), (there, True, 0.1), (Situation(0.0, "hold", 7, 1, 1.0), True, 10.0)):
        assert planning.finished(chunk(2, [0.4, 0.1]), kept, *other) is None
    assert planning.finished(chunk(2, [0.4, 0.1]), kept, Situation(0.0, "autonomy", 8, 1, 1.0), True, 10.0) is None
