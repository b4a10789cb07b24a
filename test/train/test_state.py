"""The state of a run on disk: what is in it, and what is put back where."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file

from pi0_ros.model.ema import Ema
from pi0_ros.train.errors import TrainError
from pi0_ros.train.so_far import Best, SoFar
from pi0_ros.train.state import _apart, has_state, load_state, save_state, saved_state, state_tensors

DONE = SoFar(3, 1.5, 12, Best(0.25, 2, 1))


class Objective(torch.nn.Module):
    """A network inside another one, as the loss holds it, with a weight of its own that is not averaged."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1, bias=False))
        self.own = torch.nn.Parameter(torch.randn(4))
        self.register_buffer("seen", torch.tensor([float(seed)]))


def trained(seed: int, steps: int = 2, ema: float = 0.5):
    """Two groups of weights, of which one has no gradient, after some steps."""
    objective = Objective(seed)
    first, *others = objective.parameters()
    optimizer = torch.optim.AdamW([{"params": [first]}, {"params": others}], lr=0.1)
    average = Ema(objective.model if ema else torch.nn.Module(), ema)
    for k in range(steps):
        (objective.model(torch.full((1, 3), k + 1.0)).sum() + (objective.own[:2] ** 2).sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update(objective.model)
    return objective, optimizer, average


def test_a_state_has_weights_moments_and_averages_by_the_names_of_their_weights(tmp_path):
    objective, optimizer, ema = trained(1)
    save_state(tmp_path, objective, optimizer, ema, DONE)
    found = load_file(tmp_path / "state.safetensors")
    weights = ("own", "model.0.weight", "model.0.bias", "model.1.weight")
    averaged = ("0.weight", "0.bias", "1.weight")
    assert set(found) == {
        *(f"weight/{n}" for n in (*weights, "seen")),
        *(f"{kind}/{n}" for kind in ("exp_avg", "exp_avg_sq") for n in weights),
        *(f"ema/{n}" for n in averaged),
    }
    named = dict(objective.named_parameters())
    for name in weights:
        assert torch.equal(found[f"weight/{name}"], named[name])
        assert torch.equal(found[f"exp_avg_sq/{name}"], optimizer.state[named[name]]["exp_avg_sq"])
    assert all(torch.equal(found[f"ema/{n}"], ema.average[n]) for n in averaged)
    assert has_state(tmp_path) and saved_state(tmp_path).so_far == DONE


def test_what_is_put_back_is_what_was_saved_and_goes_on_as_if_it_had_not_been_away(tmp_path):
    save_state(tmp_path, *trained(1, steps=3), DONE)
    whole, *rest = trained(1, steps=5)
    other = trained(2, steps=1)
    assert load_state(tmp_path, *other) == DONE
    objective, optimizer, average = other
    assert {float(state["step"]) for state in optimizer.state.values()} == {3.0}
    for k in (3, 4):
        (objective.model(torch.full((1, 3), k + 1.0)).sum() + (objective.own[:2] ** 2).sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update(objective.model)
    for name, value in state_tensors(whole, *rest).items():
        assert torch.equal(state_tensors(*other)[name], value), name


def test_a_run_that_had_no_average_begins_one_at_its_weights(tmp_path):
    objective, optimizer, none = trained(1, ema=0.0)
    save_state(tmp_path, objective, optimizer, none, DONE)
    again, moments, average = trained(2)
    load_state(tmp_path, again, moments, average)
    weights = dict(objective.model.named_parameters())
    assert set(average.average) == set(weights)
    assert all(torch.equal(value, weights[name]) for name, value in average.average.items())
    load_state(tmp_path, *trained(3, ema=0.0))


def test_weights_that_never_had_a_gradient_have_no_moments_and_get_none(tmp_path):
    objective, optimizer, ema = trained(1, steps=0)
    save_state(tmp_path, objective, optimizer, ema, SoFar(0))
    assert not any(name.startswith("exp_avg") for name in load_file(tmp_path / "state.safetensors"))
    again = trained(2, steps=0)
    assert load_state(tmp_path, *again) == SoFar(0) and not again[1].state


def test_a_state_of_another_network_or_of_other_moments_is_refused_and_none_is_none(tmp_path):
    assert load_state(tmp_path, *trained(1)) is None and not has_state(tmp_path)
    save_state(tmp_path, *trained(1), DONE)
    objective, optimizer, ema = trained(2)
    objective.model[1] = torch.nn.Linear(2, 2, bias=False)
    with pytest.raises(TrainError, match=f"{tmp_path}: holds another network"):
        load_state(tmp_path, objective, optimizer, ema)
    objective, _, ema = trained(2)
    plain = torch.optim.SGD(objective.parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(TrainError, match="begun with other --moments"):
        load_state(tmp_path, objective, plain, ema)


def test_tensors_that_share_a_memory_are_given_one_each_and_others_are_not_copied():
    base = torch.arange(6.0)
    given = {"a": base, "b": base, "c": torch.ones(2, 3).T, "d": torch.zeros(2)}
    found = _apart(given)
    assert list(found) == ["a", "b", "c", "d"] and all(torch.equal(found[n], t) for n, t in given.items())
    places = [t.untyped_storage().data_ptr() for t in found.values()]
    assert len(set(places)) == 4 and found["a"] is base and found["d"] is given["d"]
    assert all(t.is_contiguous() for t in found.values())


def test_a_state_in_one_file_takes_the_place_of_one_in_a_folder(tmp_path):
    folder: Path = tmp_path / "state"
    folder.mkdir()
    (folder / "part").touch()
    save_state(tmp_path, *trained(1), DONE)
    assert not folder.exists() and sorted(f.name for f in tmp_path.iterdir()) == ["state.safetensors"]
