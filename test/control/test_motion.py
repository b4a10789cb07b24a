"""What a robot does with the rows of a policy: where it is, when, how fast and which way, beside the rows themselves."""

from dataclasses import replace

import numpy as np
import pytest
from story import Story, make_robot, middle

from pi0_ros.control import ExecutorSettings
from pi0_ros.control.modes import Mode

JOINT, OTHER, LIFT = "left_joint2", "left_joint1", "lift"
AT_ONCE = ExecutorSettings(engage_time=0.0, engage_ramp=0.0)


class Policy:
    """Rows of `path(time) -> {channel: value}`, asked for every `every` [s] and when the plan ends, answered after `delay`."""

    def __init__(self, path, period, rows, delay, every=0.4, jitter=0.0, seed=0, ahead=0.0):
        self.path, self.period, self.rows, self.delay, self.every = path, period, rows, delay, every
        self.jitter, self.rng, self.ahead = jitter, np.random.default_rng(seed), ahead
        self.asked, self.pending = -1e9, None

    def __call__(self, story):
        now = story.ros
        if self.pending is not None and self.pending[0] <= now + 1e-9:
            story.send(self.pending[1])
            self.pending = None
        ending = story.steps and story.last.plan_left < self.delay + 0.1 and now - self.asked >= self.delay
        if self.pending is None and (now - self.asked >= self.every - 1e-9 or ending):
            self.asked = now
            stamp = now + self.ahead
            rows = [self.path(stamp + k * self.period, story) for k in range(self.rows)]
            values = np.tile(story.values, (self.rows, 1))
            values[:, story.velocity] = 0.0
            for name in rows[0]:
                values[:, story.robot.index[name]] = [row[name] for row in rows]
            chunk = story.chunk(start=stamp, period=self.period, values=values, rows=self.rows)
            self.pending = (now + self.delay * (1.0 + self.jitter * self.rng.uniform(-1, 1)), chunk)


def ready(settings=None, start=None, robot=None):
    """A story in which autonomy has been asked for; `start`: channel values to start from."""
    robot = robot or make_robot()
    at = np.where([c.kind.value == "velocity" for c in robot.channels], 0.0, middle(robot))
    for name, value in (start or {}).items():
        at[robot.index[name]] = value
    story = Story(robot, settings, at).run(0.2)
    assert story.ask("autonomy").ok
    story.tick()
    return story


def commands(story, name, since=0):
    """Times and commanded values of a channel from command `since` on."""
    return np.array(story.stamps[since:]), np.array(story.runs[-1])[since:, story.robot.index[name]]


def speeds(values, period=0.02):
    """First difference [1/s]."""
    return np.diff(values) / period


@pytest.mark.parametrize(
    ("rate", "rows", "delay", "strategy"),
    [
        *((*case, "auto") for case in ((50, 50, 0.1), (30, 8, 0.05), (50, 20, 0.15), (50, 10, 0.05), (15, 8, 0.1))),
        (50, 16, 0.1, "blend"),
        (30, 10, 0.1, "replace"),
        (50, 16, 0.1, "ensemble"),
    ],
)
def test_the_command_is_on_the_rows_for_every_horizon_rate_and_delay(rate, rows, delay, strategy):
    story = ready(ExecutorSettings(strategy=strategy), {JOINT: 0.35})
    begin = story.ros
    path = lambda t: 0.35 + 0.1 * np.sin(np.pi * (np.asarray(t) - begin))
    story.run(6.0, Policy(lambda t, s: {JOINT: float(path(t))}, 1.0 / rate, rows, delay, jitter=0.2))
    times, values = commands(story, JOINT, 150)
    assert np.max(np.abs(values - path(times))) < 0.01
    assert story.last.mode is Mode.AUTONOMY and story.last.counters.chunks_rejected == 0
    story.sound()


