"""What is accepted of a policy. Expected values are worked out by hand from limits that are written here."""

import re
from dataclasses import replace

import numpy as np
import pytest
from story import Story, make_robot, middle

from pi0_ros.control import ExecutorSettings
from pi0_ros.control.acceptance import History, Lead, Reach, accept_rows, beyond_limits, reach_of
from pi0_ros.control.chunk import Cause
from pi0_ros.robot.spec import Kind

ARM, GRIPPER, BASE, LIFT = "left_joint2", "right_gripper", "base_wz", "lift"


@pytest.fixture
def story():
    return Story(make_robot()).autonomy()


def plan(story, rows=12, **columns):
    """Rows [H, D] that stay where the robot is, but for the columns given (a number or H numbers)."""
    values = np.tile(story.values, (rows, 1))
    for name, column in columns.items():
        values[:, story.robot.index[name]] = column
    return story.chunk(values=values, rows=rows)


def ramp(start, speed, rows=12, period=0.1):
    return start + speed * period * np.arange(rows)


def test_a_plan_that_starts_elsewhere_is_refused_and_the_running_one_goes_on_and_then_stalls(story):
    story.run(0.3)
    sequence = story.last.plan_sequence
    verdict = story.send(plan(story, **{ARM: story.at(ARM) + 1.5}))
    assert not verdict.accepted and verdict.cause is Cause.FAR_START
    assert ARM in verdict.reason and "row 0" in verdict.reason
    before = story.values.copy()
    story.run(0.1)
    assert story.last.owner == "policy" and story.last.plan_sequence == sequence
    story.run(5.0)
    assert story.last.mode.value == "hold" and "policy silent" in story.last.reason
    np.testing.assert_allclose(story.values, before, atol=1e-6)


@pytest.mark.parametrize("value", [1e6, -3e38, 1e30])
@pytest.mark.parametrize("channel", [ARM, BASE, LIFT, GRIPPER])
def test_a_row_far_beyond_a_limit_refuses_the_plan_with_channel_row_value_and_limit(story, channel, value):
    column = np.full(12, story.at(channel))
    column[7] = value
    verdict = story.send(plan(story, **{channel: column}))
    limits = story.robot.channels[story.robot.index[channel]].limits
    assert verdict.cause is Cause.BEYOND_LIMIT
    limit = limits.upper if value > 0 else limits.lower
    assert f"{channel} is {value:.4g} in row 7, far beyond its limit {limit:.4g}" in verdict.reason
    before = story.values.copy()
    story.run(2.0)
    np.testing.assert_allclose(story.values, before, atol=1e-6)


def test_a_margin_of_a_tenth_of_the_range_beyond_a_limit_is_clamped_and_no_more():
    robot = make_robot()
    limits = robot.channels[robot.index[ARM]].limits
    margin = 0.1 * (limits.upper - limits.lower)
    for excess, accepted in ((0.9 * margin, True), (1.1 * margin, False)):
        story = Story(robot)
        story.measured[robot.index[ARM]] = limits.upper - 0.1
        story.autonomy()
        verdict = story.send(goal={ARM: limits.upper + excess})
        assert verdict.accepted is accepted
        story.run(2.0)
        assert story.at(ARM) <= limits.upper + 1e-9
        assert ("clamped" in story.names()) is accepted


def test_a_jump_that_no_robot_could_follow_is_refused_in_either_direction_and_wherever_it_is(story):
    here = story.at(ARM)
    for rows, sign in ((3, 1), (9, -1), (6, 1)):
        column = np.full(12, here)
        column[rows:] += sign * 1.3
        verdict = story.send(plan(story, **{ARM: column}))
        assert verdict.cause is Cause.TOO_FAST and f"{ARM} jumps" in verdict.reason and f"row {rows}" in verdict.reason


def test_a_jump_back_after_rows_that_crept_away_is_seen(story):
    """Neither the first row nor any step from row to row says it: the rows before the jump do."""
    here = story.at(ARM)
    column = np.concatenate([here + np.linspace(0.0, 1.3, 11), [here]])
    verdict = story.send(plan(story, **{ARM: column}))
    assert verdict.cause is Cause.TOO_FAST and "row 11" in verdict.reason


