"""Joining plans: which way is chosen, what the seam looks like, when the next chunk is asked for."""

import numpy as np
import pytest
from story import Story, make_robot, middle

from pi0_ros.control import STRATEGIES, ExecutorSettings
from pi0_ros.control.delay import DelayEstimator
from pi0_ros.control.row_path import make_path
from pi0_ros.control.splice import RTC_STREAK, Choice, blended, choose, closed, ensemble_rows, row_times
from pi0_ros.robot.spec import Kind

POSITIONS = (Kind.POSITION, Kind.POSITION)


def line(start, slope, rows=11, period=0.1, offset=0.0):
    values = offset + slope * period * np.arange(rows)[:, None] * np.ones(2)
    return make_path(start, period, values, POSITIONS, np.full(2, 2.5), np.full(2, 5.0))


def test_frozen_rows_that_cover_the_delay_are_trusted_only_after_a_few_in_a_row():
    choice, seen = Choice(), []
    for _ in range(RTC_STREAK + 1):
        choice = choose(choice, delay=0.1, typical=0.1, span=1.5, frozen=0.2)
        seen.append(choice.strategy)
    assert seen == ["blend"] * (RTC_STREAK - 1) + ["rtc"] * 2
    assert choose(choice, delay=0.3, typical=0.1, span=1.5, frozen=0.2).strategy == "blend"


def test_a_delay_past_the_horizon_means_waiting_until_it_is_well_below_again():
    held = choose(Choice("rtc"), delay=0.95, typical=0.3, span=1.0, frozen=0.9)
    assert held.strategy == "wait"
    assert choose(held, delay=0.7, typical=0.7, span=1.0, frozen=0.0).strategy == "wait"
    assert choose(Choice("blend"), delay=0.7, typical=0.7, span=1.0, frozen=0.0).strategy == "blend"
    assert choose(held, delay=0.5, typical=0.55, span=1.0, frozen=0.0).strategy == "blend"


def test_the_executor_falls_back_from_rtc_to_blend_to_wait_and_says_which():
    story = Story().autonomy(rows=16)
    used = []
    for delay, frozen in [(0.1, 2)] * 5 + [(0.3, 2)] * 2 + [(0.97, 2)] * 2:
        story.run(0.1)
        verdict = story.send(delay=delay, frozen_rows=frozen, rows=11)
        story.run(0.1)
        used.append(story.last.strategy if verdict.accepted else verdict.reason.split(":")[0])
    assert used == ["blend", "blend", "rtc", "rtc", "rtc", "blend", "blend", "wait", "wait"]


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s not in ("auto", "wait")])
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


def test_a_joined_path_starts_on_the_old_one_and_ends_on_the_new_one():
    old, new = line(100.0, 1.0), line(100.4, 0.0, rows=16, offset=3.0)
    joined, times = blended(new, old, 100.5, 0.0, 0.3, 0.02), 100.5 + 0.02 * np.arange(16)
    np.testing.assert_allclose(joined.at(times[:1]), old.at(times[:1]), atol=1e-9)
    np.testing.assert_allclose(joined.at(times[-1:]), 3.0, atol=1e-9)
    assert np.all(np.diff(joined.at(times)[:, 0]) > 0.0)


def test_what_is_left_of_the_old_path_ends_where_the_old_path_does():
    old, new = line(100.0, 0.0, rows=7, offset=1.0), line(100.4, 0.0, rows=16)  # the old one ends at 100.6
    left = blended(new, old, 100.5, 0.0, 5.0, 0.01).at(np.array([100.5, 100.55, 100.6, 100.7]))[:, 0]
    assert left[0] == pytest.approx(1.0) and left[1] == pytest.approx(0.5) and left[2:] == pytest.approx(0.0)


def test_the_old_path_goes_on_until_the_new_one_begins():
    old, new = line(100.0, 1.0), line(100.7, 0.0, offset=3.0)
    joined, times = blended(new, old, 100.5, 0.0, 0.2, 0.02), np.array([100.5, 100.6, 100.7])
    np.testing.assert_allclose(joined.at(times), old.at(times), atol=1e-9)
    np.testing.assert_allclose(joined.at(np.array([100.9])), 3.0, atol=1e-9)


def test_a_gripper_is_never_mixed():
    grips = (Kind.POSITION, Kind.GRIPPER)
    old, new = (
        make_path(start, 0.1, np.full((11, 2), value), grips, np.full(2, 2.5), np.full(2, 5.0))
        for start, value in ((100.0, 0.0), (100.4, 1.0))
    )
    values = blended(new, old, 100.5, 0.0, 0.3, 0.02).at(100.5 + 0.02 * np.arange(10))
    np.testing.assert_array_equal(values[:, 1], 1.0)
    assert 0.0 < values[5, 0] < 1.0


