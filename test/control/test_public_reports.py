"""What others have reported of robots that follow chunks of actions, rebuilt small. Each test names the report."""

import numpy as np
import pytest
from test_motion import AT_ONCE, JOINT, Policy, commands, ready, speeds

from pi0_ros.control import ExecutorSettings
from pi0_ros.control.modes import Mode

REST, SIZE = 0.35, 0.25


def wave(begin, frequency=0.4):
    """A path [rad] from rest: so slow at first that it asks for no more than the first second allows."""
    return lambda t: (
        REST + SIZE * 0.5 * (1.0 - np.cos(2.0 * np.pi * frequency * np.maximum(np.asarray(t) - begin, 0.0)))
    )


def test_a_first_chunk_that_took_a_warm_up_is_begun_at_row_0_and_the_warm_up_is_soon_forgotten():
    """huggingface/lerobot#4223: 30 rows at 30 Hz, 0.7 s for the first and 0.3 s for the others; 21 rows were skipped at rest."""
    story = ready(AT_ONCE, {JOINT: -0.8})
    policy = Policy(lambda t, s: {JOINT: s.at(JOINT) + 0.4 * (t - s.ros)}, 1.0 / 30.0, 30, 0.7)
    story.run(0.72, policy)
    policy.delay = 0.3
    story.run(0.4, policy)
    moved = commands(story, JOINT)[1]
    assert np.max(np.abs(speeds(moved))) <= 1.3 * 0.4, "no faster than the policy"
    begun = int(np.argmax(np.abs(moved + 0.8) > 1e-4))
    assert abs(moved[begun + 3] + 0.8) < 0.05, "from where it stood, not 0.28 rad ahead"
    story.run(4.0, policy)
    assert story.last.delay_p95 < 0.35 and story.last.strategy != "wait" and story.last.counters.chunks_rejected == 0
    story.sound()


def test_a_chunk_after_an_underrun_skips_only_what_was_executed():
    """huggingface/lerobot#4454: the queue ran empty, and the rows of the time in between were dropped all the same."""
    story = ready(ExecutorSettings(engage_time=0.0, engage_ramp=0.0, chunk_max_age=3.0), {JOINT: -0.8})
    ramp = lambda t, s: {JOINT: s.at(JOINT) + 0.3 * (t - s.ros)}
    policy = Policy(ramp, 0.05, 30, 0.1)
    story.run(2.0, policy)
    policy.delay = 1.25  # longer than what is left of the plan when it is asked for
    story.run(3.0, policy)
    assert story.last.counters.underruns > 0
    policy.delay = 0.1
    before = len(story.stamps)
    story.run(3.0, policy)
    assert np.max(np.abs(speeds(commands(story, JOINT, before - 1)[1]))) <= 1.35 * 0.3
    assert story.last.mode is Mode.AUTONOMY
    story.sound()


@pytest.mark.parametrize("strategy", ["auto", "replace", "ensemble"])
def test_chunks_that_disagree_by_centimetres_are_joined_without_a_jump(strategy):
    """hzxie/DynamicVLA#24: 0.245 s of inference, rows of 40 ms, several centimetres between one chunk and the next."""
    story, rng = ready(ExecutorSettings(strategy=strategy), {JOINT: REST}), np.random.default_rng(2)
    path, apart = wave(story.ros), [0.0]

    def rows(t, s):
        return {JOINT: float(path(t)) + apart[0]}

    policy = Policy(rows, 0.04, 20, 0.245, every=0.32, jitter=0.1)
    for _ in range(16):
        apart[0] = float(rng.uniform(-0.03, 0.03))
        story.run(0.32, policy)
    moved = commands(story, JOINT)[1]
    fastest = np.max(np.abs(speeds(path(np.array(story.stamps)))))
    # A gap of 0.06 rad closes within the 0.2 s of a quick join: 15/8 of its mean speed beside the path's own.
    assert np.max(np.abs(speeds(moved))) <= 1.05 * (fastest + 15.0 / 8.0 * 0.06 / 0.2)
    assert story.last.mode is Mode.AUTONOMY and story.last.counters.chunks_rejected == 0
    story.sound()


def test_with_86_milliseconds_of_inference_nothing_stops_between_chunks():
    """Physical-Intelligence/openpi#393: rows of 20 ms, 50 of them, the arm stops until each new chunk is there."""
    story = ready(AT_ONCE, {JOINT: -0.8})
    begin = story.ros
    story.run(5.0, Policy(lambda t, s: {JOINT: -0.8 + 0.3 * (t - begin)}, 0.02, 50, 0.086, jitter=0.2))
    speed = speeds(commands(story, JOINT, 60)[1])
    assert speed.min() > 0.95 * 0.3 and speed.max() < 1.05 * 0.3
    assert story.last.counters.underruns == 0


