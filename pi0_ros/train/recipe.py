"""How each project takes a step: schedule, what decays, averages, which numbers the losses count.

Sources: openpi src/openpi/training/optimizer.py, config.py, scripts/train.py, models/pi0_fast.py (loss by rows); lerobot
v0.6.1 optim/schedulers.py (CosineDecayWithWarmupSchedulerConfig), optim/optimizers.py, policies/pi0/modeling_pi0.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from pi0_ros.train.errors import TrainError
from pi0_ros.train.settings import TrainSettings


class Schedule(StrEnum):
    """What the cosine spans: the steps behind the warm-up (openpi), or all, so that the peak is not reached (LeRobot)."""

    AFTER_WARMUP = "after_warmup"
    FROM_START = "from_start"


@dataclass(frozen=True)
class Recipe:
    """Habits of a project.

    decay_all: weight decay on every trainable tensor, not on matrices alone. real_dims: the flow loss counts the robot's
    action dimensions, not the padded ones. by_row: the token loss is a mean over rows. ema_from_start: the average keeps
    its decay from the first step on, whereas ours begins short so that it forgets random weights. idle_decays: the last
    trunk layer's queries, of which nothing depends without a text loss, decay (LeRobot's joint attention gives them a
    gradient of zero); otherwise they stay as they are.
    """

    name: str
    schedule: Schedule = Schedule.AFTER_WARMUP
    decay_all: bool = False
    real_dims: bool = False
    by_row: bool = False
    ema_from_start: bool = False
    idle_decays: bool = False

    def rate(self, settings: TrainSettings, step: int, progress: float) -> float:
        """Learning rate of a step; `progress` is how far the whole run is, 0..1."""
        warmup = warmup_steps(settings)
        if step < warmup:
            return settings.peak_rate * (step + 1) / (warmup + 1)
        begun = warmup / settings.steps if self.schedule is Schedule.AFTER_WARMUP else 0.0
        done = min(max((progress - begun) / (1.0 - begun), 0.0), 1.0)
        share = 0.5 * (1.0 + math.cos(math.pi * done))
        return settings.final_rate + (settings.peak_rate - settings.final_rate) * share

    def ema_decay(self, decay: float, step: int) -> float:
        """Decay of the average in a step."""
        return decay if self.ema_from_start else min(decay, (1.0 + step) / (10.0 + step))


OURS = Recipe("pi0_ros", real_dims=True)
RECIPES = {
    "pi0_ros": OURS,
    "openpi": Recipe("openpi", decay_all=True, by_row=True, ema_from_start=True),
    "lerobot": Recipe(
        "lerobot", Schedule.FROM_START, decay_all=True, real_dims=True, ema_from_start=True, idle_decays=True
    ),
}


# What a run takes if nobody says otherwise. Sources: openpi src/openpi/training/optimizer.py (CosineDecaySchedule, AdamW) and
# config.py (ema_decay); lerobot v0.6.1 policies/pi0/configuration_pi0.py.
USUAL: dict[str, dict[str, float]] = {
    "pi0_ros": {},
    "openpi": {
        "peak_rate": 2.5e-5,
        "final_rate": 2.5e-6,
        "warmup": 1000,
        "weight_decay": 1e-10,
        "clip": 1.0,
        "ema": 0.99,
    },
    "lerobot": {
        "peak_rate": 2.5e-5,
        "final_rate": 2.5e-6,
        "warmup": 1000,
        "weight_decay": 0.01,
        "clip": 1.0,
        "ema": 0.0,
    },
}


def recipe_for(name: str, origin: str = "") -> Recipe:
    """The recipe called so; "" for that of the project a start comes from. Raises TrainError for an unknown one."""
    if not name:
        name = {"openpi_jax": "openpi", "paligemma": "openpi"}.get(origin, origin or "pi0_ros")
    if name not in RECIPES:
        raise TrainError(f"recipe '{name}' is not known; choose one of {', '.join(RECIPES)}")
    return RECIPES[name]


def warmup_steps(settings: TrainSettings) -> int:
    """Steps of warm-up: those asked for, or a tenth of the run if they would be more than half of it."""
    return settings.warmup if 2 * settings.warmup <= settings.steps else settings.steps // 10
