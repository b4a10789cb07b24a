"""The fault checklist, one row after the other: what goes wrong is the test's name, what must happen its body.

Rows of which nothing is pure are in test/nodes, test/ros, test/policy and test/robot; docs/faults.md has the table.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from story import Story, make_robot, middle

from pi0_ros.control import BlackBox, Chunk, ExecutorSettings, Mode
from pi0_ros.control.limiter import GroupLimiter, Limiter
from pi0_ros.control.limits import bounds_of
from pi0_ros.control.modes import ModeState, Trigger, advance
from pi0_ros.robot.spec import Kind, Takeover

ARM = "left_joint2"


def bad(story, **mutation):
    """The verdict on a good chunk with one thing changed."""
    return story.send(replace(story.chunk(), **mutation))


def test_01_without_joint_states_nothing_is_published_and_the_reason_names_what_is_missing():
    story = Story()
    story.joints = False
    story.run(1.0)
    assert all(s.command is None and s.owner == "none" for s in story.steps)
    assert "left_joint1" in story.last.reason and "waiting" in story.names()


def test_02_with_state_and_no_chunk_the_first_position_is_held_for_ten_seconds():
    story = Story().run(0.1)
    assert story.ask("autonomy").ok
    first = story.values.copy()
    story.run(9.0)
    np.testing.assert_array_equal(story.values, first)
    assert story.last.mode is Mode.AUTONOMY and "waiting" in story.last.reason
    story.sound()


def test_03_a_plan_that_runs_out_decelerates_to_hold_and_a_fresh_chunk_resumes_it():
    story = Story().autonomy(goal={ARM: 0.15}, rows=8)
    story.run(1.5)
    assert story.last.counters.underruns == 1 and "UNDERRUN" in story.last.reason
    assert story.speed() == 0.0 and story.last.owner == "hold" and story.last.mode is Mode.AUTONOMY
    assert story.send(goal={ARM: 0.25}).accepted
    story.run(0.5)
    assert story.last.owner == "policy" and story.speed() > 0.0
    story.sound()


def test_04_a_policy_that_stays_away_ends_autonomy_and_its_return_moves_nothing_until_asked():
    story = Story().autonomy(goal={ARM: 0.15}, rows=8)
    story.run(5.0)
    assert story.last.mode is Mode.HOLD and "policy silent" in story.last.reason
    held = story.values.copy()
    assert not story.send(goal={ARM: 0.3}).accepted
    story.run(0.5)
    np.testing.assert_array_equal(story.values, held)
    assert story.ask("autonomy").ok
    story.tick()
    assert story.send(goal={ARM: 0.3}).accepted
    story.run(0.2)
    assert story.last.owner == "policy"


@pytest.mark.parametrize(("delay", "rows", "word"), [(1.2, 30, "stale"), (0.9, 4, "ended")])
def test_05_a_chunk_too_old_or_over_is_rejected_and_counted_and_the_plan_goes_on(delay, rows, word):
    story = Story().autonomy(goal={ARM: 0.2})
    verdict = story.send(delay=delay, rows=rows)
    assert not verdict.accepted and word in verdict.reason
    story.run(0.2)
    assert story.last.counters.chunks_rejected == 1 and story.last.plan_sequence == 1
    assert story.last.owner == "policy"


def test_06_rows_that_have_gone_by_are_skipped_by_time_and_the_splice_is_continuous():
    story = Story().autonomy(goal={ARM: 0.3}, rows=20)
    story.run(1.0)
    assert story.send(goal={ARM: 0.4}, delay=0.37, rows=30).accepted
    story.run(0.1)
    assert story.last.splice_delay == pytest.approx(0.37 + story.period, abs=1e-6)
    assert story.last.plan_left == pytest.approx(2.9 - 0.37 - 0.1, abs=0.01)
    assert story.last.seam.velocity_share <= 0.05
    story.sound()


@pytest.mark.parametrize("sequence", [0, 5, 4])
def test_07_a_duplicate_or_out_of_order_sequence_is_rejected_and_counted(sequence):
    story = Story().autonomy(sequence=5)
    verdict = bad(story, sequence=sequence)
    story.tick()
    assert not verdict.accepted and "sequence" in verdict.reason and story.last.counters.chunks_rejected == 1


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_08_a_value_that_is_not_finite_rejects_the_whole_chunk_and_names_joint_and_row(poison):
    story = Story().autonomy()
    values = story.chunk().values.copy()
    values[3, story.robot.index[ARM]] = poison
    verdict = bad(story, values=values)
    assert not verdict.accepted and ARM in verdict.reason and "row 3" in verdict.reason
    story.run(0.3).sound()
    assert any(e.level == "error" and ARM in e.text for s in story.steps for e in s.events)


MUTATIONS = {
    "one column too few": lambda c: replace(c, values=c.values[:, :-1]),
    "one name too few": lambda c: replace(c, names=c.names[:-1]),
    "a channel missing": lambda c: replace(c, names=c.names[:-1], values=c.values[:, :-1]),
    "a channel twice": lambda c: replace(c, names=(c.names[0], *c.names[:-1])),
    "an unknown channel": lambda c: replace(c, names=("elbow", *c.names[1:])),
    "no rows": lambda c: replace(c, values=c.values[:0]),
    "nothing at all": lambda c: replace(c, values=np.zeros(0)),
    "no names": lambda c: replace(c, names=()),
    "a flat table": lambda c: replace(c, values=c.values.ravel()),
    "three axes": lambda c: replace(c, values=c.values[None]),
    "a scalar": lambda c: replace(c, values=np.float64(1.0)),
    "period zero": lambda c: replace(c, period=0.0),
    "period negative": lambda c: replace(c, period=-0.1),
    "period not a number": lambda c: replace(c, period=math.nan),
    "start not a number": lambda c: replace(c, start=math.nan),
    "start in the future": lambda c: replace(c, start=c.start + 5.0),
    "a negative count of frozen rows": lambda c: replace(c, frozen_rows=-1),
    "an epoch ahead": lambda c: replace(c, epoch=c.epoch + 1),
}


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS.keys())
def test_09_a_malformed_chunk_is_rejected_whole_and_nothing_moves(mutation):
    story = Story().run(0.1)
    story.ask("autonomy")
    story.tick()
    before = story.values.copy()
    assert not story.send(mutation(story.chunk(goal={ARM: 0.5}))).accepted
    story.run(0.3)
    np.testing.assert_array_equal(story.values, before)
    assert story.last.counters.chunks_rejected == 1
    assert story.send(goal={ARM: 0.1}).accepted


def test_10_a_permuted_channel_order_is_mapped_by_name():
    plain, permuted = Story().autonomy(goal={ARM: 0.2}), Story().run(0.1)
    permuted.ask("autonomy")
    permuted.tick()
    chunk = permuted.chunk(goal={ARM: 0.2})
    order = np.random.default_rng(0).permutation(len(chunk.names))
    shuffled = replace(chunk, names=tuple(chunk.names[i] for i in order), values=chunk.values[:, order])
    assert permuted.send(shuffled).accepted
    permuted.tick()
    plain.run(1.0)
    permuted.run(1.0)
    np.testing.assert_allclose(permuted.values, plain.values, atol=1e-12)


def test_11_a_position_beyond_its_limit_is_clamped_and_said_so():
    story = Story()
    upper = story.robot.channels[story.robot.index[ARM]].limits.upper
    story.measured[story.robot.index[ARM]] = upper - 0.1
    story.autonomy(goal={ARM: upper + 0.3})
    story.run(1.5)
    assert "clamped" in story.names() and ARM in story.texts()
    assert story.at(ARM) <= upper + 1e-9 and story.last.counters.limited > 0
    story.sound()


def test_12_a_step_between_commands_is_limited_and_all_joints_of_an_arm_keep_to_the_straight_line():
    story = Story().run(0.1)
    story.ask("teleop")
    start, goal = story.values[:6].copy(), story.values[:6] + np.array([1.0, -0.5, 0.3, 0.7, -0.2, 0.1])
    story.run(6.0, each=lambda s: s.teleop("left_arm", goal))
    along = (np.array(story.runs[-1])[:, :6] - start) / (goal - start)
    assert np.max(np.ptp(along, axis=1)) < 1e-6
    np.testing.assert_allclose(along[-1], 1.0, atol=1e-6)
    story.sound()


def test_13_a_limit_approached_fast_is_braked_for_with_the_whole_arm():
    robot = make_robot()
    period = 1.0 / robot.control_rate
    limiter = GroupLimiter(bounds_of(robot.groups[0], period), period)
    upper = np.array(limiter.bounds.upper)
    limiter.reset((upper - 0.6).tolist())
    fast = np.array([upper - 0.01, np.array(limiter.bounds.velocity), np.zeros(6)])
    seen = []
    for _ in range(400):
        limiter.step(fast)
        seen.append(limiter.motion.x)
    assert np.max(np.array(seen) - upper) <= 1e-9
    assert np.max(np.abs(np.array(seen)[-1] - (upper - 0.01))) < 1e-6


def test_14_a_robot_outside_its_limits_comes_inward_slowly_and_never_further_out():
    story = Story()
    i, limits = story.robot.index[ARM], story.robot.channels[story.robot.index[ARM]].limits
    story.measured[i] = limits.upper + 0.05
    story.run(0.1)
    story.ask("teleop")
    story.run(2.0, each=lambda s: s.teleop("left_arm", middle(s.robot)[:6]))
    path = np.array(story.runs[-1])[:, i]
    assert np.all(np.diff(path) <= 1e-12) and path[-1] < path[0]
    assert np.max(np.abs(np.diff(path))) <= 0.0175 * story.period * (1 + 1e-6)


def test_14_a_robot_far_outside_its_limits_is_a_fault():
    story = Story()
    story.measured[story.robot.index[ARM]] += 50.0
    story.run(0.2)
    assert story.last.mode is Mode.STOPPED and ARM in story.last.reason and story.last.command is None
    assert not story.ask("reset").ok


def test_16_a_period_of_zero_or_less_is_refused_and_a_huge_one_moves_no_further_than_one_period():
    story = Story().autonomy(goal={ARM: 0.3})
    story.run(0.3)
    before = story.values.copy()
    for steady in (story.steady, story.steady - 1.0, math.nan, math.inf, -math.inf):
        assert story.executor.step(steady, story.ros).command is None
    story.tick(period=0.4)
    limits = np.array([c.limits.velocity for c in story.robot.channels])
    assert np.all(np.abs(story.values - before) <= limits * story.period * (1 + 1e-6))
    story.sound()


def test_17_a_blocked_arm_ends_autonomy_and_is_held_where_it_is():
    story = Story().autonomy(goal={ARM: 1.0}, rows=30)
    story.follows = False
    stuck = story.measured[story.robot.index[ARM]]

    def tremble(s):
        s.measured[s.robot.index[ARM]] = stuck + 1e-5 * (len(s.steps) % 2)

    story.run(2.5, each=tremble)
    assert story.last.mode is Mode.HOLD and "TRACKING" in story.last.reason and ARM in story.last.reason
    story.run(3.0, each=tremble)
    assert story.at(ARM) == pytest.approx(stuck, abs=1e-4)
    story.sound()


def test_18_joint_states_that_stop_decelerate_the_robot_and_then_are_a_fault_without_blind_commands():
    story = Story().autonomy(goal={ARM: 0.4}, rows=30)
    story.run(0.8)
    assert story.speed() > 0.0
    story.joints = False
    story.run(0.3)
    assert story.last.mode is Mode.HOLD and "left_joint1" in story.last.reason
    story.run(2.0)
    assert story.last.mode is Mode.STOPPED and story.last.command is None
    story.joints = True
    story.run(0.2)
    assert story.last.mode is Mode.STOPPED and story.last.command is not None
    assert story.ask("reset").ok and story.tick().mode is Mode.HOLD
    story.sound()


@pytest.mark.parametrize("quiet", ["joints", "odometry"])
def test_18_measurements_that_are_late_cost_speed_at_once_and_the_mode_only_after_a_while(quiet):
    settings = ExecutorSettings()
    story = Story(settings=settings).autonomy(goal={ARM: 0.6}, rows=30)
    limit = story.robot.channels[story.robot.index["base_vx"]].limits.upper
    plan = np.tile(story.chunk(rows=1).values, (60, 1))
    plan[:, story.robot.index["base_vx"]] = limit
    assert story.send(story.chunk(rows=60, values=plan)).accepted
    story.run(3.0)
    assert story.at("base_vx") > 0.9 * limit
    setattr(story, quiet, False)
    story.run(0.1 + settings.state_grace - 0.02)
    assert story.last.mode is Mode.AUTONOMY
    slowed = story.at("base_vx")
    setattr(story, quiet, True)
    # From max_age on it slowed down, at the base's own jerk of 10 m/s^3: J t^2 / 2, of which a period or two are lost.
    assert slowed <= limit - 0.5 * 10.0 * (settings.state_grace - 0.08) ** 2
    story.run(0.1)
    assert story.send(story.chunk(rows=60, values=plan)).accepted
    story.run(3.0)
    assert story.last.mode is Mode.AUTONOMY and story.at("base_vx") > 0.9 * limit, story.last.reason
    setattr(story, quiet, False)
    story.run(0.1 + settings.state_grace + 0.06)
    assert story.last.mode is Mode.HOLD and "no fresh measurement" in story.last.reason
    story.run(limit / 1.0 + 0.2)  # at 1 m/s^2
    last = next(s.command for s in reversed(story.steps) if s.command is not None)
    assert abs(last.values[story.robot.index["base_vx"]]) < 1e-4
    story.sound()


def test_18_a_moment_without_measurements_after_long_autonomy_does_not_count_as_a_policy_that_never_came():
    settings = ExecutorSettings()
    story = Story(settings=settings).autonomy(goal={ARM: 0.6}, rows=30)
    for _ in range(round(settings.engage_timeout) + 3):
        assert story.send(story.chunk(rows=60)).accepted
        story.run(1.0)
    story.joints = False
    story.run(0.1 + 0.5 * settings.state_grace)
    story.joints = True
    story.run(0.1)
    assert story.last.mode is Mode.AUTONOMY, story.last.reason
    assert story.last.reason.startswith("waiting for a fresh chunk")
    assert story.send(story.chunk(rows=60)).accepted
    story.run(0.2)
    assert story.last.owner == "policy"
    story.run(60 * 0.1 + settings.policy_lost + 2.0)
    assert story.last.mode is Mode.HOLD and "policy silent" in story.last.reason


@pytest.mark.parametrize("mode", ["autonomy", "teleop"])
def test_18_without_a_grace_late_measurements_end_the_mode_at_once(mode):
    story = Story(settings=ExecutorSettings(state_grace=0.0))
    if mode == "autonomy":
        story.autonomy(goal={ARM: 0.6}, rows=30)
    else:
        story.run(0.1)
        assert story.ask("teleop").ok
    story.run(0.3)
    story.joints = False
    story.run(0.14)
    assert story.last.mode is Mode.HOLD and "no fresh measurement" in story.last.reason


def test_19_joint_states_with_a_repeated_stamp_count_as_stale():
    story = Story().autonomy(goal={ARM: 0.4}, rows=30)
    frozen = story.ros
    story.stamp_of = lambda ros: frozen
    story.run(0.3)
    assert story.last.mode is Mode.HOLD and "no fresh measurement" in story.last.reason


def test_19_joint_states_whose_values_freeze_while_the_arm_is_commanded_count_as_stale():
    story = Story(settings=ExecutorSettings(tracking_error=5.0)).autonomy(goal={ARM: 0.6}, rows=30)
    story.follows = False
    story.run(2.0)
    assert story.last.mode is not Mode.AUTONOMY and "frozen" in story.texts()


@pytest.mark.parametrize("stamp", [lambda ros: 0.0, lambda ros: ros + 60.0])
def test_20_joint_states_stamped_zero_or_in_the_future_use_the_receive_time_with_a_warning(stamp):
    story = Story()
    story.stamp_of = stamp
    story.autonomy(goal={ARM: 0.2}).run(0.5)
    assert story.last.owner == "policy" and "receive time" in story.texts()


def test_23_a_pressed_estop_stops_within_one_period_is_latched_and_needs_release_and_reset():
    story = Story().autonomy(goal={ARM: 0.5}, rows=30)
    story.run(0.8)
    story.executor.on_estop(story.steady, True)
    story.tick()
    assert story.last.mode is Mode.STOPPED and story.last.owner == "hold"
    first = story.speed()
    story.run(0.4, each=lambda s: s.executor.on_estop(s.steady, True))
    assert story.speed() < first and not story.send(goal={ARM: 0.6}).accepted
    assert not any(story.ask(name).ok for name in ("hold", "teleop", "autonomy", "reset"))
    story.run(0.4, each=lambda s: s.executor.on_estop(s.steady, False))
    assert story.last.mode is Mode.STOPPED
    assert story.ask("reset").ok and story.tick().mode is Mode.HOLD
    story.sound()


def test_24_an_estop_that_falls_silent_counts_as_pressed_once_it_has_been_heard():
    story = Story().run(1.0)
    assert story.last.mode is Mode.HOLD
    story.run(1.0, each=lambda s: s.executor.on_estop(s.steady, False))
    assert story.last.mode is Mode.HOLD
    story.run(0.6)
    assert story.last.mode is Mode.STOPPED and "silent" in story.last.reason
    assert not story.ask("reset").ok


@pytest.mark.parametrize("way", ["teleop", "autonomy"])
def test_24_an_estop_that_is_required_and_was_never_heard_lets_nobody_drive(way):
    story = Story(settings=ExecutorSettings(estop_required=True)).run(0.5)
    refused = story.ask(way)
    assert not refused.ok and "no e-stop has been heard on estop" in refused.message and story.tick().mode is Mode.HOLD
    story.executor.on_estop(story.steady, False)
    assert story.ask(way).ok and story.tick().mode is Mode(way)


@pytest.mark.parametrize("required", [False, True])
def test_24_a_leader_that_moves_takes_over_without_an_estop_only_if_none_is_required(required):
    robot = make_robot(takeover=Takeover(leader_motion=0.05))
    story = Story(robot, settings=ExecutorSettings(estop_required=required)).run(0.5)
    leader = story.values[:6].copy()

    def moved(story):
        leader[:] += 0.02
        story.teleop("left_arm", leader)

    story.run(0.2, each=moved)
    assert (story.last.mode is Mode.TELEOP) is not required
    if required:  # once a button is there, it may
        story.executor.on_estop(story.steady, False)
        story.run(0.2, each=moved)
        assert story.last.mode is Mode.TELEOP


def test_25_asking_for_hold_decelerates_and_says_once_why():
    story = Story().autonomy(goal={ARM: 0.5}, rows=30)
    story.run(0.8)
    assert story.ask("hold").ok
    story.run(1.0)
    assert story.speed() == 0.0 and story.last.mode is Mode.HOLD
    assert story.texts().count("autonomy -> hold: hold requested") == 1
    story.sound()


def test_26_a_chunk_for_an_epoch_that_is_over_is_ignored():
    story = Story().autonomy(goal={ARM: 0.2})
    late = story.chunk(goal={ARM: 0.9})
    story.ask("hold")
    story.tick()
    story.ask("autonomy")
    story.tick()
    verdict = story.send(late)
    assert not verdict.accepted and "epoch" in verdict.reason


def test_31_taking_over_is_accepted_at_any_time_continuous_and_drops_the_plan():
    story = Story().autonomy(goal={ARM: 0.6, "left_joint3": -0.4, "base_vx": 0.3}, rows=30)
    story.run(0.9)
    assert story.ask("teleop").ok
    goal = story.values[:6] - 0.3
    story.teleop("left_arm", goal)
    story.tick()
    assert story.last.mode is Mode.TELEOP and story.last.owner == "teleop" and story.last.plan_sequence == 0
    assert not story.send(goal={ARM: 0.9}).accepted
    story.run(6.0, each=lambda s: s.teleop("left_arm", goal))
    np.testing.assert_allclose(story.values[:6], goal, atol=1e-6)
    assert story.at("base_vx") == 0.0
    story.sound()


def test_32_giving_back_waits_for_a_chunk_that_starts_near_the_robot_and_blends_slowly():
    story = Story().run(0.1)
    story.ask("teleop")
    goal = story.values[:6] + 0.2
    story.run(3.0, each=lambda s: s.teleop("left_arm", goal))
    assert story.ask("autonomy").ok
    story.tick()
    assert "waiting" in story.last.reason and story.last.owner == "hold"
    far = story.chunk()
    far = replace(far, values=far.values + (np.arange(18) == story.robot.index[ARM]) * 0.3)
    refused = story.send(far)
    assert not refused.accepted and ARM in refused.reason
    story.tick()
    assert ARM in story.last.reason and story.last.owner == "hold"
    assert story.send(goal={ARM: 0.9}).accepted
    limit = story.robot.channels[1].limits.velocity
    while story.last.owner != "policy":
        story.tick()
    story.run(0.9)
    rates = np.array([abs(s.command.velocities[1]) for s in story.steps[-45:]])
    assert story.last.owner == "policy" and 0.0 < rates.max() <= 0.2 * limit * (1 + 1e-6)
    story.sound()


def test_32_giving_back_without_fresh_state_is_refused_with_the_reason():
    story = Story().run(0.1)
    story.joints = False
    story.run(0.2)
    answer = story.ask("autonomy")
    assert not answer.ok and "no fresh measurement" in answer.message
    assert story.tick().mode is Mode.HOLD


def test_32_giving_back_without_any_chunk_ends_in_hold_with_the_reason():
    story = Story().run(0.1)
    story.ask("autonomy")
    story.run(10.5)
    assert story.last.mode is Mode.HOLD and "no usable chunk" in story.last.reason


def test_33_a_vanished_teleop_device_means_hold_and_never_autonomy():
    story = Story().autonomy(goal={ARM: 0.2})
    story.ask("teleop")
    story.run(0.5, each=lambda s: s.teleop("left_arm", s.values[:6] + 0.1))
    story.run(3.0, each=lambda s: s.send(goal={ARM: 0.5}))
    assert story.last.mode is Mode.HOLD and "silent" in story.last.reason
    assert story.speed() == 0.0
    story.sound()


def test_34_two_sources_at_once_have_exactly_one_owner_and_the_loser_is_counted():
    story = Story().autonomy(goal={ARM: 0.2})

    def both(s):
        s.teleop("left_arm", s.values[:6] - 0.2)
        s.send(goal={ARM: 0.3})

    story.run(0.4, each=both)
    assert {s.owner for s in story.steps[-20:]} == {"policy"} and story.last.counters.ignored == 20
    story.ask("teleop")
    story.tick()
    story.run(0.4, each=both)
    assert {s.owner for s in story.steps[-20:]} == {"teleop"} and story.last.counters.ignored == 40
    story.sound()


def test_34_of_two_policies_the_first_owns_the_robot_and_the_other_is_counted():
    story = Story().autonomy(goal={ARM: 0.2})
    verdict = story.send(goal={ARM: 0.9}, source="intruder")
    assert not verdict.accepted and "'policy' is driving" in verdict.reason
    story.run(0.3)
    assert story.last.counters.ignored == 1 and story.last.plan_sequence == 1


# What each mode becomes, written by hand from docs/safety.md: a dot changes nothing.
WHAT_HAPPENS = """
in                           hold      teleop    autonomy  stopped
hold                         .         hold      hold      .
teleop                       teleop    .         teleop    .
autonomy                     autonomy  autonomy  .         .
stop                         stopped   stopped   stopped   .
reset                        .         .         .         hold
leader moved                 teleop    .         teleop    .
e-stop                       stopped   stopped   stopped   .
fault                        stopped   stopped   stopped   .
state stale                  .         hold      hold      .
teleop lost                  .         hold      .         .
policy lost                  .         .         hold      .
tracking                     .         hold      hold      .
clock jump                   .         .         hold      .
second publisher             .         hold      hold      .
two policies of one name     .         .         hold      .
two teleop devices           .         hold      hold      .
"""
ROWS = [(line[:29].strip(), line[29:].split()) for line in WHAT_HAPPENS.strip().splitlines()]
CELLS = [(name, mode, cell) for name, cells in ROWS[1:] for mode, cell in zip(ROWS[0][1], cells, strict=True)]


def test_35_every_trigger_has_a_row():
    assert {name for name, _ in ROWS[1:]} == {trigger.value for trigger in Trigger}


@pytest.mark.parametrize(("trigger", "mode", "after"), CELLS)
def test_35_every_mode_becomes_what_the_safety_page_says(trigger, mode, after):
    before = ModeState(Mode(mode), "as it was", 7)
    found = advance(before, Trigger(trigger), "because")
    assert found == (before if after == "." else ModeState(Mode(after), "because", 8, trigger))


@pytest.mark.parametrize("mode", ["hold", "teleop", "autonomy", "stopped"])
@pytest.mark.parametrize("wanted", ["hold", "teleop", "autonomy", "stop", "reset"])
def test_35_a_request_is_granted_but_for_motion_after_a_stop_and_a_reset_without_one(mode, wanted):
    story = Story().run(0.1)
    if mode != "hold":
        assert story.ask("stop" if mode == "stopped" else mode).ok
    refused = wanted not in ("stop", "reset") if mode == "stopped" else wanted == "reset"
    assert story.ask(wanted).ok is not refused
    after = {"stop": "stopped", "reset": "hold"}.get(wanted, wanted)
    assert story.tick().mode is Mode(mode if refused else after)


@pytest.mark.parametrize("request_name", ["reset", "dance", "", "AUTONOMY"])
def test_35_an_invalid_request_is_refused_with_a_reason_and_the_state_stays(request_name):
    story = Story().autonomy()
    before = (story.last.mode, story.last.epoch)
    answer = story.ask(request_name)
    assert not answer.ok and answer.message
    assert (story.tick().mode, story.last.epoch) == before


@pytest.mark.parametrize("jump", [-900.0, 30.0])
def test_36_a_ros_clock_that_jumps_flushes_the_plan_and_holds_until_asked_again(jump):
    story = Story().autonomy(goal={ARM: 0.5}, rows=30)
    story.run(0.6)
    story.offset += jump
    story.tick()
    assert (
        story.last.mode is Mode.HOLD
        and story.last.plan_sequence == 0
        and story.executor.running_plan(story.ros) is None
    )
    story.stamps.clear()
    story.run(0.8)
    assert story.last.mode is Mode.HOLD and story.speed() == 0.0
    assert story.ask("autonomy").ok
    story.tick()
    assert story.send(goal={ARM: 0.1}).accepted
    story.run(0.2).sound()
    assert story.last.owner == "policy"


def test_36_a_ros_clock_that_stands_still_cannot_freeze_the_robot_in_motion():
    story = Story().autonomy(goal={ARM: 0.5}, rows=30)
    story.run(0.6)
    story.stalled = story.ros
    story.run(1.0)
    assert story.last.mode is Mode.HOLD and story.speed() == 0.0
    assert all(b > a for a, b in zip(story.stamps, story.stamps[1:], strict=False))
    story.sound()


@pytest.mark.parametrize("step", [0.3, -0.3])
def test_37_a_step_of_the_system_clock_stops_no_tick_and_trips_no_watchdog(step):
    story = Story().autonomy(goal={ARM: 0.3}, rows=30)
    story.run(0.5)
    story.offset += step
    story.run(0.5)
    assert story.last.mode is Mode.AUTONOMY and story.last.owner == "policy"
    assert all(s.command is not None for s in story.steps[-25:])
    story.sound()


def test_38_a_pause_of_two_hundred_milliseconds_is_counted_and_not_caught_up():
    story = Story().autonomy(goal={ARM: 0.6}, rows=20)
    story.run(0.6)
    before = story.last.counters.overruns
    story.tick(period=0.2)
    assert story.last.counters.overruns - before == 9 and "overrun" in story.names()
    story.run(1.0)
    assert story.last.owner == "policy"
    story.sound()


@pytest.mark.parametrize(
    "setting", [{"tracking_error": math.nan}, {"chunk_max_age": -1.0}, {"strategy": ""}, {"strategy": "fast"},
                {"engage_scale": 0.0}, {"engage_scale": 1.5}, {"state_stale": "0.1s"}, {"policy_lost": math.inf}],
)  # fmt: skip
def test_39_a_setting_that_makes_no_sense_is_refused_by_name(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        ExecutorSettings(**setting)


def test_41_a_policy_that_takes_ten_times_as_long_underruns_into_hold_and_recovers():
    story = Story().autonomy(goal={ARM: 0.1}, rows=8)
    story.run(1.3)
    assert story.last.counters.underruns == 1 and story.speed() == 0.0
    for _ in range(4):
        story.send(goal={ARM: 0.2}, rows=8, delay=0.05)
        story.run(0.4)
    assert story.last.mode is Mode.AUTONOMY and story.last.owner == "policy"
    story.sound()


def test_43_the_black_box_keeps_the_last_thirty_seconds_with_the_reason():
    story = Story().autonomy(goal={ARM: 0.3}, rows=30)
    story.run(35.0, each=lambda s: s.send(goal={ARM: 0.3}) if len(s.steps) % 20 == 0 else None)
    story.ask("stop")
    story.run(0.1)
    records = story.executor.blackbox.snapshot()
    kinds = {r.kind for r in records}
    assert {"state", "chunk", "command", "event"} <= kinds
    assert 29.0 < records[-1].steady - records[0].steady <= 30.0
    assert any(r.kind == "event" and "stop requested" in r.data.text for r in records)


def test_43_the_black_box_is_bounded_in_records_and_bytes():
    box = BlackBox(seconds=1e9, records=100, budget=1000)
    for k in range(10_000):
        box.add(float(k), float(k), "picture", None, size=50)
    assert len(box) == 20 and box.size == 1000
    assert box.snapshot()[-1].steady == 9999.0


def test_the_core_refuses_a_goal_that_is_not_finite_as_a_whole():
    robot = make_robot()
    limiter = Limiter(robot, 1.0 / robot.control_rate, ExecutorSettings().recovery_velocity)
    limiter.reset(np.where([c.kind is Kind.VELOCITY for c in robot.channels], 0.0, middle(robot)))
    before = limiter.state
    goal, groups = np.zeros((3, len(robot.channels))), len(robot.groups)
    goal[0, limiter.slices[2].start + 3] = math.nan
    assert limiter.step(goal, [True] * groups, [1.0] * groups) is None
    np.testing.assert_array_equal(limiter.state, before)


def test_a_deadman_button_that_is_released_or_silent_stops_teleoperation_without_leaving_it():
    story = Story(make_robot(takeover=Takeover(deadman_topic="joy", deadman_button=4))).run(0.1)
    assert story.ask("teleop").ok
    goal = story.values[:6] + 0.5
    story.run(0.5, each=lambda s: s.teleop("left_arm", goal))
    assert story.speed() == 0.0 and "deadman" in story.last.reason

    def held(s):
        s.executor.on_deadman(s.steady, True)
        s.teleop("left_arm", goal)

    story.run(0.5, each=held)
    assert story.speed() > 0.0
    story.run(1.0, each=lambda s: s.teleop("left_arm", goal))
    assert story.speed() == 0.0 and story.last.mode is Mode.TELEOP
    story.sound()


def test_moving_the_leader_takes_over_where_the_robot_says_so():
    story = Story(make_robot(takeover=Takeover(leader_motion=0.05))).autonomy(goal={ARM: 0.2}, rows=30)
    leader = story.values[:6].copy()
    story.run(0.4, each=lambda s: s.teleop("left_arm", leader))
    assert story.last.mode is Mode.AUTONOMY

    def push(s):
        leader[:] += 0.02
        s.teleop("left_arm", leader)

    story.run(0.1, each=push)
    assert story.last.mode is Mode.TELEOP and "leader" in story.last.reason
    story.sound()


def test_a_chunk_is_copied_and_cannot_be_changed_from_outside():
    values = np.zeros((2, 3))
    chunk = Chunk(0.0, 0.1, ("a", "b", "c"), values, 1, 0)
    values[:] = 9.0
    assert not chunk.values.any()
    with pytest.raises(ValueError):
        chunk.values[0, 0] = 1.0


@pytest.mark.parametrize("mode", ["autonomy", "teleop"])
def test_34_a_second_publisher_on_a_command_topic_stops_the_robot_and_nothing_moves_while_it_is_there(mode):
    story = Story()
    if mode == "autonomy":
        story.autonomy(goal={ARM: 0.5}, rows=30)
    else:
        story.run(0.1)
        assert story.ask("teleop").ok
    story.run(0.5)
    text = "cmd_vel is also published by /joystick"
    story.executor.on_second_publisher(story.steady, story.ros, text)
    story.run(1.0)
    assert story.last.mode is Mode.HOLD and story.last.reason == text and story.speed() == 0.0
    boxed = [record.data for record in story.executor.blackbox.snapshot() if record.kind == "event"]
    assert any(text in event.text for event in boxed)
    for request in ("autonomy", "teleop"):
        answer = story.ask(request)
        assert not answer.ok and text in answer.message
    assert story.ask("stop").ok and story.ask("reset").ok
    story.executor.on_second_publisher(story.steady, story.ros, "")
    assert story.ask(mode).ok
    story.tick()
    assert story.last.mode is Mode(mode)
    story.sound()


def test_34_nothing_at_all_is_commanded_while_somebody_else_was_there_first():
    story = Story()
    story.executor.on_second_publisher(story.steady, story.ros, "cmd_vel is also published by another /executor")
    story.run(1.0)
    assert all(s.command is None for s in story.steps) and "another /executor" in story.last.reason
    story.executor.on_second_publisher(story.steady, story.ros, "")
    story.run(0.1)
    assert story.last.command is not None and story.last.mode is Mode.HOLD
    story.sound()


def test_34_the_reason_names_the_second_publisher_as_soon_as_its_name_is_known():
    story = Story()
    story.autonomy(goal={ARM: 0.5}, rows=30)
    story.executor.on_second_publisher(
        story.steady, story.ros, "cmd_vel is also published by a node that is not known yet"
    )
    held = story.tick()
    assert held.mode is Mode.HOLD and "not known yet" in held.reason
    story.executor.on_second_publisher(story.steady, story.ros, "cmd_vel is also published by /joystick")
    named = story.tick()
    assert named.reason == "cmd_vel is also published by /joystick" and named.epoch == held.epoch
    assert story.ask("stop").ok  # a person's word is not overwritten
    story.executor.on_second_publisher(story.steady, story.ros, "cmd_vel is also published by /another_joystick")
    assert "joystick" not in story.tick().reason
    story.sound()


def test_34_joints_that_rest_while_it_waits_for_the_other_to_go_are_no_fault():
    story = Story()
    story.executor.on_second_publisher(story.steady, story.ros, "cmd_vel is also published by another /executor")
    story.run(2.0)  # all the time the same measurement
    story.executor.on_second_publisher(story.steady, story.ros, "")
    story.run(0.1)
    assert story.last.mode is Mode.HOLD and story.last.command is not None


def test_34_a_leader_that_is_moved_takes_over_nothing_while_somebody_else_commands():
    robot = make_robot(takeover=Takeover(leader_motion=0.1))
    home = middle(robot)[robot.index[ARM] : robot.index[ARM] + 6]
    for text, expected in (("cmd_vel is also published by /joystick", Mode.HOLD), ("", Mode.TELEOP)):
        story = Story(robot).run(0.1)
        story.executor.on_second_publisher(story.steady, story.ros, text)
        story.teleop("left_arm", home)
        story.run(0.04)
        story.teleop("left_arm", home + 0.3)
        assert story.tick().mode is expected
