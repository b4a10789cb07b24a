"""What holds for any rows: differences shrink, nothing overshoots, nothing is not a number."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from story import Story, make_robot, middle

from pi0_ros.control import ExecutorSettings
from pi0_ros.control.motion_plan import ask, make_grid, plan_limits, planning_bounds, solve
from pi0_ros.control.row_path import make_path
from pi0_ros.control.splice import blended
from pi0_ros.robot.spec import Kind

QUIET = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck), derandomize=True)
KINDS = (Kind.POSITION, Kind.POSITION, Kind.VELOCITY)
SPEED, BRAKE = np.array([2.5, 1.0, 0.6]), np.array([5.0, 2.0, 0.5])
PERIODS = st.sampled_from([0.02, 1.0 / 30.0, 0.05, 0.1, 0.2])
seed = st.integers(0, 2**32 - 1)


def path(rng, start, period, rows, size):
    values = np.cumsum(rng.normal(0.0, size, (rows, 3)), axis=0) * np.array([1.0, -0.4, 0.2])
    return make_path(start, period, values, KINDS, SPEED, BRAKE)


@QUIET
@given(seed, PERIODS, PERIODS, st.integers(2, 60), st.integers(2, 60), st.floats(0.0, 0.5), st.sampled_from([0.2, 0.6]))
def test_what_two_paths_disagree_by_only_shrinks_after_the_join_and_is_nothing_after_the_window(
    number, period, other, rows, others, shift, window
):
    rng = np.random.default_rng(number)
    new, old = path(rng, 10.0, period, rows, 0.05), path(rng, 9.7, other, others, 0.08)
    begin = 10.0 + 0.3 * (rows - 1) * period
    joined = blended(new, old, begin, shift, window, 0.02)
    at = begin + 0.02 * np.arange(60)  # where the joined path has its values; it is linear between them
    left, apart = joined.at(at) - new.rows_at(at), old.at(at + shift) - new.rows_at(at)
    assert np.all(np.abs(left) <= np.abs(apart) + 1e-9)
    assert np.all(left * apart >= -1e-9), "never on the other side"
    share = np.where(np.abs(apart) > 1e-6, left / np.where(apart == 0.0, 1.0, apart), np.nan)
    for column in range(3):
        kept = share[:, column][~np.isnan(share[:, column])]
        assert np.all(np.diff(kept) <= 1e-6)
    after = at > begin + min(window, max(old.end - shift - begin, 0.0)) + 0.021
    assert np.all(np.abs(left[after]) < 1e-9)


@QUIET
@given(seed, PERIODS, st.integers(20, 60), st.sampled_from([0.2, 0.6]), st.sampled_from([-0.5, 0.01, 0.3]))
def test_a_difference_goes_from_all_to_nothing_within_the_window_without_a_jump(number, period, rows, window, apart):
    """For paths that are always `apart`, the share is left over apart: a smooth step is never steeper than 15/8 a window."""
    new = path(np.random.default_rng(number), 10.0, period, rows, 0.05)
    old = replace(new, rows=new.rows + np.array([apart, -0.5 * apart, 0.0]))
    at = 10.0 + 0.02 * np.arange(round((rows - 1) * period / 0.02))  # where the joined path has its values
    span = min(window, (rows - 1) * period)
    left = (blended(new, old, 10.0, 0.0, window, 0.02).at(at) - new.rows_at(at))[:, :2]
    share = left @ np.array([1.0, -0.5]) / (1.25 * apart)
    assert abs(share[0] - 1.0) < 1e-6 and np.all(np.abs(share[at > 10.0 + span + 1e-6]) < 1e-6)
    assert np.all(np.abs(np.diff(share)) <= 15.0 / 8.0 * 0.02 / span + 1e-6)


@QUIET
@given(seed, st.integers(2, 12), st.floats(0.02, 0.3))
def test_policies_that_agree_from_now_on_leave_nothing_of_an_earlier_disagreement_however_often_they_are_joined(
    number, joins, every
):
    rng = np.random.default_rng(number)
    rows = path(rng, 0.0, 0.05, 200, 0.02)
    running = path(rng, 0.0, 0.05, 200, 0.3)
    at = np.arange(0.0, 9.0, 0.02)
    first = largest = np.abs(running.rows_at(at) - rows.rows_at(at)).max()
    begin = 0.5
    for _ in range(joins):
        running = blended(rows, running, begin, 0.0, 0.6, 0.02)
        left = np.abs(running.at(at[at >= begin]) - rows.rows_at(at[at >= begin])).max()
        assert left <= largest + 1e-3 * first
        largest, begin = left, begin + 0.02 * round(every / 0.02)
    late = at > begin - 0.02 * round(every / 0.02) + 0.65
    assert np.abs(running.at(at[late]) - rows.rows_at(at[late])).max() < 1e-9


ROBOT = make_robot()
JOINT = ROBOT.index["left_joint2"]


@QUIET
@given(seed, PERIODS, st.integers(2, 40), st.sampled_from(["walk", "steps", "noise"]), st.floats(0.02, 0.3))
def test_from_rest_no_command_leaves_the_rows_by_more_than_their_turns_and_the_stop_after_the_last_one(
    number, period, count, kind, size
):
    rng = np.random.default_rng(number)
    rows = {
        "walk": np.cumsum(rng.normal(0.0, size * 0.2, count)),
        "steps": size * rng.integers(0, 2, count),
        "noise": rng.normal(0.0, 0.02, count),
    }[kind]
    rows = np.clip(0.35 + rows - rows[0], -1.0, 1.7)
    start = np.where([c.kind is Kind.VELOCITY for c in ROBOT.channels], 0.0, middle(ROBOT))
    start[JOINT] = rows[0]
    story = Story(ROBOT, ExecutorSettings(engage_time=0.0, engage_ramp=0.0, reach_speed=99.0, slow_down=50.0), start)
    story.run(0.06)
    assert story.ask("autonomy").ok
    story.tick()
    values = np.tile(story.values, (count, 1))
    values[:, JOINT] = rows
    assume(story.send(story.chunk(start=story.ros, period=period, values=values, rows=count)).accepted)
    story.run(min(3.0 + count * period, 6.0))
    moved = np.array(story.runs[-1])[:, JOINT]
    last = min(np.abs(rows[-1] - rows[max(-2, -count)]) / period, 2.5)
    turn = np.abs(np.diff(rows, 2)).max(initial=0.0) / 6.0 if kind == "walk" else 0.0
    room = max(last**2 / 10.0, 0.075 * last, turn) + 1e-3
    assert rows.min() - room <= moved.min() and moved.max() <= rows.max() + room
    story.sound()


PERIOD = 1.0 / ROBOT.control_rate
GRID = make_grid([planning_bounds(g, PERIOD) for g in ROBOT.groups if g.kind is not Kind.GRIPPER], PERIOD)
LIMITS = plan_limits(ROBOT, PERIOD, 0.0175)
ALL = tuple(c.kind for c in ROBOT.channels)
ODD = (math.nan, math.inf, -math.inf, 1e308, -1e308, 1e30, 5e-324)


@QUIET
@given(seed, st.sampled_from(ODD), st.sampled_from(["rows", "state", "scales", "nothing"]))
def test_from_whatever_numbers_a_plan_is_made_it_is_finite_or_there_is_none(number, odd, where):
    rng, count = np.random.default_rng(number), len(ALL)
    rows = middle(ROBOT) + np.cumsum(rng.normal(0.0, 0.03, (12, count)), axis=0)
    speeds, brakes = np.array([c.limits.velocity for c in ROBOT.channels]), np.full(count, 3.0)
    state, scales = np.zeros((3, count)), np.full(GRID.count, 0.7)
    state[0] = rows[0]
    if where == "rows":
        rows[rng.integers(12), rng.integers(count)] = odd
    elif where == "state":
        state[rng.integers(3), rng.integers(count)] = odd
    elif where == "scales":
        scales[rng.integers(GRID.count)] = odd
    with np.errstate(all="ignore"):
        request, _ = ask(
            make_path(5.0, 0.1, rows, ALL, speeds, brakes), 5.0, 0.0, state, 7.0, 1.0, scales, GRID, LIMITS
        )
        plan = solve(request, GRID, LIMITS)
        grips = np.array([k is Kind.GRIPPER for k in ALL])
        if plan is not None:
            assert np.isfinite(plan.states[:, :, ~grips]).all()
    if where == "nothing":
        assert plan is not None
