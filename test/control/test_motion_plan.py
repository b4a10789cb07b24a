"""Plans for robots whose files say strange things of them, and what is said where no plan is found."""

from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.control import Chunk, Executor, motion_plan
from pi0_ros.control.least_squares import ChannelLimits, make_problem, within_limits
from pi0_ros.control.limits import Bounds
from pi0_ros.control.motion_plan import (
    LONGEST_STOP,
    Grid,
    PlanRequest,
    _channel_limits,
    _fastest,
    _nearest,
    _plan_of,
    _stopping,
    ask,
    make_grid,
    plan_limits,
    planning_bounds,
    solve,
    solve_once,
)
from pi0_ros.control.path_clock import PathTimes, smoother
from pi0_ros.control.plan_making import AtOnce, FinishedPlan, MakingTimes
from pi0_ros.control.row_path import make_path
from pi0_ros.robot import load_robot
from pi0_ros.robot.spec import Kind


def fast_robot(velocity: float):
    """mobile_bimanual, with this velocity limit [rad/s] for every joint of its arms, and 3 rad/s^2."""
    robot = load_robot("mobile_bimanual")
    groups = []
    for group in robot.groups:
        if group.kind is Kind.POSITION:
            channels = tuple(
                replace(c, limits=replace(c.limits, velocity=velocity, acceleration=3.0, jerk=60.0))
                for c in group.channels
            )
            group = replace(group, channels=channels)
        groups.append(group)
    return replace(robot, groups=tuple(groups))


def drive(executor: Executor, robot, rows, seconds: float):
    """Follow one chunk of rows 40 ms apart with a robot that is at once where it is told to be; the last positions."""
    state = dict.fromkeys(robot.joint_of_channel.values(), 0.0)
    steps, period = [], 1.0 / robot.control_rate
    for k in range(round(seconds / period)):
        now = 10.0 + k * period
        executor.on_state(now, now, now, state)
        executor.on_odometry(now, now, now, 0.0, 0.0, 0.0)
        if k == 10:
            assert executor.request(now, now, "autonomy").ok
        if k == 12:
            chunk = Chunk(now, 0.04, robot.channel_names, rows, 1, executor.epoch, source="test")
            assert executor.on_chunk(now, now, chunk).accepted
        steps.append(executor.step(now, now))
        if steps[-1].command is not None:
            values = dict(zip(robot.channel_names, steps[-1].command.values, strict=True))
            state.update({j: values[c] for c, j in robot.joint_of_channel.items() if c == j})
    return steps


@pytest.mark.parametrize("velocity", [1.5, 100.0])
def test_a_velocity_limit_that_no_joint_can_reach_keeps_no_robot_from_moving(velocity):
    robot = fast_robot(velocity)
    arm = robot.channel_names.index("left_joint2")
    rows = np.zeros((25, len(robot.channels)))
    rows[:, arm] = 0.3 * np.linspace(0.0, 1.0, 25) ** 2 * (3.0 - 2.0 * np.linspace(0.0, 1.0, 25))
    steps = drive(Executor(robot), robot, rows, 3.0)
    assert abs(steps[-1].command.values[arm] - 0.3) < 0.01
    moved = np.array([s.command.values[arm] for s in steps if s.command is not None])
    assert np.all(np.diff(moved) > -2e-4) and moved.max() < 0.3005  # never the other way, and hardly beyond


def test_plans_are_never_so_fast_that_a_stop_takes_long():
    robot = fast_robot(100.0)
    for group in robot.groups:
        if group.kind is Kind.POSITION:
            bounds = planning_bounds(group, 0.02)
            for v, a, j in zip(bounds.velocity, bounds.acceleration, bounds.jerk, strict=True):
                assert v <= 100.0 and v / a + a / j <= LONGEST_STOP + 1e-9


class NoPlans(AtOnce):
    """Finds none."""

    def submit(self, make):
        return FinishedPlan(None)


def test_where_no_plan_is_found_the_robot_stays_and_that_is_said():
    robot = load_robot("mobile_bimanual")
    executor = Executor(robot, planner=NoPlans())
    rows = np.zeros((25, len(robot.channels)))
    rows[:, 0] = np.linspace(0.0, 0.2, 25)
    steps = drive(executor, robot, rows, 1.0)
    assert max(abs(s.command.values[0]) for s in steps if s.command is not None) < 1e-6
    now = 11.5
    executor.on_chunk(now, now, Chunk(now, 0.04, robot.channel_names, rows, 2, executor.epoch, source="test"))
    said = [event.text for event in executor.step(now, now).events]
    assert any("chunk 1: no motion within the robot's limits follows it" in text for text in said)


