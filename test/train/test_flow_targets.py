"""Noise, times and what counts of a step's flow loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi0_ros.train.examples import Examples
from pi0_ros.train.flow_targets import flow_targets
from pi0_ros.train.recipe import RECIPES
from pi0_ros.train.settings import TrainSettings

BATCH, DRAWS, HORIZON, WIDTH = 400, 3, 6, 5
SETTINGS = TrainSettings(draws=DRAWS, prefix_chance=0.0, prefix_rows=2)


def acting(batch: int = BATCH, valid=None) -> Examples:
    rows = torch.full((batch,), HORIZON) if valid is None else torch.tensor(valid)
    return Examples(None, None, torch.randn(batch, HORIZON, WIDTH), rows, dims=4)


def targets(recipe="pi0_ros", seed=1, given=None, **changes):
    streams = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    return flow_targets(given or acting(), replace(SETTINGS, **changes), *streams, RECIPES[recipe])


def test_every_draw_has_normal_noise_and_a_time_of_its_own():
    """Times are Beta(1.5, 1) from 0.001 to 1 (openpi): the mean is 0.001 + 0.999 * 0.6."""
    found = targets()
    assert found.noise.shape == (BATCH, DRAWS, HORIZON, WIDTH) and found.t.shape == (BATCH, DRAWS)
    assert abs(float(found.noise.mean())) < 0.02 and abs(float(found.noise.std()) - 1.0) < 0.02
    assert len(found.noise.unique()) > 0.99 * found.noise.numel() and len(found.t.unique()) > 0.99 * BATCH * DRAWS
    assert float(found.t.min()) >= 0.001 and float(found.t.max()) <= 1.0
    assert abs(float(found.t.mean()) - 0.6004) < 0.02
    assert found.weight.shape == (BATCH, DRAWS, HORIZON) and bool((found.weight == 1.0).all())


def test_rows_that_were_not_shown_count_in_no_draw():
    found = targets(given=acting(3, [6, 1, 4]))
    shown = [[1.0] * n + [0.0] * (HORIZON - n) for n in (6, 1, 4)]
    assert found.weight.tolist() == [[row] * DRAWS for row in shown]
    late = targets(given=acting(3, [6, 1, 4]), prefix_chance=1.0)
    assert bool((late.weight <= found.weight).all()) and not late.weight[1, :, 1:].any()


def test_up_to_so_many_rows_are_given_each_number_as_often_and_none_of_them_has_a_loss():
    """0, 1 or 2 rows: a third each. A given row is at time 0, the others at the draw's own time."""
    found = targets(prefix_chance=1.0)
    plain = targets(prefix_chance=0.0)
    given = found.t == 0
    counts = given.sum(-1)
    assert torch.equal(given, torch.arange(HORIZON) < counts[..., None]), "the first rows"
    shares = torch.bincount(counts.flatten(), minlength=4) / counts.numel()
    assert shares.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0], abs=0.05)
    assert torch.equal(found.weight == 0, given)
    assert bool((found.t[~given] == plain.t[..., None].expand_as(found.t)[~given]).all())


def test_rows_are_given_in_the_share_of_steps_that_was_asked_for_and_never_without_rows():
    few = acting(2)

    def given(steps: int, **changes) -> float:
        made = [targets(seed=seed, given=few, **changes) for seed in range(steps)]
        return float(np.mean([each.t.dim() == 3 for each in made]))

    assert given(150, prefix_chance=0.3) == pytest.approx(0.3, abs=0.12)
    assert given(5, prefix_chance=0.0) == 0.0 == given(5, prefix_chance=1.0, prefix_rows=0)
    assert given(5, prefix_chance=1.0, prefix_rows=1) == 1.0


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_the_robots_own_dimensions_count_unless_the_recipe_counts_all(chance):
    assert targets(prefix_chance=chance).dims == targets("lerobot", prefix_chance=chance).dims == 4
    assert targets("openpi", prefix_chance=chance).dims is None


def test_actions_that_are_text_alone_have_no_flow():
    assert targets(given=replace(acting(2), actions=None)) is None
    assert targets(given=replace(acting(2), valid=None)) is None
