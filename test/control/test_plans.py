"""A chunk becomes a plan: what is refused and why, where its path begins, and what is remembered of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from story import make_robot, middle

from pi0_ros.control import Chunk, ExecutorSettings
from pi0_ros.control.chunk import Cause
from pi0_ros.control.joining import Join
from pi0_ros.control.plan_making import AtOnce
from pi0_ros.control.plans import Plans, _too_little
from pi0_ros.control.running_plan import AcceptedChunk
from pi0_ros.robot.spec import Kind

ROBOT, PERIOD = make_robot(), 0.02
HOME = np.where([c.kind is Kind.VELOCITY for c in ROBOT.channels], 0.0, middle(ROBOT))
JOINT, OTHER, GRIP = ROBOT.index["left_joint2"], ROBOT.index["right_joint3"], ROBOT.index["left_gripper"]
REST = np.stack([HOME, 0.0 * HOME, 0.0 * HOME])


def all_of_it(times):
    return np.ones(len(times))


def plans(planner=None, **settings):
    return Plans(ROBOT, ExecutorSettings(**settings), PERIOD, planner or AtOnce())


def chunk(slope=0.0, sequence=1, start=100.0, period=0.1, rows=20, first=0.0, **more):
    """One joint at `slope` [rad/s] from `first` [rad] beside its middle on."""
    values = np.tile(HOME, (rows, 1))
    values[:, JOINT] += first + slope * period * np.arange(rows)
    return Chunk(start, period, ROBOT.channel_names, values, sequence, 4, "policy", **more)


def offer(of, given, ros=100.0, now=None, commanded=REST, measured=HOME):
    return of.offer(ros, ros if now is None else now, given, commanded, measured, all_of_it)


def advanced(of, count, ros=100.0):
    """The state after `count` periods along the plan."""
    state = REST
    for k in range(1, count + 1):
        state, _ = of.following.advance(ros + k * PERIOD, ros + k * PERIOD, state, all_of_it)
    return state


def test_while_the_plan_of_another_chunk_is_about_to_begin_the_next_one_is_refused():
    of = plans()
    assert of.clamped == ""
    assert offer(of, chunk(0.2, sequence=7)).accepted
    refused = offer(of, chunk(0.1, sequence=8))
    assert not refused.accepted and refused.cause is Cause.DELAY and "chunk 7" in refused.reason
    state = advanced(of, 3)
    assert offer(of, chunk(0.2, sequence=9, start=100.06), 100.06, commanded=state, measured=state[0]).accepted
    refused = offer(of, chunk(0.1, sequence=10), 100.06, commanded=state, measured=state[0])
    assert not refused.accepted and "chunk 9" in refused.reason
    # The running chunk's own plan, made once more, is in nobody's way.
    of.following.coming = replace(of.following.coming, chunk=of.following.running.chunk)
    assert offer(of, chunk(0.2, sequence=11, start=100.06), 100.06, commanded=state, measured=state[0]).accepted
    assert of.following.coming.chunk.sequence == 11


def test_rows_are_clamped_to_the_limits_and_the_channel_that_was_furthest_beyond_is_named():
    of, given = plans(), chunk()
    values = given.values.copy()
    values[[4, 9], JOINT] = ROBOT.channels[JOINT].limits.lower - np.array([0.02, 0.05])
    values[6, OTHER] = ROBOT.channels[OTHER].limits.upper + 0.03
    values[2, GRIP] = -0.4  # closed with more than its force is no news
    wanted = values.copy()
    wanted[[4, 9], JOINT], wanted[6, OTHER] = ROBOT.channels[JOINT].limits.lower, ROBOT.channels[OTHER].limits.upper
    wanted[2, GRIP] = 0.0
    order = np.random.default_rng(1).permutation(len(HOME))  # columns come in another order than the robot's
    offered = replace(given, names=tuple(np.array(ROBOT.channel_names)[order].tolist()), values=values[:, order])
    assert offer(of, replace(offered, period=1.0)).accepted
    assert of.clamped == "left_joint2 was planned beyond its limits and clamped"
    coming = of.following.coming
    np.testing.assert_array_equal(coming.joined.path.rows, wanted)
    assert [k for k, clamped in enumerate(coming.chunk.clamped) if clamped] == [2, 4, 6, 9]
    assert len(coming.chunk.clamped) == 20
    of.following.coming = None
    assert offer(of, chunk(sequence=2)).accepted and of.clamped == ""
    of.following.coming = None
    values[:, JOINT], values[:, OTHER] = HOME[JOINT], HOME[OTHER]
    offer(of, replace(given, values=values))
    assert of.clamped == ""


def test_a_standing_robot_that_is_further_along_the_rows_begins_there_though_the_plan_clock_is_behind():
    of, command = plans(), REST.copy()
    command[0, JOINT] += 0.06
    assert offer(of, chunk(0.2), 100.3, now=100.1, commanded=command, measured=command[0]).accepted
    assert of.following.coming.joined.begin == pytest.approx(100.2, abs=0.026)


@pytest.mark.parametrize(("since", "used"), [(99.0, True), (100.05, False)])
def test_a_policy_that_is_waited_for_must_have_seen_the_robot_at_rest(since, used):
    """`since`: when the last piece of path was executed; the chunk was observed at 100.0."""
    of = plans(strategy="wait")
    of.progress.add(since - PERIOD, 0.0)
    of.progress.add(since, 0.02)
    verdict = offer(of, chunk(0.1), 100.1)
    assert (verdict.accepted, verdict.cause) == (used, Cause.NONE if used else Cause.DELAY)
    assert (verdict.reason == "wait") is used


def test_an_accepted_chunk_is_remembered_with_its_strategy_and_all_that_it_said_of_itself():
    of = plans()
    verdict = offer(of, chunk(0.1, sequence=31, period=0.05, start=99.9, subtask="pick the cup"), 100.1, now=100.07)
    coming = of.following.coming
    assert verdict.accepted and verdict.reason == "replace"
    assert coming.chunk == AcceptedChunk(31, 4, "policy", 99.9, 0.05, "pick the cup", "replace", (False,) * 20)
    assert coming.start.time == 100.07 and coming.start.join == -1
    unknown = plans()
    assert offer(unknown, chunk(0.1), 100.1, now=math.nan).accepted  # no plan clock runs yet
    assert unknown.following.coming.start.time == 100.1


@pytest.mark.parametrize(("start", "now", "begin"), [(100.3, 100.1, 100.1), (100.0, 100.1, 100.0)])
def test_a_robot_at_rest_waits_for_a_row_0_that_is_yet_to_come_and_begins_at_once_with_one_that_was_due(start, now, begin):  # fmt: skip
    of = plans()
    assert offer(of, chunk(0.2, start=start), now).accepted
    assert of.following.coming.joined.begin == pytest.approx(begin)


def test_from_rest_the_path_begins_at_the_command_and_is_judged_by_what_is_measured():
    of, command, measured = plans(start_gap=0.2), REST.copy(), HOME.copy()
    command[0, JOINT] += 0.05
    measured[JOINT] += 0.13
    assert offer(of, chunk(first=-0.06), commanded=command, measured=measured).accepted
    path = of.following.coming.joined.path
    np.testing.assert_allclose(path.at(np.array([100.0, 101.5]))[:, JOINT], HOME[JOINT] + [0.05, -0.06], atol=1e-9)
    of = plans(start_gap=0.2)
    refused = offer(of, chunk(first=-0.08), commanded=command, measured=measured)
    assert not refused.accepted and refused.cause is Cause.FAR_START and "left_joint2" in refused.reason
    assert of.following.coming is None


def test_a_few_rows_that_the_robot_already_moves_by_mean_to_go_on():
    """0.1 s of rows at 0.1 rad/s, and a command at 0.13 rad/s: less than what else counts as motion at the end."""
    of, command = plans(), REST.copy()
    command[1, JOINT] = 0.13
    assert offer(of, chunk(0.1, period=0.05, rows=3), commanded=command).accepted
    assert of.following.coming.joined.path.coast[JOINT] == pytest.approx(0.1)
    assert offer(of := plans(), chunk(0.1, period=0.05, rows=3)).accepted
    assert of.following.coming.joined.path.coast[JOINT] == 0.0


class Slow(AtOnce):
    """Makes plans that begin three periods after the newest command."""

    def periods(self):
        return 3


def test_a_chunk_for_a_robot_that_moves_joins_the_running_plan_where_it_will_be():
    of = plans(Slow(), strategy="blend", blend_time=0.3)
    assert offer(of, chunk(0.2), 100.0, now=99.94).accepted
    state = advanced(of, 10)  # until 100.2
    verdict = offer(of, chunk(0.2, 2, start=100.1, first=0.05), 100.21, now=100.2, commanded=state, measured=state[0])
    coming, running = of.following.coming, of.following.running
    assert verdict.accepted and verdict.reason == "blend" and coming.chunk.strategy == "blend"
    assert coming.start.join == running.index + 3 and coming.start.time == pytest.approx(100.26)
    np.testing.assert_array_equal(coming.start.state, running.plan.states[coming.start.join])
    # 0.1 s have been executed since the observation, and 0.06 s will be until then.
    assert coming.joined.begin == pytest.approx(100.26, abs=4e-3)
    far = coming.joined.gap[JOINT]
    assert far == pytest.approx(abs(0.05 - 0.2 * 0.1), abs=2e-3)
    half = coming.joined.path.at(np.array([coming.joined.begin + 0.15]))[0, JOINT] - HOME[JOINT]
    assert half == pytest.approx(0.05 + 0.2 * 0.31 - 0.5 * far, abs=4e-3)


def test_of_a_chunk_that_the_robot_has_executed_nothing_is_left():
    of = plans()
    assert offer(of, chunk(0.2)).accepted
    state = advanced(of, 40)
    late = offer(of, chunk(0.2, 2, rows=5), 100.8, commanded=state, measured=state[0])
    assert not late.accepted and late.cause is Cause.DELAY and "0.40 s ago" in late.reason
    assert of.following.coming is None


def test_what_is_too_fast_is_refused_and_has_no_opinion_in_an_ensemble():
    of = plans(strategy="ensemble", ensemble_decay=0.0, start_gap=9.0)
    shakes = chunk(period=0.02, rows=60)
    values = shakes.values.copy()
    values[:, JOINT] += 0.5 * np.sin(0.5 * np.arange(60))
    refused = offer(of, replace(shakes, values=values))
    assert not refused.accepted and refused.cause is Cause.TOO_FAST and "left_joint2" in refused.reason
    for sequence, first, wanted in ((2, 0.02, 0.02), (3, 0.06, 0.04)):
        of.following.coming = None
        assert offer(of, chunk(0.0, sequence, first=first)).accepted
        np.testing.assert_allclose(of.following.coming.joined.path.rows[:, JOINT] - HOME[JOINT], wanted)


@pytest.mark.parametrize(
    ("begin", "strategy", "words"),
    [
        (50.2, "blend", ""),
        (52.9, "blend", ""),
        (53.0, "blend", "0.00 s ago"),
        (53.4, "replace", "0.40 s ago"),
        (51.7, "wait", ""),  # 1.3 of 3 s are left, more than two fifths
        (51.9, "wait", "1.10 s of 3.00 s"),
        (51.9, "blend", ""),
    ],
)
def test_what_is_left_of_a_path_must_be_worth_to_begin(begin, strategy, words):
    of = plans()
    offer(of, chunk(start=50.0, rows=31), 50.0)
    path = of.following.coming.joined.path
    said = _too_little(Join(path, begin, 0.0, HOME), path, strategy)
    assert words in said and bool(said) is bool(words)


def test_what_is_left_of_the_running_path_is_a_chunk_from_now_on():
    of = plans()
    assert of.rest(100.0) is None
    assert offer(of, chunk(0.2, sequence=5, subtask="wipe")).accepted
    assert of.rest(100.0) is None
    advanced(of, 10)
    at, path = of.following.running.path_time, of.following.running.plan.path
    rest = of.rest(777.0)
    assert (rest.start, rest.period, rest.names) == (777.0, 0.1, ROBOT.channel_names)
    assert (rest.sequence, rest.epoch, rest.source, rest.frozen_rows, rest.subtask) == (5, 4, "policy", 0, "wipe")
    wanted = [at + 0.1 * k for k in range(18)]
    assert path.end - 0.1 < wanted[-1] <= path.end + 1e-6
    np.testing.assert_allclose(rest.values, path.at(np.array(wanted)), atol=1e-12)
    assert of.rest(math.nan) is None and of.rest(math.inf) is None
    of.following.running.index = -1  # none of it has been sent yet
    np.testing.assert_allclose(of.rest(777.0).values, chunk(0.2).values, atol=1e-12)


def test_for_another_who_drives_nothing_is_left_of_what_was_before():
    of = plans(strategy="ensemble", ensemble_decay=0.0)
    values = chunk(0.3).values.copy()
    values[5:, JOINT] += 0.15
    values[9, OTHER] = ROBOT.channels[OTHER].limits.upper + 0.01
    values[:9, OTHER] = values[10:, OTHER] = ROBOT.channels[OTHER].limits.upper
    measured = HOME.copy()
    measured[OTHER] = ROBOT.channels[OTHER].limits.upper
    assert offer(of, replace(chunk(), values=values), measured=measured).accepted
    states = REST.copy()
    for k in range(100):
        states[0, GRIP] = 0.2 if (k // 5) % 2 else 0.8
        of.grips.steady(states)
    of.strategies.say_wait(2.0, 1.0)
    of.progress.add(100.0, 0.4)
    of.maker.slowed = "slowed"
    assert of.clamped and of.grips.sentence and of.strategies.waits and of.following.coming
    of.forget()
    assert (of.clamped, of.grips.sentence, of.strategies.waits, of.maker.slowed) == ("", "", "", "")
    assert of.following.waiting and of.progress.total == 0.0
    assert offer(of, chunk(first=0.02)).accepted
    np.testing.assert_allclose(of.following.coming.joined.path.rows[:, JOINT] - HOME[JOINT], 0.02)
