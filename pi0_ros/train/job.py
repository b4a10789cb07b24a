"""What a run trains, from what, to where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pi0_ros.model import Pi0
from pi0_ros.model.checkpoints import Conventions
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.normalize import Statistics
from pi0_ros.train.draw import Draws
from pi0_ros.train.examples import ExampleMaker
from pi0_ros.train.hooks import Hooks
from pi0_ros.train.mixed import MixedMaker
from pi0_ros.train.recipe import OURS, Recipe
from pi0_ros.train.settings import TrainSettings


@dataclass(frozen=True)
class Job:
    """What is trained, from what, to where.

    draws: from what, and how often. tokenizer_file: None for the project's own. fast_folder: of the action tokenizer, None without one. origin: what the weights were before. conventions: habits
    of the project the start comes from, None for ours. others: further robots, by name, for each of which a checkpoint is
    written beside the first one's. base: folder that was started from, "" for none.
    """

    model: Pi0
    maker: ExampleMaker | MixedMaker
    adapter: Adapter
    statistics: Mapping[str, Statistics]
    folder: Path
    settings: TrainSettings
    rank: int = 0
    draws: Draws | None = None
    tokenizer_file: Path | None = None
    fast_folder: Path | None = None
    origin: str = "random weights"
    conventions: Conventions | None = None
    recipe: Recipe = OURS
    hooks: Hooks = field(default_factory=Hooks)
    others: tuple[tuple[str, Adapter, Mapping[str, Statistics]], ...] = ()
    base: str = ""