class Slow:
    """Plans that are ready some periods after they were asked for, as in a process that has little time for them."""

    def __init__(self, periods, period):
        self.took, self.period, self.times, self.asked, self.waiting = periods, period, MakingTimes(), 0, []

    def submit(self, make):
        self.asked += 1
        self.waiting.append(SlowWork(AtOnce().submit(make), self.took))
        return self.waiting[-1]

    def periods(self):
        return self.times.periods(0.0, self.period)  # asked in the moment in which a command is due

    def advance(self):
        for work in self.waiting:
            work.left -= 1
            if work.left == 0:
                self.times.add(self.took * self.period)


class SlowWork:
    def __init__(self, made, periods):
        self.made, self.left = made, periods

    def done(self):
        return self.left <= 0

    def result(self):
        return self.made.result()


def follow(slow, robot, chunks, periods):
    """Drive a robot that is where it was told to be, in autonomy from period 10 on: period, time and step of each.

    `chunks(k, now, epoch)`: the chunk that comes in period k, None for none. A refused one is an error.
    """
    period = 1.0 / robot.control_rate
    executor, state = Executor(robot, planner=slow), dict.fromkeys(robot.joint_of_channel.values(), 0.0)
    for k in range(periods):
        now = 10.0 + k * period
        slow.advance()
        executor.on_state(now, now, now, state)
        executor.on_odometry(now, now, now, 0.0, 0.0, 0.0)
        if k == 10:
            assert executor.request(now, now, "autonomy").ok
        if (chunk := chunks(k, now, executor.epoch)) is not None:
            assert executor.on_chunk(now, now, chunk).accepted
        step = executor.step(now, now)
        if step.command is not None:
            values = dict(zip(robot.channel_names, step.command.values, strict=True))
            state.update({j: values[c] for c, j in robot.joint_of_channel.items() if c == j})
        yield k, now, step, state["left_joint2"]


def chunk_of(robot, k, now, epoch, path, count):
    """Rows of `left_joint2`, `count` of them 0.04 s apart, on a path over time."""
    rows = np.zeros((count, len(robot.channels)))
    rows[:, robot.channel_names.index("left_joint2")] = path(now + 0.04 * np.arange(count))
    return Chunk(now, 0.04, robot.channel_names, rows, k, epoch, source="test")


def test_plans_that_take_several_periods_to_make_are_asked_for_as_much_earlier_and_not_made_again_and_again():
    robot = load_robot("mobile_bimanual")
    slow, asked = Slow(4, 1.0 / robot.control_rate), []

    def swing(at):
        return 0.2 * np.sin(0.5 * (at - 10.0))

    def chunks(k, now, epoch):
        if k % 20 != 12:
            return None
        asked.append(slow.asked)
        return chunk_of(robot, k, now, epoch, swing, 25)

    *_, (_, now, _, reached) = follow(slow, robot, chunks, 600)
    assert slow.asked - len(asked) <= 1 + len(
        asked
    )  # a plan that was late once is asked for once more, not again and again
    assert (
        max(np.diff(asked)[:3]) <= 4 and max(np.diff(asked)[10:]) <= 2
    )  # one for the chunk, at most one because the running plan's end is near
    assert abs(reached - swing(now)) < 0.02


class Hurried(Slow):
    """One that believes every time that the next plan will be ready at once."""

    def periods(self):
        return 0


def ramp(robot):
    """0.1 rad/s from the period of the first chunk on."""
    return lambda at: 0.1 * (at - 10.0 - 12 / robot.control_rate)


def one_from_rest_and_one_on_the_way(robot):
    return lambda k, now, epoch: chunk_of(robot, k, now, epoch, ramp(robot), 40) if k in (12, 60) else None


@pytest.mark.parametrize("took", [2, 5])
def test_a_plan_that_is_late_each_time_is_asked_for_earlier_each_time_until_it_is_ready(took):
    robot = load_robot("mobile_bimanual")
    slow = Hurried(took, 1.0 / robot.control_rate)
    *_, (_, _, step, reached) = follow(slow, robot, one_from_rest_and_one_on_the_way(robot), 120)
    assert step.plan_sequence == 60 and slow.asked <= 4 * (took + 1)
    assert reached > 0.1


def test_a_plan_that_is_not_ready_in_time_begins_with_the_next_command_and_where_its_rows_are_then():
    robot = load_robot("mobile_bimanual")
    slow, began, far = Hurried(1, 1.0 / robot.control_rate), 0, []
    for k, now, step, reached in follow(slow, robot, one_from_rest_and_one_on_the_way(robot), 110):
        if step.plan_sequence == 60:
            began = began or k
            far.append(reached - ramp(robot)(now))
    assert began == 61
    assert np.ptp(far) < 0.002, "it goes on as fast as its rows, from where the robot was"


