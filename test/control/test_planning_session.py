"""What a policy plans next, and what it is told: chunks, epochs and prompts as they come and go."""

import numpy as np
import pytest
from story import make_robot

from pi0_ros.control.planning import Situation, Timetable
from pi0_ros.control.planning_session import CHUNKS_KEPT, PlanningSession

TABLE = Timetable(replan=0.4, idle=1.0, margin=0.1)
ROBOT = make_robot()
ROWS = np.linspace(0.0, 0.7, 8)[:, None] + 0.01 * np.arange(len(ROBOT.channels))


class Talk:
    """A session of a policy of 8 rows every 0.1 s, and the plans it makes."""

    def __init__(self):
        self.session = PlanningSession(ROBOT, "policy#1", 8, 0.1, ("rest",))

    def drives(self, plan, epoch=3, heard=10.0, mode="autonomy"):
        self.session.situation = Situation(heard, mode, epoch, plan, 0.6)

    def plan(self, prompt, steady, stamp, values=ROWS):
        task = self.session.begin(prompt, steady, stamp, 0.4)
        chunk = self.session.chunk(task, stamp, 0.1, ROBOT.channel_names, values, 2)
        self.session.note_sent(chunk)
        return task, chunk


@pytest.fixture
def talk():
    talk = Talk()
    talk.drives(plan=0)
    return talk


def test_chunks_are_numbered_and_say_prompt_epoch_and_source(talk):
    talk.plan("wave", 10.0, 500.0)
    task, chunk = talk.plan("wave", 10.4, 500.4)
    assert (chunk.sequence, chunk.epoch, chunk.source, chunk.subtask, chunk.frozen_rows) == (
        2,
        3,
        "policy#1",
        "wave",
        2,
    )
    assert chunk.start == 500.4 and not task.new_epoch


def test_it_is_time_for_another_prompt_or_epoch_at_once_and_else_after_the_replan_period(talk):
    talk.plan("wave", 10.0, 500.0)
    assert not talk.session.due(TABLE, "wave", 10.3) and talk.session.due(TABLE, "wave", 10.41)
    assert talk.session.due(TABLE, "rest", 10.01)
    talk.drives(plan=1, epoch=4)
    assert talk.session.due(TABLE, "wave", 10.01)
    assert talk.plan("wave", 10.1, 500.1)[0].new_epoch


def test_a_plan_that_failed_is_tried_again_after_its_pause(talk):
    talk.plan("wave", 10.0, 500.0)
    talk.session.postpone(10.5)
    assert not talk.session.due(TABLE, "wave", 10.8) and talk.session.due(TABLE, "wave", 10.95)


def test_the_policy_is_told_the_rest_of_the_plan_that_is_followed(talk):
    talk.plan("wave", 10.0, 500.0)
    talk.drives(plan=1)
    talk.session.latency.add(0.15)
    told = talk.plan("wave", 10.2, 500.2)[0].prefix
    np.testing.assert_allclose(told.values, ROWS[2:])
    assert (told.delay_rows, told.execution_rows) == (2, 4)
    other = talk.plan("rest", 10.3, 500.3)[0].prefix
    assert len(other.values) == 2, "of another prompt's plan only what will have been executed"


def test_a_plan_that_is_forgotten_is_not_continued_for_the_same_prompt(talk):
    talk.plan("wave", 10.0, 500.0)
    talk.drives(plan=1)
    talk.session.latency.add(0.15)
    talk.session.forget()
    assert talk.session.due(TABLE, "wave", 10.01)
    task, _ = talk.plan("wave", 10.2, 500.2)
    assert len(task.prefix.values) == 2 and task.new_epoch, "only what will have been executed"
    assert not talk.session.due(TABLE, "wave", 10.3)


@pytest.mark.parametrize("told", [{"plan": 7}, {"plan": 1, "epoch": 4}, {"plan": 1, "mode": "teleop"}])
def test_a_plan_of_others_or_of_another_owner_is_not_told(talk, told):
    talk.plan("wave", 10.0, 500.0)
    talk.session.latency.add(0.15)
    talk.drives(**told)
    assert talk.plan("wave", 10.2, 500.2)[0].prefix is None


def test_an_old_chunk_is_forgotten(talk):
    talk.session.latency.add(0.15)
    for k in range(CHUNKS_KEPT + 1):
        talk.plan("wave", 10.0 + 0.01 * k, 500.0)
    talk.drives(plan=1)
    assert talk.plan("wave", 10.2, 500.2)[0].prefix is None
    talk.drives(plan=3)
    assert talk.plan("wave", 10.2, 500.2)[0].prefix is not None


def test_after_five_seconds_of_nothing_to_do_the_end_is_kept_and_the_base_rests(talk):
    talk.plan("rest", 10.0, 500.0)
    talk.drives(plan=1)
    assert talk.session.keep_end("rest", 14.9, 504.9) is None
    assert talk.session.keep_end("wave", 15.1, 505.1) is None
    kept = talk.session.keep_end("rest", 15.1, 505.1)
    assert (kept.sequence, kept.start, kept.frozen_rows) == (2, 505.1, 0)
    still = ROWS[-1].copy()
    still[[ROBOT.index[n] for n in ("base_vx", "base_vy", "base_wz")]] = 0.0
    np.testing.assert_allclose(kept.values, np.tile(still, (8, 1)))
    assert not talk.session.due(TABLE, "rest", 15.4), "keeping it counts as a plan"


def test_one_slow_answer_in_fifty_does_not_make_all_rows_certain(talk):
    """Of fifty latencies the 95th percentile counts and not the slowest: 0.15 s are two rows of 0.1 s, 0.35 s would be four."""
    talk.plan("wave", 10.0, 500.0)
    talk.drives(plan=1)
    for latency in [0.15] * 30 + [0.35] + [0.15] * 19:
        talk.session.latency.add(latency)
    assert talk.plan("wave", 10.2, 500.2)[0].prefix.delay_rows == 2


def test_how_long_a_chunk_may_take_is_what_nineteen_of_twenty_take(talk):
    """A second of the running plan is left: in time for 0.2 s, and not for the one in fifty that takes five."""
    patient = Timetable(replan=100.0, idle=1.0, margin=0.1)
    talk.plan("wave", 10.0, 500.0)
    talk.session.situation = Situation(16.0, "autonomy", 3, 1, 1.0)
    for latency in (0.2,) * 49 + (5.0,):
        talk.session.latency.add(latency)
    assert not talk.session.due(patient, "wave", 16.0)
    assert not talk.session.due(patient, "wave", 16.69) and talk.session.due(patient, "wave", 16.71)


def test_only_of_a_prompt_that_leaves_nothing_to_do_an_end_is_kept_and_first_that_of_the_plan_that_is_followed():
    talk = Talk()
    assert talk.session.situation.mode == "hold" and talk.session.due(TABLE, "wave", 5.0)
    for prompt, kept in (("wave", False), ("rest", True)):
        talk = Talk()
        talk.drives(plan=1)
        talk.plan(prompt, 10.0, 500.0)
        talk.plan(prompt, 10.4, 500.4, ROWS + 0.5)
        end = talk.session.keep_end(prompt, 15.1, 505.0)
        assert (end is not None) is kept
        if kept:
            assert end.values[0, 0] == ROWS[-1, 0] and end.sequence == 3 and end.start == 505.0
