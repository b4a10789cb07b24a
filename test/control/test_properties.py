"""Whatever comes in, in whatever order: every command keeps every promise and nothing raises."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from story import START, Story, make_robot, middle

from bench.faults import fuzz
from pi0_ros.control import ExecutorSettings
from pi0_ros.control.audit import violations
from pi0_ros.control.limiter import GroupLimiter, Limiter, Motion
from pi0_ros.control.limits import bounds_of
from pi0_ros.control.timeline import make_residual, make_spline
from pi0_ros.robot.spec import Kind

ROBOTS = {name: make_robot(name) for name in ("mobile_bimanual", "aloha")}
QUIET = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck), derandomize=True)

odd = st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324])
number = st.one_of(st.floats(-4.0, 4.0), odd)
seed = st.integers(0, 2**32 - 1)


def wild_chunk(story, draw):
    rng = np.random.default_rng(draw(seed))
    chunk = story.chunk(rows=draw(st.integers(1, 30)), delay=draw(st.floats(0.0, 0.4)))
    scale = draw(st.sampled_from([0.0, 0.003, 0.05, 0.5, 10.0, 1e12]))
    values = chunk.values + rng.normal(0.0, scale, chunk.values.shape) * rng.choice([0.0, 1.0], chunk.values.shape[1])
    if draw(st.integers(0, 4)) == 0:
        values[rng.integers(len(values)), rng.integers(values.shape[1])] = draw(odd)
    changes = draw(
        st.sampled_from(
            [{}] * 6
            + [
                {"period": 0.02},
                {"period": 0.001},
                {"period": math.nan},
                {"start": math.inf},
                {"start": story.ros + 0.3},
                {"epoch": 99},
                {"sequence": 0},
                {"names": chunk.names[::-1]},
                {"names": ("x",) * len(chunk.names)},
                {"frozen_rows": 5},
            ]
        )
    )
    story.send(replace(chunk, values=values, **changes))


def wild_teleop(story, draw):
    group = draw(st.sampled_from([*(g.name for g in story.robot.groups), "tail"]))
    if group == "tail":
        story.executor.on_teleop(story.steady, group, ("a",), (1.0,))
        return
    width = len(story.robot.group(group).channels)
    story.teleop(group, [draw(number) for _ in range(width)])


def wild_state(story, draw):
    what = draw(st.sampled_from(["silent", "heard", "stuck", "free", "stamp", "knock", "odometry"]))
    story.joints = {"silent": False, "heard": True}.get(what, story.joints)
    story.follows = {"stuck": False, "free": True}.get(what, story.follows)
    if what == "stamp":
        stamp = draw(number)
        story.executor.on_state(story.steady, story.ros, stamp, {"left_joint1": draw(number)})
    elif what == "knock":
        story.measured = story.measured + draw(st.floats(-0.3, 0.3))
    elif what == "odometry":
        story.executor.on_odometry(story.steady, story.ros, draw(number), draw(number), draw(number), draw(number))


def wild_clock(story, draw):
    if draw(st.booleans()):
        story.offset += draw(st.sampled_from([0.1, -0.1, 0.4, -0.4]))
    else:
        story.executor.step(draw(st.sampled_from([math.nan, math.inf, story.steady])), draw(number))


ACTIONS = (
    lambda s, d: wild_chunk(s, d),
    lambda s, d: wild_chunk(s, d),
    lambda s, d: s.send(goal={n: d(st.floats(-2.0, 2.0)) for n in s.robot.channel_names[:4]}, rows=12),
    lambda s, d: wild_teleop(s, d),
    lambda s, d: wild_state(s, d),
    lambda s, d: wild_clock(s, d),
    lambda s, d: s.ask(d(st.sampled_from(["hold", "teleop", "autonomy", "autonomy", "stop", "reset", "reset", "?"]))),
    lambda s, d: s.ask("autonomy"),
    lambda s, d: s.executor.prepare(),
    lambda s, d: s.executor.on_estop(s.steady, d(st.booleans())),
    lambda s, d: s.executor.on_deadman(s.steady, d(st.booleans())),
)


@QUIET
@given(
    st.data(),
    st.sampled_from(list(ROBOTS)),
    st.sampled_from(["auto", "replace", "blend", "ensemble", "rtc"]),
    st.sampled_from([1.0, 0.2]),
)
def test_whatever_comes_in_every_command_is_finite_limited_single_owned_and_rising(data, name, strategy, scale):
    story = Story(ROBOTS[name], ExecutorSettings(strategy=strategy, engage_scale=scale)).run(0.06)
    for _ in range(data.draw(st.integers(1, 20))):
        data.draw(st.sampled_from(ACTIONS))(story, data.draw)
        for _ in range(data.draw(st.integers(1, 6))):
            story.tick(period=story.period * data.draw(st.sampled_from([1.0, 1.0, 1.0, 0.8, 1.3, 10.0])))
    owners = {s.owner for s in story.steps}
    assert owners <= {"none", "hold", "teleop", "policy"}
    assert all((s.command is None) == (s.owner == "none") for s in story.steps)
    assert all(s.command.names == story.robot.channel_names for s in story.steps if s.command is not None)
    story.sound()


def test_ten_thousand_random_inputs_crash_nothing_and_no_command_breaks_a_limit():
    found = fuzz(10_000, seed=1)
    assert found["commands"] > 500
    assert (found["crashes"], found["violations"]) == (0, 0)


@QUIET
@given(st.data(), st.sampled_from([0.02, 0.01, 0.005]), st.sampled_from(range(6)))
def test_the_limiter_alone_keeps_every_limit_for_any_goals(data, period, index):
    group = ROBOTS["mobile_bimanual"].groups[index]
    robot = replace(ROBOTS["mobile_bimanual"], groups=(group,), control_rate=1.0 / period)
    limiter, count = GroupLimiter(bounds_of(group, period), period), len(group.channels)
    limiter.reset([0.0 if group.kind is Kind.VELOCITY else m for m in middle(robot)])
    rng, path = np.random.default_rng(data.draw(seed)), [limiter.motion.x]
    reach = np.array([c.limits.upper - c.limits.lower for c in group.channels])
    goal = np.zeros((3, count))
    for _ in range(300):
        if rng.random() < 0.15:
            goal = rng.uniform(-1.2, 1.2, (3, count)) * np.array([reach, reach * 5.0, reach * 30.0])
        limiter.brake() if rng.random() < 0.03 else limiter.step(goal, rng.choice([1.0, 0.2]))
        path.append(limiter.motion.x)
    assert violations(robot, np.array(path), period) == []


@QUIET
@given(seed, st.sampled_from([0.02, 0.005]), st.sampled_from(range(6)))
def test_what_a_group_has_foreseen_changes_nothing_about_where_it_goes(number_, period, index):
    group, rng = ROBOTS["mobile_bimanual"].groups[index], np.random.default_rng(number_)
    plain, looking = (
        GroupLimiter(bounds_of(group, period), period, steps=group.kind is Kind.GRIPPER) for _ in range(2)
    )
    for limiter in (plain, looking):
        limiter.reset([0.5 * (c.limits.lower + c.limits.upper) for c in group.channels])
    goals, goal, scale = np.zeros((3, 3, len(group.channels))), 0, 1.0
    ends = [c.limits.lower for c in group.channels], [c.limits.upper for c in group.channels]
    goals[:, 0] = rng.uniform(*ends, (3, len(group.channels)))
    for _ in range(200):
        expected, surprise = (goal, scale), rng.random() < 0.2
        if surprise:
            goal, scale = rng.integers(3), rng.choice([1.0, 0.2])
        if rng.random() < 0.8:
            looking.foresee(goals[expected[0]], expected[1])
        if rng.random() < 0.02:
            assert plain.brake() == looking.brake()
        else:
            assert plain.step(goals[goal], scale) == looking.step(goals[goal], scale)
        assert (plain.motion, plain.lead) == (looking.motion, looking.lead)


@QUIET
@given(seed, st.sampled_from(list(ROBOTS)), st.sampled_from([0.02, 0.005]), st.sampled_from([1.0, 0.2]))
def test_all_groups_together_keep_every_limit_on_a_plan_that_jumps(number_, name, period, scale):
    robot, rng = replace(ROBOTS[name], control_rate=1.0 / period), np.random.default_rng(number_)
    limiter, plan, times = Limiter(robot, period, 0.1), wandering_plan(robot, rng), np.arange(1, 250) * period
    limiter.reset(plan.at(0.0)[0])
    path, jumped = [limiter.state[0]], 0.0
    for time in times:
        jumped += (rng.random() < 0.02) * rng.uniform(0.0, 0.5)
        goal = plan.at(time + jumped)
        moving = [rng.random() > 0.02] * len(limiter.groups)
        limiter.step(goal, moving, [scale] * len(limiter.groups))
        path.append(limiter.state[0])
        for group, part, on_plan in zip(limiter.groups, limiter.slices, limiter._on_plan, strict=True):
            if not on_plan:  # on its plan a group keeps no memory of its own
                np.testing.assert_array_equal(limiter.state[:, part], np.array(group.motion))
    assert violations(robot, np.array(path), period) == []


@QUIET
@given(seed, st.sampled_from(list(ROBOTS)))
def test_a_gentle_plan_is_followed_to_the_digit_without_planning_a_way(number_, name):
    robot, period = ROBOTS[name], 0.02
    limiter, plan = Limiter(robot, period, 0.1), wandering_plan(robot, np.random.default_rng(number_), size=0.0004)
    limiter.state = plan.at(0.0)  # a natural spline begins with a rate
    for group, part in zip(limiter.groups, limiter.slices, strict=True):
        group.follow(Motion(*map(tuple, limiter.state[:, part].tolist())))
    arms = [i for i, g in enumerate(robot.groups) if g.kind is Kind.POSITION]
    for index in arms:
        limiter.groups[index]._solve = None  # whoever asked the solver would fail
    for time in np.arange(1, 60) * period:
        goal = plan.at(time)
        assert limiter.step(goal, [True] * len(robot.groups), [1.0] * len(robot.groups)) == 0
        for index in arms:
            part = limiter.slices[index]
            np.testing.assert_array_equal(limiter.state[:, part], goal[:, part])


def wandering_plan(robot, rng, size=0.02):
    """Three seconds, rows every 0.1 s, that starts at rest in the middle."""
    start = [0.0 if c.kind is Kind.VELOCITY else m for c, m in zip(robot.channels, middle(robot), strict=True)]
    steps = rng.normal(0.0, size, (30, len(start))) * rng.choice([0.0, 1.0, 3.0], len(start))
    steps[:4] = 0.0
    smooth = np.apply_along_axis(lambda column: np.convolve(column, np.ones(5) / 5.0, "same"), 0, steps)
    return make_spline(0.0, 0.1, np.array(start) + np.cumsum(smooth, axis=0), tuple(c.kind for c in robot.channels))


@QUIET
@given(seed, st.integers(3, 40), st.floats(0.01, 0.5))
def test_a_spline_meets_its_rows_and_has_no_step_in_value_rate_or_rate_of_rate(number_, rows, period):
    rng = np.random.default_rng(number_)
    values = rng.normal(0.0, 1.0, (rows, 2))
    spline = make_spline(START, period, values, (Kind.POSITION, Kind.POSITION))
    for k in range(rows):
        np.testing.assert_allclose(spline.at(START + k * period)[0], values[k], atol=1e-6)
    for k in range(1, rows - 1):
        knot, h = START + k * period, 1e-7 * period
        before, after = spline.at(knot - h), spline.at(knot + h)
        scale = np.array([[1.0], [1.0 / period], [1.0 / period**2]])
        assert np.max(np.abs(after - before) / scale) < 1e-3


@QUIET
@given(seed, st.floats(0.1, 1.0))
def test_a_residual_starts_as_the_gap_and_ends_as_nothing(number_, duration):
    rng = np.random.default_rng(number_)
    gap = rng.normal(0.0, 1.0, (3, 4))
    residual = make_residual(0.0, np.full(4, duration), gap)
    np.testing.assert_allclose(residual.at(0.0), gap, atol=1e-9)
    almost = residual.at(duration * (1.0 - 1e-9))
    np.testing.assert_allclose(almost, 0.0, atol=1e-4 * (1.0 + np.max(np.abs(gap)) / duration**2))
    assert residual.at(duration) is None