# --- what plans are made of -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("velocity", "acceleration", "jerk", "found"),
    [
        (4.0, 3.0, 60.0, 4.0),  # a stop takes 4 / 3 + 3 / 60 s
        (100.0, 3.0, 60.0, 3.0 * (2.0 - 3.0 / 60.0)),
        (100.0, 3.0, 2.0, 3.0 * 1.0),  # 3 / 2 s go by until it decelerates: what is left is half of the time
        (2.5, 3.0, 2.0, 2.5),
    ],
)
def test_no_plan_is_faster_than_what_can_be_stopped_in_two_seconds(velocity, acceleration, jerk, found):
    group = fast_robot(velocity).groups[0]
    channels = tuple(replace(c, limits=replace(c.limits, acceleration=acceleration, jerk=jerk)) for c in group.channels)
    bounds = planning_bounds(replace(group, channels=channels), 0.02)
    assert bounds.velocity == pytest.approx((found,) * 6)
    assert (bounds.acceleration, bounds.jerk) == ((acceleration,) * 6, (jerk,) * 6)


def test_a_base_is_planned_within_its_own_limits():
    base = replace(load_robot("mobile_bimanual").group("base"), kind=Kind.VELOCITY)
    assert planning_bounds(base, 0.02) == Bounds(
        (-0.5, -0.5, -1.0), (0.5, 0.5, 1.0), (1.0, 1.0, 2.0), (10.0, 10.0, 20.0), (2000.0, 2000.0, 4000.0)
    )


def bounds(*channels):
    """Of channels (velocity, acceleration, jerk)."""
    ones = (1.0,) * len(channels)
    return Bounds(tuple(-x for x in ones), ones, *(tuple(float(c[k]) for c in channels) for k in range(3)))


@pytest.mark.parametrize(
    ("groups", "period", "grid"),
    [
        # A stop takes 0.9 / 10 + 10 / 100 = 0.19 s: 10 knots of 0.02 s and two more; 0.8 s before it are 40.
        ([bounds((0.9, 10, 100))], 0.02, Grid(52, 0.02, 1, 12)),
        ([bounds((0.9, 10, 100))], 0.005, Grid(52, 0.02, 4, 12)),
        ([bounds((0.9, 10, 100))], 0.03, Grid(36, 0.03, 1, 9)),  # 7 knots and two more; 0.8 s before it are 26.7
        # 2 / 1.25 + 1.25 / 12.5 = 1.7 s, of which a thirtieth is nearest to three periods: 29 knots; as many before it.
        ([bounds((0.5, 10, 100), (2.0, 1.25, 12.5)), bounds((0.3, 5, 50))], 0.02, Grid(62, 0.06, 3, 31)),
        ([bounds((0.0, 1.0, 10), (0.9, 10, 100), (2.0, 0.0, 10))], 0.02, Grid(52, 0.02, 1, 12)),  # what cannot move
        ([], 0.02, Grid(67, 0.02, 1, 27)),
    ],
)
def test_a_plan_has_knots_for_the_longest_stop_and_for_what_it_looks_ahead(groups, period, grid):
    found = make_grid(groups, period)
    assert (found.count, found.parts, found.tail) == (grid.count, grid.parts, grid.tail)
    assert found.step == pytest.approx(grid.step)


def limits_of(robot, recovery=0.0175):
    return plan_limits(robot, 0.02, recovery)


def test_the_limits_of_a_plan_are_those_of_all_groups_one_after_the_other():
    robot = load_robot("mobile_bimanual")
    found, i = limits_of(robot, 0.03), robot.index
    assert found.recovery == 0.03 and found.kinds == tuple(c.kind for c in robot.channels)
    for name in ("left_joint2", "right_joint5", "lift"):
        own = robot.channels[i[name]].limits
        row = [getattr(found.bounds, key)[i[name]] for key in ("lower", "upper", "velocity", "acceleration", "jerk")]
        assert row == [own.lower, own.upper, own.velocity, own.acceleration, own.jerk]
        asked = (found.path.speed[i[name]], found.path.acceleration[i[name]], found.path.jerk[i[name]])
        assert asked == (own.velocity, own.acceleration, own.jerk) and found.value[i[name]] == np.inf
    grip, turn = i["left_gripper"], i["base_wz"]
    assert found.path.speed[grip] == found.path.acceleration[grip] == found.path.jerk[grip] == np.inf
    # The path may ask a base for its speed, its acceleration and the jerk of that; its plan is one derivative higher.
    assert (found.path.speed[turn], found.path.acceleration[turn], found.path.jerk[turn]) == (1.0, 2.0, 20.0)
    assert (found.bounds.velocity[turn], found.bounds.acceleration[turn], found.value[turn]) == (2.0, 20.0, 1.0)
    assert found.path.driven.tolist() == [c.kind is Kind.VELOCITY for c in robot.channels]