def test_an_ensemble_is_the_weighted_mean_of_every_plan_that_has_an_opinion():
    plans = [line(100.0, 0.0, offset=1.0), line(100.2, 0.0, offset=2.0)]
    times = row_times(100.4, 0.1, 16)
    rows = ensemble_rows(np.full((16, 2), 4.0), times, plans, 0.5, np.ones(2))
    w = np.exp(-0.5 * np.arange(3))
    np.testing.assert_allclose(rows[0], (w @ [1.0, 2.0, 4.0]) / w.sum())
    np.testing.assert_allclose(rows[7], (w[1:] @ [2.0, 4.0]) / w[1:].sum())
    np.testing.assert_allclose(rows[-1], 4.0)


def test_the_first_delay_is_no_measure_of_the_others():
    delays = DelayEstimator()
    delays.add(0.0, 9.0)
    for _ in range(20):
        delays.add(0.0, 0.1)
    assert delays.p95 == pytest.approx(0.1)
    delays.cold_start()
    delays.add(0.0, 9.0)
    assert delays.p95 == pytest.approx(0.1)


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


@pytest.mark.parametrize("window", [0.11, 0.3])
def test_a_gap_is_closed_when_its_time_is_over_and_not_a_little_opened_again(window):
    """Also where the samples do not end on the window: what is left then is nothing, and before it begins everything."""
    path, gap = line(100.0, 0.0, offset=1.0), np.array([0.4, -0.2])
    found = closed(path, 100.4, gap, window, 0.02)
    late = np.array([found.joint.end, found.joint.end + 0.1])
    assert 0.0 <= found.joint.end - (100.4 + window) < 0.02
    np.testing.assert_allclose(found.at(late), 1.0, atol=1e-6)
    np.testing.assert_allclose(found.at(np.array([100.3, 100.4])), [1.0 + gap] * 2, atol=1e-9)
    middle = found.at(np.array([100.4 + window / 2.0]))[0] - 1.0
    np.testing.assert_allclose(middle, 0.5 * gap, rtol=0.02)


@pytest.mark.parametrize(("ahead", "starts"), [(0.05, True), (0.09, False)])
def test_how_far_autonomy_may_start_is_judged_from_where_the_robot_is_and_not_from_its_command(ahead, starts):
    """A joint that sags by 0.13 rad: rows 0.09 rad above its command are 0.22 rad above it, more than `start_gap` 0.2."""
    story = Story().run(0.2)
    joint, story.follows = story.robot.index["left_joint2"], False
    story.measured = np.array(story.measured)
    story.measured[joint] -= 0.13
    story.run(0.5)
    assert story.ask("autonomy").ok
    story.tick()
    values = np.tile(story.values, (20, 1))
    values[:, joint] += ahead
    verdict = story.send(story.chunk(start=story.ros, period=0.05, values=values, rows=20))
    assert verdict.accepted is starts, verdict.reason
    assert starts or "left_joint2 would start 0.22 from the robot" in verdict.reason


@pytest.mark.parametrize(("begin", "shift", "window", "span"), [(100.5, 0.2, 0.25, 0.25), (100.5, -0.15, 0.25, 0.25), (100.5, 0.2, 9.0, 0.3), (100.5, -0.15, 9.0, 0.65), (100.4, 0.1, 0.2, 0.2)])  # fmt: skip
def test_the_old_path_fades_by_its_own_time_within_the_window_or_by_its_end(begin, shift, window, span):
    """The old one ends at 101.0 of its time; the new one begins at 100.45. At every sample, in the lead-in too."""
    old, new, step = line(100.0, 0.7), line(100.45, -0.4, rows=16, offset=1.5), 0.025
    joined = blended(new, old, begin, shift, window, step)
    first = max(begin, 100.45)
    assert 0.0 <= joined.joint.end - (first + span) < step + 1e-9
    at = np.arange(joined.joint.start, joined.joint.end + 1e-6, step)
    assert at[0] == pytest.approx(begin - 8 * step)
    s = np.clip((at - first) / span, 0.0, 1.0)[:, None]
    share = 1.0 - (6.0 * s**5 - 15.0 * s**4 + 10.0 * s**3)
    wanted = new.rows_at(at) * (1.0 - share) + old.at(at + shift) * share
    np.testing.assert_allclose(joined.joint.values, wanted, atol=1e-9)
    assert (joined.start, joined.end) == (new.start, new.end)
