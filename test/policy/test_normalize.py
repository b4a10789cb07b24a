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
    asset_names,
    find_norm_stats,
    read_norm_stats,
    write_norm_stats,
)
from pi0_ros.policy.statistics import RunningStats, running

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
    with pytest.raises(PolicyError, match="no q01 and no q99, which the normalisation openpi_quantile needs.*zscore"):
        Normalizer("openpi_quantile", Statistics({"mean": np.zeros(2), "std": np.ones(2)}))
    with pytest.raises(PolicyError, match="there is no std, which") as refused:
        Normalizer("openpi_zscore", Statistics({"mean": np.zeros(2), "q01": np.zeros(2)}))
    assert "zscore` in the policy YAML" not in str(refused.value)


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


def test_which_statistics_a_folder_has_is_chosen_by_name_then_beside_then_the_only_one(tmp_path):
    assert asset_names(tmp_path) == []
    for name in ("b", "a/c"):
        (tmp_path / "assets" / name).mkdir(parents=True)
        write_norm_stats(tmp_path / "assets" / name, {})
    assert asset_names(tmp_path) == ["a/c", "b"]
    with pytest.raises(PolicyError, match="statistics for a/c, b; choose"):
        find_norm_stats(tmp_path, "d")
    write_norm_stats(tmp_path, {})
    assert find_norm_stats(tmp_path) == tmp_path / "norm_stats.json"
    assert find_norm_stats(tmp_path, "a/c") == tmp_path / "assets" / "a" / "c" / "norm_stats.json"
    (tmp_path / "norm_stats.json").unlink()
    (tmp_path / "assets" / "b" / "norm_stats.json").unlink()
    assert find_norm_stats(tmp_path) == tmp_path / "assets" / "a" / "c" / "norm_stats.json"


def test_a_statistics_file_is_found_by_its_own_name_or_by_its_folders(tmp_path):
    stats = {"state": Statistics({"mean": np.array([1.0, 2.0]), "std": np.array([0.5, 3.0])})}
    write_norm_stats(tmp_path / "mine.json", stats)
    found = read_norm_stats(tmp_path / "mine.json")
    assert list(found) == ["state"] and found["state"].source == f"{tmp_path / 'mine.json'}: norm_stats.state"
    assert found["state"]["std"].tolist() == [0.5, 3.0] and found["state"].size == 2
    assert "mean" in found["state"] and "q01" not in found["state"] and Statistics({}).size == 0
    with pytest.raises(PolicyError, match="no normalisation statistics"):
        read_norm_stats(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"mean": [1, 2], "q01": None}, ""),
        ({"mean": []}, "is not one list of numbers"),
        ({"mean": [[1, 2], [3, 4]]}, "is not one list of numbers"),
        ({"mean": 3.0}, "is not one list of numbers"),
        ({"mean": [[1], [2, 3]]}, "norm_stats.state.mean is not a list of numbers"),
        ([1, 2], "norm_stats.state is not a map of statistics"),
    ],
)
def test_a_statistic_is_one_list_of_numbers_or_was_not_computed(tmp_path, numbers, message):
    (tmp_path / "norm_stats.json").write_text(json.dumps({"norm_stats": {"state": numbers}}))
    if message:
        with pytest.raises(PolicyError, match=message):
            read_norm_stats(tmp_path)
    else:
        assert list(read_norm_stats(tmp_path)["state"].values) == ["mean"]


@pytest.mark.parametrize(
    ("method", "values", "good"),
    [
        ("openpi_zscore", {"mean": [-1e6], "std": [1e6]}, True),
        ("openpi_zscore", {"mean": [-1.1e6], "std": [1.0]}, False),
        ("openpi_zscore", {"mean": [0.0], "std": [0.0]}, True),
        ("openpi_zscore", {"mean": [0.0], "std": [-1e-9]}, False),
        ("openpi_quantile", {"q01": [-2.0], "q99": [-1.0]}, True),
        ("openpi_quantile", {"q01": [2.0], "q99": [2.0]}, True),
        ("openpi_quantile", {"q01": [0.0], "q99": [np.inf]}, False),
        ("openpi_zscore", {"mean": [3.0], "std": [1.0]}, True),  # a mean may be above the deviation
    ],
)
def test_statistics_may_be_as_large_as_a_million_and_a_deviation_is_not_negative(method, values, good):
    statistics = Statistics({k: np.array(v) for k, v in values.items()})
    if good:
        assert Normalizer(method, statistics).method == method
    else:
        with pytest.raises(PolicyError, match="in dimension 0"):
            Normalizer(method, statistics)