@pytest.mark.parametrize(("times", "accepted"), [(1.0, True), (2.9, True), (4.5, False)])
def test_a_plan_may_be_a_few_times_too_fast_for_the_robot_and_no_faster(story, times, accepted):
    speed = story.robot.channels[story.robot.index[ARM]].limits.velocity * times
    column = ramp(story.at(ARM) - 0.4, speed, rows=4)
    assert story.send(plan(story, rows=4, **{ARM: column})).accepted is accepted


def test_a_late_plan_is_judged_by_where_the_robot_was_when_it_was_observed():
    """Observed 0.8 s ago, the robot being 0.9 rad further now: right; the same rows observed now: wrong."""
    story = Story(make_robot()).autonomy(goal={ARM: 1.4}, rows=21)
    story.run(1.0)
    then, before = story.ros, story.at(ARM)
    story.run(0.8)
    assert story.at(ARM) - before > 0.5
    late = plan(story, **{ARM: before})
    assert story.send(replace(late, start=then)).accepted
    verdict = story.send(replace(late, start=story.ros, sequence=late.sequence + 1))
    assert verdict.cause is Cause.FAR_START and ARM in verdict.reason


def test_rows_that_continue_the_running_plan_are_right_although_the_robot_lags_behind_it():
    """Real-time chunking: the first rows are the running plan's, which the command follows late."""
    story = Story(make_robot(), ExecutorSettings(engage_time=0.0)).run(0.1)
    story.ask("autonomy")
    story.tick()
    speed = 2.0 * story.robot.channels[story.robot.index[ARM]].limits.velocity
    home = story.at(ARM) - 1.0
    story.measured[story.robot.index[ARM]] = home
    story = Story(make_robot(), ExecutorSettings(engage_time=0.0), start=story.measured).run(0.1)
    story.ask("autonomy")
    story.tick()
    first = plan(story, rows=8, **{ARM: ramp(home, speed, 8, 0.05)})
    assert story.send(replace(first, period=0.05, start=story.ros)).accepted
    story.run(0.3)
    planned = home + speed * (story.ros - first.start)
    assert planned - story.at(ARM) > 0.55  # further than a start may be from the command
    following = plan(story, rows=4, **{ARM: planned})
    assert story.send(replace(following, start=story.ros, period=0.05)).accepted


def test_a_gripper_and_a_base_may_jump_because_they_are_limited_as_they_go(story):
    column = np.where(np.arange(12) < 5, 0.0, 1.0)
    assert story.send(plan(story, **{GRIPPER: column, BASE: 0.9 * column})).accepted


def test_who_allows_a_far_start_is_not_refused_for_it():
    story = Story(make_robot(), ExecutorSettings(start_gap=2.0)).run(0.1)
    story.ask("autonomy")
    story.tick()
    assert story.send(plan(story, **{ARM: story.at(ARM) + 1.5})).accepted


def test_the_past_is_as_long_as_a_chunk_may_be_old_and_bounded_in_memory():
    past = History(2.0)
    for k in range(100_000):
        past.add(1e-3 * k, np.array([float(k)]), [float(k)])
    assert past.at(99.0).commanded[0] == pytest.approx(99_000, abs=2)
    assert past.at(98.1).commanded[0] == pytest.approx(98_100, abs=2)
    assert past.at(0.0).time > 97.0
    past.clear()
    assert past.at(99.0) is None


def test_a_free_joint_has_no_limits_to_be_beyond_and_is_judged_by_its_jumps():
    robot = make_robot()
    free = replace(robot.channels[0].limits, lower=-np.inf, upper=np.inf)
    channel = replace(robot.channels[0], limits=free)
    group = replace(robot.groups[0], channels=(channel,))
    reach = reach_of(replace(robot, groups=(group,)), ExecutorSettings())
    times = 0.1 * np.arange(3)
    assert accept_rows(np.full((3, 1), 40.0), times, reach, [(0.0, np.array([40.1]))]).accepted
    assert accept_rows(np.full((3, 1), 1e30), times, reach, [(0.0, np.array([0.0]))]).cause is Cause.FAR_START
    assert channel.kind is Kind.POSITION


