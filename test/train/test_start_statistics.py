"""Which values lie far outside of statistics, and which statistics fit a robot."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from pi0_ros.policy.normalize import Statistics
from pi0_ros.train.errors import TrainError
from pi0_ros.train.start_statistics import _outside, _usual, _wide_enough

CHANNELS = ("lift", "roll")


def table(width):
    return Statistics({"q01": np.zeros(width), "q99": np.ones(width)})


@pytest.mark.parametrize(("value", "far"), [(2.45, False), (2.55, True), (-1.45, False), (-1.55, True)])
def test_twice_the_usual_range_away_from_its_middle_is_far_outside(value, far):
    """The second channel lies from 0 to 1, its middle is 0.5."""
    values = np.tile([0.5, 0.25], (100, 1))
    values[:5, 1] = value
    told = _outside("state", values, Statistics({"q01": np.array([-9.0, 0.0]), "q99": np.array([9.0, 1.0])}), CHANNELS)
    assert [text[:19] for text in told] == (["state of roll: 5% o"] if far else [])


@pytest.mark.parametrize(("count", "told"), [(1, 0), (2, 1)])
def test_a_channel_is_named_from_more_than_a_hundredth_of_its_values_on(count, told):
    values = np.tile([0.5, 0.5], (100, 1))
    values[:count, 0] = 7.0
    assert len(_outside("actions", values, table(2), CHANNELS)) == told


def test_without_quantiles_the_middle_of_a_bell_curve_is_usual():
    """98 % of it lie within 2.326 deviations."""
    low, high = _usual(Statistics({"mean": np.array([1.0]), "std": np.array([0.5])}))
    assert (low.item(), high.item()) == pytest.approx((1.0 - 1.163, 1.0 + 1.163))
    assert _usual(Statistics({"mean": np.array([1.0])})) is None
    assert _outside("state", np.full((9, 1), 1e6), Statistics({"mean": np.array([1.0])}), CHANNELS[:1]) == []


def test_statistics_need_a_number_for_every_channel_or_none_where_nothing_was_normalised():
    adapter = SimpleNamespace(state_channels=("a", "b", "c"), action_channels=("a",), file="p.yaml")
    whole = {"state": table(3), "actions": table(1)}
    assert _wide_enough(whole, adapter, "x") is whole
    with pytest.raises(TrainError, match=r"x: has statistics of 2 dimensions for state, and p\.yaml has 3"):
        _wide_enough({"state": table(2), "actions": table(1)}, adapter, "x")
    with pytest.raises(TrainError, match="x: has statistics of 0 dimensions for actions"):
        _wide_enough({"state": table(3)}, adapter, "x")
    nothing = {"state": table(3), "actions": Statistics({})}
    assert _wide_enough(nothing, adapter, "x", none=True) is nothing and _wide_enough({}, adapter, "x", none=True) == {}
    with pytest.raises(TrainError, match="of 2 dimensions for state"):
        _wide_enough({"state": table(2), "actions": table(1)}, adapter, "x", none=True)
