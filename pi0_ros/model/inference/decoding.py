"""Text behind a prompt, token by token, and the guidance that needs gradients: what runs outside of the two paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pi0_ros.model.errors import InputError
from pi0_ros.model.inference.call import CallInputs, Plan
from pi0_ros.model.inference.network import PackedNetwork, plain_norms
from pi0_ros.model.inference.torch_path import TorchPath
from pi0_ros.model.kernels import unpair
from pi0_ros.model.network import Pi0, Prefix
from pi0_ros.model.rtc import Rtc
from pi0_ros.model.sampling import integrate
from pi0_ros.model.text import EOS, answers, choose, log_probability


@dataclass(frozen=True)
class Decoding:
    """How text is decoded: at most `max_tokens` a row, by `temperature` (0: the likeliest), until one of `stop`.

    noise: [B, max_tokens] uniform, what decides at a temperature.
    """

    max_tokens: int
    temperature: float = 0.0
    noise: Tensor | None = None
    stop: Sequence[int] = (EOS,)


def decode_text(
    network: PackedNetwork, path: TorchPath, plan: Plan, given: CallInputs, how: Decoding
) -> tuple[list[list[int]], list[float]]:
    """Token ids behind the prompt of each row, and their mean log-probability, the one that ends it included."""
    if not plan.prefix:
        raise InputError("text needs a prompt or a picture to follow; a row has neither")
    # Never compiled: every prompt has its own length, and would be compiled in mid-run.
    hidden = path.run_prefix(given.pictures, given.tokens, plan.rope[: plan.prefix], plan.cache, True)
    ended = torch.zeros(len(given.tokens), dtype=torch.bool, device=given.tokens.device)
    ids: list[Tensor] = []
    scores: list[Tensor] = []
    while len(ids) < how.max_tokens:
        uniform = None if how.noise is None else how.noise[:, len(ids)]
        logits = network.logits(hidden[:, -1])
        ids.append(choose(logits, how.temperature, uniform))
        scores.append(log_probability(logits, ids[-1]))
        ended |= torch.isin(ids[-1], ids[-1].new_tensor(list(how.stop)))
        if len(ids) == how.max_tokens or bool(ended.all()):
            break
        hidden = _next(network, ids[-1], plan, plan.prefix + len(ids) - 1)
    return answers(ids, scores, how.stop, len(given.tokens))


def _next(network: PackedNetwork, ids: Tensor, plan: Plan, start: int) -> Tensor:
    """One more token [B] behind `start` cached ones -> trunk output [B, 1, width] before the final norm."""
    position = start + network.config.numerics.decode_offset
    table = plan.rope[position : position + 1]
    return network.trunk(network.embed_text(ids[:, None]), plain_norms(network.trunk), table, plan.cache, start)


def sample_by_gradients(model: Pi0, plan: Plan, given: CallInputs, noise: Tensor, rtc: Rtc) -> Tensor:
    """The paper's guidance needs gradients through the expert: the cached prefix is handed to the plain network."""
    like = model.expert.layers[0].self_attn.k_proj.weight
    cache = [(unpair(k[:, :, : plan.prefix]).to(like), v[:, :, : plan.prefix].to(like)) for k, v in plan.cache]
    seen = torch.ones(len(noise), plan.prefix, dtype=torch.bool, device=like.device)
    nothing = torch.empty(0, device=like.device)
    prefix = Prefix(cache, nothing, nothing, seen, seen, nothing)
    own = given.state.to(like.device) if given.state.shape[1] else None

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return model.velocity(x, t, prefix, own)

    rtc = replace(rtc, previous=rtc.previous.to(like.device))
    return integrate(velocity, noise.to(like.device), list(plan.grid), rtc).to(noise.device)
