"""Text out of the trunk, token by token with a key/value cache: subtasks (pi0.5) and action tokens (pi0-FAST)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pi0_ros.model.errors import InputError
from pi0_ros.model.gemma import KeyValue
from pi0_ros.model.inputs import Inputs
from pi0_ros.model.network import Pi0, Prefix

EOS = 1


def choose(logits: Tensor, temperature: float = 0.0, uniform: Tensor | None = None) -> Tensor:
    """Token ids [B] from logits [B, vocab]: the largest, or at a temperature the quantile `uniform` [B]."""
    if temperature <= 0.0:
        return logits.argmax(dim=-1)
    if uniform is None:
        raise InputError("sampling text at a temperature needs uniform random numbers [B, max_tokens] as noise")
    share = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
    return torch.searchsorted(share, uniform.to(share)[:, None], right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def with_start(inputs: Inputs, start: Sequence[int]) -> Inputs:
    """The prompt with start tokens put behind its padding (LeRobot's pi0-FAST puts BOS there)."""
    extra = inputs.tokens.new_tensor(list(start)).expand(inputs.batch, -1)
    tokens = torch.cat([inputs.tokens, extra], dim=1)
    mask = torch.cat([inputs.token_mask.bool(), torch.ones_like(extra, dtype=torch.bool)], dim=1)
    return replace(inputs, tokens=tokens, token_mask=mask)


@torch.no_grad()
def generate_text(
    model: Pi0,
    inputs: Inputs,
    max_tokens: int,
    temperature: float = 0.0,
    noise: Tensor | None = None,
    stop: Sequence[int] = (EOS,),
) -> list[list[int]]:
    """Token ids that follow the prompt, a list a row, up to and without the first id of `stop`.

    temperature 0 is greedy; above it `noise` holds uniform numbers in [0, 1) [B, max_tokens]. Generated text is causal
    and stands at the positions the configuration's `decode_offset` says. Roles are ignored: all given text is prompt.
    """
    return generate_scored(model, inputs, max_tokens, temperature, noise, stop)[0]


@torch.no_grad()
def generate_scored(
    model: Pi0,
    inputs: Inputs,
    max_tokens: int,
    temperature: float = 0.0,
    noise: Tensor | None = None,
    stop: Sequence[int] = (EOS,),
) -> tuple[list[list[int]], list[float]]:
    """As `generate_text`, with the mean log-probability of each row's tokens, the one that ends it included."""
    numerics = model.config.numerics
    prefix = model.prefix(with_start(replace(inputs, roles=None), numerics.decode_start))
    length = prefix.valid.sum(dim=1, keepdim=True)
    logits, cache, visible = _last_logits(model, prefix), list(prefix.cache), prefix.valid
    ended = torch.zeros(inputs.batch, dtype=torch.bool, device=logits.device)
    ids: list[Tensor] = []
    scores: list[Tensor] = []
    while len(ids) < max_tokens:
        ids.append(choose(logits, temperature, None if noise is None else noise[:, len(ids)]))
        scores.append(log_probability(logits, ids[-1]))
        ended |= torch.isin(ids[-1], ids[-1].new_tensor(list(stop)))
        if len(ids) == max_tokens or bool(ended.all()):
            break
        position = length + len(ids) - 1 + numerics.decode_offset
        logits, cache, visible = decode_step(model, ids[-1], position, cache, visible)
    return answers(ids, scores, stop, inputs.batch)


def log_probability(logits: Tensor, ids: Tensor) -> Tensor:
    """Of the tokens [B], from logits [B, vocab]."""
    chosen = logits.gather(-1, ids[:, None])[:, 0].float()
    return chosen - logits.float().logsumexp(dim=-1)


def answers(
    ids: Sequence[Tensor], scores: Sequence[Tensor], stop: Sequence[int], batch: int
) -> tuple[list[list[int]], list[float]]:
    """Tokens [B] and their log-probabilities [B], step by step, as answers and their mean log-probabilities (0 of none)."""
    if not ids:
        return [[] for _ in range(batch)], [0.0] * batch
    rows = [until(row, stop) for row in torch.stack(list(ids), dim=1).tolist()]
    likelihoods = torch.stack(list(scores), dim=1).tolist()
    said = [s[: len(r) + 1] for r, s in zip(rows, likelihoods, strict=True)]
    return rows, [sum(s) / len(s) for s in said]


def decode_step(
    model: Pi0, ids: Tensor, position: Tensor, cache: Sequence[KeyValue], visible: Tensor
) -> tuple[Tensor, list[KeyValue], Tensor]:
    """One token [B] at position [B, 1] through the trunk -> logits [B, vocab], grown cache, grown visible mask."""
    visible = torch.cat([visible, visible.new_ones(len(ids), 1)], dim=1)
    hidden, own = model.gemma(model.embed_text(ids[:, None]), position, visible[:, None], past=cache)
    grown = [(torch.cat([k, a], 2), torch.cat([v, b], 2)) for (k, v), (a, b) in zip(cache, own, strict=True)]
    return model.logits(hidden[:, -1]), grown, visible


def _last_logits(model: Pi0, prefix: Prefix) -> Tensor:
    """Logits after the last valid token of each row."""
    order = torch.arange(prefix.valid.shape[1], device=prefix.valid.device)
    last = (order * prefix.valid).amax(dim=1)
    return model.logits(prefix.hidden[torch.arange(len(last), device=last.device), last])


def until(ids: list[int], stop: Sequence[int]) -> list[int]:
    """The ids before the first stop id."""
    ends = [index for index, token in enumerate(ids) if token in stop]
    return ids[: ends[0]] if ends else ids
