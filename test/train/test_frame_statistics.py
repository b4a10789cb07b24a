"""Normalisation statistics against numpy."""

import numpy as np
import pytest

pytest.importorskip("torch")

from pi0_ros.train.statistics import statistics_of


def test_what_moves_has_its_own_moments_and_quantiles():
    rows = np.random.default_rng(2).normal([1.0, -3.0], [0.5, 2.0], (500, 2))
    found = statistics_of(rows, 0.1).values
    np.testing.assert_allclose(found["mean"], rows.mean(0))
    np.testing.assert_allclose(found["std"], rows.std(0))
    np.testing.assert_allclose(found["q01"], np.quantile(rows, 0.01, axis=0))
    np.testing.assert_allclose(found["q99"], np.quantile(rows, 0.99, axis=0))


def test_what_hardly_moves_is_widened_about_its_middle_and_not_blown_up():
    rows = np.stack([np.linspace(2.0, 2.02, 101), np.linspace(-1.0, 1.0, 101)], axis=1)
    found = statistics_of(rows, 0.4).values
    assert (found["q01"][0], found["q99"][0]) == pytest.approx((2.01 - 0.2, 2.01 + 0.2))
    assert found["std"][0] == pytest.approx(0.1) and found["mean"][0] == pytest.approx(2.01)
    assert (found["q01"][1], found["q99"][1]) == pytest.approx((-0.98, 0.98))
    assert found["std"][1] == pytest.approx(rows[:, 1].std())