def test_what_is_too_fast_slows_down_gently_and_may_be_a_little_faster_at_first():
    """From 1.2 rad/s at 5 rad/s^2: at half of that, five knots of 0.1 s late."""
    found = _stopping(np.array([1.2, 0.3]), np.array([5.0, 2.0]), 0.1, 12)
    k = np.maximum(np.arange(12) - 5, 0)
    np.testing.assert_allclose(found, np.stack([1.2 - 0.25 * k, 0.3 - 0.1 * k], axis=1), atol=1e-6)
    assert (found[:6] >= [1.2, 0.3]).all()


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_motion_may_be_a_tenth_faster_than_its_rows_and_is_slow_outside_its_range(side):
    robot = load_robot("mobile_bimanual")
    limits, columns = limits_of(robot, 0.03), np.array([1, 4, robot.index["lift"]])
    most = np.array([robot.channels[c].limits.velocity for c in columns])
    x = np.array([0.5 * (robot.channels[c].limits.lower + robot.channels[c].limits.upper) for c in columns])
    target = x + side * np.array(
        [[0.0, 0.0, 0.0], [0.01, 0.0, 0.0], [0.04, 0.0, 0.0], [0.04, 0.0, 0.9 * 0.1 * most[2]]]
    )
    found = _fastest(target, x, 0.1, columns, limits)
    np.testing.assert_allclose(found, [1.1 * 0.3, 0.05 * most[1], 0.99 * most[2]])
    np.testing.assert_allclose(_fastest(10.0 * target, x, 0.1, columns, limits)[[0, 2]], most[[0, 2]])
    ends = [robot.channels[c].limits for c in columns]
    outside = np.array([(e.upper if side > 0.0 else e.lower) + side * 0.01 for e in ends])
    np.testing.assert_allclose(_fastest(target, outside, 0.1, columns, limits), np.minimum(0.03, most))
    outside[0] = x[0]
    np.testing.assert_allclose(_fastest(target, outside, 0.1, columns, limits), [0.33, 0.03, min(0.03, most[2])])


ROBOT = load_robot("mobile_bimanual")
ROBOT_LIMITS = limits_of(ROBOT, 0.03)
STEP, KNOTS = 0.04, 12
SHARES = np.linspace(0.3, 1.0, KNOTS)


