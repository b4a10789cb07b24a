"""What others have reported of robots that follow chunks of actions, rebuilt small. Each test names the report."""

import numpy as np
import pytest
from story import Story, make_robot, middle
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
    assert np.max(np.abs(moved - REST)) <= abs(offset) + 1e-4 + 1e-12  # the solver may use all of it, and sums are rounded
    story.sound()


class Late(Story):
    """The robot follows its commands with a first-order lag of `lag` [s]."""

    lag = 0.1

    def tick(self, period=None):
        before = self.measured
        step = super().tick(period)
        if self.follows and step.command is not None:
            self.measured = before + (1.0 - np.exp(-self.period / self.lag)) * (self.measured - before)
        return step


def anchored(speed, period, rows, delay, every):
    """A policy whose chunks begin where it last saw the robot, and go on from there at `speed`."""
    return Policy(
        lambda t, s: {JOINT: float(s.measured[s.robot.index[JOINT]]) + speed * (t - s.ros)}, period, rows, delay, every
    )


@pytest.mark.parametrize(
    ("rate", "rows", "delay", "every"),
    [(60, 60, 0.2, 0.2), (10, 16, 0.3, 0.8)],
    ids=["almond-bot/axol#191: 20 to 70 mrad back, five times a second", "reactive_diffusion_policy#18: rolls back at each chunk"],
)  # fmt: skip
def test_chunks_that_begin_where_a_lagging_arm_was_do_not_pull_it_back(rate, rows, delay, every):
    robot = make_robot()
    start = np.where([c.kind.value == "velocity" for c in robot.channels], 0.0, middle(robot))
    start[robot.index[JOINT]] = -0.8
    story = Late(robot, AT_ONCE, start).run(0.2)
    assert story.ask("autonomy").ok
    story.tick()
    story.run(4.0, anchored(0.4, 1.0 / rate, rows, delay, every))
    moved = commands(story, JOINT, 30)[1]
    assert np.max(np.maximum.accumulate(moved) - moved) < 1e-3
    assert speeds(moved[50:]).max() < 1.35 * 0.4 and moved[-1] - moved[0] > 0.5
    story.sound()


def test_an_arm_does_not_pause_between_chunks_of_16_rows():
    """NVIDIA/Isaac-GR00T#285: rows of 1/30 s, the arm pauses or jitters between one chunk and the next."""
    story = ready(AT_ONCE, {JOINT: -0.8})
    begin = story.ros
    story.run(4.0, Policy(lambda t, s: {JOINT: -0.8 + 0.3 * (t - begin)}, 1.0 / 30.0, 16, 0.15, every=0.25, jitter=0.2))
    speed = speeds(commands(story, JOINT, 100)[1])
    assert speed.min() > 0.9 * 0.3 and speed.max() < 1.1 * 0.3, (
        "though 70 ms of a plan are left when the next one comes"
    )
    assert story.last.counters.underruns == 0


def test_50_rows_are_as_smooth_at_125_hertz_as_their_path():
    """huggingface/lerobot#4229: 50 joint positions an inference, commanded at 125 Hz, quite jerky."""
    robot = make_robot(rate=125.0)
    story = ready(AT_ONCE, {JOINT: REST}, robot)
    path, begin = wave(story.ros), story.ros
    story.run(6.0, Policy(lambda t, s: {JOINT: float(path(t))}, 1.0 / 30.0, 50, 0.1, jitter=0.2))
    times, moved = commands(story, JOINT, 250)
    jerk = np.diff(moved, 3) * 125.0**3
    fastest = SIZE * 0.5 * (2.0 * np.pi * 0.4) ** 3
    assert np.sqrt(np.mean(jerk**2)) < 2.0 * fastest and np.abs(moved - path(times)).max() < 1e-3
    assert begin < times[0]
    story.sound()


def test_a_stop_in_the_middle_of_a_motion_that_began_late_ends_near_by():
    """ros-controls/ros_controllers#493: less time than planned, 41 rad/s, and the stop's end 4.7 rad away."""
    story = ready(AT_ONCE, {JOINT: -0.8})
    rows = np.tile(story.values, (20, 1))
    rows[:, story.velocity] = 0.0
    rows[:, story.robot.index[JOINT]] = -0.8 + 0.2 * np.arange(20) / 4.0 * 0.5
    verdict = story.send(story.chunk(start=story.ros - 0.9, period=0.05, values=rows))  # much of its time has passed
    assert verdict.accepted, verdict.reason
    story.run(0.4)
    at, speed = story.at(JOINT), story.speed()
    assert story.ask("hold").ok
    story.run(1.0)
    assert speed <= 1.3 * 0.5 + 1e-6
    assert abs(story.at(JOINT) - at) <= 0.5 * speed**2 / 10.0 + speed * (10.0 / 100.0) + 1e-3, (
        "a stop at 10 rad/s^2, 100 rad/s^3"
    )
    story.sound()