def test_a_policy_that_sees_60_ms_ahead_is_followed_more_closely_than_by_a_stop_at_each_end():
    """4 rows at 50 Hz in every period: each plan ends 60 ms ahead, and the next one begins before that."""
    story = ready(AT_ONCE, {JOINT: 0.35})
    begin = story.ros
    path = lambda t: 0.35 + 0.1 * np.sin(np.pi * (np.asarray(t) - begin))
    story.run(4.0, Policy(lambda t, s: {JOINT: float(path(t))}, 0.02, 4, 0.0, every=0.02))
    times, values = commands(story, JOINT, 100)
    assert np.max(np.abs(values - path(times))) < 0.013, "0.019 where each end is a stop"
    story.sound()


@pytest.mark.parametrize("noise", [0.0005, 0.002, 0.005])
@pytest.mark.parametrize(("rate", "rows", "strategy"), [(50, 50, "auto"), (30, 50, "ensemble"), (10, 16, "replace")])
def test_a_policy_that_stays_with_noise_moves_the_robot_less_than_its_rows(noise, strategy, rate, rows):
    story, rng = ready(ExecutorSettings(strategy=strategy), {JOINT: 0.35}), np.random.default_rng(1)
    asked = []

    def stay(_, s):
        asked.append(float(np.clip(rng.normal(0.0, noise), -3.0 * noise, 3.0 * noise)))
        return {JOINT: 0.35 + asked[-1]}

    story.run(5.0, Policy(stay, 1.0 / rate, rows, 0.1))
    values = commands(story, JOINT, 60)[1] - 0.35
    assert np.max(np.abs(values)) <= np.max(np.abs(asked)) and np.std(values) < np.std(asked)
    story.sound()


@pytest.mark.parametrize("rate", [5, 20, 50])
@pytest.mark.parametrize("shape", ["ramp", "step of 0.3", "step of 0.8"])
def test_nothing_moves_against_the_direction_of_the_plan_or_beyond_its_rows(rate, shape):
    k = np.arange(3 * rate)
    rows = {
        "ramp": -0.9 + 2.0 * np.clip(k / rate - 0.8, 0.0, 0.6),
        "step of 0.3": np.where(k < rate, -0.05, 0.25),
        "step of 0.8": np.where(k < rate, -0.05, 0.75),
    }[shape]
    story = ready(ExecutorSettings(engage_time=0.0, engage_ramp=0.0, reach_speed=99.0), {JOINT: rows[0]})
    values = np.tile(story.values, (len(rows), 1))
    values[:, story.robot.index[JOINT]] = rows
    assert story.send(story.chunk(start=story.ros, period=1.0 / rate, values=values, rows=len(rows))).accepted
    story.run(4.2)
    moved = commands(story, JOINT)[1]
    assert moved.min() >= rows.min() - 1e-3 and moved.max() <= rows.max() + 1e-3
    assert np.max(np.maximum.accumulate(moved) - moved) < 5e-4, "it never goes back"
    assert moved[-1] == pytest.approx(rows[-1], abs=1e-3)
    story.sound()


@pytest.mark.parametrize(("speed", "most"), [(1.5, 1.0), (2.0, 1.3), (3.0, 2.0)])
def test_a_circle_that_is_too_fast_keeps_its_shape_and_is_slowed_and_said_so(speed, most):
    radius = 0.3
    story = ready(ExecutorSettings(start_gap=0.5), {OTHER: 0.0, JOINT: 0.35})
    begin, turn = story.ros, speed / radius  # acceleration speed^2 / radius, the limit is 10

    def path(t, s):
        return {OTHER: radius * (np.cos(turn * (t - begin)) - 1.0), JOINT: 0.35 + radius * np.sin(turn * (t - begin))}

    story.run(8.0, Policy(path, 0.02, 50, 0.1))
    x, y = commands(story, OTHER, 300)[1], commands(story, JOINT, 300)[1]
    drawn = np.hypot(x + radius, y - 0.35)
    assert drawn.min() > 0.285 and drawn.max() < 0.305
    along = np.hypot(speeds(x), speeds(y)).mean()
    # At the speed that the acceleration limit leaves, sqrt(10 r); a slower circle at its own or, late, a little faster.
    assert along == pytest.approx(np.sqrt(10.0 * radius), rel=0.1) if most > 1.0 else 0.98 < along / speed < 1.15
    if most > 1.0:
        assert "slowed" in story.names() and "limit" in story.texts()
        assert story.last.counters.limited > 100 and story.last.plan_rate == pytest.approx(
            np.sqrt(10.0 * radius) / speed, rel=0.1
        )
    story.sound()


