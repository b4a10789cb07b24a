"""Prefix and steps by PyTorch's operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from pi0_ros.model.euler import identity
from pi0_ros.model.gemma import KeyValue
from pi0_ros.model.inference.call import CallInputs, Guidance, Plan, Standing, first_action
from pi0_ros.model.inference.network import PackedNetwork, plain_norms
from pi0_ros.model.packed import Style


class TorchPath:
    """Runs a packed network operator by operator, or compiled."""

    hides = False
    """Whether it takes a bias also if nothing is to be hidden."""

    def __init__(self, network: PackedNetwork, compile_it: bool) -> None:
        self._network = network
        # Whole graphs or an error: in pieces it would be compiled anew for every layer, and be slower than not at all.
        compiled = partial(torch.compile, fullgraph=True) if compile_it else (lambda function: function)
        self._prefix, self._step = compiled(self.run_prefix), compiled(self._velocity)

    @property
    def look(self) -> Callable[[Tensor], Tensor]:
        """Pictures [N, 3, H, W] to features [N, tokens, width]."""
        return self._network.vision

    def rows(self, grid: Sequence[float]) -> list[Tensor]:
        """What depends on time alone: a table row a step, last for time 0."""
        return list(self._network.heads.tables(grid))

    def recorded(self, method: str | None) -> str:
        """What a graph for a method of real-time chunking is recorded for: without a previous chunk, its strength is zero."""
        return "prefix" if method == "prefix" else "identity"

    def fill(self, plan: Plan, given: CallInputs, standing: Standing) -> None:
        """Prefix and state into the cache."""
        network = self._network
        if plan.prefix:
            self._prefix(given.pictures, given.tokens, standing.prefix, plan.cache, False, standing.bias)
        if network.config.adarms:
            return
        token, styles = network.heads.embed_state(given.state), plain_norms(network.expert)
        network.expert(token, styles, standing.state, plan.cache, plan.prefix, False, standing.bias)

    def integrate(
        self, plan: Plan, standing: Standing, method: str | None, noise: Tensor, guidance: Guidance
    ) -> Tensor:
        """All steps: actions [B, H, D] from noise."""
        start, (previous, weight, given, strength) = first_action(self._network.config, plan), guidance
        x = torch.where(given, previous, noise) if method == "prefix" else noise
        for index, t in enumerate(plan.grid):
            row = plan.rows[index]
            if method == "prefix":
                row = per_token(row, plan.rows[-1], given)
            v = self._step(x, row, standing.actions, plan.cache, start, standing.bias)
            if method == "identity":
                v = identity(x, v, t, previous, weight, strength[index])
            x = x - v / len(plan.grid)
            if method == "prefix":
                x = torch.where(given, previous, x)
        return x

    def run_prefix(
        self,
        pictures: Tensor,
        tokens: Tensor,
        rope: Tensor,
        cache: Sequence[KeyValue],
        output: bool,
        bias: Tensor | None = None,
    ) -> Tensor:
        """The trunk over pictures and text, never compiled; without `output` only the cache is filled."""
        network = self._network
        x = network.embedded(pictures, tokens, network.vision)
        return network.trunk(x, plain_norms(network.trunk), rope, cache, 0, output, bias)

    def _velocity(
        self, x: Tensor, row: Tensor, table: Tensor, cache: Sequence[KeyValue], start: int, bias: Tensor | None
    ) -> Tensor:
        """Velocity of x [B, H, D] in float32."""
        network = self._network
        styles: list[Style] = [*plain_norms(network.expert), None]
        if network.config.adarms:
            styles = []
            for style in row.unbind(0):
                scale, shift, gate = style.unbind(0)
                styles.append((scale, shift, gate))
        tokens = network.heads.embed(x, row)
        hidden = network.expert(tokens, styles[:-1], table, cache, start, True, bias)
        return network.heads.velocity(hidden, styles[-1])


def per_token(row: Tensor, zero: Tensor, given: Tensor) -> Tensor:
    """A table row per token: `zero` for the given tokens [H, 1]. [..., width] -> [..., H, width]."""
    return torch.where(given, zero[..., None, :], row[..., None, :])