# --- a person's input -------------------------------------------------------------------------------------------------


def led(story, seconds, goal):
    """Teleop of the left arm for some seconds, `goal(seconds) -> [6]`; how fast it moved [rad/s] at most."""
    ticks, start = len(story.steps), story.ros
    story.run(seconds, each=lambda s: s.teleop("left_arm", goal(s.ros - start)))
    commands = np.array([s.command.values[:6] for s in story.steps[ticks - 1 :]])
    return float(np.abs(np.diff(commands, axis=0)).max() / story.period)


@pytest.fixture
def teleoperated():
    """The left arm follows a person who holds it still, and the slow first seconds are over."""
    story = Story(make_robot()).run(0.1)
    assert story.ask("teleop").ok
    home = story.values[:6].copy()
    led(story, 2.0, lambda _: home)
    return story


def test_a_leader_that_jumps_is_approached_slowly_and_then_followed_at_full_speed(teleoperated):
    story, home = teleoperated, teleoperated.values[:6].copy()
    jumped = home + np.array([1.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert led(story, 1.0, lambda _: jumped) <= 0.2 * 2.5 + 1e-6
    led(story, 4.0, lambda _: jumped)
    np.testing.assert_allclose(story.values[:6], jumped, atol=1e-3)
    assert "the input for left_arm jumped; it is approached slowly" in story.texts()
    moved = led(story, 1.0, lambda t: jumped - np.array([min(1.5 * t, 0.9), 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert moved > 1.4
    story.sound()


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_a_far_leader_that_stands_still_is_approached_at_20_percent_for_a_second_and_at_normal_speed_after_it(noise):
    story = Story(make_robot()).run(0.1)
    home = story.values[:6].copy()
    away = lambda t: home + np.array([1.7 + noise * (round(t * 50) % 2), 0.0, 0.0, 0.0, 0.0, 0.0])
    story.run(0.2, each=lambda s: s.teleop("left_arm", away(0.0)))
    assert story.ask("teleop").ok
    assert led(story, 1.0, away) == pytest.approx(0.2 * 2.5, rel=0.01)
    # 0.5 rad in that second, 0.75 in the half second in which the share rises, the rest at 2.5 rad/s and the stop.
    assert led(story, 1.4, away) > 0.8 * 2.5
    moved = np.array(story.runs[-1])[:, 0] - home[0]
    assert moved[-1] == pytest.approx(1.7, abs=1e-4) and moved.max() <= 1.7 + 1e-4
    story.sound()


@pytest.mark.parametrize("before", ["never spoke", "was silent"])
def test_a_device_that_joins_later_is_followed_slowly_at_first_too(teleoperated, before):
    story, home = teleoperated, teleoperated.values[7:13].copy()
    left = story.values[:6].copy()
    still = lambda s: s.teleop("left_arm", left)
    if before == "was silent":
        story.run(2.0, each=lambda s: still(s) or s.teleop("right_arm", home))
        story.run(1.0, each=still)
    away, first = home + np.array([0.0, 0.0, 0.9, 0.0, 0.0, 0.0]), len(story.steps)
    story.run(1.0, each=lambda s: still(s) or s.teleop("right_arm", away))
    moved = np.array([s.command.values[7:13] for s in story.steps[first - 1 :]])
    assert np.abs(np.diff(moved, axis=0)).max() / story.period == pytest.approx(0.2 * 2.5, rel=0.01)
    story.run(1.5, each=lambda s: still(s) or s.teleop("right_arm", away))
    np.testing.assert_allclose(story.values[7:13], away, atol=1e-3)


def test_a_fast_hand_is_followed_although_the_robot_lags_behind_it(teleoperated):
    story, home = teleoperated, teleoperated.values[:6].copy()
    moved = led(story, 0.5, lambda t: home + np.array([min(6.0 * t, 1.2), 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert moved > 2.0
    assert "jumped" not in story.texts()


@pytest.mark.parametrize("value", [9.0, -1e6])
def test_values_that_no_person_can_mean_are_refused_with_joint_value_and_limit(teleoperated, value):
    story, home = teleoperated, teleoperated.values[:6].copy()
    wrong = home.copy()
    wrong[3] = value
    led(story, 1.0, lambda _: wrong)
    limit = story.robot.channels[3].limits.upper if value > 0 else story.robot.channels[3].limits.lower
    assert f"left_joint4 is {value:.4g}, far beyond its limit {limit:.4g}" in story.texts()
    assert story.last.counters.refused > 40 and story.last.mode.value == "hold"
    np.testing.assert_allclose(story.values[:6], home, atol=1e-9)


def test_a_joystick_that_says_more_than_the_base_can_is_clamped(teleoperated):
    story = teleoperated
    story.run(2.0, each=lambda s: s.teleop("base", (2.0, 0.0, 0.0)))
    assert story.at("base_vx") == pytest.approx(0.5, abs=1e-6)


def test_the_past_is_the_last_moment_at_or_before_and_the_oldest_where_all_are_later():
    past = History(1.0)
    assert past.at(5.0) is None
    for time, command in ((5.0, 0.1), (5.2, 0.2), (5.4, 0.3)):
        past.add(time, np.array([command]), [command - 0.05])
    found = [float(past.at(t).commanded[0]) for t in (4.0, 5.0, 5.19, 5.2, 9.0)]
    assert found == [0.1, 0.1, 0.1, 0.2, 0.3]
    assert past.at(5.3).measured == pytest.approx([0.15]) and past.at(5.3).time == 5.2
    past.add(5.4004, np.array([9.0]), [9.0])  # nearer than a thousandth of the whole: not another moment
    assert past.at(9.0).commanded[0] == 0.3
    past.clear()
    assert past.at(5.0) is None


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_a_plan_may_start_a_gap_and_some_motion_away_and_not_a_little_more(direction):
    """start_gap 0.2 rad and 0.1 s at the joint's velocity limit."""
    robot, settings = make_robot(), ExecutorSettings()
    reach, i = reach_of(robot, settings), robot.index["left_joint2"]
    allowed = 0.2 + 0.1 * robot.channels[i].limits.velocity
    rows = np.tile(middle(robot), (4, 1))
    here = rows[0].copy()
    times = 100.0 + 0.1 * np.arange(4)
    for share, good in ((0.99, True), (1.01, False)):
        rows[:, i] = here[i] + direction * share * allowed
        verdict = accept_rows(rows, times, reach, [(100.0, here)])
        assert verdict.accepted is good
        assert good or (
            verdict.cause is Cause.FAR_START and "left_joint2" in verdict.reason and "in row 0" in verdict.reason
        )
    # Half a second after the robot was seen it may have moved on by three times its velocity limit.
    rows[:, i] = here[i] + direction * (allowed + 0.49 * 3.0 * robot.channels[i].limits.velocity * 0.5)
    rows = np.clip(rows, reach.lower, reach.upper)
    assert accept_rows(rows, times, reach, [(99.5, here)]).accepted


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_between_two_rows_a_joint_may_go_a_gap_and_three_times_its_velocity(direction):
    robot = make_robot()
    reach, i = reach_of(robot, ExecutorSettings()), robot.index["left_joint2"]
    velocity = robot.channels[i].limits.velocity
    allowed = 0.2 + 0.1 * velocity + 3.0 * velocity * 0.05
    rows = np.tile(middle(robot), (5, 1))
    times = 100.0 + 0.05 * np.arange(5)
    for share, good in ((0.99, True), (1.01, False)):
        jumping = rows.copy()
        jumping[3:, i] += direction * share * allowed
        verdict = accept_rows(jumping, times, reach, [])
        assert verdict.accepted is good
        assert good or (
            verdict.cause is Cause.TOO_FAST
            and "left_joint2 jumps to" in verdict.reason
            and "in row 3" in verdict.reason
        )


@pytest.mark.parametrize("later", [0, 1, 6])
def test_whatever_has_been_executed_of_a_plan_when_it_comes_it_is_followed_or_refused(later):
    """A plan that comes `later` periods after the running one has ended: an exception here would stop the robot for good."""
    followed, refusals = 0, set()
    for late in np.arange(0.1, 1.0, 0.1):
        story = Story()
        story.autonomy({"left_joint1": 0.3, "right_joint2": -0.2}, rows=16, period=0.1)
        while story.last.plan_left > 0.0:
            story.tick()
        story.run(later * story.period)
        here = story.values
        verdict = story.send(rows=8, period=0.1, delay=float(late))
        story.run(0.2).sound()
        np.testing.assert_allclose(story.values, here, atol=2e-3)
        followed += verdict.accepted
        if not verdict.accepted:
            refusals.add(re.sub(r"[0-9.]+", "N", verdict.reason))
            assert story.send(goal={"left_joint1": 0.2}).accepted
            assert story.run(0.1).sound().last.owner == "policy"
    assert followed and "it ended N s ago" in refusals
    assert refusals <= {"it ended N s ago", "wait: N s of N s would be left; the next one is begun at rest"}


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize(("channel", "spans"), [(ARM, 0.1), (LIFT, 0.1), (GRIPPER, 1.0), (BASE, 1.0)])
def test_a_row_may_be_a_tenth_of_the_range_beyond_a_limit_and_of_what_is_limited_as_it_goes_a_whole_range(
    side, channel, spans
):
    robot = make_robot()
    reach, i = reach_of(robot, ExecutorSettings(limit_margin=0.1)), robot.index[channel]
    limits, rows = robot.channels[i].limits, np.tile(middle(robot), (3, 1))
    end, span = limits.upper if side > 0.0 else limits.lower, limits.upper - limits.lower
    for share, good in ((0.999, True), (1.001, False)):
        rows[:, i] = end + side * share * spans * span
        verdict = accept_rows(rows, 100.0 + np.arange(3), reach, [])
        assert verdict.accepted is good and (good or verdict.cause is Cause.BEYOND_LIMIT)


def first_too_far(rows, times, reach, references):
    """The first row that is out of reach, its channel, and whether it is so from where the robot was; each row against
    every one before it and against the robot."""
    since = min((time for time, _ in references), default=times[0])
    for r in range(len(rows)):
        for c in np.flatnonzero(reach.position):
            gap, speed, value = reach.gap[c], reach.speed[c], rows[r, c]
            ends = [values[c] for _, values in references]
            from_robot = gap + speed * (times[r] - min(since, times[0]))
            far = bool(ends) and (value > max(ends) + from_robot or value < min(ends) - from_robot)
            jumps = any(abs(value - rows[k, c]) > gap + speed * (times[r] - times[k]) for k in range(r))
            if far or jumps:
                return r, reach.names[c], far
    return None


def test_each_row_is_judged_by_every_row_before_it_and_by_where_the_robot_was():
    """150 plans of three channels, one of which is not judged, with up to three places where the robot was."""
    rng, found = np.random.default_rng(4), {None: 0, True: 0, False: 0}
    wide = np.full(3, 99.0)
    reach = Reach(
        ("a", "b", "grip"), -wide, wide, -wide, wide, np.array([0.2, 0.3, 0.01]), np.array([1.0, 2.5, 0.1]),
        np.array([True, True, False]),
    )  # fmt: skip
    for k in range(150):
        times = 50.0 + 0.1 * np.arange(7)
        rows = np.cumsum(rng.normal(0.0, 0.12, (7, 3)) * rng.choice([0.3, 1.0, 2.0]), axis=0)
        places = [(50.0 - rng.choice([-0.2, 0.0, 0.15]), rng.normal(0.0, 0.25, 3)) for _ in range(k % 4)]
        wanted, verdict = first_too_far(rows, times, reach, places), accept_rows(rows, times, reach, places)
        found[wanted and wanted[2]] += 1
        assert verdict.accepted is (wanted is None)
        if wanted is not None:
            row, name, far = wanted
            assert verdict.cause is (Cause.FAR_START if far else Cause.TOO_FAST)
            assert (
                verdict.reason.startswith(f"{name} {'is' if far else 'jumps to'} ")
                and f" in row {row}, " in verdict.reason
            )
            assert far or f"faster than {reach.speed['ab'.index(name)]:.3g} per s" in verdict.reason
    assert min(found.values()) > 10, found


@pytest.mark.parametrize(
    ("value", "said"), [(2.0, "out of reach of a robot at 0.7"), (-2.0, "out of reach of a robot at -0.4")]
)
def test_a_robot_out_of_reach_is_told_where_it_could_have_been_by_then(value, said):
    """It was at -0.3 and at 0.6, 0.1 s before the first row, and moves at 1 rad/s."""
    one, wide = np.ones(1), np.full(1, 9.0)
    reach = Reach(("a",), -wide, wide, -wide, wide, 0.2 * one, one, np.array([True]))
    verdict = accept_rows(
        value * np.ones((3, 1)), np.array([50.0, 50.1, 50.2]), reach, [(49.9, -0.3 * one), (49.95, 0.6 * one)]
    )
    assert verdict.reason.endswith(said) and " in row 0, " in verdict.reason


def test_of_several_values_far_beyond_their_limits_the_first_in_time_is_named_and_of_one_row_the_first_channel():
    wide, three = np.full(3, 9.0), np.ones(3)
    reach = Reach(("a", "b", "c"), -three, three, -2.0 * three, 2.0 * three, wide, wide, np.array([True] * 3))
    rows = np.zeros((6, 3))
    rows[2, [1, 2]], rows[4, 0] = [-2.5, 7.0], 8.0
    verdict = accept_rows(rows, 50.0 + 0.1 * np.arange(6), reach, [])
    assert verdict.cause is Cause.BEYOND_LIMIT
    assert verdict.reason.startswith("b is -2.5 in row 2, far beyond its limit -1;")


def test_what_starts_beyond_its_limits_is_named_with_them_and_nothing_else_is():
    robot = make_robot()
    limits = [c.limits for c in robot.channels]
    lower, upper = np.array([m.lower for m in limits]), np.array([m.upper for m in limits])
    values, arm, lift, grip = middle(robot), robot.index[ARM], robot.index[LIFT], robot.index[GRIPPER]
    assert beyond_limits(robot, values, lower, upper) == ""
    values[arm], values[lift], values[grip] = lower[arm] - 0.25, upper[lift] + 0.125, 1.5
    assert beyond_limits(robot, values, lower, upper) == (
        f"{ARM} is at {values[arm]:.4g}, beyond its limit {lower[arm]:.4g}; "
        f"{LIFT} is at {values[lift]:.4g}, beyond its limit {upper[lift]:.4g}: it is held there, and moves inward only"
    )


def test_a_value_far_beyond_a_limit_is_named_with_the_limit_that_it_is_beyond():
    ends = np.array([-1.25, 0.5]), np.array([2.75, 3.5])
    reach = Reach(("a", "b"), *ends, ends[0] - 0.5, ends[1] + 0.25, np.ones(2), np.ones(2), np.array([True, True]))
    for column, value, limit in ((0, -1.8, "-1.25"), (0, 3.01, "2.75"), (1, -0.01, "0.5"), (1, 3.76, "3.5")):
        rows = np.tile([0.0, 1.0], (4, 1))
        rows[2, column] = value
        verdict = accept_rows(rows, np.arange(4.0), reach, [])
        assert verdict.cause is Cause.BEYOND_LIMIT
        assert verdict.reason.startswith(f"{'ab'[column]} is {value:.4g} in row 2, far beyond its limit {limit};")
        rows[2, column] += 0.06 if value < 0.5 else -0.06
        assert accept_rows(rows, np.arange(4.0), reach, []).cause is not Cause.BEYOND_LIMIT


def leader(group="left_arm", **settings):
    """Three channels, of which each has other limits than those before it: 1 rad/s and -1 .. 2, 2 rad/s and -2 .. 3, ..."""
    channels = make_robot().group(group).channels[:3]
    return Lead(
        [replace(c, limits=replace(c.limits, lower=-1.0 - k, upper=2.0 + k, velocity=1.0 + k)) for k, c in enumerate(channels)],
        ExecutorSettings(**settings),
    )  # fmt: skip


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("k", [0, 1, 2])
def test_a_person_may_ask_for_a_tenth_of_the_range_more_than_each_joint_has(side, k):
    lead, values = leader(limit_margin=0.1), [0.1, 0.2, 0.3]
    end = 2.0 + k if side > 0.0 else -1.0 - k
    values[k] = end + side * 0.999 * 0.1 * (3.0 + 2.0 * k)
    assert lead.objection(values) == ""
    values[k] = end + side * 1.001 * 0.1 * (3.0 + 2.0 * k)
    assert lead.objection(values) == f"left_joint{k + 1} is {values[k]:.4g}, far beyond its limit {end:.4g}"


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_joysticks_units_are_its_own_and_only_nonsense_is_refused(side):
    """A hundred times the margin of a position: ten of the five that lie between -2 and 3."""
    lead, end = leader("base", limit_margin=0.1), 3.0 if side > 0.0 else -2.0
    assert lead.objection([0.0, end + side * 49.9, 0.0]) == "" and lead.objection([0.0, end + side * 50.1, 0.0]) != ""
    assert not lead.jumped([0.0, 0.0, 0.0], [side * 9.0, 0.0, 0.0], 0.01) and not lead.approaching
    lead.restart(5.0)
    assert lead.scale(5.0) == lead.scale(9.0) == 1.0


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("k", [0, 1, 2])
def test_an_input_jumps_where_no_hand_moves_that_joint_that_fast(side, k):
    """start_gap and what it moves in reach_time, and reach_speed times its velocity limit for the time between."""
    given = {"start_gap": 0.15, "reach_time": 0.2, "reach_speed": 4.0, "engage_scale": 0.25}
    before, velocity = [0.1, -0.2, 0.3], 1.0 + k
    for seconds in (0.05, 0.0, -1.0):
        allowed = 0.15 + 0.2 * velocity + 4.0 * velocity * max(seconds, 0.0)
        for share, jumps in ((0.999, False), (1.001, True)):
            lead, after = leader(**given), list(before)
            after[k] += side * share * allowed
            assert lead.jumped(before, after, seconds) is jumps is lead.approaching
            assert lead.scale(1e9) == (0.25 if jumps else 1.0)
    # It is over once the command is within the gap of it, and not because the next input did not jump.
    assert not lead.jumped(after, after, 0.05) and lead.approaching
    command = list(after)
    for share, over in ((1.001, False), (0.999, True)):
        command[k] = after[k] - side * share * (0.15 + 0.2 * velocity)
        lead.reached(after, command)
        assert lead.approaching is not over
    lead.reached(after, before)
    assert not lead.approaching  # it was reached: what is far again is a motion


def test_who_begins_again_is_slow_for_the_engage_time_and_approaches_nothing():
    lead = leader(engage_scale=0.2, engage_time=1.0, engage_ramp=0.5)
    assert lead.scale(0.0) == 1.0
    lead.jumped([0.0, 0.0, 0.0], [2.0, 0.0, 0.0], 0.01)
    lead.restart(50.0)
    assert not lead.approaching
    assert [lead.scale(50.0 + later) for later in (0.0, 0.9, 1.25, 1.6)] == pytest.approx([0.2, 0.2, 0.6, 1.0])


def test_margins_that_a_robot_without_limits_has_are_endless_and_gaps_are_those_of_each_joint():
    robot, settings = make_robot(), ExecutorSettings(start_gap=0.15, reach_time=0.2, reach_speed=4.0, limit_margin=0.1)
    reach, limits = reach_of(robot, settings), [c.limits for c in robot.channels]
    speeds, spans = np.array([m.velocity for m in limits]), np.array([m.upper - m.lower for m in limits])
    wide = np.array([1.0 if c.kind is Kind.POSITION else 10.0 for c in robot.channels])
    np.testing.assert_allclose(reach.gap, 0.15 + 0.2 * speeds)
    np.testing.assert_allclose(reach.speed, 4.0 * speeds)
    np.testing.assert_allclose(reach.lower - reach.lowest, 0.1 * wide * spans)
    np.testing.assert_allclose(reach.highest - reach.upper, 0.1 * wide * spans)
    np.testing.assert_array_equal(reach.position, [c.kind is Kind.POSITION for c in robot.channels])
    assert reach.names == robot.channel_names