def test_a_chunk_that_would_have_to_be_slowed_too_much_is_refused_with_channel_and_factor():
    story = ready(ExecutorSettings(start_gap=9.0, reach_speed=99.0, slow_down=1.5), {JOINT: 0.35})
    k = np.arange(50)
    values = np.tile(story.values, (50, 1))
    values[:, story.robot.index[JOINT]] = 0.35 + 0.3 * np.sin(14.0 * 0.02 * k)  # 4.2 rad/s, 59 rad/s^2
    verdict = story.send(story.chunk(start=story.ros, period=0.02, values=values, rows=50))
    assert not verdict.accepted and JOINT in verdict.reason and "slowed" in verdict.reason
    story.run(0.5)
    assert story.speed() == 0.0


@pytest.mark.parametrize("top", [0.6, 1.25, 1.5])
def test_after_the_slow_first_second_the_robot_is_never_much_faster_than_the_policy(top):
    story = ready(start={JOINT: -0.9})
    begin = story.ros
    path = lambda t: -0.9 + 1.25 * (1.0 - np.cos(np.clip((np.asarray(t) - begin) * top / 1.25, 0, np.pi)))
    story.run(8.0, Policy(lambda t, s: {JOINT: float(path(t))}, 0.05, 50, 0.1))
    values = commands(story, JOINT)[1]
    assert np.abs(speeds(values)).max() <= 1.3 * top * 1.02
    assert np.abs(speeds(values))[: 10 + 50].max() <= 0.2 * 2.5 * 1.001, "20 % of the limit in the first second"
    assert values[-1] == pytest.approx(1.6, abs=0.01)
    story.sound()


@pytest.mark.parametrize("delay", [0.1, 0.7])
def test_a_robot_at_rest_begins_at_row_0_however_late_the_chunk_is(delay):
    story = ready(AT_ONCE, {JOINT: 0.35, "left_gripper": 1.0})
    stamp = story.ros
    story.run(delay)
    k, values = np.arange(50), np.tile(story.values, (50, 1))
    values[:, story.robot.index[JOINT]] = 0.35 + 0.25 * 0.05 * k
    values[:, story.robot.index["left_gripper"]] = np.where((k >= 3) & (k < 12), 0.0, 1.0)
    assert story.send(story.chunk(start=stamp, period=0.05, values=values, rows=50)).accepted
    first = len(story.steps)
    story.run(1.6)
    moved = commands(story, JOINT, first)[1] - 0.35
    assert moved[25] == pytest.approx(0.125, abs=0.005)  # half a second later, at 0.25 rad/s
    assert speeds(moved).max() <= 0.25 * 1.3
    assert commands(story, "left_gripper", first)[1].min() < 0.05, "what the gripper does meanwhile is not lost"
    story.sound()


@pytest.mark.parametrize("ahead", [0.05, 0.2, 0.45])
def test_a_chunk_stamped_ahead_lets_the_running_plan_go_on_until_it_begins(ahead):
    story = ready(ExecutorSettings(start_gap=0.5), {JOINT: 0.35})
    begin = story.ros
    path = lambda t: 0.35 + 0.3 * np.sin(np.pi * (np.asarray(t) - begin))
    policy = Policy(lambda t, s: {JOINT: float(path(t))}, 0.05, 30, 0.0, ahead=ahead)
    story.run(8.0, policy)
    times, values = commands(story, JOINT, 250)
    assert np.max(np.abs(values - path(times))) < 0.005
    assert np.abs(speeds(values)).max() < 0.94 * 1.05
    story.sound()


def test_a_chunk_stamped_too_far_ahead_is_refused_with_the_offset_of_the_clocks():
    story = ready()
    verdict = story.send(start=story.ros + 0.7)
    assert not verdict.accepted and "0.70 s" in verdict.reason and "clock" in verdict.reason


