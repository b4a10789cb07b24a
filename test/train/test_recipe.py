"""Learning rates and averages of a run, against the projects' own formulas."""

import math

import pytest

pytest.importorskip("torch")

from pi0_ros.train.errors import TrainError
from pi0_ros.train.recipe import RECIPES, recipe_for, warmup_steps
from pi0_ros.train.settings import TrainSettings


def settings(**given):
    return TrainSettings(**({"steps": 100, "warmup": 20, "peak_rate": 3e-4, "final_rate": 2e-5} | given))


def openpi(step, peak=3e-4, end=2e-5, warmup=20, steps=100):
    """optax.warmup_cosine_decay_schedule with init_value peak / (warmup + 1), decay_steps of the whole run."""
    if step < warmup:
        start = peak / (warmup + 1)
        return start + (peak - start) * step / warmup
    return end + (peak - end) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def lerobot(step, peak=3e-4, end=2e-5, warmup=20, steps=100):
    """CosineDecayWithWarmupSchedulerConfig: the cosine spans all steps."""
    if step < warmup:
        start = 1 / (warmup + 1)
        return peak * ((1 - start) * step / warmup + start)
    return end + (peak - end) * 0.5 * (1 + math.cos(math.pi * step / steps))


@pytest.mark.parametrize("step", [0, 7, 19, 20, 33, 60, 99])
def test_rates_are_those_of_the_projects(step):
    for name, formula in (("openpi", openpi), ("lerobot", lerobot), ("pi0_ros", openpi)):
        assert RECIPES[name].rate(settings(), step, step / 100) == pytest.approx(formula(step), rel=1e-9), name


def test_behind_the_end_of_a_run_the_rate_stays_where_it_ended():
    for recipe in RECIPES.values():
        assert recipe.rate(settings(), 130, 1.3) == pytest.approx(2e-5)


def test_a_warm_up_of_more_than_half_the_run_becomes_a_tenth_of_it():
    assert [warmup_steps(settings(warmup=w)) for w in (0, 49, 50, 51, 1000)] == [0, 49, 50, 10, 10]


def test_the_average_keeps_its_decay_or_begins_short():
    assert RECIPES["openpi"].ema_decay(0.99, 0) == RECIPES["lerobot"].ema_decay(0.99, 3) == 0.99
    assert RECIPES["pi0_ros"].ema_decay(0.99, 0) == pytest.approx(0.1)
    assert RECIPES["pi0_ros"].ema_decay(0.99, 8) == pytest.approx(0.5)
    assert RECIPES["pi0_ros"].ema_decay(0.99, 10_000) == 0.99


@pytest.mark.parametrize(
    ("name", "origin", "found"),
    [("", "openpi", "openpi"), ("", "openpi_jax", "openpi"), ("", "paligemma", "openpi"), ("", "lerobot", "lerobot"),
     ("", "pi0_ros", "pi0_ros"), ("", "", "pi0_ros"), ("lerobot", "openpi", "lerobot")],
)  # fmt: skip
def test_a_run_goes_on_by_the_recipe_of_the_project_it_starts_from(name, origin, found):
    assert recipe_for(name, origin) is RECIPES[found]


def test_an_unknown_recipe_is_refused_with_those_there_are():
    with pytest.raises(TrainError, match="'ours' is not known; choose one of pi0_ros, openpi, lerobot"):
        recipe_for("ours")
