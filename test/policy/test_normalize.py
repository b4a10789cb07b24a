import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi0_ros.policy import PolicyError
from pi0_ros.policy.normalize import (
    METHODS,
    Normalizer,
    Statistics,
    find_norm_stats,
    read_norm_stats,
    write_norm_stats,
)
from pi0_ros.policy.statistics import running

NAMES = ("mean", "std", "q01", "q99", "q10", "q90", "min", "max")


@pytest.mark.parametrize("name", ["zscore", "quantile"])
@pytest.mark.parametrize("key", ["state", "actions", "state8", "actions32", "state32"])
def test_openpi_methods_equal_openpi_with_fewer_and_more_dimensions(golden, name, key):
    io, stats = golden("transforms"), read_norm_stats(golden.folder("transforms"))
    norm = Normalizer(f"openpi_{name}", stats[key.rstrip("0123456789")])
    for direction, apply in (("normalize", norm.forward), ("unnormalize", norm.inverse)):
        recorded = f"{direction}.{name}.{key}"
        if recorded in io:
            np.testing.assert_allclose(apply(io[f"x.{key}"]), io[recorded], rtol=0, atol=2e-5)


def test_running_statistics_equal_openpis(golden):
    io = golden("transforms")
    for key in ("state", "actions"):
        found = running([io[f"stats_in.{key}.{i}"] for i in range(6)]).statistics()
        for name in ("mean", "std", "q01", "q99"):
            np.testing.assert_allclose(found[name], io[f"stats.{key}.{name}"], rtol=0, atol=1e-9)


def test_norm_stats_are_written_as_they_are_read(golden, tmp_path):
    stats = read_norm_stats(golden.folder("transforms"))
    write_norm_stats(tmp_path, stats)
    again = read_norm_stats(tmp_path)
    for key, value in stats.items():
        for name in value.values:
            np.testing.assert_array_equal(again[key][name], value[name])


def test_openpi_maps_a_constant_dimension_near_minus_one_and_lerobot_to_its_epsilon():
    stats = Statistics({"q01": np.array([0.25]), "q99": np.array([0.25])})
    assert Normalizer("openpi_quantile", stats).forward([0.25]) == -1.0
    assert Normalizer("lerobot_quantiles", stats).forward([0.25]) == -1.0
    assert Normalizer("openpi_quantile", stats).forward([0.26])[0] == pytest.approx(2e4, rel=1e-3)
    assert Normalizer("lerobot_quantiles", stats).forward([0.26])[0] > 1e6


def test_lerobot_leaves_the_epsilon_out_of_the_inverse_and_openpi_does_not():
    stats = Statistics({"mean": np.array([1.0]), "std": np.array([2.0])})
    assert Normalizer("lerobot_mean_std", stats, epsilon=0.5).inverse([1.0])[0] == 3.0
    assert Normalizer("openpi_zscore", stats).inverse([1.0])[0] == pytest.approx(3.0 + 1e-6, abs=1e-12)


@given(st.sampled_from(METHODS), st.lists(st.floats(-5, 5), min_size=3, max_size=3))
def test_inverse_undoes_forward(method, values):
    rng = np.random.default_rng(0)
    stats = {n: (rng.uniform(1, 2, 3) if n in ("std", "q99", "q90", "max") else rng.uniform(-1, 0, 3)) for n in NAMES}
    norm = Normalizer(method, Statistics(stats))
    np.testing.assert_allclose(norm.inverse(norm.forward(np.array(values))), values, atol=2e-5)


def test_missing_statistics_are_refused_with_where_to_get_them(tmp_path):
    with pytest.raises(PolicyError, match="assets/<robot>/norm_stats.json"):
        find_norm_stats(tmp_path)