def test_the_velocity_does_not_drop_when_a_trajectory_comes_each_second():
    """ros-controls/ros2_controllers#1800, Kinovarobotics/ros2_kortex#297: spikes to zero with each new message."""
    story = ready(AT_ONCE, {JOINT: -0.8})
    begin = story.ros
    story.run(5.0, Policy(lambda t, s: {JOINT: -0.8 + 0.3 * (t - begin)}, 0.1, 100, 0.0, every=1.0))
    speed = speeds(commands(story, JOINT, 60)[1])
    assert speed.min() > 0.99 * 0.3 and speed.max() < 1.01 * 0.3


def test_two_rows_at_one_place_seconds_apart_are_a_pause():
    """ros-controls/ros2_controllers#1298: the same position twice, 3.5 s apart, and a large swing between them."""
    story = ready(AT_ONCE, {JOINT: 0.0})
    rows = np.tile(story.values, (8, 1))
    rows[:, story.velocity] = 0.0
    rows[:, story.robot.index[JOINT]] = [0.0, 0.15, 0.3, 0.3, 0.3, 0.3, 0.45, 0.6]
    assert story.send(story.chunk(start=story.ros, period=0.9, values=rows)).accepted
    story.run(7.0)
    times, moved = commands(story, JOINT)
    pause = (times > times[0] + 2 * 0.9 + 0.3) & (times < times[0] + 5 * 0.9)
    assert np.ptp(moved[pause]) < 2e-3 and abs(moved[pause].mean() - 0.3) < 2e-3
    assert np.max(np.maximum.accumulate(moved) - moved) < 5e-4


def test_a_follower_does_not_jump_to_its_leader_nor_to_its_plan_afterwards():
    """huggingface/lerobot#3385: the follower snaps to the leader's pose when a person takes over."""
    story = ready(None, {JOINT: REST})
    path = wave(story.ros)
    policy = Policy(lambda t, s: {JOINT: float(path(t))}, 1.0 / 30.0, 50, 0.1)
    story.run(1.5, policy)
    column, names = story.robot.index[JOINT], [c.name for c in story.robot.group("left_arm").channels]
    pose = np.array([story.at(n) for n in names])
    pose[names.index(JOINT)] += 0.8  # the leader is elsewhere
    assert story.ask("teleop").ok
    before = len(story.stamps)
    story.run(0.9, each=lambda s: s.teleop("left_arm", pose))
    slow = speeds(commands(story, JOINT, before + 20)[1])
    assert np.abs(slow).max() <= 0.2 * story.robot.channels[column].limits.velocity * 1.01
    assert story.ask("autonomy").ok
    back = len(story.stamps)
    policy.path = lambda t, s: {JOINT: s.at(JOINT) + 0.2 * (t - s.ros)}
    policy.pending = None
    story.run(1.0, policy)
    assert np.abs(speeds(commands(story, JOINT, back - 1)[1])).max() <= 0.2 * 2.5 * 1.01
    story.sound()


def test_a_short_way_there_and_back_is_made_and_not_averaged_away():
    """SpatialVLA/SpatialVLA#52: forward by a centimetre to grasp, and back; an average stays where it is."""
    story = ready(AT_ONCE, {JOINT: REST})
    begin = story.ros
    poke = lambda t: REST + 0.02 * np.clip(1.0 - np.abs((t - begin) - 1.5) / 0.3, 0.0, 1.0)
    story.run(3.0, Policy(lambda t, s: {JOINT: float(poke(t))}, 0.05, 30, 0.1, every=0.2))
    moved = commands(story, JOINT)[1]
    assert REST + 0.018 < moved.max() < REST + 0.021 and abs(moved[-1] - REST) < 1e-3


def test_an_arm_that_is_told_to_rise_at_once_rises_slowly_at_first():
    """NVlabs/GR00T-WholeBodyControl#107: the policy is engaged and the arms move up very rapidly."""
    story = ready(None, {JOINT: -0.6})
    begin = story.ros
    story.run(4.0, Policy(lambda t, s: {JOINT: -0.6 + min(2.0 * (t - begin), 1.2)}, 0.05, 40, 0.1, jitter=0.2))
    moved = commands(story, JOINT)[1]
    assert np.abs(speeds(moved[:50])).max() <= 0.2 * 2.5 * 1.01
    assert moved[-1] == pytest.approx(0.6, abs=1e-3)
    story.sound()