@pytest.mark.parametrize("how", ["hold", "stop", "teleop"])
def test_taking_over_stops_a_base_as_fast_as_hold_does(how):
    story = ready()
    story.run(4.0, Policy(lambda t, s: {"base_vx": 0.5}, 0.1, 16, 0.05))
    assert story.at("base_vx") == pytest.approx(0.5, abs=0.005)
    first = len(story.stamps)
    story.ask(how)
    story.run(3.0, lambda s: s.teleop("base", (0.0, 0.0, 0.0)) if how == "teleop" else None)
    speed = commands(story, "base_vx", first)[1]
    assert speed.sum() * 0.02 < 0.16 and np.argmax(speed < 0.005) * 0.02 < 0.65  # v^2/2a + v a/2j = 0.15 m, 0.6 s
    story.sound()


def test_the_first_second_of_autonomy_is_at_20_percent_for_a_base_too():
    story = ready()
    story.run(3.0, Policy(lambda t, s: {"base_vx": 0.5, "base_wz": 1.0}, 0.1, 16, 0.05))
    first = [s.owner for s in story.steps].index("policy")
    second = slice(first, first + 50)
    assert commands(story, "base_vx")[1][second].max() <= 0.1 + 1e-6 and story.at("base_vx") == pytest.approx(
        0.5, abs=0.005
    )
    assert commands(story, "base_wz")[1][second].max() <= 0.2 + 1e-6


@pytest.mark.parametrize(("rate", "rows", "delay"), [(30, 16, 0.8), (50, 50, 1.2), (20, 50, 1.5), (20, 50, 3.0)])
def test_a_policy_slower_than_its_chunks_waits_runs_and_waits_and_says_so_once(rate, rows, delay):
    story = ready(start={JOINT: 0.35})
    index = story.robot.index[JOINT]
    seen = {}

    def onward(t, s):
        now = s.ros
        seen.setdefault(now, float(s.measured[index]))
        return {JOINT: seen[now] + 0.1 * (t - now)}

    story.run(14.0, Policy(onward, 1.0 / rate, rows, delay))
    moved = story.at(JOINT) - 0.35
    assert story.last.mode is Mode.AUTONOMY and moved >= 0.3 * 0.1 * 14.0 * ((rows / rate) / (rows / rate + 2 * delay))
    assert np.abs(speeds(commands(story, JOINT)[1])).max() <= 0.1 * 1.4
    assert story.names().count("wait") == 1
    story.sound()


@pytest.mark.parametrize("rate", [50, 100, 200])
def test_a_person_is_followed_at_most_40_ms_behind_and_never_overtaken(rate):
    story = Story(settings=AT_ONCE).run(0.1)
    assert story.ask("teleop").ok
    begin, start = story.steady, story.at(JOINT)
    leader = lambda t: start + 0.3 * (1.0 - np.cos(2.0 * np.clip(t - begin, 0.0, np.pi)))
    arm, column = story.values[:6].copy(), story.robot.index[JOINT]
    sent = [begin]

    def lead(s):
        while sent[0] <= s.steady + 1e-9:
            arm[column] = leader(sent[0])
            s.executor.on_teleop(sent[0], "left_arm", [c.name for c in s.robot.group("left_arm").channels], arm)
            sent[0] += 1.0 / rate

    first = len(story.stamps)
    story.run(4.5, lead)
    times, values = commands(story, JOINT, first)
    times = times - times[0] + begin + story.period
    behind = [np.sqrt(np.mean((values[60:] - leader(times[60:] - s)) ** 2)) for s in np.arange(0.0, 0.1, 0.005)]
    assert np.argmin(behind) * 0.005 <= 0.04 and min(behind) < 0.01
    assert values.max() <= start + 0.6 + 0.004 and values.min() >= start - 0.004
    assert values[-1] == pytest.approx(start, abs=1e-4)
    story.sound()


