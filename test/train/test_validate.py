"""Errors on held-out frames, with a network whose answers are known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_training import MODEL, SETTINGS, some_frames

from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.tiny_tokenizer import build
from pi0_ros.train.examples import ExampleMaker
from pi0_ros.train.hooks import no_hooks
from pi0_ros.train.session import pipeline_for
from pi0_ros.train.statistics import frame_statistics
from pi0_ros.train.validate import chunk_error, prompt_only, token_accuracy

ROWS = np.array([2, 9, 17])


@pytest.fixture(scope="module")
def maker():
    frames, adapter = some_frames(), load_adapter("mobile_bimanual")
    pipeline = pipeline_for(adapter, MODEL, frame_statistics(frames, adapter.delta_mask))
    return ExampleMaker(frames, pipeline, build(), replace(SETTINGS, picture_noise=0.0), no_hooks(build()))


class Known:
    """A network whose flow ends at `target`, and that says what it is given to say."""

    def __init__(self, target=None, logits=None):
        self.target, self.logits = target, logits
        self.config = SimpleNamespace(numerics=SimpleNamespace(time_grid="multiply"))

    def parameters(self):
        return iter([torch.zeros(1)])

    def prefix(self, inputs):
        return inputs

    def velocity(self, x, t, prefix, state):
        return (x - self.target) / t[:, None, None]

    def text_logits(self, prefix, count):
        return self.logits


def test_a_chunk_that_is_right_has_no_error_and_one_that_is_off_has_what_it_is_off_in_radians(maker):
    examples, frames = maker.actions(ROWS), maker.frames
    exact = chunk_error(Known(examples.actions), maker, examples, ROWS, 3)
    assert exact["chunk_near"] == pytest.approx(0.0, abs=1e-4) and exact["chunk_far"] == pytest.approx(0.0, abs=1e-4)
    # Every row is further off than the one before; a half of the rows ahead is near.
    horizon, width = examples.actions.shape[1:]
    off = torch.zeros(3, horizon, width)
    off[:, :, 1] = 0.01 * torch.arange(horizon)
    off[:, :, 3] = -0.02
    found = chunk_error(Known(examples.actions + off), maker, examples, ROWS, 3)
    statistics = frame_statistics(frames, maker.pipeline.delta)["actions"]
    radians = (statistics["q99"] - statistics["q01"]) / 2.0  # of one unit, normalised by quantiles
    arms = np.array(maker.pipeline.delta)[: len(radians)]
    errors = (off.numpy()[..., : len(radians)] * radians)[..., arms] ** 2
    shown = np.arange(horizon)[None] < frames.valid[ROWS][:, None]
    half = horizon // 2
    wanted = [np.sqrt(errors[:, part][shown[:, part]].mean()) for part in (slice(0, half), slice(half, None))]
    assert arms[1] and arms[3] and wanted[1] > 2 * wanted[0]
    assert [found["chunk_near"], found["chunk_far"]] == pytest.approx(wanted, rel=1e-3)


def test_tokens_count_where_they_are_to_be_learnt_and_nowhere_else():
    tokens = torch.tensor([[5, 6, 7, 8], [1, 2, 3, 4]])
    counts = torch.tensor([[False, True, True, False], [False, False, True, True]])
    said = torch.tensor([[0, 6, 7, 0], [1, 2, 0, 4]])
    examples = SimpleNamespace(inputs=SimpleNamespace(tokens=tokens), counts=counts)
    model = Known(logits=torch.nn.functional.one_hot(said, 9).float())
    assert token_accuracy(model, None, examples) == 0.75
    nothing = SimpleNamespace(inputs=examples.inputs, counts=torch.zeros_like(counts))
    assert np.isnan(token_accuracy(model, None, nothing))


def test_at_run_time_the_answers_are_not_seen(maker):
    examples = maker.words(ROWS)
    inputs, asked = examples.inputs, prompt_only(examples.inputs)
    assert examples.counts.any() and not asked.token_mask[examples.counts].any() and asked.roles is None
    # Of what is not to be learnt all of the prompt stays.
    first = examples.counts.int().argmax(1)
    for row, end in enumerate(first):
        assert asked.token_mask[row, :end].equal(inputs.token_mask[row, :end])
    assert torch.equal(asked.tokens, inputs.tokens)
