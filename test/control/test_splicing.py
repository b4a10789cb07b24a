"""Joining plans: which way is chosen, what the seam looks like, when the next chunk is asked for."""

import numpy as np
import pytest
from story import START, Story, make_robot, middle

from pi0_ros.control import STRATEGIES, ExecutorSettings
from pi0_ros.control.delay import DelayEstimator, ask_in
from pi0_ros.control.splice import RTC_STREAK, Choice, blend_rows, choose, ensemble_rows, row_times, smoothstep
from pi0_ros.control.timeline import Meeting, Timeline, make_spline
from pi0_ros.robot.spec import Kind

POSITIONS = (Kind.POSITION, Kind.POSITION)


def line(start, slope, rows=11, period=0.1, offset=0.0):
    values = offset + slope * period * np.arange(rows)[:, None] * np.ones(2)
    return Timeline(make_spline(start, period, values, POSITIONS), 1, 0, "", start)


def test_frozen_rows_that_cover_the_delay_are_trusted_only_after_a_few_in_a_row():
    choice, seen = Choice(), []
    for _ in range(RTC_STREAK + 1):
        choice = choose(choice, delay=0.1, typical=0.1, span=1.5, frozen=0.2)
        seen.append(choice.strategy)
    assert seen == ["blend"] * (RTC_STREAK - 1) + ["rtc"] * 2
    assert choose(choice, delay=0.3, typical=0.1, span=1.5, frozen=0.2).strategy == "blend"


def test_a_delay_past_the_horizon_means_hold_until_it_is_well_below_again():
    held = choose(Choice("rtc"), delay=0.95, typical=0.3, span=1.0, frozen=0.9)
    assert held.strategy == "hold"
    assert choose(held, delay=0.7, typical=0.7, span=1.0, frozen=0.0).strategy == "hold"
    assert choose(Choice("blend"), delay=0.7, typical=0.7, span=1.0, frozen=0.0).strategy == "blend"
    assert choose(held, delay=0.5, typical=0.55, span=1.0, frozen=0.0).strategy == "blend"


def test_the_executor_falls_back_from_rtc_to_blend_to_hold_and_says_which():
    story = Story().autonomy(rows=16)
    used = []
    for delay, frozen in [(0.1, 2)] * 5 + [(0.3, 2)] * 2 + [(0.97, 2)] * 2:
        story.run(0.1)
        verdict = story.send(delay=delay, frozen_rows=frozen, rows=11)
        story.run(0.1)
        used.append(story.last.strategy if verdict.accepted else verdict.reason.split(":")[0])
    assert used == ["blend", "blend", "rtc", "rtc", "rtc", "blend", "blend", "hold", "hold"]


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s != "auto"])
def test_a_named_strategy_is_used_and_plans_that_nearly_agree_leave_no_seam(strategy):
    story, rng = Story(settings=ExecutorSettings(strategy=strategy)).run(0.04), np.random.default_rng(3)
    moves = np.array([c.kind is Kind.POSITION and c.unit == "rad" for c in story.robot.channels])
    begin, zero = story.ros, story.values.copy()

    def plan(delay):
        times = (story.ros - delay - begin + 0.1 * np.arange(16))[:, None]
        noise = rng.normal(0.0, 0.002, (16, len(zero)))
        return story.chunk(
            delay=delay, frozen_rows=2, values=zero + moves * (0.3 * (1.0 - np.cos(1.5 * times)) + noise)
        )

    assert story.ask("autonomy").ok
    story.tick()
    shares, strategies = [], set()
    for k in range(15):
        assert story.send(plan(0.12)).accepted
        story.run(0.24)
        if k > 6:  # slow after the change of owner until then
            shares.append(story.last.seam.velocity_share)
            strategies.add(story.last.strategy)
    assert strategies == {strategy} and max(shares) <= 0.05
    story.sound()


