"""Which values lie far outside of statistics, and which statistics fit a robot."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.normalize import Statistics
from pi0_ros.train import start_statistics
from pi0_ros.train.errors import TrainError
from pi0_ros.train.start_statistics import _numbers, _outside, _usual, _wide_enough, choose, remarks

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


def looked(offsets=(True, False), shares=(0.0, 0.0), shown=4, states=2, **changes):
    """Forty frames of two channels: a state far from its statistics, or actions of which two of four rows are."""
    state, chunk = np.zeros((40, 2)), np.zeros((40, 4, 2))
    state[:, 0], state[:, 1] = np.linspace(0.2, 0.8, 40), np.linspace(0.3, 0.9, 40)
    chunk[:] = state[:, None]
    for name, value in changes.items():
        {"state": state, "chunk": chunk}[name][value[0]] = value[1]
    frames = SimpleNamespace(state=state, chunk=chunk, valid=np.full(40, shown))
    adapter = SimpleNamespace(
        delta_mask=offsets, step_shares=shares, state_channels=CHANNELS, action_channels=("up", "turn")
    )
    frames.state = state[:, :states]
    adapter.state_channels = CHANNELS[:states]
    sized = type("Frames", (SimpleNamespace,), {"__len__": lambda self: 40})(**vars(frames))
    return remarks(sized, adapter, {"state": table(2), "actions": table(2)})


def test_states_and_shown_rows_of_actions_are_looked_at_as_they_are_learned():
    """The first action counts from the state, the second does not."""
    assert looked() == []
    (line,) = looked(state=((slice(0, 8), 1), 5.0), chunk=((slice(0, 8), slice(None), 1), 0.5))
    assert line.startswith(
        "state of roll: 20% of the values lie far outside of the statistics (0 .. 1; data 0.423 .. 5)"
    )
    (line,) = looked(chunk=((slice(0, 8), slice(2, 4), 0), -5.0))
    assert line.startswith("actions of up: 10% of the values")
    (line,) = looked(chunk=((slice(0, 4), slice(None), 1), 3.0))
    assert line.startswith("actions of turn: 10% of the values")
    assert looked(chunk=((slice(0, 8), slice(2, 4), 0), -5.0), shown=2) == [], (
        "rows behind an episode's end are not learned"
    )
    assert looked(chunk=((slice(0, 8), slice(2, 4), 0), -5.0), shares=(0.5, 0.0)) == [], "steps are of another size"
    far = {"state": ((slice(None), 0), np.linspace(5.0, 6.0, 40)), "chunk": ((slice(None), slice(None), 0), 5.5)}
    assert [line[:12] for line in looked(offsets=(False, False), **far)] == ["state of lif", "actions of u"]
    assert [line[:12] for line in looked(**far)] == ["state of lif"]


def test_an_action_that_is_not_measured_is_looked_at_as_it_is():
    (line,) = looked(states=1, chunk=((slice(0, 4), slice(None), 1), 3.0))
    assert line.startswith("actions of turn: 10% of the values")


def test_channels_that_stand_still_are_named_together():
    still = {"state": ((slice(None), slice(None)), 0.5), "chunk": ((slice(None), slice(None), slice(None)), 0.5)}
    assert looked(**still) == ["never move in these data: lift, roll"]
    assert looked(state=((slice(None), 1), 0.5 + 1e-7 * np.arange(40) / 40)) == ["never move in these data: roll"]
    assert looked(state=((slice(None), 1), 0.5 + 2e-6 * np.arange(40) / 39)) == []


def test_what_is_behind_the_network_changes_no_numbers_and_what_is_before_it_does():
    adapter = load_adapter("mobile_bimanual")
    first, *others = adapter.actions
    numbers = _numbers(adapter)
    assert [len(part) for part in numbers] == [18, 18]
    assert [n[0] for n in numbers[0]] == list(adapter.state_channels)
    assert [n[0] for n in numbers[1]] == list(adapter.action_channels)
    same = replace(adapter, actions=(replace(first, clip=(-1.0, 1.0)), *others))
    turned = replace(adapter, actions=(replace(first, signs=tuple(-s for s in first.signs)), *others))
    assert _numbers(same) == numbers != _numbers(turned)
    state = replace(adapter, state=(replace(adapter.state[0], scale=2.0), *adapter.state[1:]))
    assert _numbers(state) != numbers


def test_a_paligemma_is_a_start_that_has_no_statistics(monkeypatch):
    asked = []
    opened = SimpleNamespace(origin="paligemma")
    monkeypatch.setattr(
        "pi0_ros.model.checkpoints.open_checkpoint", lambda folder, as_start: asked.append((folder, as_start)) or opened
    )
    with pytest.raises(TrainError, match="--statistics checkpoint: a PaliGemma has none"):
        choose("checkpoint", "start", None, None)
    assert asked == [(Path("start"), True)]


@pytest.mark.parametrize(("origin", "own"), [("pi0_ros", True), ("openpi", False)])
def test_statistics_of_a_start_are_those_of_the_pipeline_that_runs_it(monkeypatch, origin, own):
    adapter = load_adapter("mobile_bimanual")
    opened = SimpleNamespace(origin=origin, folder=Path("start"))
    pipeline = SimpleNamespace(**{n: SimpleNamespace(statistics=table(18)) for n in ("state_norm", "action_norm")})
    asked = []
    monkeypatch.setattr("pi0_ros.model.checkpoints.open_checkpoint", lambda folder, as_start: opened)
    monkeypatch.setattr("pi0_ros.policy.checkpoint.build_pipeline", lambda *what: asked.append(what) or pipeline)
    turned = replace(adapter, state=adapter.state[::-1])
    monkeypatch.setattr(start_statistics, "adapter_of_checkpoint", lambda file: asked.append(file) or turned)
    if own:
        with pytest.raises(TrainError, match="are of other channels, signs or offsets"):
            choose("checkpoint", "start", adapter, None)
        assert asked == [Path("start/config.json")]
        assert choose("", "start", turned, None)[1] == "of the checkpoint start"
    else:
        found, source = choose("", "start", adapter, None)
        assert asked == [(opened, adapter)] and source == "of the checkpoint start"
        assert found == {"state": pipeline.state_norm.statistics, "actions": pipeline.action_norm.statistics}
