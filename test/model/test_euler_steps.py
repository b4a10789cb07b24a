"""Times of the Euler steps, the pull of a running chunk, and one step after another, against a few lines of numpy."""

import numpy as np
import pytest
import torch

from pi0_ros.model.errors import InputError
from pi0_ros.model.euler import guidance_weight, identity, time_grid
from pi0_ros.model.rtc import Rtc, guided
from pi0_ros.model.sampling import integrate

RNG = np.random.default_rng(7)
X, V, PREVIOUS = (RNG.normal(size=(2, 4, 3)) for _ in range(3))


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 49])
def test_times_fall_from_one_in_equal_steps_as_each_project_rounds_them(steps):
    exact = [1.0 - k / steps for k in range(steps)]
    assert time_grid(steps, "multiply") == [float(np.float32(t)) for t in exact]
    added = np.add.accumulate(np.float32([1.0, *[-1.0 / steps] * (steps - 1)]))
    assert time_grid(steps, "accumulate") == added.tolist()


@pytest.mark.parametrize("rule", ["multiply", "accumulate"])
def test_without_a_step_nothing_is_sampled(rule):
    with pytest.raises(InputError, match="at least one step, got 0"):
        time_grid(0, rule)


@pytest.mark.parametrize("t", [0.06, 0.3, 0.5, 0.8, 0.99])
def test_guidance_is_as_strong_as_the_papers_equations_say(t):
    """arXiv 2506.07339: (1 - tau) / (tau r^2) with r^2 = (1 - tau)^2 / (tau^2 + (1 - tau)^2), at most beta."""
    tau = 1.0 - t
    r2 = (1.0 - tau) ** 2 / (tau**2 + (1.0 - tau) ** 2)
    right = (1.0 - tau) / (tau * r2)
    assert guidance_weight(t, 1e6) == pytest.approx(right)
    assert guidance_weight(t, 5.0) == pytest.approx(min(right, 5.0))


def test_at_both_ends_guidance_is_as_strong_as_it_may_be():
    assert guidance_weight(1.0, 5.0) == guidance_weight(0.0, 5.0) == 5.0


def test_lerobots_guidance_pulls_the_expected_end_towards_the_running_chunk():
    # From 2 at a velocity of 3 for half a second the end is 0.5; that is 0.5 from 1, of which a quarter counts, four times.
    assert identity(np.array(2.0), np.array(3.0), 0.5, np.array(1.0), np.array(0.25), 4.0) == 3.0 - 4.0 * 0.5 * 0.25


@pytest.mark.parametrize(("delay", "horizon", "rows"), [(1, 3, 4), (2, 9, 3), (0, 2, 1)])
def test_the_papers_guidance_goes_through_the_network(delay, horizon, rows):
    """Of v = a x the end x - t v is (1 - t a) x, and so is the gradient's factor."""
    a, t = np.array([0.5, -0.7, 1.3]), 0.4
    rtc = Rtc(torch.tensor(PREVIOUS[:, :rows]), delay, horizon, "vjp", "ONES", 3.0)
    weights = np.array([1.0] * min(horizon, rows) + [0.0] * (4 - min(horizon, rows)))[:, None]
    before = np.zeros_like(X)
    before[:, :rows] = PREVIOUS[:, :rows]
    through = 1.0 - t * a
    tau = 1.0 - t
    strength = min(3.0, t / tau * (tau**2 + t**2) / t**2)
    right = a * X - strength * through * (before - through * X) * weights
    seen = []

    def velocity(x, time):
        seen.append(time)
        return x * torch.tensor(a)

    found = guided(velocity, torch.tensor(X), torch.full((2,), t), t, rtc)
    np.testing.assert_allclose(found.numpy(), right, atol=1e-7)
    assert not found.requires_grad and [s.tolist() for s in seen] == [[pytest.approx(t)] * 2]
    plain = guided(
        velocity, torch.tensor(X), torch.full((2,), t), t, Rtc(rtc.previous, delay, horizon, "identity", "ONES", 3.0)
    )
    np.testing.assert_allclose(plain.numpy(), a * X - strength * (before - through * X) * weights, atol=1e-7)


def test_a_running_chunk_is_cut_or_filled_with_zeros_to_the_new_ones_size():
    found = Rtc(torch.tensor(PREVIOUS), 1).padded(torch.zeros(2, 3, 2, dtype=torch.float64))
    np.testing.assert_array_equal(found.numpy(), PREVIOUS[:, :3, :2])
    found = Rtc(torch.tensor(PREVIOUS), 1).padded(torch.zeros(2, 6, 5)).numpy()
    np.testing.assert_allclose(found[:, :4, :3], PREVIOUS, rtol=1e-6)
    assert not found[:, 4:].any() and not found[:, :, 3:].any() and found.dtype == np.float32


def test_a_leftover_that_is_shorter_than_the_horizon_ends_its_say():
    for rows, horizon, right in (
        (3, 4, [1, 1, 0.5, 0, 0, 0]),
        (5, 3, [1, 1, 0.5, 0, 0, 0]),
        (5, 4, [1, 1, 2 / 3, 1 / 3, 0, 0]),
    ):
        found = Rtc(torch.zeros(1, rows, 9), 2, horizon).weights(6).tolist()
        assert found == pytest.approx(right)


def test_steps_follow_the_velocity_from_noise_to_actions():
    grid, right = [1.0, 0.75, 0.5, 0.25], X.copy()
    for t in grid:
        right = right - (right * 0.5 + t) / 4.0
    seen = []

    def velocity(x, time):
        seen.append(time.tolist())
        return x * 0.5 + time[:, None, None]

    found = integrate(velocity, torch.tensor(X), grid)
    np.testing.assert_allclose(found.numpy(), right, atol=1e-12)
    assert seen == [[t, t] for t in grid]
    rtc = Rtc(torch.tensor(PREVIOUS), 1, 3, "identity", "LINEAR", 2.0)
    right, weights = X.copy(), np.array([1.0, 2 / 3, 1 / 3, 0.0])[:, None]
    for t in grid:
        v, strength = right * 0.5 + t, guidance_weight(t, 2.0)
        right = right - (v - strength * (PREVIOUS - (right - t * v)) * weights) / 4.0
    np.testing.assert_allclose(integrate(velocity, torch.tensor(X), grid, rtc).numpy(), right, atol=1e-6)


def test_behind_a_given_prefix_its_rows_stand_at_time_0_in_every_step():
    grid, seen = [1.0, 0.5], []

    def velocity(x, time):
        seen.append((x.clone(), time.clone()))
        return x * 0.5 + time[..., None]

    rtc = Rtc(torch.tensor(PREVIOUS), 3, method="prefix")
    found = integrate(velocity, torch.tensor(X), grid, rtc).numpy()
    right = X[:, 3:].copy()
    for (x, time), t in zip(seen, grid, strict=True):
        np.testing.assert_array_equal(x[:, :3].numpy(), PREVIOUS[:, :3])
        np.testing.assert_allclose(x[:, 3:].numpy(), right, atol=1e-12)
        assert time.tolist() == [[0.0, 0.0, 0.0, t]] * 2
        right = right - (right * 0.5 + t) / 2.0
    np.testing.assert_array_equal(found[:, :3], PREVIOUS[:, :3])
    np.testing.assert_allclose(found[:, 3:], right, atol=1e-12)
