"""Errors on held-out frames, with a network whose answers are known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_training import MODEL, SETTINGS, some_frames

from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.tiny_tokenizer import build
from pi0_ros.train import validate
from pi0_ros.train.examples import ExampleMaker
from pi0_ros.train.hooks import no_hooks
from pi0_ros.train.objective import Weights
from pi0_ros.train.recipe import RECIPES
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


def test_a_half_of_which_nothing_was_shown_has_no_error_and_without_offsets_all_dimensions_count(maker):
    examples = maker.actions(ROWS)
    horizon, width = examples.actions.shape[1:]
    cut = replace(maker, frames=replace(maker.frames, valid=np.full(24, horizon // 2, np.int32)))
    found = chunk_error(Known(examples.actions), cut, examples, ROWS, 3)
    assert found["chunk_near"] == pytest.approx(0.0, abs=1e-4) and np.isnan(found["chunk_far"])
    plain = replace(maker, pipeline=replace(maker.pipeline, delta=(False,) * width))
    off = torch.zeros(3, horizon, width)
    off[:, 0, 17] = 0.5
    state = maker.frames.state[ROWS].astype(np.float64)
    target = plain.pipeline.normalised_actions(maker.frames.chunk[ROWS].astype(np.float64), state)
    error = chunk_error(Known(torch.from_numpy(target).float() + off), plain, examples, ROWS, 3)
    statistics = frame_statistics(maker.frames, maker.pipeline.delta)["actions"]
    radians = 0.5 * (statistics["q99"][17] - statistics["q01"][17]) / 2.0
    shown = np.minimum(maker.frames.valid[ROWS], horizon // 2).sum() * 18
    assert error["chunk_near"] == pytest.approx(np.sqrt(3 * radians**2 / shown), rel=1e-3)
    assert error["chunk_far"] == pytest.approx(0.0, abs=1e-4)


class Part:
    """Examples that know what they are and where they are."""

    def __init__(self, name, actions=None):
        self.name, self.inputs, self.actions = name, f"inputs of {name}", actions

    def to(self, device):
        return f"{self.name} on {device}"


@pytest.mark.parametrize(
    ("word_batch", "rows", "words"),
    [(2, [4, 1, 5], "words [4, 5] on cpu"), (0, [4, 1, 5], None), (2, [1, 3], None)],
)
def test_the_held_out_loss_is_of_actions_of_words_that_have_one_and_of_one_undisturbed_draw(
    monkeypatch, word_batch, rows, words
):
    seen = []

    def objective(model, weights, auxiliary, token_loss):
        seen.append((weights, auxiliary, token_loss))
        return lambda *parts: seen.append(parts) or SimpleNamespace(total=torch.tensor(2.5))

    def flow(acting, settings, rng, generator, recipe):
        seen.append((acting.name, settings.draws, settings.prefix_chance, recipe.name))
        return Part("flow")

    maker = SimpleNamespace(
        actions=lambda own: Part(f"actions {own.tolist()}"),
        words=lambda own: Part(f"words {own.tolist()}"),
        frames=SimpleNamespace(has_subtask=np.isin(np.arange(6), (0, 4, 5))),
        hooks=SimpleNamespace(token_loss="own"),
    )
    monkeypatch.setattr(validate, "Objective", objective)
    monkeypatch.setattr(validate, "flow_targets", flow)
    settings = replace(SETTINGS, word_batch=word_batch, draws=4, prefix_chance=0.5, alpha=7.0, answer_weight=0.5)
    recipe = RECIPES["openpi"]
    assert validate.held_out_loss(torch.nn.Linear(1, 1), maker, rows, settings, recipe) == 2.5
    assert seen == [
        (f"actions {rows}", 1, 0.0, "openpi"),
        (Weights.of(settings, recipe), None, "own"),
        (f"actions {rows} on cpu", words, "flow on cpu"),
    ]
    assert Weights.of(settings, recipe) == Weights(7.0, 0.5, settings.word_weight, False, True)


def test_a_network_is_measured_by_its_chunks_or_its_tokens_and_by_what_an_experiment_asks(monkeypatch):
    class Examples(Part):
        def to(self, device):
            return self

    model = torch.nn.Linear(1, 1)
    model.prefix = lambda inputs: f"prefix of {inputs}"
    monkeypatch.setattr(validate, "token_accuracy", lambda model, prefix, examples: (prefix, examples.name))
    monkeypatch.setattr(validate, "chunk_error", lambda *what: {"chunk": (what[2].name, what[3].tolist(), what[4])})
    asked = lambda model, prefix, examples: {"more": (prefix, examples.name)}
    for actions, measure in ((None, None), (None, asked), (1, None), (1, asked)):
        hooks = SimpleNamespace(measure=measure)
        maker = SimpleNamespace(actions=lambda own, a=actions: Examples(f"rows {own}", a), hooks=hooks)
        prefix = "prefix of inputs of rows [3, 1]"
        own = {"tokens": (prefix, "rows [3, 1]")} if actions is None else {"chunk": ("rows [3, 1]", [3, 1], 9)}
        more = {"more": (prefix, "rows [3, 1]")} if measure else {}
        assert validate.measured(model, maker, [3, 1], seed=9) == own | more
