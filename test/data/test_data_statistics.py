"""Statistics over several episodes, and the quantiles, against numpy."""

import numpy as np
import pytest

from pi0_ros.data.statistics import PictureStatistics, aggregate, levels_of, sampled, vector_stats

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


@pytest.fixture
def episodes():
    """Two episodes of unequal length and place."""
    draw = np.random.default_rng(3)
    return draw.normal([1.0, -4.0, 0.2], [0.5, 2.0, 0.01], (40, 3)), draw.normal([2.0, 1.0, 0.4], 1.0, (160, 3))


def test_moments_of_all_episodes_are_those_of_all_rows(episodes):
    together = aggregate([{"state": vector_stats(rows)} for rows in episodes])["state"]
    rows = np.concatenate(episodes)
    assert together["count"].tolist() == [200]
    for name, wanted in (("min", rows.min(0)), ("max", rows.max(0)), ("mean", rows.mean(0)), ("std", rows.std(0))):
        np.testing.assert_allclose(together[name], wanted, rtol=1e-12, err_msg=name)


def test_the_outer_quantiles_of_all_episodes_bound_those_of_all_rows(episodes):
    """900 rows to 10 and 100 to 50 have a 99th percentile above 45; the mean weighted by rows would say 14."""
    near, far = np.linspace(0.0, 10.0, 900)[:, None], np.linspace(0.0, 50.0, 100)[:, None]
    together = aggregate([{"a": vector_stats(near)}, {"a": vector_stats(far)}])["a"]
    assert together["q99"].item() == pytest.approx(49.5, abs=0.6)
    assert together["q50"].item() == pytest.approx(0.9 * 5.0 + 0.1 * 25.0, abs=0.05)
    rows = np.concatenate(episodes)
    of_all = aggregate([{"state": vector_stats(part)} for part in episodes])["state"]
    for name, share in QUANTILES.items():
        exact = np.quantile(rows, share, axis=0)
        assert share == 0.5 or ((of_all[name] <= exact + 1e-2) if share < 0.5 else (of_all[name] >= exact - 1e-2)).all()
        assert (of_all[name] >= of_all["min"] - 1e-9).all() and (of_all[name] <= of_all["max"] + 1e-9).all()


def test_a_feature_that_one_episode_lacks_counts_where_it_is(episodes):
    first, second = (vector_stats(rows) for rows in episodes)
    together = aggregate([{"a": first}, {"a": second, "b": second}])
    assert together["a"]["count"].tolist() == [200] and together["b"]["count"].tolist() == [160]
    np.testing.assert_allclose(together["b"]["mean"], second["mean"])


def test_quantiles_are_where_that_share_of_the_numbers_lies_below():
    rows = np.random.default_rng(5).permutation(np.linspace(-2.0, 6.0, 20001)).reshape(-1, 1)
    found = vector_stats(rows)
    for name, share in QUANTILES.items():
        assert found[name].item() == pytest.approx(-2.0 + 8.0 * share, abs=2e-3)


def test_quantiles_of_few_numbers_are_the_inside_of_the_bin_that_reaches_them():
    found = vector_stats(np.array([[0.0], [1.0], [2.0], [10.0]]))
    # Half of four numbers is reached in the bin of the second one, 1 % with the very first.
    width = 10.0 / 5000
    assert found["q50"].item() == pytest.approx(1.0, abs=width) and found["q01"].item() == pytest.approx(0.0, abs=width)
    assert found["q99"].item() == pytest.approx(10.0, abs=width) and found["count"].tolist() == [4]


def test_numbers_of_any_shape_and_kind_keep_their_shape():
    found = vector_stats(np.arange(24).reshape(4, 2, 3))
    assert found["mean"].tolist() == [[9.0, 10.0, 11.0], [12.0, 13.0, 14.0]] and found["q50"].shape == (2, 3)
    assert found["std"][0, 0] == pytest.approx(np.std([0, 6, 12, 18]))


@pytest.mark.parametrize(
    ("size", "step"), [((299, 10), 1), ((10, 299), 1), ((300, 20), 2), ((20, 300), 2), ((460, 6), 3)]
)
def test_large_pictures_are_thinned_out_by_whole_pixels(size, step):
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    counts = levels_of(picture)
    for channel in range(3):
        thin = picture[::step, ::step, channel]
        np.testing.assert_array_equal(counts[channel], np.bincount(thin.ravel(), minlength=256))


def test_statistics_of_a_picture_are_of_each_channel_between_zero_and_one():
    collected = PictureStatistics()
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[..., 0], picture[..., 1], picture[0, :, 2] = 51, [[0, 255], [255, 0]], 102
    collected.add(picture)
    found = collected.result()
    np.testing.assert_allclose(found["mean"].ravel(), [0.2, 0.5, 0.2])
    np.testing.assert_allclose(found["std"].ravel(), [0.0, 0.5, 0.2], atol=1e-12)
    np.testing.assert_allclose(found["max"].ravel(), [0.2, 1.0, 0.4])
    assert found["min"].ravel().tolist() == [0.2, 0.0, 0.0] and found["count"].tolist() == [1]


def test_statistics_are_of_every_picture_of_a_short_episode_and_of_at_most_a_hundred_of_a_long_one():
    assert [list(sampled(n)) for n in (0, 1, 100)] == [[], [0], list(range(100))]
    assert list(sampled(101)) == list(range(0, 101, 2)), "every second one: all of them were more than a hundred"
    assert list(sampled(199)) == list(range(0, 199, 2)) and list(sampled(1000)) == list(range(0, 1000, 10))
    assert max(len(sampled(n)) for n in range(1, 1500)) == 100


def test_a_quantile_that_one_episode_lacks_is_left_out_and_the_others_are_put_together(episodes):
    """As in datasets of which a part was recorded before LeRobot had quantiles."""
    first, second = (vector_stats(rows) for rows in episodes)
    together = aggregate([{"a": {k: v for k, v in first.items() if k != "q10"}}, {"a": second}])["a"]
    assert set(together) == {"min", "max", "mean", "std", "count", "q01", "q50", "q90", "q99"}
    np.testing.assert_array_equal(together["q90"], np.maximum(first["q90"], second["q90"]))


def test_quantiles_of_two_numbers_are_in_the_bins_that_lerobot_would_make():
    """Its 5000 bins lie between a ten-billionth below the smaller and as much above the larger one; two numbers fill the
    first and the last bin, so that everything up to half of them is the first edge."""
    found = {name: value.item() for name, value in vector_stats(np.array([[0.0], [1.0]])).items()}
    width = (1.0 + 2e-10) / 5000
    for name, wanted in (("q01", -1e-10), ("q50", -1e-10), ("q90", 1.0 - 0.2 * width), ("q99", 1.0 - 0.02 * width)):
        assert found[name] == pytest.approx(wanted, abs=3e-11 if wanted < 0.5 else 2e-10), name


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, -7.5, 1e6, 3e-12])
def test_all_quantiles_of_one_number_are_that_number(kind, value):
    found = vector_stats(np.full((9, 1), value, kind))
    for name in QUANTILES:
        assert found[name].item() == pytest.approx(value, rel=1e-7, abs=2e-10), name
