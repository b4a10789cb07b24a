"""Prefix and steps by the fused kernels of `model.fused`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pi0_ros.model.fused.path import Fused, StepStyles
from pi0_ros.model.fused.shapes import Guide, Place
from pi0_ros.model.inference.call import CallInputs, Guidance, Plan, Standing, first_action
from pi0_ros.model.inference.modes import fused_operations
from pi0_ros.model.inference.network import PackedNetwork


class FusedPath:
    """Runs a packed network by few kernels; without CUDA by their plain twins."""

    hides = True
    """The kernels always take a bias."""

    def __init__(self, network: PackedNetwork) -> None:
        self._network = network
        do = fused_operations(network.to.device)
        self.kernels = Fused(network.config, do, network.vision, network.trunk, network.expert, network.heads)

    @property
    def look(self) -> Callable[[Tensor], Tensor]:
        """Pictures [N, 3, H, W] to features [N, tokens, width]."""
        return self.kernels.pictures

    def rows(self, grid: Sequence[float]) -> list[StepStyles]:
        """What depends on time alone, a step each."""
        return self.kernels.styles(grid)

    def recorded(self, method: str | None) -> str:
        """What a graph for a method of real-time chunking is recorded for: the kernels do all in one."""
        return "identity"

    def fill(self, plan: Plan, given: CallInputs, standing: Standing) -> None:
        """Prefix and state into the cache."""
        self.fill_prefix(plan, given, standing)
        if not self._network.config.adarms:
            place = _place(1, plan.prefix, standing.state, len(given.tokens), standing)
            self.kernels.state(given.state, plan.rows[0], place, plan.cache)

    def fill_prefix(self, plan: Plan, given: CallInputs, standing: Standing) -> None:
        """Pictures and text into the cache."""
        if plan.prefix:
            x = self._network.embedded(given.pictures, given.tokens, self.kernels.pictures)
            place = _place(plan.prefix, 0, standing.prefix, len(given.tokens), standing)
            self.kernels.prefix(x.flatten(0, 1), place, plan.cache)

    def integrate(
        self, plan: Plan, standing: Standing, method: str | None, noise: Tensor, guidance: Guidance
    ) -> Tensor:
        """All steps: actions [B, H, D] from noise."""
        previous, weight, given, strength = guidance
        start, horizon = first_action(self._network.config, plan), self._network.config.horizon
        place = _place(horizon, start, standing.actions, len(noise), standing)
        rows = given.sum(dtype=torch.int32).view(1)
        guide = Guide(rows, previous.flatten(0, 1), weight.flatten(), strength)
        return self.kernels.steps(noise, plan.grid, plan.rows, place, guide, plan.cache)


def _place(tokens: int, start: int, rope: Tensor, batch: int, standing: Standing) -> Place:
    assert standing.bias is not None, "the kernels always take a bias"
    return Place(tokens, start, for_each(rope, batch), standing.bias)


def for_each(rows: Tensor, batch: int) -> Tensor:
    """Rotary rows [T, d / 2, 2] for all of a batch, [B * T, d / 2, 2]."""
    return rows.contiguous() if batch == 1 else rows.repeat(batch, 1, 1)