def test_mixed_rows_start_on_the_old_plan_and_end_on_the_new_one():
    old, times = line(100.0, 1.0), row_times(100.5, 0.1, 16)
    new = np.full((16, 2), 3.0)
    mixed = blend_rows(new, times, old, 100.5, 0.3, np.ones(2))
    np.testing.assert_allclose(mixed[0], old.at(100.5)[0], atol=1e-9)
    np.testing.assert_array_equal(mixed[3:], new[3:])
    assert np.all(np.diff(mixed[:4, 0]) > 0.0)


def test_a_gripper_is_never_mixed():
    old, times = line(100.0, 1.0), row_times(100.5, 0.1, 16)
    new = np.full((16, 2), 3.0)
    mixed = blend_rows(new, times, old, 100.5, 0.3, np.array([1.0, 0.0]))
    np.testing.assert_array_equal(mixed[:, 1], new[:, 1])


def test_an_ensemble_is_the_weighted_mean_of_every_plan_that_has_an_opinion():
    plans = [line(100.0, 0.0, offset=1.0).spline, line(100.2, 0.0, offset=2.0).spline]
    times = row_times(100.4, 0.1, 16)
    rows = ensemble_rows(np.full((16, 2), 4.0), times, plans, 0.5, np.ones(2))
    w = np.exp(-0.5 * np.arange(3))
    np.testing.assert_allclose(rows[0], (w @ [1.0, 2.0, 4.0]) / w.sum())
    np.testing.assert_allclose(rows[7], (w[1:] @ [2.0, 4.0]) / w[1:].sum())
    np.testing.assert_allclose(rows[-1], 4.0)


def test_smoothstep_rests_at_both_ends():
    s = np.array([smoothstep(float(x)) for x in np.linspace(-0.5, 1.5, 201)])
    assert s[0] == 0.0 and s[-1] == 1.0 and np.all(np.diff(s) >= 0.0)


def test_the_first_delay_is_no_measure_of_the_others():
    delays = DelayEstimator()
    delays.add(0.0, 9.0)
    for _ in range(20):
        delays.add(0.0, 0.1)
    assert delays.p95 == pytest.approx(0.1)
    delays.cold_start()
    delays.add(0.0, 9.0)
    assert delays.p95 == pytest.approx(0.1)


@pytest.mark.parametrize(("left", "delay", "expected"), [(1.0, 0.3, 0.66), (0.2, 0.3, 0.0), (0.0, 0.0, 0.0)])
def test_the_next_chunk_is_asked_for_before_the_plan_runs_out(left, delay, expected):
    assert ask_in(left, delay, 0.04) == pytest.approx(expected)


def test_the_rest_of_the_plan_is_what_will_be_commanded():
    story = Story(settings=ExecutorSettings(engage_scale=1.0)).autonomy(goal={"left_joint2": 0.2}, rows=20)
    story.run(0.8)
    rest = story.executor.running_plan(story.ros)
    assert rest.names == story.robot.channel_names and rest.sequence == 1
    assert rest.start == story.ros and rest.period == pytest.approx(0.1)
    index, promised = story.robot.index["left_joint2"], []
    for _ in range(len(rest.values) - 2):
        promised.append(story.at("left_joint2"))
        story.run(0.1)
    np.testing.assert_allclose(promised, rest.values[: len(promised), index], atol=2e-3)


def test_a_plan_is_evaluated_on_the_period_grid_though_the_loop_wakes_up_unevenly():
    even, uneven = Story(), Story()
    rng = np.random.default_rng(0)
    for story, jitter in ((even, 0.0), (uneven, 0.002)):
        story.autonomy(goal={"left_joint2": 0.4}, rows=20)
        for _ in range(60):
            wobble = rng.uniform(-jitter, jitter)
            story.steady += wobble
            story.tick()
            story.steady -= wobble
    np.testing.assert_allclose(uneven.values, even.values, atol=1e-3)
    jerk = [np.diff(np.array(s.runs[-1])[-50:, 1], 3) / s.period**3 for s in (even, uneven)]
    assert np.max(np.abs(jerk[1])) < 2.0 * np.max(np.abs(jerk[0])) + 10.0


