"""How good the network is on frames it never saw: chunk error in robot units, places, subtasks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from pi0_ros.model import PROMPT, Inputs, Pi0, Prefix
from pi0_ros.model.sampling import integrate, time_grid
from pi0_ros.model.text import generate_text
from pi0_ros.train.examples import ExampleMaker, Examples, Index
from pi0_ros.train.frames import PLACES


@torch.no_grad()
def chunk_error(model: Pi0, maker: ExampleMaker, index: Index, seed: int = 0) -> dict[str, float]:
    """Root mean square error of sampled chunks over all offset (arm) dimensions, first and second half of the rows.

    Rows behind an episode's end do not count.

    Also the share of named places that are right within 3/128 of the picture. Keys chunk_near, chunk_far [rad], placed.
    """
    examples = maker.actions(index)
    prefix = model.prefix(examples.inputs)
    correct = _places(model, prefix, examples, maker.first_place)
    shape = (len(index), maker.pipeline.horizon, maker.pipeline.action_width)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    grid = time_grid(10, model.config.numerics.time_grid)
    seen = model.prefix(prompt_only(examples.inputs))
    sampled = integrate(lambda x, t: model.velocity(x, t, seen), noise, grid)
    state = maker.frames.state[np.asarray(index)].astype(np.float64)
    found = maker.pipeline.actions(sampled.numpy().astype(np.float64), state)
    mask = np.array(maker.pipeline.delta) if any(maker.pipeline.delta) else np.ones(found.shape[-1], bool)
    error = (found - maker.frames.chunk[np.asarray(index)])[..., mask]
    shown = np.arange(error.shape[1]) < maker.frames.valid[np.asarray(index)][:, None]
    half = error.shape[1] // 2
    near, far = (error[:, part][shown[:, part]] for part in (slice(0, half), slice(half, None)))
    return {"chunk_near": _rms(near), "chunk_far": _rms(far), "placed": correct}


def prompt_only(inputs: Inputs) -> Inputs:
    """The same inputs without the answers, as at run time."""
    prompts = inputs.token_mask & (inputs.roles == PROMPT)
    return replace(inputs, token_mask=prompts, roles=None)


def _rms(values: np.ndarray) -> float:
    """Root mean square; not a number where nothing is there."""
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else float("nan")


def _places(model: Pi0, prefix: Prefix, examples: Examples, first: int) -> float:
    tokens = examples.inputs.tokens
    logits = model.text_logits(prefix, tokens.shape[1])[..., first : first + PLACES]
    off = (logits.argmax(-1) + first - tokens).abs()[examples.counts]
    return float((off <= 24).float().mean()) if len(off) else float("nan")


@torch.no_grad()
def subtask_accuracy(model: Pi0, maker: ExampleMaker, index: Index, longest: int = 16) -> float:
    """Share of frames whose generated subtask is the one wanted, word for word."""
    frames, rows = maker.frames, np.asarray(index)
    asked = prompt_only(maker.words(rows).inputs)
    said = [maker.tokenizer.decode(ids).strip() for ids in generate_text(model, asked, longest)]
    wanted = [frames.texts[t] for t in frames.high_target[rows]]
    return sum(a == b for a, b in zip(said, wanted, strict=True)) / max(len(rows), 1)
