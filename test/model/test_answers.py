"""How the next token is chosen, how likely it was, and what of a batch's tokens each row's answer is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from model_cases import random_inputs, random_model, small_config

from pi0_ros.model import FastSampler, text
from pi0_ros.model.inference import decoding
from pi0_ros.model.inputs import TEXT
from pi0_ros.model.text import answers, choose, generate_scored, log_probability, until, with_start

LOGITS = np.random.default_rng(5).normal(size=(4, 6)) * 2.0


def shares(logits):
    each = np.exp(logits - logits.max(-1, keepdims=True))
    return each / each.sum(-1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_token_is_the_one_whose_share_of_the_heated_distribution_holds_the_number(temperature):
    edges = np.cumsum(shares(LOGITS / temperature), axis=-1)
    numbers = np.array([0.05, 0.4, 0.7, 0.97])
    right = [int(np.argmax(row > number)) for row, number in zip(edges, numbers, strict=True)]
    assert choose(torch.tensor(LOGITS), temperature, torch.tensor(numbers)).tolist() == right
    ends = [torch.tensor([number] * 4, dtype=torch.float64) for number in (0.0, 1.0)]
    assert [choose(torch.tensor(LOGITS), temperature, end).tolist() for end in ends] == [[0] * 4, [5] * 4]


def test_without_heat_it_is_the_most_likely_of_each_row():
    assert choose(torch.tensor(LOGITS)).tolist() == LOGITS.argmax(-1).tolist()
    assert len(set(LOGITS.argmax(-1))) > 1


def test_a_log_probability_is_that_of_the_rows_own_token():
    ids = [3, 0, 5, 1]
    right = np.log(shares(LOGITS)[range(4), ids])
    np.testing.assert_allclose(log_probability(torch.tensor(LOGITS), torch.tensor(ids)).numpy(), right, rtol=1e-5)


def test_each_row_ends_before_its_own_stop_and_its_score_counts_the_stop():
    ids = torch.tensor([[7, 8, 1, 9], [1, 2, 3, 4], [5, 6, 7, 2], [5, 6, 7, 8]]).T
    scores = torch.tensor(
        [[-1.0, -2.0, -6.0, -99.0], [-3.0, -9.0, -9.0, -9.0], [-1.0, -2.0, -3.0, -6.0], [-4.0, -2.0, -4.0, -2.0]]
    ).T
    rows, means = answers(list(ids), list(scores), (1, 2), 4)
    assert rows == [[7, 8], [], [5, 6, 7], [5, 6, 7, 8]] and means == [-3.0, -3.0, -3.0, -3.0]
    assert answers([], [], (1,), 3) == ([[], [], []], [0.0] * 3)
    assert until([4, 1, 2, 1], (2, 1)) == [4] and until([4, 5], ()) == [4, 5]


@torch.no_grad()
def test_no_more_tokens_are_decoded_than_some_row_wants(monkeypatch):
    generator = torch.Generator().manual_seed(21)
    config = small_config("pi05")
    model, inputs = random_model(config, generator), random_inputs(config, 1, generator)
    (free,), _ = generate_scored(
        model, inputs, 8, 3.0, torch.rand(1, 8, generator=torch.Generator().manual_seed(5)), stop=()
    )
    stop = next(token for token in free[2:] if token not in free[:2])
    steps, noise = [], torch.rand(1, 8, generator=torch.Generator().manual_seed(5))
    step, follow = text.decode_step, decoding._next
    monkeypatch.setattr(text, "decode_step", lambda *given: steps.append("plain") or step(*given))
    monkeypatch.setattr(decoding, "_next", lambda *given: steps.append("fast") or follow(*given))
    for generate in (
        lambda **how: generate_scored(model, inputs, 8, 3.0, noise, **how),
        lambda **how: FastSampler(model).generate_scored(inputs, 8, 3.0, noise, **how),
    ):
        steps.clear()
        (ids,), _ = generate(stop=(stop,))
        assert ids == free[: free.index(stop)] and len(steps) == free.index(stop)
        steps.clear()
        (ids,), _ = generate(stop=())
        assert ids == free and len(steps) == 7


def test_start_tokens_stand_behind_the_padding_and_count_whatever_their_number():
    inputs = random_inputs(small_config("pi0_fast"), 2, torch.Generator().manual_seed(3))
    found, width = with_start(inputs, (0, 7)), inputs.tokens.shape[1]
    assert found.tokens[:, width:].tolist() == [[0, 7]] * 2 and found.token_mask[:, width:].all()
    assert torch.equal(found.tokens[:, :width], inputs.tokens)
    assert torch.equal(found.token_mask[:, :width], inputs.token_mask.bool())


@torch.no_grad()
def test_scores_of_a_batch_are_those_of_its_tokens_whatever_roles_the_prompt_had():
    """Each token's probability by running the whole row again."""
    generator = torch.Generator().manual_seed(12)
    config = small_config("pi05")
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    noise = torch.rand(2, 5, generator=generator)
    rows, scores = generate_scored(model, inputs, 5, 3.0, noise, stop=())
    assert all(len(set(row)) > 2 for row in rows) and rows[0] != rows[1]
    for k, row in enumerate(rows):
        one = replace(
            inputs,
            images=[image if image is None else image[k : k + 1] for image in inputs.images],
            image_masks=[mask[k : k + 1] for mask in inputs.image_masks],
            tokens=inputs.tokens[k : k + 1][inputs.token_mask[k : k + 1].bool()][None],
            state=None,
        )
        tokens, logs = one.tokens, []
        for token in row:
            roles = torch.tensor([[0] * one.tokens.shape[1] + [TEXT] * (tokens.shape[1] - one.tokens.shape[1])])
            whole = replace(one, tokens=tokens, token_mask=torch.ones_like(tokens, dtype=torch.bool), roles=roles)
            logs.append(np.log(shares(model.logits(model.prefix(whole).hidden[:, -1]).double().numpy())[0, token]))
            tokens = torch.cat([tokens, torch.tensor([[token]])], dim=1)
        assert scores[k] == pytest.approx(np.mean(logs), abs=1e-4)
    marked = replace(inputs, roles=torch.full_like(inputs.tokens, TEXT))
    assert generate_scored(model, marked, 5, 3.0, noise, stop=())[0] == rows