@pytest.mark.parametrize("sag", [0.002, 0.008])
def test_a_held_channel_keeps_what_is_commanded_however_far_it_sags(sag):
    from pi0_ros.policy.adapter_reading import load_adapter
    from pi0_ros.policy.contract import plan_channels
    from pi0_ros.policy.plan import in_plan_order

    story = ready(AT_ONCE)
    lift, begun = story.robot.index[LIFT], story.at(LIFT)
    shipped = load_adapter("mobile_bimanual")
    blocks = []
    for block in shipped.actions:
        names = tuple(c for c in block.channels if c != LIFT)
        blocks += [replace(block, channels=names, signs=(1.0,) * len(names))] if names else []
    adapter = replace(shipped, hold=(LIFT,), actions=tuple(blocks))
    channels = plan_channels(adapter, story.robot)

    def policy(s):
        s.measured[lift] = s.at(LIFT) - sag
        if len(s.steps) % 20 == 0:
            state = dict(zip(s.robot.channel_names, s.measured, strict=True))
            state |= dict(zip(s.robot.channel_names, s.values, strict=True))  # what the policy knows of the command
            rows = np.tile([state[c] for c in adapter.action_channels], (16, 1))
            s.send(s.chunk(names=channels, values=in_plan_order(s.robot, adapter, channels, rows, state)))

    story.run(10.0, policy)
    assert story.last.owner == "policy" and story.at(LIFT) == pytest.approx(begun, abs=1e-6)


@pytest.mark.parametrize(
    ("tau", "lag", "driven"), [(0.2, 0.1, True), (0.3, 0.1, False), (0.3, 0.4, True), (0.4, 0.5, True)]
)
def test_a_robot_that_follows_late_is_driven_once_its_lag_is_known(tau, lag, driven):
    story = ready(ExecutorSettings(tracking_lag=lag), {JOINT: 0.35})
    story.follows, begin, column = False, story.ros, story.robot.index[JOINT]
    policy = Policy(lambda t, s: {JOINT: 0.35 + 0.5 * np.sin(np.pi * (t - begin))}, 0.05, 50, 0.1)

    def late(s):
        s.measured[column] += (1.0 - np.exp(-s.period / tau)) * (s.at(JOINT) - s.measured[column])
        policy(s)

    story.run(4.0, late)
    assert (story.last.mode is Mode.AUTONOMY) == driven
    assert driven or "tracking_lag" in story.last.reason


@pytest.mark.parametrize(("channel", "off", "driven"), [(LIFT, 0.03, True), (LIFT, 0.07, False), (JOINT, 0.07, True)])
def test_metres_are_watched_by_a_limit_of_their_own(channel, off, driven):
    story, column = ready(), 0
    column = story.robot.index[channel]

    def away(s):
        s.measured[column] = s.at(channel) - off

    story.run(1.0, lambda s: (away(s), s.send() if len(s.steps) % 20 == 0 else None))
    assert (story.last.mode is Mode.AUTONOMY) == driven
    assert driven or "tracking_error_m" in story.last.reason


def test_a_blocked_robot_with_exact_encoders_is_told_from_one_whose_measurements_are_lost():
    story = ready()
    story.follows = False
    story.run(4.0, Policy(lambda t, s: {JOINT: 0.35 + 0.4 * min(1.0, 0.5 * max(0.0, s.steady - 0.3))}, 0.05, 50, 0.1))
    assert story.last.mode is Mode.HOLD, "not stopped: nothing is lost"
    assert JOINT in story.last.reason and "told to move" in story.last.reason and "driver" in story.last.reason
    story.sound()


def test_a_policy_that_sends_a_chunk_every_period_is_followed():
    story = ready(AT_ONCE, {JOINT: 0.35})
    begin = story.ros
    path = lambda t: 0.35 + 0.1 * np.sin(np.pi * (np.asarray(t) - begin))
    story.run(4.0, Policy(lambda t, s: {JOINT: float(path(t))}, 0.1, 8, 0.0, every=0.0))
    times, values = commands(story, JOINT, 100)
    assert np.max(np.abs(values - path(times))) < 0.005
    story.sound()