def allowed(channel, of, target, state, fastest):
    """What a channel may do at each knot (up, down, lowest, highest), in scalars, from the words of `_channel_limits`."""
    x, v, a = state
    lower, upper, most, turn, jerk = of
    driven, found = channel.kind is Kind.VELOCITY, []
    turned = a * a / (2.0 * jerk * 0.995)  # what the velocity goes on by until the acceleration is over
    moving = abs(v) + turned
    low = max(min(lower + 1e-7, x), min(target.min(), x) - 1e-4)
    high = min(max(upper - 1e-7, x), max(target.max(), x) + 1e-4)
    rises = target[-1] - x > 1e-4 or (np.diff(target) > 1e-4).any()
    falls = x - target[-1] > 1e-4 or (np.diff(target) < -1e-4).any()
    for k, share in enumerate(SHARES):
        slowing = lambda speed, k=k: speed * (1.0 + 1e-7) - max(k - 5, 0) * 0.5 * turn * 0.995 * STEP
        speed = min(max(min(fastest, share * most) * 0.995, slowing(moving)), max(most * 0.995, moving))
        up = speed if rises else min(speed, max(slowing(v + turned), 0.002 * most))
        down = speed if falls else min(speed, max(slowing(-v + turned), 0.002 * most))
        if driven:  # its value is a velocity, of which a share is allowed, and zero always
            end = max(share * upper, x), min(-share * upper, x)
            found.append((most * 0.995, most * 0.995, max(min(low, 0.0), end[1]), min(max(high, 0.0), end[0])))
        else:
            found.append((up, down, low, high))
    return np.array(found)


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize(
    "way", [lambda s: s, lambda s: 0.0 * s, lambda s: np.sin(np.pi * s), lambda s: 0.5 * s * s - 0.01 * (s > 0.9)]
)
@pytest.mark.parametrize(
    ("off", "speed", "turn"),
    [(0.0, 0.0, 0.0), (0.02, 0.4, 0.0), (-0.03, 0.3, -0.6), (0.0, -0.9, 0.5), (0.0, 0.997, 0.0), (9.0, 0.1, 0.0)],
)
def test_a_channel_may_move_as_its_rows_do_and_slow_down_gently_where_it_is_too_fast(side, way, off, speed, turn):
    """`off` [rad, m] from the first row, 9 for outside its limits; speed and acceleration in shares of their limits."""
    robot, limits = ROBOT, ROBOT_LIMITS
    columns = np.array([robot.index[n] for n in ("left_joint2", "lift", "base_vx")])
    names = ("lower", "upper", "velocity", "acceleration", "jerk")
    of = np.array([np.array(getattr(limits.bounds, name))[columns] for name in names])
    s = np.linspace(0.0, 1.0, KNOTS)[:, None]
    home = 0.5 * (of[0] + of[1])
    target = home + side * way(s) * np.array([0.4, 0.05, 0.3])
    start = np.array([home + side * off, side * speed * of[2], side * turn * of[3]])
    if off == 9.0:
        start[0] = np.where(side > 0.0, of[1] + 0.05, of[0] - 0.05)
    found = _channel_limits(columns, target, start, SHARES, STEP, limits)
    fastest = _fastest(target, start[0], STEP, columns, limits)
    for i, column in enumerate(columns):
        wanted = allowed(robot.channels[column], of[:, i], target[:, i], start[:, i], fastest[i])
        for told, part in zip((found.velocity, found.backward, found.low, found.high), wanted.T, strict=True):
            np.testing.assert_allclose(np.broadcast_to(told, (KNOTS, 3))[:, i], part, rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(found.acceleration, 0.995 * of[3])
    np.testing.assert_allclose(found.jerk, 0.995 * of[4])


# --- solving --------------------------------------------------------------------------------------------------------

GRID = Grid(40, 0.06, 3, 14)  # three control periods of 0.02 s to a knot
JOINT, OTHER, BASE, GRIP = (ROBOT.index[n] for n in ("left_joint2", "right_joint4", "base_vx", "left_gripper"))
HOME = np.array([0.0 if c.kind is Kind.VELOCITY else 0.5 * (c.limits.lower + c.limits.upper) for c in ROBOT.channels])


def wave(rows, period=0.1):
    """A path from ROS second 5 on: two joints and the base go gently somewhere else, the left gripper closes step by step."""
    k, s = np.arange(rows), np.linspace(0.0, 1.0, rows)
    values = np.tile(HOME, (rows, 1))
    for column, way in ((JOINT, 0.08), (OTHER, -0.05), (BASE, 0.06)):
        values[:, column] += way * s**3 * (10.0 - 15.0 * s + 6.0 * s**2)
    values[:, GRIP] = 1.0 - k / rows
    speeds = np.array([c.limits.velocity for c in ROBOT.channels])
    return make_path(5.0, period, values, ROBOT_LIMITS.kinds, speeds, np.full(len(HOME), 3.0))


def request_for(path, rates, state=None):
    times = PathTimes(5.0 + np.cumsum([0.0, *(GRID.step * rates)]), rates, 0, "velocity", 0.0, 1.0)
    state = np.stack([HOME, 0.0 * HOME, 0.0 * HOME]) if state is None else state
    return PlanRequest(path, state, 7.0, times, np.ones(GRID.count))


def at_each_period(y, start):
    """States [P, 3] of one channel from the jerks y / step^3 of its pieces."""
    (x, v, a), t, found = start, GRID.step / GRID.parts, []
    for jerk in np.repeat(y / GRID.step**3, GRID.parts):
        x, v, a = x + v * t + a * t**2 / 2.0 + jerk * t**3 / 6.0, v + a * t + jerk * t**2 / 2.0, a + jerk * t
        found.append((x, v, a))
    return np.array(found)


@pytest.mark.parametrize(("rows", "weighted"), [(60, 26), (15, 26), (14, 40)])
def test_a_plan_is_the_best_motion_of_each_channel_within_its_limits_at_every_control_period(rows, weighted):
    """The path is over by the knot from which on a stop may be needed (26, 1.56 s), or what lies after that has no targets.
    The base is as much slower as the path is, and never faster than its rows."""
    rates = np.linspace(0.7, 1.3, GRID.count)
    end_of_look = 5.0 + GRID.step * rates[:26].sum()
    assert bool(wave(rows).end <= end_of_look) is (weighted == 40)
    state = np.stack([HOME, 0.0 * HOME, 0.0 * HOME])
    state[:, [JOINT, BASE]] += np.array([[0.001, 0.03], [0.08, -0.02], [0.1, 0.2]])
    request = request_for(wave(rows), rates, state)
    plan = solve(request, GRID, ROBOT_LIMITS)
    wanted = wave(rows).at(request.times.times[1:])
    wanted[:, BASE] *= np.minimum(rates, 1.0)
    problem = make_problem(GRID.count, GRID.step, weighted)
    for i in (JOINT, OTHER, BASE, ROBOT.index["lift"]):
        only, own, start = np.array([i]), wanted[:, i : i + 1], state[:, i : i + 1]
        bounds = _channel_limits(only, own[:weighted], start, request.scales, GRID.step, ROBOT_LIMITS)
        best = within_limits(problem, own, start, bounds, GRID.step)[:, 0]
        np.testing.assert_allclose(plan.states[:-1, :, i], at_each_period(best, state[:, i])[:-1], atol=2e-6)
    assert plan.states.shape == (120, 3, len(HOME)) and plan.path is request.path and plan.request is request
    assert (plan.states[-1, 1:] == 0.0).all() and (plan.states[:, 1:, ROBOT.index["lift"]] == 0.0).all()
    knots = np.arange(1, 121) / 3.0
    np.testing.assert_allclose(plan.path_times, np.interp(knots, np.arange(41), request.times.times))
    np.testing.assert_array_equal(plan.states[:, 0, GRIP], wave(rows).at(plan.path_times)[:, GRIP])
    assert (plan.states[:, 1:, GRIP] == 0.0).all()
    np.testing.assert_array_equal(plan.rates, np.repeat(rates, 3))
    slow = np.repeat(rates < 0.98, 3)
    assert plan.limited[slow].all() and not plan.limited[~slow].all()


def test_what_a_limit_keeps_off_its_rows_by_five_millimetres_is_told_and_other_channels_do_not_feel_it():
    """One joint shall be 0.5 rad further on at once. What lies in the time of a stop has no targets to be off."""
    path = wave(60)
    rows = path.rows.copy()
    rows[8:, JOINT] += 0.5
    jump, request = replace(path, rows=rows), request_for(path, np.ones(GRID.count))
    request = replace(request, path=jump)
    plan, smooth = solve(request, GRID, ROBOT_LIMITS), solve(request_for(path, np.ones(GRID.count)), GRID, ROBOT_LIMITS)
    others = np.arange(len(HOME)) != JOINT
    np.testing.assert_array_equal(plan.states[:, :, others], smooth.states[:, :, others])
    own = ROBOT.channels[JOINT].limits
    x, v, a = plan.states[:, :, JOINT].T
    assert np.abs(v).max() <= own.velocity and np.abs(a).max() <= own.acceleration
    assert np.abs(np.diff(a)).max() <= own.jerk * 0.02 and np.abs(a).max() > 0.99 * own.acceleration
    off = np.abs(x[2::3] - jump.at(request.times.times[1:])[:, JOINT]) > 5e-3
    assert 2 < off[:26].sum() < 20 and off[26:].any()
    np.testing.assert_array_equal(plan.limited, np.repeat(off & (np.arange(40) < 26), 3))
    assert not smooth.limited.any()


def test_from_where_no_stop_is_possible_there_is_no_plan():
    state = np.stack([HOME, 0.0 * HOME, 0.0 * HOME])
    state[:2, OTHER] = ROBOT.channels[OTHER].limits.upper - 1e-3, ROBOT.channels[OTHER].limits.velocity
    assert solve(request_for(wave(60), np.ones(GRID.count), state), GRID, ROBOT_LIMITS) is None


def column(values):
    return np.broadcast_to(np.asarray(values, float).reshape(-1, 1), (GRID.count, 1)).copy()


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("far", [1.0, -1.0])
def test_where_bounds_leave_no_room_for_a_stop_they_are_as_wide_as_it_needs_and_else_those_of_the_robot(side, far):
    """At 0.4 rad/s towards the end of what is allowed, 5 rad/s^2 and 50 rad/s^3: a stop needs v / 2 (v / A + A / J) more."""
    problem, end = make_problem(GRID.count, GRID.step, GRID.count), ROBOT.channels[JOINT].limits
    x = HOME[JOINT]
    wanted = x + far * 0.6 * np.sin(np.linspace(0.0, 3.0, GRID.count))[:, None]
    turn, jerk = np.array([5.0]), np.array([50.0])
    at, other = column(0.001), column(np.linspace(0.2, 0.1, GRID.count))
    up, down = (at, other)[:: int(side)]
    bounds = ChannelLimits(column(0.6), column(0.45), turn, jerk, x - down, x + up)
    nearest = lambda bounds, v: _nearest(
        problem, wanted, np.array([[x], [v], [0.0]]), bounds, GRID.step, JOINT, ROBOT_LIMITS
    )
    best = lambda bounds, v: within_limits(problem, wanted, np.array([[x], [v], [0.0]]), bounds, GRID.step)
    # At rest there is room.
    np.testing.assert_array_equal(nearest(bounds, 0.0), best(bounds, 0.0))
    # On its way it needs some; it may then go either way as fast as one of them.
    needs = 0.5 * 0.4 * (0.4 / 5.0 + 5.0 / 50.0)
    up, down = (np.maximum(at, needs), other)[:: int(side)]
    wider = bounds._replace(velocity=column(0.6), backward=column(0.6), low=x - down, high=x + up)
    assert best(bounds, side * 0.4) is None
    np.testing.assert_allclose(nearest(bounds, side * 0.4), best(wider, side * 0.4), atol=1e-9)
    # Faster than both, or with a bound in its way: all that the robot can do, inside its range by a ten-millionth.
    for fast, v in ((1.0, 0.9), (2.0, 0.9), (1.0, 0.4)):
        slow = bounds._replace(velocity=column([fast] + [0.0] * 39), backward=column(0.1))
        most = ROBOT_LIMITS.bounds.velocity[JOINT] * 0.995 * fast
        slow = slow._replace(velocity=column([most if fast > 1.0 else 0.3] + [0.05] * 39))
        whole = bounds._replace(
            velocity=column(most), backward=column(most), low=column(end.lower + 1e-7), high=column(end.upper - 1e-7)
        )
        found = nearest(slow, side * v)
        assert best(whole, side * v) is not None
        np.testing.assert_allclose(found, best(whole, side * v), atol=1e-9)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_from_outside_its_range_a_channel_may_come_back_but_go_no_further(side):
    problem, end = make_problem(GRID.count, GRID.step, GRID.count), ROBOT.channels[JOINT].limits
    x = (end.upper if side > 0.0 else end.lower) + side * 0.05
    start, wanted = np.array([[x], [-side * 0.4], [0.0]]), column(x + side * 0.2)
    wall = column(x - side * 0.001)
    bounds = ChannelLimits(
        column(0.1), column(0.1), np.array([5.0]), np.array([50.0]), *((wall, column(x)) if side > 0.0 else (column(x), wall))
    )  # fmt: skip
    found = _nearest(problem, wanted, start, bounds, GRID.step, JOINT, ROBOT_LIMITS)
    most = ROBOT_LIMITS.bounds.velocity[JOINT] * 0.995
    low, high = (end.lower + 1e-7, x) if side > 0.0 else (x, end.upper - 1e-7)
    whole = ChannelLimits(column(most), column(most), np.array([5.0]), np.array([50.0]), column(low), column(high))
    np.testing.assert_allclose(found, within_limits(problem, wanted, start, whole, GRID.step), atol=1e-9)


def test_an_answer_of_the_solver_that_keeps_no_limit_is_none(monkeypatch):
    problem = make_problem(GRID.count, GRID.step, GRID.count)
    bounds = ChannelLimits(column(0.6), column(0.45), np.array([5.0]), np.array([50.0]), column(-9.0), column(9.0))
    start, wanted = np.zeros((3, 1)), column(0.1)
    good = within_limits(problem, wanted, start, bounds, GRID.step)
    for times, kept in ((1.0, True), (50.0, False)):
        monkeypatch.setattr(motion_plan, "within_limits", lambda *_, times=times: times * good)
        assert (_nearest(problem, wanted, start, bounds, GRID.step, JOINT, ROBOT_LIMITS) is not None) is kept


def test_a_plan_is_asked_for_from_the_rate_at_which_the_robot_already_moves_along_its_path():
    """The path moves one joint by 1.2 rad/s for two seconds, the robot by a quarter of that; the ROS clock runs at 0.9."""
    rows = np.tile(HOME, (60, 1))
    rows[:, JOINT] = -1.1 + 0.12 * np.minimum(np.arange(60), 20)
    speeds = np.array([c.limits.velocity for c in ROBOT.channels])
    path = make_path(5.0, 0.1, rows, ROBOT_LIMITS.kinds, speeds, np.full(len(HOME), 3.0))
    state = np.zeros((3, len(HOME)))
    state[1, JOINT] = 0.3
    shares = np.linspace(0.7, 1.0, GRID.count)
    request, demanded = ask(path, 5.5, 0.0, state, 7.0, 0.9, shares, GRID, ROBOT_LIMITS)
    assert request.path is path and request.state is state and request.time == 7.0 and request.scales is shares
    assert request.times.times[0] == 5.5 and len(request.times.rates) == GRID.count
    # Its rate may rise by 0.6 of 10 rad/s^2 over 1.2 rad/s.
    climb = 0.6 * ROBOT.channels[JOINT].limits.acceleration / 1.2 * GRID.step
    assert request.times.rates[0] == pytest.approx(0.25 + climb, abs=0.01) and climb == pytest.approx(0.3)
    assert demanded.start == 5.5 and demanded.step == GRID.step
    np.testing.assert_allclose(demanded.velocity[2:12, JOINT], 1.2, atol=5e-3)
    assert len(demanded.velocity) == 53  # 40 knots at 1.3 times the speed, and where the last one ends
    for behind, rate in ((0.06, 0.9 * 1.2), (-0.06, 0.9 * 0.8)):  # made up for in about 0.3 s
        moving = state.copy()
        moving[1, JOINT] = 1.2
        late = ask(path, 5.5, behind, moving, 7.0, 0.9, shares, GRID, ROBOT_LIMITS)[0]
        assert late.times.rates[0] == pytest.approx(rate)


def test_once_it_was_got_ready_no_plan_has_to_make_a_matrix():
    grid = Grid(36, 0.0421, 2, 13)
    solve_once(grid)
    made = make_problem.cache_info().misses, smoother.cache_info().misses
    for rows in (60, 3):
        request, demanded = ask(wave(rows), 5.0, 0.0, np.stack([HOME, 0.0 * HOME, 0.0 * HOME]), 7.0, 1.0, np.ones(36), grid, ROBOT_LIMITS)  # fmt: skip
        assert len(demanded.velocity) == 48  # 36 knots at 1.3 times the speed are 46.8, and where the last one ends
        assert solve(request, grid, ROBOT_LIMITS) is not None
    assert (make_problem.cache_info().misses, smoother.cache_info().misses) == made


def test_a_plan_is_exactly_at_rest_where_it_hardly_moves_and_at_its_end_whatever_is_left():
    """Below a ten-millionth of a channel's limits; what is that near to zero stays where it is."""
    rates = np.linspace(0.9, 1.1, GRID.count)
    request, short = request_for(wave(60), rates), np.arange(GRID.count) % 7 == 3
    states = np.random.default_rng(9).uniform(0.5, 1.0, (120, 3, len(HOME)))
    limits = ROBOT_LIMITS.bounds
    for row, of in ((1, limits.velocity), (2, limits.acceleration)):
        for column in (JOINT, OTHER, BASE):
            for k, share in enumerate((0.9e-7, -0.9e-7, 1.1e-7, -1.1e-7)):
                states[10 + k, row, column] = share * of[column]
    states[10, 0, JOINT] = 1e-9
    wanted = states.copy()
    for row in (1, 2):
        wanted[10:12, row, [JOINT, OTHER, BASE]] = 0.0
    wanted[-1, 1:] = 0.0
    plan = _plan_of(request, states, short, GRID, ROBOT_LIMITS)
    grips = [i for i, c in enumerate(ROBOT.channels) if c.kind is Kind.GRIPPER]
    knots = np.interp(np.arange(1, 121) / 3.0, np.arange(41), request.times.times)
    wanted[:, 0, grips], wanted[:, 1:, grips] = request.path.at(knots)[:, grips], 0.0
    np.testing.assert_array_equal(plan.states, wanted)
    np.testing.assert_allclose(plan.path_times, knots, rtol=0.0, atol=1e-12)
    np.testing.assert_array_equal(plan.rates, np.repeat(rates, 3))
    np.testing.assert_array_equal(plan.limited, np.repeat(short | (rates < 0.98), 3))
    assert plan.request is request and plan.path is request.path


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_channel_that_is_faster_than_it_may_be_is_stopped_as_fast_as_it_is_allowed_to_slow_down(side):
    """Its bounds begin a tenth above the velocity limit and leave no room; what is left is that speed, and its whole range."""
    problem, end = make_problem(GRID.count, GRID.step, GRID.count), ROBOT.channels[JOINT].limits
    most = 1.1 * end.velocity
    start, wanted = np.array([[HOME[JOINT]], [side * 1.09 * end.velocity], [0.0]]), column(HOME[JOINT])
    few = column([most] + [0.05] * 39)
    turn, jerk = np.array([end.acceleration * 0.995]), np.array([end.jerk * 0.995])
    wide = column(end.lower + 1e-7), column(end.upper - 1e-7)
    found = _nearest(problem, wanted, start, ChannelLimits(few, few, turn, jerk, *wide), GRID.step, JOINT, ROBOT_LIMITS)
    whole = within_limits(
        problem, wanted, start, ChannelLimits(column(most), column(most), turn, jerk, *wide), GRID.step
    )
    np.testing.assert_allclose(found, whole, atol=1e-9)


def test_a_plan_on_a_path_that_is_just_getting_faster_begins_as_fast_as_the_robot_is_on_its_first_place():
    """A joint that gains 1.2 rad/s in every second; the robot moves at 0.12 rad/s where the path has 1.2 and more after it."""
    rows = np.tile(HOME, (40, 1))
    rows[:, JOINT] = HOME[JOINT] - 0.9 + 0.6 * (0.1 * np.minimum(np.arange(40), 20)) ** 2
    path = make_path(5.0, 0.1, rows, ROBOT_LIMITS.kinds, np.full(18, 9.0), np.full(18, 3.0))
    state = np.zeros((3, len(HOME)))
    state[1, JOINT] = 0.12
    request, demanded = ask(path, 6.0, 0.0, state, 7.0, 1.0, np.ones(GRID.count), GRID, ROBOT_LIMITS)
    assert demanded.velocity[0, JOINT] == pytest.approx(1.2, abs=0.01)
    assert demanded.velocity[1, JOINT] == pytest.approx(1.2 + 1.2 * GRID.step, abs=0.01)
    rate = 0.12 / demanded.velocity[0, JOINT] + GRID.step * demanded.climb[0]
    assert request.times.rates[0] == pytest.approx(min(rate, 1.0), abs=1e-9) and rate < 1.0