def test_several_statistics_must_be_chosen_from(tmp_path):
    for name in ("trossen", "physical-intelligence/libero"):
        (tmp_path / "assets" / name).mkdir(parents=True)
        write_norm_stats(tmp_path / "assets" / name, {})
    with pytest.raises(PolicyError, match="physical-intelligence/libero, trossen; choose"):
        find_norm_stats(tmp_path)
    assert find_norm_stats(tmp_path, "trossen").parent.name == "trossen"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "no 'norm_stats'"),
        (json.dumps({"norm_stats": {"state": {"mean": "x"}}}), "norm_stats.state.mean"),
        (json.dumps({"norm_stats": {"state": {"mean": [1], "std": [1, 2]}}}), "differ in length"),
    ],
)
def test_broken_statistics_files_are_named(tmp_path, content, message):
    (tmp_path / "norm_stats.json").write_text(content)
    with pytest.raises(PolicyError, match=message) as error:
        read_norm_stats(tmp_path)
    assert "norm_stats.json" in str(error.value)


def test_statistics_that_are_not_finite_are_refused():
    with pytest.raises(PolicyError, match="std is nan in dimension 1"):
        Normalizer("openpi_zscore", Statistics({"mean": np.zeros(2), "std": np.array([1.0, np.nan])}))


def test_quantiles_that_were_never_computed_are_asked_for():
    with pytest.raises(PolicyError, match="no q01 and no q99, which the normalisation openpi_quantile needs"):
        Normalizer("openpi_quantile", Statistics({"mean": np.zeros(2), "std": np.ones(2)}))


def test_too_many_dimensions_for_the_statistics_are_refused():
    norm = Normalizer("openpi_zscore", Statistics({"mean": np.zeros(2), "std": np.ones(2)}))
    with pytest.raises(PolicyError, match="3 numbers"):
        norm.forward(np.zeros(3))


@pytest.mark.parametrize(
    ("method", "values", "match"),
    [
        ("openpi_quantile", {"q01": [-1.0, 2.0, 0.0], "q99": [1.0, 1.5, 3.0]}, "q01 2 is above q99 1.5 in dimension 1"),
        ("lerobot_min_max", {"min": [0.0, 0.0, 4.0], "max": [1.0, 2.0, 3.0]}, "min 4 is above max 3 in dimension 2"),
        ("lerobot_quantile10", {"q10": [9.0, 0.0, 4.0], "q90": [1.0, 2.0, 5.0]}, "q10 9 is above q90 1 in dimension 0"),
        ("openpi_zscore", {"mean": [0.0, 0.1, 0.2], "std": [1.0, -0.5, 2.0]}, "std is -0.5 in dimension 1"),
        ("lerobot_mean_std", {"mean": [0.0, 0.1, 2e6], "std": [1.0, 0.5, 2.0]}, r"mean is 2e\+06 in dimension 2"),
    ],
)
def test_statistics_that_no_robot_gives_are_refused_with_their_file(method, values, match):
    statistics = Statistics({k: np.array(v) for k, v in values.items()}, "norm_stats.json: norm_stats.state")
    with pytest.raises(PolicyError, match="norm_stats.json: norm_stats.state: .*" + match):
        Normalizer(method, statistics)


def test_dimensions_that_never_changed_are_told():
    quantiles = Statistics({"q01": np.array([-1.0, 0.3, 0.5]), "q99": np.array([1.0, 0.3, 0.7])})
    assert Normalizer("openpi_quantile", quantiles).constant() == (1,)
    moments = Statistics({"mean": np.array([1.0, 0.0, 2.0]), "std": np.array([0.5, 0.2, 0.0])})
    assert Normalizer("lerobot_mean_std", moments).constant() == (2,)
    assert Normalizer("identity").constant() == ()


def test_q10_and_q90_follow_their_formula():
    norm = Normalizer("lerobot_quantile10", Statistics({"q10": np.array([-0.5, 1.0]), "q90": np.array([1.5, 4.0])}))
    # 2 (x - q10) / (q90 - q10) - 1, by hand
    np.testing.assert_allclose(norm.forward(np.array([0.0, 4.0])), [-0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(norm.inverse(np.array([-0.5, 1.0])), [0.0, 4.0], atol=1e-6)
