"""How good the network is on frames it never saw: chunk error in robot units, tokens, subtasks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from pi0_ros.model import PROMPT, Inputs, Pi0, Prefix
from pi0_ros.model.euler import time_grid
from pi0_ros.model.sampling import integrate
from pi0_ros.model.text import generate_text
from pi0_ros.train.draw import step_streams
from pi0_ros.train.examples import ExampleMaker, Examples, Index
from pi0_ros.train.flow_targets import flow_targets
from pi0_ros.train.objective import Objective, Weights
from pi0_ros.train.recipe import Recipe
from pi0_ros.train.settings import TrainSettings


@torch.no_grad()
def held_out_loss(
    model: Pi0, maker: ExampleMaker, index: Index, settings: TrainSettings, recipe: Recipe, part: int = 0
) -> float:
    """The loss of training on these frames, undisturbed, with the same noise and times at every call with this `part`.

    Text and alpha * flow, also in steps that are trained without flow; an experiment's own losses are not in it.
    """
    device, rows = next(model.parameters()).device, np.asarray(index)
    rng, generator = step_streams(settings.seed, 0, part)
    acting, word_rows = maker.actions(rows), rows[maker.frames.has_subtask[rows]]
    words = maker.words(word_rows) if settings.word_batch and len(word_rows) else None
    flow = flow_targets(acting, replace(settings, draws=1, prefix_chance=0.0), rng, generator, recipe)
    objective = Objective(model, Weights.of(settings, recipe), None, maker.hooks.token_loss)
    loss = objective(*(part if part is None else part.to(device) for part in (acting, words, flow)))
    return float(loss.total)


@torch.no_grad()
def measured(model: Pi0, maker: ExampleMaker, index: Index, seed: int = 0) -> dict[str, float]:
    """What tells how good the network is on these frames: its chunks if it has an action expert, else its tokens,
    and what an experiment measures."""
    device = next(model.parameters()).device
    examples = maker.actions(index).to(device)
    prefix = model.prefix(examples.inputs)
    more = maker.hooks.measure(model, prefix, examples) if maker.hooks.measure is not None else {}
    if examples.actions is None:
        return {"tokens": token_accuracy(model, prefix, examples), **more}
    return {**chunk_error(model, maker, examples, np.asarray(index), seed), **more}


def token_accuracy(model: Pi0, prefix: Prefix, examples: Examples) -> float:
    """Share of the counted tokens that are the likeliest, each after the true ones before it; NaN if none counts."""
    tokens, counts = examples.inputs.tokens, examples.counts
    right = model.text_logits(prefix, tokens.shape[1]).argmax(-1) == tokens
    return float(right[counts].float().mean()) if bool(counts.any()) else float("nan")


def chunk_error(model: Pi0, maker: ExampleMaker, examples: Examples, rows: np.ndarray, seed: int) -> dict[str, float]:
    """Root mean square error of sampled chunks over all offset (arm) dimensions, first and second half of the rows.

    Rows behind an episode's end do not count. Keys chunk_near, chunk_far [rad].
    """
    pipeline, device = maker.pipeline, next(model.parameters()).device
    shape = (len(rows), pipeline.horizon, pipeline.action_width)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)
    grid = time_grid(10, model.config.numerics.time_grid)
    seen, vector = model.prefix(prompt_only(examples.inputs)), examples.inputs.state
    sampled = integrate(lambda x, t: model.velocity(x, t, seen, vector), noise, grid)
    state = maker.frames.state[rows].astype(np.float64)
    found = pipeline.actions(sampled.cpu().numpy().astype(np.float64), state)
    mask = np.array(pipeline.delta) if any(pipeline.delta) else np.ones(found.shape[-1], bool)
    error = (found - maker.frames.chunk[rows])[..., mask[: found.shape[-1]]]
    shown = np.arange(error.shape[1]) < maker.frames.valid[rows][:, None]
    half = error.shape[1] // 2
    near, far = (error[:, part][shown[:, part]] for part in (slice(0, half), slice(half, None)))
    return {"chunk_near": _rms(near), "chunk_far": _rms(far)}


def prompt_only(inputs: Inputs) -> Inputs:
    """The same inputs without the answers, as at run time."""
    prompts = inputs.token_mask & (inputs.roles == PROMPT)
    return replace(inputs, token_mask=prompts, roles=None)


def _rms(values: np.ndarray) -> float:
    """Root mean square; not a number if nothing is there."""
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else float("nan")


@torch.no_grad()
def subtask_accuracy(model: Pi0, maker: ExampleMaker, index: Index, longest: int = 16) -> float:
    """Share of frames whose generated subtask is the one wanted, word for word."""
    frames, rows = maker.frames, np.asarray(index)
    prompts = prompt_only(maker.words(rows).inputs).to(next(model.parameters()).device)
    generated = [maker.tokenizer.decode(ids).strip() for ids in generate_text(model, prompts, longest)]
    wanted = [frames.texts[t] for t in frames.high_target[rows]]
    right = sum(bool(a == b) for a, b in zip(generated, wanted, strict=True))
    return right / max(len(rows), 1)