def test_a_cut_normalizer_is_the_same_for_its_first_dimensions():
    whole = Normalizer(
        "lerobot_mean_std",
        Statistics(
            {"mean": np.array([1.0, 2.0, 3.0]), "std": np.array([0.5, 2.0, 4.0]), "count": np.array(7.0)}, "here"
        ),
        epsilon=0.25,
    )
    cut = whole.cut(2)
    assert cut.statistics["mean"].tolist() == [1.0, 2.0] and cut.statistics.source == "here" and cut.epsilon == 0.25
    assert cut.statistics["count"] == 7.0 and whole.statistics.size == 3
    np.testing.assert_allclose(cut.forward([2.0, -1.0]), [1.0 / 0.75, -3.0 / 2.25], rtol=1e-6)


def by_formula(method, x, low, high, epsilon):
    """The table of the module, written out: forward."""
    if method.endswith(("zscore", "mean_std")):
        return (x - low) / (high + epsilon)
    span = high - low + 1e-6 if method.startswith("openpi") else high - low
    return 2 * (x - low) / span - 1


@pytest.mark.parametrize("method", [m for m in METHODS if m != "identity"])
def test_every_method_follows_its_formula_in_any_shape(method):
    low, high, x = np.array([-0.5, 1.0, 2.0]), np.array([1.5, 4.0, 2.25]), np.array([0.25, -3.0, 2.1])
    names = {
        "zscore": ("mean", "std"),
        "mean_std": ("mean", "std"),
        "quantile": ("q01", "q99"),
        "quantiles": ("q01", "q99"),
    }
    first, second = {"quantile10": ("q10", "q90"), "min_max": ("min", "max")}.get(
        method.split("_", 1)[1], names.get(method.split("_", 1)[1])
    )
    norm = Normalizer(method, Statistics({first: low, second: high}), epsilon=0.125)
    wanted = by_formula(method, x, low, high, 1e-6 if method.startswith("openpi") else 0.125)
    for shape in ((3,), (2, 3), (2, 4, 3)):
        np.testing.assert_allclose(norm.forward(np.broadcast_to(x, shape)), np.broadcast_to(wanted, shape), rtol=1e-5)
    back = norm.inverse(wanted)
    expected = wanted * high + low if method == "lerobot_mean_std" else x  # lerobot leaves its epsilon out there
    np.testing.assert_allclose(back, expected, rtol=1e-5, atol=1e-6)
    dtype = np.float32 if method.startswith("lerobot") else np.float64
    assert norm.forward(x).dtype == norm.inverse(x).dtype == dtype


def test_vectors_of_another_size_are_refused_by_lerobots_methods_and_short_ones_by_openpis_inverse():
    lerobot = Normalizer("lerobot_min_max", Statistics({"min": np.zeros(2), "max": np.ones(2)}))
    openpi = Normalizer("openpi_quantile", Statistics({"q01": np.zeros(2), "q99": np.ones(2)}))
    for wrong, apply in (
        (1, lerobot.forward),
        (3, lerobot.forward),
        (1, lerobot.inverse),
        (3, lerobot.inverse),
        (3, openpi.forward),
        (1, openpi.inverse),
    ):
        with pytest.raises(PolicyError, match=f"a vector of {wrong} numbers .* statistics of 2"):
            apply(np.zeros(wrong))
    assert openpi.forward([0.5]).shape == (1,) and openpi.inverse(np.zeros(3)).shape == (3,)


# --- running statistics ---


def test_quantiles_are_left_edges_of_five_thousand_bins_between_least_and_largest():
    """Between 0 and 5000 a number in the middle of each bin of width 1 (the edges are widened by 1e-10), and the two ends."""
    found = RunningStats.start(np.r_[0.0, np.arange(5000) + 0.5, 5000.0][:, None])
    assert found.count == 5002 and found.histograms.shape == (1, 5000) and found.edges.shape == (1, 5001)
    # Up to bin k there are k + 2; the first with 50.02, 2501 and 4951.98 of 5002:
    for share, place in ((0.01, 49), (0.5, 2499), (0.99, 4950)):
        assert found.quantile(share)[0] == pytest.approx(place, abs=1e-6)
    values = found.statistics()
    assert values["q01"][0] == pytest.approx(49, abs=1e-6) and values["q99"][0] == pytest.approx(4950, abs=1e-6)
    assert values["mean"][0] == pytest.approx(2500.0)