def test_a_client_that_goes_quiet_for_long_stops_the_robot_gently_and_is_followed_again():
    """huggingface/lerobot#2356: one chunk of 50 rows is run, then the next comes after 22 s."""
    story = ready(None, {JOINT: REST})
    path = wave(story.ros, 0.2)
    policy = Policy(lambda t, s: {JOINT: float(path(t))}, 1.0 / 30.0, 50, 0.3)
    story.run(1.2, policy)
    story.run(22.0)
    rest = commands(story, JOINT)[1][-50:]
    assert np.ptp(rest) == 0.0 and story.last.mode is Mode.HOLD and "policy silent" in story.last.reason
    assert story.ask("autonomy").ok
    story.tick()
    policy.path = lambda t, s: {JOINT: s.at(JOINT) + 0.2 * (t - s.ros)}
    policy.pending = None
    before = len(story.stamps)
    story.run(2.0, policy)
    moved = commands(story, JOINT, before)[1]
    assert moved[-1] - moved[0] > 0.15 and np.max(speeds(moved)) <= 1.3 * 0.2
    story.sound()


def test_inference_that_surges_from_half_a_second_to_many_ends_in_rest_and_never_in_a_jump():
    """legalaspro/so101-ros-physical-ai#17: 2.3 to 25.7 s a chunk, at random."""
    story, rng = ready(None, {JOINT: REST}), np.random.default_rng(5)
    policy = Policy(lambda t, s: {JOINT: s.at(JOINT) + 0.1 * np.sin(2.0 * (t - s.ros))}, 1.0 / 30.0, 50, 2.3)
    for _ in range(6):
        policy.delay = float(rng.uniform(2.3, 8.0))
        story.run(policy.delay + 1.0, policy)
        if story.last.mode is not Mode.AUTONOMY:
            assert story.last.reason, "it says why"
            assert story.ask("autonomy").ok
    moved = commands(story, JOINT)[1]
    assert np.max(np.abs(speeds(moved))) <= 1.3 * 0.2 + 1e-3 and np.ptp(moved) > 0.05
    story.sound()


def test_an_execution_horizon_of_8_of_16_rows_at_25_hertz_with_200_milliseconds_has_no_pause():
    """Physical-Intelligence/real-time-chunking-kinetix#2: when to ask, so that there is neither a pause nor an old view."""
    story = ready(AT_ONCE, {JOINT: REST})
    path = wave(story.ros)
    policy = Policy(lambda t, s: {JOINT: float(path(t))}, 0.04, 16, 0.2, every=0.32)
    story.run(6.0, policy)
    times, moved = commands(story, JOINT, 150)
    assert np.max(np.abs(moved - path(times))) < 0.002 and story.last.counters.underruns == 0
    story.sound()


def test_a_chunk_for_later_lets_the_one_that_runs_go_on():
    """ros-controls/ros2_controllers#574, #1455, #2419: a trajectory stamped ahead ended the active one with a slow ramp."""
    story = ready(AT_ONCE, {JOINT: REST})
    path = wave(story.ros)
    policy = Policy(lambda t, s: {JOINT: float(path(t))}, 0.05, 30, 0.05, ahead=0.35)
    story.run(5.0, policy)
    times, moved = commands(story, JOINT, 100)
    assert np.max(np.abs(moved - path(times))) < 0.003 and story.last.counters.underruns == 0


def test_a_hundredth_added_in_every_cycle_is_a_path_as_fast_as_the_limits_allow_or_refused():
    """frankarobotics/libfranka#169: 0.01 rad more in each row of 1 ms is 10 rad/s; the robot's reflex stopped it."""
    story = ready(AT_ONCE, {JOINT: REST})
    values = np.tile(story.values, (100, 1))
    values[:, story.robot.index[JOINT]] += 0.01 * np.arange(100)
    verdict = story.send(story.chunk(start=story.ros, period=0.001, values=values, rows=100))
    story.run(1.0)
    assert verdict.accepted or "limit" in verdict.reason
    story.sound()


@pytest.mark.parametrize("offset", [0.02, -0.05])
def test_rows_that_begin_beside_the_arm_are_approached_and_not_jumped_to(offset):
    """frankarobotics/franka_ros2#127 and #168: the first row was not where the arm was, a discontinuity of velocity."""
    story = ready(None, {JOINT: REST})
    values = np.tile(story.values, (20, 1))
    values[:, story.robot.index[JOINT]] += offset
    assert story.send(story.chunk(start=story.ros, period=0.05, values=values, rows=20)).accepted
    story.run(1.5)
    moved = commands(story, JOINT)[1]
    assert moved[-1] == pytest.approx(REST + offset, abs=1e-3)
    assert np.max(np.abs(speeds(moved))) <= 0.2 * story.robot.channels[story.robot.index[JOINT]].limits.velocity
    assert np.max(np.abs(moved - REST)) <= abs(offset) + 1e-4
    story.sound()
