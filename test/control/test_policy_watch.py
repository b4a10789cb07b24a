"""What a person hears of the policy: whether there is one, what it waits for, how late it is, and which chunk is in turn."""

from dataclasses import replace

import numpy as np
import pytest
from story import Story, make_robot

from pi0_ros.control import Chunk, ExecutorSettings
from pi0_ros.control.chunk import Cause, check_order
from pi0_ros.control.delay import CURRENT, DelayEstimator
from pi0_ros.control.executor import Executor
from pi0_ros.control.policy_watch import PolicyWatch
from pi0_ros.control.step import Seam

ARM = "left_joint2"


def test_autonomy_is_refused_while_nobody_publishes_chunks_and_granted_when_somebody_does():
    story = Story(make_robot()).run(0.1)
    story.executor.on_policy(lambda policy: policy.seen(()))
    answer = story.ask("autonomy")
    assert not answer.ok and "no policy is alive: nobody publishes action_chunk" in answer.message
    assert story.tick().mode.value == "hold"
    story.executor.on_policy(lambda policy: policy.seen(("/policy",)))
    assert story.ask("autonomy").ok


def test_the_state_carries_the_policys_own_reason_until_it_plans_and_after_its_plan_ran_out():
    story = Story(make_robot()).run(0.1)
    story.executor.on_policy(lambda policy: policy.seen(("/policy",)).says("no picture of base on /base/image"))
    story.ask("autonomy")
    assert story.tick().reason == "waiting for the policy: no picture of base on /base/image"
    story.executor.on_policy(lambda policy: policy.says(""))
    assert story.tick().reason == "waiting for a fresh chunk that starts near the robot"
    assert story.send(rows=4).accepted
    story.run(0.2)
    story.executor.on_policy(lambda policy: policy.says("the camera stopped"))
    story.run(1.0)
    assert story.last.reason.endswith("holding until the next chunk; the policy: the camera stopped")
    story.executor.on_policy(lambda policy: policy.seen(()))
    assert "the camera stopped" not in story.tick().reason


def test_autonomy_that_ends_without_a_chunk_says_why_the_policy_did_not_plan():
    story = Story(make_robot(), ExecutorSettings(engage_timeout=0.5)).run(0.1)
    story.executor.on_policy(lambda policy: policy.says("no task yet"))
    story.ask("autonomy")
    story.run(1.0)
    assert (
        story.last.mode.value == "hold" and story.last.reason == "no usable chunk within 0.5 s; the policy: no task yet"
    )


@pytest.mark.parametrize(
    ("last", "following", "good"),
    [
        (2**64 - 1, 0, True),
        (2**64 - 1, 1, True),
        (5, 2**64 - 1, False),
        (7, 7, False),
        (7, 6, False),
        (7, 8, True),
        (0, 2**63 + 1, False),
    ],
)
def test_no_sequence_number_locks_its_source_out(last, following, good):
    chunk = Chunk(0.0, 0.1, ("a",), np.zeros((2, 1)), following, 3, "policy")
    assert (check_order(chunk, 3, {"policy": last}) == "") is good


def test_a_chunk_of_an_executor_that_ran_before_is_not_taken_for_one_of_now():
    story = Story(make_robot())
    late = replace(story.chunk(), epoch=1)
    story.executor = Executor(story.robot, ExecutorSettings(), epoch=77)
    story.run(0.1)
    story.ask("autonomy")
    story.tick()
    assert story.last.epoch == 78
    verdict = story.send(replace(late, start=story.ros))
    assert not verdict.accepted and "epoch 1 is not the current epoch 78" in verdict.reason


def test_delays_that_were_measured_while_the_robot_held_do_not_refuse_autonomy():
    story = Story(make_robot()).run(0.1)
    for _ in range(32):
        story.run(0.04)
        story.send(delay=0.9)
    story.ask("autonomy")
    story.tick()
    for _ in range(3):
        assert story.send(delay=0.1).accepted
        story.run(0.2)
    assert story.last.delay_p95 < 0.15


def test_one_hiccup_refuses_no_chunk_but_itself():
    story = Story(make_robot(), ExecutorSettings(chunk_max_age=5.0)).autonomy()
    for _ in range(4):
        story.run(0.2)
        assert story.send(delay=0.1).accepted
    story.run(0.2)
    verdict = story.send(delay=1.4)
    assert not verdict.accepted and verdict.cause is Cause.DELAY
    story.run(0.2)
    assert story.send(delay=0.1).accepted


