"""What the flow loss of a step compares: noise and times of its draws, which rows count."""

from __future__ import annotations

import numpy as np
import torch

from pi0_ros.model.losses import FlowTargets, delayed_times, flow_times
from pi0_ros.train.examples import Examples
from pi0_ros.train.recipe import OURS, Recipe
from pi0_ros.train.settings import TrainSettings


def flow_targets(
    acting: Examples,
    settings: TrainSettings,
    rng: np.random.Generator,
    generator: torch.Generator,
    recipe: Recipe = OURS,
) -> FlowTargets | None:
    """Noise and times of a step; with `prefix_chance` the first rows of each chunk are given (real-time chunking).

    Rows behind an episode's end count nowhere: they were not shown. None if the actions are text alone.
    """
    actions, s = acting.actions, settings
    if actions is None or acting.valid is None:
        return None
    batch, horizon, width = actions.shape
    noise = torch.randn((batch, s.draws, horizon, width), generator=generator)
    t = flow_times(torch.rand((batch, s.draws), generator=generator))
    shown = (torch.arange(horizon) < acting.valid[:, None]).float()[:, None].expand(-1, s.draws, -1)
    dims = acting.dims if recipe.real_dims else None
    if rng.random() >= s.prefix_chance or s.prefix_rows < 1:
        return FlowTargets(actions, noise, t, shown, dims)
    delay = torch.randint(0, s.prefix_rows + 1, t.shape, generator=generator)
    times, weight = delayed_times(t, delay, horizon)
    return FlowTargets(actions, noise, times, weight * shown, dims)
