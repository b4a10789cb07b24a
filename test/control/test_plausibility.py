"""A chunk is judged by where the robot was commanded and measured when it was observed, and by the plan that it had then."""

from types import SimpleNamespace

import numpy as np
import pytest
from story import make_robot, middle

from pi0_ros.control import Chunk, ExecutorSettings
from pi0_ros.control.chunk import Cause
from pi0_ros.control.plausibility import Plausibility
from pi0_ros.control.row_path import make_path

ROBOT = make_robot()
ARM = ROBOT.index["left_joint2"]
SETTINGS = ExecutorSettings(start_gap=0.2, reach_time=0.0, reach_speed=1e-6, chunk_max_age=1.0)
HOME = middle(ROBOT)


def at(offset):
    """The robot in the middle of all ranges, its arm `offset` [rad] further."""
    values = HOME.copy()
    values[ARM] += offset
    return values


def chunk(offset, start=50.0, order=None):
    order = np.arange(len(HOME)) if order is None else order
    names = tuple(ROBOT.channel_names[i] for i in order)
    return Chunk(start, 0.1, names, np.tile(at(offset)[order], (4, 1)), 1, 0)


def judge(offset, moments=((50.0, 0.0, 0.0),), running=None, start=50.0, order=None):
    judged = Plausibility(ROBOT, SETTINGS)
    for time, commanded, measured in moments:
        judged.history.add(time, at(commanded), at(measured).tolist())
    return judged.judge(chunk(offset, start, order), running)


def plan(offset, start=49.0, rows=16):
    """A plan that keeps the arm `offset` further for a second and a half from `start` on."""
    kinds, ones = tuple(c.kind for c in ROBOT.channels), np.ones(len(HOME))
    return SimpleNamespace(
        plan=SimpleNamespace(path=make_path(start, 0.1, np.tile(at(offset), (rows, 1)), kinds, ones, ones))
    )


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_plan_may_begin_a_gap_away_from_the_command_or_from_the_measurement_or_between_them(side):
    apart = ((50.0, 0.5 * side, 0.0),)  # the arm lags by half a rad
    for offset, good in ((0.69, True), (0.25, True), (-0.19, True), (0.71, False), (-0.21, False)):
        found = judge(side * offset, apart)
        assert found.accepted is good, offset
        assert good or found.cause is Cause.FAR_START
        mirrored = judge(side * offset, ((50.0, 0.0, 0.5 * side),))
        assert mirrored.accepted is good


def test_it_counts_where_the_robot_was_and_not_where_it_is():
    moments = ((49.5, 0.0, 0.0), (49.9, 0.3, 0.3), (50.1, 0.9, 0.9))
    assert judge(0.35, moments).accepted and not judge(0.9, moments).accepted
    assert judge(0.9, moments, start=50.2).accepted and not judge(0.35, moments, start=50.2).accepted


@pytest.mark.parametrize(("start", "rows", "counts"), [(49.0, 16, True), (50.0, 16, True), (48.5, 16, True), (48.4, 16, False), (50.05, 16, False)])  # fmt: skip
def test_rows_that_go_on_where_the_running_plan_was_to_be_are_right_while_it_lasts(start, rows, counts):
    assert judge(0.6, running=plan(0.5, start, rows)).accepted is counts
    assert not judge(0.6).accepted


def test_without_a_past_nothing_is_far():
    assert judge(0.9, ()).accepted


def test_the_columns_are_matched_by_name():
    order = np.random.default_rng(2).permutation(len(HOME))
    assert judge(0.1, order=order).accepted
    refused = judge(0.4, order=order)
    assert not refused.accepted and "left_joint2" in refused.reason


def test_each_row_is_judged_at_its_own_time():
    """1 rad/s are allowed beside the gap: 0.1 s later 0.1 rad more."""
    judged = Plausibility(
        ROBOT, ExecutorSettings(start_gap=0.05, reach_time=0.0, reach_speed=1.0 / ROBOT.channels[ARM].limits.velocity)
    )
    judged.history.add(50.0, HOME, HOME.tolist())
    values = np.tile(HOME, (4, 1))
    for step, good in ((0.12, True), (0.16, False)):
        values[:, ARM] = HOME[ARM] + step * np.arange(4) * np.array([1.0, 1.0, 0.5, 1.0 / 3.0])
        assert judged.judge(Chunk(50.0, 0.1, ROBOT.channel_names, values, 1, 0), None).accepted is good


@pytest.mark.parametrize(("offset", "good"), [(0.65, True), (0.75, False)])
def test_of_a_running_plan_that_moves_the_moment_of_the_observation_counts(offset, good):
    """It is half a radian away when the chunk was observed, and far on before and after; 0.2 rad may lie between."""
    moving = plan(0.0, 49.0, 21)
    rows = moving.plan.path.rows.copy()
    rows[:, ARM] = HOME[ARM] + 0.5 + 2.0 * (49.0 + 0.1 * np.arange(21) - 50.0)
    kinds, ones = tuple(c.kind for c in ROBOT.channels), np.ones(len(HOME))
    running = SimpleNamespace(plan=SimpleNamespace(path=make_path(49.0, 0.1, rows, kinds, ones, ones)))
    assert judge(offset, running=running).accepted is good