def test_a_batch_beyond_the_range_so_far_widens_it_and_keeps_what_was_counted():
    rng = np.random.default_rng(3)
    first, wide, inside = rng.uniform(-1, 1, (400, 2)), rng.uniform(-4, 3, (300, 2)), rng.uniform(-2, 2, (5, 60, 2))
    found = running([first, wide, inside])
    every = np.concatenate([first, wide, inside.reshape(-1, 2)])
    assert found.count == 1000 and found.histograms.sum(axis=1).tolist() == [1000.0, 1000.0]
    np.testing.assert_array_equal(found.low, every.min(axis=0))
    np.testing.assert_array_equal(found.high, every.max(axis=0))
    values = found.statistics()
    np.testing.assert_allclose(values["mean"], every.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(values["std"], every.std(axis=0), atol=1e-12)
    for name, share in (("q01", 0.01), ("q99", 0.99)):
        # Both samples beside the quantile, and two bins' width for moving to other bins.
        ordered = np.sort(every, axis=0)[[int(share * 1000) - 1, int(share * 1000)]]
        assert np.all((values[name] > ordered[0] - 0.01) & (values[name] < ordered[1] + 0.01)), name
    assert np.all(found.edges[:, 0] <= found.low) and np.all(found.edges[:, -1] >= found.high)


@pytest.mark.parametrize("batch", [np.zeros((0, 3)), np.zeros((3, 0)), 1.0, [[1.0, np.nan]], [[np.inf, 0.0]]])
def test_statistics_are_of_finite_vectors(batch):
    with pytest.raises(PolicyError, match="statistics need vectors, all of them finite"):
        RunningStats.start(batch)


def test_vectors_of_another_size_do_not_count():
    with pytest.raises(PolicyError, match="statistics of 2 dimensions got vectors of 3"):
        RunningStats.start(np.zeros((4, 2))).update(np.zeros((4, 3)))


def test_statistics_have_as_many_dimensions_as_the_longest_beside_a_count():
    """LeRobot's stats.json has how many frames there were beside them, as one number."""
    three = {"count": np.array([50.0]), "mean": np.arange(3.0), "min": np.array(7.0)}
    assert Statistics(three).size == 3
    assert Statistics({"min": np.array(7.0)}).size == Statistics({}).size == 0


def test_of_several_dimensions_that_are_wrong_the_first_is_told():
    for method, values, words in (
        ("openpi_zscore", {"mean": [0.0, 1e7, np.nan, 0.0], "std": [1.0] * 4}, r"mean is 1e\+07 in dimension 1"),
        ("openpi_zscore", {"mean": [0.0] * 4, "std": [1.0, -2.0, -3.0, 1.0]}, "std is -2 in dimension 1"),
        ("openpi_quantile", {"q01": [0.0, 3.0, 4.0, 0.0], "q99": [1.0] * 4}, "q01 3 is above q99 1 in dimension 1"),
    ):
        with pytest.raises(PolicyError, match=words):
            Normalizer(method, Statistics({name: np.array(numbers) for name, numbers in values.items()}))


@pytest.mark.parametrize(("beyond", "ends"), [(5.0, (-1.0, 5.0)), (-5.0, (-5.0, 1.0))])
def test_the_range_grows_on_the_side_on_which_a_number_is_beyond_it(beyond, ends):
    first = RunningStats.start([[-1.0], [0.0], [1.0]])
    with pytest.raises(PolicyError, match="statistics need at least two vectors"):
        RunningStats.start([[1.0]]).statistics()
    assert RunningStats.start([[1.0], [2.0]]).statistics()["mean"].tolist() == [1.5]
    grown = first.update([[beyond]])
    assert (grown.edges[0, 0], grown.edges[0, -1]) == pytest.approx(ends)
    inside = first.update([[0.5]])
    np.testing.assert_array_equal(inside.edges, first.edges)
    assert inside.histograms.sum() == 4
