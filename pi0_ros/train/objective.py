"""The loss of one step: cross-entropy on text and tokens + alpha * flow (pi0.5, arXiv 2504.16054, equation 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pi0_ros.model import Pi0, Prefix
from pi0_ros.model.gemma import LayerInputs
from pi0_ros.model.losses import FlowTargets, flow_mean
from pi0_ros.train.examples import Examples
from pi0_ros.train.hooks import AuxiliaryLoss, StepView, TokenLoss
from pi0_ros.train.recipe import Recipe
from pi0_ros.train.settings import TrainSettings


@dataclass(frozen=True)
class Weights:
    """Of the parts of the loss. alpha: flow (pi0.5: 10). answer: text said beside the actions, and pi0-FAST's actions.
    words: subtasks. insulate: the flow loss does not reach the trunk (knowledge insulation). by_row: the mean over a
    row's tokens, then over rows (openpi's pi0-FAST), instead of over all tokens (LeRobot)."""

    alpha: float = 10.0
    answer: float = 1.0
    words: float = 1.0
    insulate: bool = False
    by_row: bool = False

    @classmethod
    def of(cls, settings: TrainSettings, recipe: Recipe) -> Weights:
        """Those of a run."""
        return cls(settings.alpha, settings.answer_weight, settings.word_weight, settings.insulate, recipe.by_row)


@dataclass(frozen=True)
class StepLoss:
    """Scalars of a step; `more` are those of an experiment, by name and with their weights."""

    total: Tensor
    flow: Tensor
    answer: Tensor
    words: Tensor
    more: Mapping[str, Tensor] = field(default_factory=dict)

    def items(self) -> dict[str, Tensor]:
        """All by name."""
        return {"total": self.total, "flow": self.flow, "answer": self.answer, "words": self.words, **self.more}


class Objective(nn.Module):
    """The network and its loss as one module, so that its weights can be swapped for rounded ones in a step."""

    def __init__(
        self,
        model: Pi0,
        weights: Weights | None = None,
        auxiliary: AuxiliaryLoss | None = None,
        token_loss: TokenLoss | None = None,
    ) -> None:
        super().__init__()
        self.model, self.weights, self.auxiliary = model, weights or Weights(), auxiliary
        self.token_loss = token_loss or cross_entropy

    def forward(self, acting: Examples | None, words: Examples | None, flow: FlowTargets | None) -> StepLoss:
        """Loss of action examples and high-level examples. flow None (or alpha 0): text only."""
        weights = self.weights
        zero = torch.zeros((), device=next(self.parameters()).device)
        answer, moved = zero, zero
        more: dict[str, Tensor] = {}
        if acting is not None:
            answer, moved, more = self.acted(acting, flow)
        spoken = zero if words is None else self.text(self.model.prefix(words.inputs), words)
        total = weights.answer * answer + weights.words * spoken + weights.alpha * moved
        return StepLoss(total + sum(more.values()), moved, answer, spoken, more)

    def acted(self, acting: Examples, flow: FlowTargets | None) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Answer, flow and an experiment's losses of action examples."""
        facts = self.auxiliary.facts(acting.rows) if self.auxiliary is not None and acting.rows else None
        watched = self.auxiliary.watched(self.model) if self.auxiliary is not None and facts is not None else ()
        with Watch(*watched) as seen:
            prefix = self.model.prefix(acting.inputs)
            answer = self.text(prefix, acting)
            moved = torch.zeros_like(answer)
            if flow is not None and self.weights.alpha and self.model.config.expert is not None:
                moved = self.flow(prefix, acting, flow)
        more: dict[str, Tensor] = {}
        if self.auxiliary is not None and facts is not None:
            known = StepView(prefix, seen.given, acting.inputs.tokens, acting.counts)
            more = self.auxiliary(self.model, known, facts)
        return answer, moved, more

    def flow(self, prefix: Prefix, acting: Examples, flow: FlowTargets) -> Tensor:
        """The flow matching loss over what counts."""
        seen = prefix.detached() if self.weights.insulate else prefix
        errors = self.model.flow_loss(flow.actions, flow.noise, flow.t, seen, acting.inputs.state)
        return flow_mean(errors, flow.weight, flow.dims)

    def text(self, prefix: Prefix, examples: Examples) -> Tensor:
        """Mean loss of the counted tokens, each predicted from the one before it."""
        tokens, counts = examples.inputs.tokens, examples.counts
        if not bool(counts.any()):
            return prefix.hidden.new_zeros((), dtype=torch.float32)
        hidden = prefix.hidden[:, -tokens.shape[1] - 1 : -1][counts]
        losses = self.token_loss(F.log_softmax(self.model.logits(hidden), dim=-1), tokens[counts].long())
        return by_rows(losses, counts) if self.weights.by_row else losses.mean()


def cross_entropy(logs: Tensor, wanted: Tensor) -> Tensor:
    """Per token [N] of log probabilities [N, V] and wanted tokens [N]."""
    return -logs.gather(1, wanted[:, None])[:, 0]


def by_rows(losses: Tensor, counts: Tensor) -> Tensor:
    """Mean over each row's counted tokens, then over rows; a row without any counts as 0.

    losses [N] of the N tokens where counts [B, L], row by row. Source: openpi src/openpi/models/pi0_fast.py, compute_loss.
    """
    row = torch.arange(len(counts), device=counts.device)[:, None].expand_as(counts)[counts]
    sums = losses.new_zeros(len(counts)).index_add(0, row, losses)
    return (sums / counts.sum(1).clamp(min=1)).mean()


class Watch:
    """Keeps what layers are given while it is open: `given`, a layer's positional inputs each, () if it did not run."""

    def __init__(self, *layers: nn.Module) -> None:
        self.layers = layers
        self._inputs: dict[int, LayerInputs] = {}
        self._hooks: list[RemovableHandle] = []

    @property
    def given(self) -> tuple[LayerInputs | tuple[()], ...]:
        """In the order of the layers."""
        return tuple(self._inputs.get(id(layer), ()) for layer in self.layers)

    def __enter__(self) -> Self:
        self._hooks = [layer.register_forward_pre_hook(self._keep) for layer in self.layers]
        return self

    def _keep(self, layer: nn.Module, inputs: LayerInputs) -> None:
        self._inputs[id(layer)] = inputs

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()