def test_the_estimate_is_the_95th_percentile_of_delays_of_now():
    delays = DelayEstimator()
    delays.cold_start()
    delays.add(0.0, 50.0)
    for k in range(20):
        delays.add(0.1 * k, 0.1 + 0.01 * ((7 * k) % 20))  # 0.10 .. 0.29 in another order
    assert delays.p95 == pytest.approx(0.28)
    for k in range(3):
        delays.add(2.0 + CURRENT + 0.1 * k, 0.05)
    assert delays.p95 == pytest.approx(0.05)


def test_a_joint_that_starts_beyond_its_limit_is_named_and_held_and_moves_inward_only():
    story = Story(make_robot())
    i = story.robot.index[ARM]
    upper = story.robot.channels[i].limits.upper
    story.measured[i] = upper + 0.05
    story.run(0.5)
    assert f"{ARM} is at {upper + 0.05:.4g}, beyond its limit {upper:.4g}" in story.texts()
    assert [e.level for s in story.steps for e in s.events if e.name == "beyond limit"] == ["warn"]
    assert story.at(ARM) == pytest.approx(upper + 0.05, abs=1e-9) and story.last.mode.value == "hold"
    story.ask("autonomy")
    story.tick()
    assert story.send(goal={ARM: upper + 0.1}).accepted
    story.run(1.0)
    path = np.array(story.runs[-1])[:, i]
    assert np.all(np.diff(path) <= 1e-12)


def test_where_nothing_is_planned_the_state_says_no_plan_and_a_plan_begins_without_a_seam():
    story = Story(make_robot()).run(0.2)
    assert (story.last.plan_sequence, story.last.plan_left, story.last.strategy) == (0, 0.0, "")
    assert story.last.seam == Seam() == Seam(0.0, 0.0, 0.0, 0.0)
    story.autonomy(goal={ARM: 0.3}, rows=30)
    assert story.last.plan_sequence == story.sequence and story.last.plan_left > 2.0
    assert story.last.seam == Seam()
    story.ask("hold")
    assert story.tick().plan_sequence == 0 and story.last.plan_left == 0.0


def test_that_a_policy_is_too_slow_is_said_once_and_again_when_it_has_been_fast_meanwhile():
    """Chunks of 1 s that come 0.95 s after their observation, to a robot that stands."""
    story = Story(make_robot(), ExecutorSettings(chunk_max_age=5.0)).run(0.1)
    story.ask("autonomy")
    story.tick()

    def said(delay, count):
        for _ in range(count):
            story.send(rows=11, delay=delay)
            story.run(1.5)
        return story.names().count("wait")

    assert said(0.95, 3) == 1
    story.ask("hold")
    story.tick()
    story.ask("autonomy")
    story.tick()
    assert said(0.95, 1) == 2


def test_a_slow_plan_of_which_little_is_left_is_not_begun():
    """Of 1 s of rows 0.3 s are executed while it stands and waits: at least 0.4 s have to be left."""
    for gone, taken in ((0.5, True), (0.7, False)):
        story = Story(make_robot(), ExecutorSettings(strategy="wait", chunk_max_age=5.0)).run(0.1)
        story.ask("autonomy")
        story.tick()
        i = story.robot.index[ARM]
        rows = np.tile(story.values, (11, 1))
        rows[:, i] += 0.04 * (np.arange(11) - 10.0 * gone)  # the robot stands where row `gone` is
        verdict = story.send(story.chunk(values=rows, rows=11, delay=gone + 0.05))
        assert verdict.accepted is taken, verdict.reason
        assert taken or "would be left; the next one is begun at rest" in verdict.reason


def test_a_second_policy_is_told_every_ten_seconds_and_counted_every_time():
    story = Story(make_robot()).autonomy(goal={ARM: 0.3}, rows=30, source="one")
    for k in range(50):
        if k % 8 == 0:
            story.send(goal={ARM: 0.3}, rows=40, source="one")
        assert not story.send(goal={ARM: 0.1}, rows=30, source="two", sequence=k + 1).accepted
        story.run(0.3)
    told = [e.steady for s in story.steps for e in s.events if e.name == "second policy"]
    assert len(told) == 2 and 10.0 <= told[1] - told[0] < 10.4
    assert story.last.counters.ignored == 50


def test_what_the_policy_waits_for_is_what_autonomy_waits_for_and_else_the_next_chunk():
    assert PolicyWatch(reason="no camera").waiting("too far") == "waiting for the policy: no camera"
    waits = "waiting for a fresh chunk that starts near the robot"
    assert PolicyWatch().waiting("") == waits
    assert PolicyWatch().waiting("too far") == f"{waits}; the last was refused: too far"


def test_policies_of_two_names_compete_and_two_of_one_name_do_not():
    assert PolicyWatch(("b", "b")).competition() == PolicyWatch().competition() == ""
    assert PolicyWatch(("b", "a", "b")).competition().startswith("a and b publish action_chunk")