def test_a_group_that_fell_behind_meets_its_plan_again():
    story = Story(settings=ExecutorSettings(engage_time=0.5, engage_ramp=0.1)).autonomy(rows=2)
    story.run(0.3)
    assert story.send(goal={"left_joint2": middle(story.robot)[1] + 0.6}, rows=30).accepted
    story.run(2.6)
    plan = story.executor.running_plan(story.ros)
    assert story.at("left_joint2") == pytest.approx(plan.values[0, 1], abs=1e-6)
    story.sound()


def test_the_way_back_to_the_plan_is_not_planned_anew_because_the_clock_trembles():
    planned, asked = [], []
    for tremble in (0.0, 2e-5):
        story, rng = Story(settings=ExecutorSettings(engage_time=0.5, engage_ramp=0.1)), np.random.default_rng(0)
        story.autonomy(rows=2).run(0.3)
        group = story.executor._limiter.groups[0]
        ways, steps = count(group, "_plan_way"), count(group, "step")
        assert story.send(goal={"left_joint2": middle(story.robot)[1] + 0.6}, rows=12).accepted
        for _ in range(130):
            story.offset = START + rng.uniform(-tremble, tremble)
            story.tick()
        planned.append(len(ways))
        asked.append(len(steps))
        story.sound()
    assert planned[1] <= planned[0] + 2 < asked[1] - 5


def test_what_was_foreseen_between_two_periods_is_not_worked_out_in_the_next():
    story = Story().autonomy(goal={"left_gripper": 1.0}, rows=20)
    gripper = story.executor._limiter.groups[[g.name for g in story.robot.groups].index("left_gripper")]
    steps = worked = 0
    for _ in range(60):
        story.steady += story.period
        story.sense()
        story.executor.prepare()
        moves, asked = count(gripper, "_move"), count(gripper, "step")
        story.executor.step(story.steady, story.ros)
        steps, worked = steps + len(asked), worked + len(moves)
        del gripper._move, gripper.step
    assert (steps, worked) == (60, 0)


def count(owner, name):
    """The calls of a method from now on."""
    calls, method = [], getattr(owner, name)
    setattr(owner, name, lambda *given: calls.append(1) or method(*given))
    return calls


def test_a_meeting_is_kept_until_the_plan_or_the_moment_is_another():
    plan, other = line(100.0, 1.0), line(100.0, 1.0)
    meeting = Meeting().kept(plan, 100.2, 0.02)
    np.testing.assert_array_equal(meeting.goal, plan.at(100.2))
    assert meeting.kept(plan, 100.2 + 1e-5, 0.02) is meeting
    assert meeting.kept(plan, 100.2 + 1e-4, 0.02).moment == 100.2 + 1e-4
    assert meeting.kept(other, 100.2, 0.02).plan is other


@pytest.mark.parametrize("rate", [50.0, 100.0, 200.0])
def test_every_promise_holds_at_higher_rates(rate):
    story = Story(make_robot(rate=rate)).autonomy(goal={"left_joint2": 0.3, "lift": 0.3, "base_vx": 0.3}, rows=12)
    story.run(0.5)
    story.send(goal={"left_joint2": -0.1}, rows=12)
    story.run(0.6)
    story.ask("teleop")
    story.run(0.3, each=lambda s: s.teleop("left_arm", [0.2] * 6))
    assert story.last.owner == "teleop"
    story.sound()


def test_a_slow_policy_can_start_a_robot_at_rest_though_its_plan_has_moved_on():
    story = Story(settings=ExecutorSettings(engage_scale=1.0)).run(0.1)
    story.ask("autonomy")
    story.tick()
    chunk = story.chunk(goal={"left_joint2": middle(story.robot)[1] + 1.0}, delay=0.7)
    index = story.robot.index["left_joint2"]
    assert abs(chunk.values[7, index] - story.at("left_joint2")) > 0.3
    assert story.send(chunk).accepted
    story.run(0.1)
    assert story.last.owner == "policy" and story.last.splice_delay == pytest.approx(0.72, abs=1e-3)
    assert story.last.plan_left > 1.5 - 0.7
    story.run(0.5).sound()
    assert story.last.owner == "policy"
