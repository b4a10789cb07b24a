"""The delay of a robot behind its commands, from recordings of both."""

import numpy as np
import pytest

from pi0_ros.control.latency import measure_latency, probe_motion

TIMES = np.arange(0.0, 6.0, 0.02)
COMMANDED = np.array([0.3 + probe_motion(t - 0.5, 0.1, 2.0) for t in TIMES])


def followed(dead, sag=0.0, lag=0.0, noise=0.0):
    """What a robot does that moves `dead` seconds late, with a first-order `lag`, `sag` below; measured at 125 Hz."""
    at = np.arange(0.003, 6.0, 0.008)
    reached, values = float(COMMANDED[0]), []
    for t in at:
        wanted = float(np.interp(t - dead, TIMES, COMMANDED))
        reached += (wanted - reached) * (1.0 if lag == 0.0 else 1.0 - np.exp(-0.008 / lag))
        values.append(reached - sag)
    return at, np.array(values) + noise * np.random.default_rng(1).standard_normal(len(at))


@pytest.mark.parametrize("dead", [0.0, 0.05, 0.17])
@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_dead_time_is_found_whatever_the_arm_sags(dead, noise):
    found = measure_latency(TIMES, COMMANDED, *followed(dead, sag=0.02, noise=noise))
    assert found.delay == pytest.approx(dead, abs=0.004)
    assert found.error < 1.5 * noise + 1e-3 and found.way == pytest.approx(0.1, abs=0.01)


def test_a_lag_counts_as_the_delay_of_slow_motion():
    assert measure_latency(TIMES, COMMANDED, *followed(0.10, lag=0.04)).delay == pytest.approx(0.14, abs=0.01)


def test_the_probe_begins_and_returns_at_rest():
    assert [probe_motion(t, 0.1, 2.0) for t in (-1.0, 0.0, 1.0, 2.0)] == pytest.approx([0.0, 0.0, 0.1, 0.0])
    assert probe_motion(0.01, 0.1, 2.0) / 0.01 < 0.01


@pytest.mark.parametrize(
    ("commanded", "measured", "words"),
    [
        (COMMANDED * 0.0, COMMANDED, "nothing was commanded to move"),
        (COMMANDED, COMMANDED * 0.0, "is the robot blocked"),
        (COMMANDED[:3], COMMANDED, "3 commands and 300 measurements are too few"),
        (COMMANDED, COMMANDED[:3], "300 commands and 3 measurements are too few"),
    ],
)
def test_a_recording_that_says_nothing_is_refused(commanded, measured, words):
    with pytest.raises(ValueError, match=words):
        measure_latency(TIMES[: len(commanded)], commanded, TIMES[: len(measured)], measured)


def test_four_commands_and_four_measurements_are_enough():
    commands, values = np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.0, 1.0, 0.0, 1.0])
    at = np.array([0.9, 1.3, 2.1, 3.9])
    assert measure_latency(commands, values, at, np.interp(at - 0.15, commands, values)).delay == pytest.approx(0.15)


def test_the_error_is_what_the_measurement_scatters_about_the_command():
    noise = 0.004 * (-1.0) ** np.arange(len(TIMES))
    assert measure_latency(TIMES, COMMANDED, TIMES, COMMANDED + noise).error == pytest.approx(0.004, rel=0.01)


def test_a_robot_too_far_behind_is_said_to_be():
    with pytest.raises(ValueError, match=r"more than 0.6 s behind"):
        measure_latency(TIMES, COMMANDED, *followed(0.75))


@pytest.mark.parametrize(("late", "known"), [(0.3981, True), (0.3998, False)])
def test_a_delay_up_to_the_longest_that_is_tried_is_found(late, known):
    measured = np.interp(TIMES - late, TIMES, COMMANDED)
    if known:
        assert measure_latency(TIMES, COMMANDED, TIMES, measured, 0.4).delay == pytest.approx(0.398, abs=1e-6)
    else:
        with pytest.raises(ValueError, match=r"more than 0.4 s behind"):
            measure_latency(TIMES, COMMANDED, TIMES, measured, 0.4)


def test_measurements_count_from_the_longest_delay_after_the_first_command_until_the_last_one():
    """Before, nobody knows what was commanded when the delay is the longest; five count here, and then three."""
    commands, values = np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.0, 1.0, 0.0, 1.0])
    at = np.array([0.5, 0.7, 3.1, 3.4, 3.7, 4.0, 4.1])
    seen = np.interp(at - 0.2, commands, values)
    seen[[0, -1]] = [7.0, -7.0]  # those outside do not matter
    found = measure_latency(commands, values, at, np.clip(seen, 0.0, 1.0) + 0.3)
    assert found.delay == pytest.approx(0.2, abs=1e-3) and found.error < 1e-6
    with pytest.raises(ValueError, match="have 3 measurements in common"):
        measure_latency(commands, values, at[[0, 1, 2, 3, 6]], np.array([0.0, 0.5, 0.3, 0.9, 0.1]))
