"""How late a robot follows is found while it moves, and said where the robot YAML does not say it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from story import make_robot, middle

from pi0_ros.control import lag_watch
from pi0_ros.control.lag_watch import LagWatch, lag_of, lag_sentences
from pi0_ros.robot.spec import Kind

RATE = 50.0


def motion(rng, seconds, size=0.3):
    """A wandering hand [n, 3] of three unequal joints: sines of periods from 0.9 to 6 s."""
    t = np.arange(0.0, seconds, 1.0 / RATE)
    return np.stack(
        [
            scale
            * size
            * sum(np.sin(2.0 * np.pi * t / p + rng.uniform(0.0, 6.3)) / 3.0 for p in rng.uniform(0.9, 6.0, 4))
            for scale in (1.0, 0.6, -0.3)
        ],
        axis=1,
    )


def follower(commands, dead, lag, sag=0.0):
    """What a plant with dead time and a first-order lag [s] is measured at, at the moments of the commands [n, C]."""
    fine, n = 20, len(commands)
    t = np.arange(n * fine) / (RATE * fine)
    out = np.empty((n, commands.shape[1]))
    for c in range(commands.shape[1]):
        asked = np.interp(t - dead, np.arange(n) / RATE, commands[:, c])
        x, gain = asked[0], 1.0 if lag <= 0.0 else 1.0 - np.exp(-1.0 / (RATE * fine * lag))
        for k, value in enumerate(asked):
            x += gain * (value - x)
            if k % fine == 0:
                out[k // fine, c] = x - sag
    return out


@settings(max_examples=25)
@given(st.floats(0.0, 0.3), st.floats(0.0, 0.1), st.integers(0, 1000), st.floats(0.0, 0.03))
def test_dead_time_and_lag_of_a_plant_are_found_whatever_it_sags(dead, lag, seed, sag):
    commands = motion(np.random.default_rng(seed), 4.5)
    found = lag_of(commands[25:], follower(commands, dead, lag, sag)[25:], 1.0 / RATE)
    assert found is not None and found == pytest.approx(dead + lag, abs=0.02)


@pytest.mark.parametrize("noise", [1e-4, 1e-3])
def test_noise_of_the_encoders_does_not_matter(noise):
    rng = np.random.default_rng(4)
    commands = motion(rng, 4.5)
    measured = follower(commands, 0.14, 0.0)
    assert lag_of(commands[25:], (measured + rng.normal(0.0, noise, measured.shape))[25:], 0.02) == pytest.approx(
        0.14, abs=0.01
    )


def test_what_tells_nothing_is_not_told():
    rng, n = np.random.default_rng(2), 200
    ramp = 0.2 * np.arange(n)[:, None] / RATE  # at a constant velocity every lag looks alike, beside some sag
    assert lag_of(ramp, ramp - 0.028 + rng.normal(0.0, 1e-3, ramp.shape), 0.02) is None
    commands = motion(rng, 4.0)
    assert lag_of(commands, rng.normal(0.0, 0.1, commands.shape), 0.02) is None, "it does not follow at all"
    assert lag_of(commands[:60], commands[:60], 0.02) is None, "too short"
    late = follower(commands, 0.7, 0.0)
    assert lag_of(commands, late, 0.02) is None, "beyond what is looked for"


def watched(robot, dead, seconds=24.0, size=0.3, seed=0):
    """The watch after a robot whose arms follow `dead` [s] later has moved for a while."""
    watch, rng = LagWatch(robot, 1.0 / RATE), np.random.default_rng(seed)
    commands = np.zeros((round(seconds * RATE), len(robot.channels)))
    arm = [robot.index[f"left_joint{k}"] for k in (1, 2, 3)]
    commands[:, arm] = motion(rng, seconds, size)
    measured = commands.copy()
    measured[:, arm] = follower(commands[:, arm], dead, 0.0)
    for k, (command, seen) in enumerate(zip(commands, measured, strict=True)):
        watch.see(1000.0 + k / RATE, command, seen)
        if k % 50 == 0:
            watch.lags()
    return watch


def test_a_group_that_follows_late_is_named_with_the_key_the_number_and_the_command():
    robot = make_robot()
    lags = watched(robot, 0.14).lags()
    assert list(lags) == ["left_arm"] and lags["left_arm"] == pytest.approx(0.14, abs=0.01)
    (sentence,) = lag_sentences(robot, lags)
    for word in ("left_arm", "0.14 s", "command_latency: 0.14", "pi0 robot measure-latency --group left_arm"):
        assert word in sentence


def test_a_robot_whose_latency_is_known_is_not_spoken_of_and_a_wrong_one_is():
    robot = make_robot()
    groups = tuple(replace(g, command_latency=0.15 if g.name == "left_arm" else 0.0) for g in robot.groups)
    known = replace(robot, groups=groups)
    assert lag_sentences(known, {"left_arm": 0.14, "right_arm": 0.03}) == ()
    (sentence,) = lag_sentences(known, {"left_arm": 0.02})
    assert "not 0.15 s" in sentence and "command_latency: 0.02" in sentence


def test_a_robot_that_hardly_moves_or_has_moved_for_a_moment_only_is_not_judged():
    robot = make_robot()
    assert watched(robot, 0.14, size=0.02).lags() == {}
    assert watched(robot, 0.14, seconds=9.0).lags() == {}


def test_a_missing_period_ends_a_window():
    robot = make_robot()
    watch, commands = LagWatch(robot, 0.02), motion(np.random.default_rng(0), 30.0)
    row = np.zeros(len(robot.channels))
    for k, values in enumerate(commands):
        row = row.copy()
        row[:3] = values
        watch.see(1000.0 + 0.02 * k + 0.02 * (k // 150), row, row)  # every three seconds one is left out
        watch.lags()
    assert watch.lags() == {}


def test_nothing_that_is_not_a_number_gets_in_or_out():
    robot = make_robot()
    watch = LagWatch(robot, 0.02)
    for k in range(1500):
        commanded = np.full(len(robot.channels), 0.2 * np.sin(0.02 * k * 3.0))
        watch.see(0.02 * k, commanded, np.where(np.arange(len(commanded)) % 2 == 0, np.nan, commanded))
        found = watch.lags()
        assert all(np.isfinite(v) for v in found.values())


@pytest.mark.parametrize("rate", [50.0, 125.0, 200.0])
def test_the_lag_is_in_seconds_at_every_rate_of_commands(rate):
    """125 Hz: two commands lie between two samples, of 16 ms."""
    robot = make_robot()
    watch, arm = LagWatch(robot, 1.0 / rate), [robot.index[f"left_joint{k}"] for k in (1, 2, 3)]

    def hand(t):
        return 0.3 * np.array(
            [np.sin(2.1 * t), 0.6 * np.sin(3.3 * t + 1.0), -0.5 * np.sin(1.7 * t) + 0.1 * np.sin(7.0 * t)]
        )

    row, seen = np.zeros(len(robot.channels)), np.zeros(len(robot.channels))
    for k in range(round(21.0 * rate)):
        row, seen = row.copy(), seen.copy()
        row[arm], seen[arm] = hand(k / rate), hand(k / rate - 0.15)
        watch.see(1000.0 + k / rate, row, seen)
        if k % 100 == 0:
            watch.lags()
    assert watch.lags()["left_arm"] == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize(("samples", "known"), [(75, True), (74, False)])
def test_of_a_second_and_a_half_a_lag_of_up_to_half_a_second_can_be_told(samples, known):
    """What is compared is twice as long as the longest lag."""
    t = np.arange(samples) / RATE
    hand = lambda late: np.stack([0.3 * np.sin(5.0 * (t - late)), 0.2 * np.cos(3.0 * (t - late))], axis=1)
    found = lag_of(hand(0.0), hand(0.14), 1.0 / RATE)
    assert found == pytest.approx(0.14, abs=0.005) if known else found is None


def test_every_joint_counts_alike_however_far_it_moves():
    """One joint of a metre is 0.15 s late, two of a decimetre 0.18 s: a third and two thirds, as all move alike."""
    t = np.arange(200) / RATE
    shape = lambda late: np.sin(2.0 * (t - late)) + 0.3 * np.sin(5.0 * (t - late))
    commanded = np.stack([size * shape(0.0) for size in (1.0, 0.1, -0.1)], axis=1)
    measured = np.stack([size * shape(late) for size, late in ((1.0, 0.15), (0.1, 0.18), (-0.1, 0.18))], axis=1)
    assert lag_of(commanded, measured, 1.0 / RATE) == pytest.approx(0.17, abs=0.005)


@pytest.mark.parametrize(("late", "known"), [(0.496, True), (0.512, False)])
def test_at_any_rate_lags_of_half_a_second_are_looked_for(late, known):
    """125 Hz: half a second is 62.5 samples."""
    t = np.arange(300) / 125.0
    hand = lambda behind: (0.3 * np.sin(3.0 * (t - behind)) + 0.1 * np.sin(7.0 * (t - behind)))[:, None]
    found = lag_of(hand(0.0), hand(late), 1.0 / 125.0)
    assert found == pytest.approx(late, abs=0.002) if known else found is None


def lag_by_hand(commanded, measured, period):
    """Each shift by itself: how far both shapes are apart, each channel by how far it moves; and the parabola through the three
    errors around the least. It is sure to where the error would be twice as large, sqrt(2 E / E'') rows away."""
    most, errors = int(np.ceil(0.5 / period)), []
    for shift in range(most + 1):
        parts = []
        for a, b in zip(commanded.T, measured.T, strict=True):
            told, seen = a[most - shift : len(a) - shift], b[most:]
            off = (told - told.mean()) - (seen - seen.mean())
            parts.append(np.mean(off**2) / (a.max() - a.min()) ** 2)
        errors.append(np.mean(parts))
    k = int(np.argmin(errors))
    if k == most:
        return None, 0.0
    i = max(k, 1)
    curve = np.polyfit([-1.0, 0.0, 1.0], errors[i - 1 : i + 2], 2)
    sure = np.sqrt(2.0 * errors[k] / (2.0 * curve[0])) * period if curve[0] > 0.0 else np.inf
    return max(0.0, (i - curve[1] / (2.0 * curve[0])) * period), sure


def test_the_lag_is_where_the_shapes_fit_best_and_told_where_that_is_sure_to_three_hundredths_of_a_second():
    rng, known = np.random.default_rng(12), {True: 0, False: 0}
    for k in range(60):
        period = (0.02, 0.016, 0.05)[k % 3]
        t = period * np.arange(round(3.0 / period))
        hand = lambda late, t=t, k=k: np.stack([0.3 * np.sin((2.0 + 0.05 * k) * (t - late)), 0.1 * np.cos(4.0 * (t - late)) + 0.02 * t], axis=1)  # fmt: skip
        measured = hand(rng.uniform(-0.02, 0.45)) + rng.normal(0.0, rng.uniform(0.0, 0.06), (len(t), 2)) - 0.3
        lag, sure = lag_by_hand(hand(0.0), measured, period)
        found = lag_of(hand(0.0), measured, period)
        assert (found is not None) is bool(sure <= 0.03 and lag is not None)
        assert found is None or found == pytest.approx(lag, abs=1e-9)
        known[found is not None] += 1
    assert min(known.values()) > 10, known


@pytest.mark.parametrize(("rate", "each"), [(50.0, 1), (125.0, 2), (20.0, 1)])
def test_four_seconds_are_compared_at_a_time_of_samples_a_fiftieth_of_a_second_apart_and_none_twice(rate, each):
    watch, seen = LagWatch(make_robot(), 1.0 / rate), []
    watch._compare = lambda commanded, measured: seen.append((commanded[:, 0], measured[:, 0]))
    for k in range(round(9.0 * rate)):
        watch.see(7.0 + k / rate, np.full(18, float(k)), np.full(18, -2.0 * k))
        watch.lags()
    whole = np.arange(each - 1, round(4.0 * rate), each)
    for n, (commanded, measured) in enumerate(seen):
        np.testing.assert_array_equal(commanded, whole + n * round(4.0 * rate))
        np.testing.assert_array_equal(measured, -2.0 * commanded)
    assert len(seen) == 2 and len(whole) == round(4.0 * rate / each)


@pytest.mark.parametrize(("off", "kept"), [(0.4, True), (-0.4, True), (0.6, False), (-0.6, False), (-300.0, False)])
def test_a_period_that_is_missing_or_a_clock_that_was_set_begins_a_window(off, kept):
    watch, seen = LagWatch(make_robot(), 0.02), []
    watch._compare = lambda commanded, measured: seen.append(len(commanded))
    for k in range(200):
        watch.see(7.0 + 0.02 * (k + off * (k >= 100)), np.zeros(18), np.zeros(18))
    assert watch.lags() == {} and bool(seen) is kept


def test_only_joints_that_are_positions_measured_and_moved_are_compared(monkeypatch):
    robot, given = make_robot(), []
    robot = replace(robot, groups=tuple(replace(g, measured=g.name != "right_arm") for g in robot.groups))
    watch = LagWatch(robot, 0.02)
    assert list(watch._groups) == [g.name for g in robot.groups if g.kind is Kind.POSITION and g.name != "right_arm"]
    monkeypatch.setattr(lag_watch, "lag_of", lambda commanded, measured, period: given.append((commanded, measured, period)))  # fmt: skip
    commanded = np.tile(middle(robot), (200, 1))
    lift, joints = robot.index["lift"], [robot.index[f"left_joint{k}"] for k in (1, 2, 3, 4, 5, 6)]
    commanded[100, joints] += [0.051, -0.051, 0.049, -0.049, 0.3, 0.2]
    commanded[100, lift] += 0.021
    measured = commanded + 0.125
    measured[7, joints[5]] = np.nan
    watch._compare(commanded, measured)
    by_width = {c.shape[1]: (c, m, p) for c, m, p in given}
    arm, (column, _, period) = by_width[3], by_width[1]
    np.testing.assert_array_equal(arm[0], commanded[:, [joints[0], joints[1], joints[4]]])
    np.testing.assert_array_equal(arm[1], arm[0] + 0.125)
    np.testing.assert_array_equal(column[:, 0], commanded[:, lift])
    assert period == 0.02
    given.clear()
    commanded[100, lift] = commanded[0, lift] + 0.019
    watch._compare(commanded, commanded)
    assert 1 not in {c.shape[1] for c, _, _ in given}


def test_a_group_is_as_late_as_the_middle_of_its_newest_thirty_estimates_from_five_on():
    watch = LagWatch(make_robot(), 0.02)
    watch._found["left_arm"].extend([0.3, 0.1, 0.5, 0.2])
    assert watch.lags() == {}
    watch._found["left_arm"].append(0.4)
    watch._found["right_arm"].extend([0.05, 0.02, 0.06, 0.01, 0.03, 0.04])
    assert watch.lags() == {"left_arm": 0.3, "right_arm": 0.04}
    watch._found["left_arm"].extend([0.6] * 14 + [0.7] * 15)
    assert watch.lags()["left_arm"] == 0.7  # 0.4, fourteen and fifteen: one more of the first, and it would be 0.6


@pytest.mark.parametrize("known", [0.0, 0.2])
def test_a_latency_is_wrong_by_more_than_nine_hundredths_of_a_second_or_not_at_all(known):
    robot = make_robot()
    robot = replace(robot, groups=tuple(replace(g, command_latency=known) for g in robot.groups))
    for off, said in ((0.089, False), (0.091, True), (-0.089, False), (-0.091, True)):
        if known + off > 0.0:
            assert bool(lag_sentences(robot, {"left_arm": known + off})) is said
