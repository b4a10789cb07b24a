"""How late a robot follows is found while it moves, and said where the robot YAML does not say it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from story import make_robot

from pi0_ros.control.lag_watch import LagWatch, lag_of, lag_sentences

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
