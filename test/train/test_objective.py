"""Every part of the loss against a few lines of arithmetic on a tiny batch."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pi0_ros.model import FAST, PROMPT, TEXT, FlowTargets
from pi0_ros.touch.hooks import Places
from pi0_ros.train.examples import Examples
from pi0_ros.train.hooks import AuxiliaryLoss
from pi0_ros.train.objective import Objective, Weights, by_rows

sys.path.insert(0, str(Path(__file__).parents[1] / "model"))
from model_cases import random_inputs, random_model, small_config

ROLES = torch.tensor([[PROMPT, TEXT, TEXT, FAST], [PROMPT, PROMPT, FAST, FAST]])
COUNTS = torch.tensor([[False, True, True, False], [False, False, False, True]])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def examples(config, generator) -> Examples:
    """Two rows: three learned tokens of two roles, one of them in the second row."""
    inputs = random_inputs(config, 2, generator)
    tokens = torch.randint(3, config.vocab, (2, 4), generator=generator)
    everything = torch.ones(2, 4, dtype=torch.bool)
    inputs = replace(inputs, tokens=tokens, token_mask=everything, roles=ROLES)
    return Examples(inputs, COUNTS, valid=torch.tensor([6, 6]))


def targets(config, generator, draws=2) -> FlowTargets:
    shape = (2, draws, config.horizon, config.action_dim)
    actions = torch.randn(2, config.horizon, config.action_dim, generator=generator)
    weight = torch.ones(2, draws, config.horizon)
    weight[0, :, 4:] = 0.0
    weight[1, 0, :1] = 0.0
    return FlowTargets(
        actions, torch.randn(shape, generator=generator), torch.rand(2, draws, generator=generator), weight
    )


def token_losses(model, given: Examples) -> torch.Tensor:
    """-log softmax of each learned token, from the token before it."""
    prefix = model.prefix(given.inputs)
    logs = model.text_logits(prefix, 4).double().log_softmax(-1)
    return torch.stack([-logs[b, k, given.inputs.tokens[b, k]] for b, k in ((0, 1), (0, 2), (1, 3))])


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
@torch.no_grad()
def test_the_total_is_text_and_subtasks_and_alpha_times_flow(kind):
    config = small_config(kind)
    model, given = random_model(config, seeded(1)), examples(config, seeded(2))
    told, flow = examples(config, seeded(3)), targets(config, seeded(4))
    loss = Objective(model, Weights(alpha=3.0, answer=0.5, words=2.0))(given, told, flow)
    errors = 0.0
    for b in range(2):
        for k in range(2):
            t = flow.t[b, k]
            x = t * flow.noise[b, k] + (1 - t) * flow.actions[b]
            rows = [b, b]
            one = model.prefix(given.inputs.rows(rows))
            state = None if given.inputs.state is None else given.inputs.state[rows]
            v = model.velocity(torch.stack([x, x]), torch.stack([t, t]), one, state)[0]
            errors += ((v - (flow.noise[b, k] - flow.actions[b])).square().mean(-1) * flow.weight[b, k]).sum()
    assert loss.flow.item() == pytest.approx(errors.item() / flow.weight.sum().item(), rel=1e-4)
    assert loss.answer.item() == pytest.approx(token_losses(model, given).mean().item(), rel=1e-5)
    assert loss.words.item() == pytest.approx(token_losses(model, told).mean().item(), rel=1e-5)
    expected = 0.5 * loss.answer + 2.0 * loss.words + 3.0 * loss.flow
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-6)


@torch.no_grad()
def test_a_mean_over_rows_gives_each_row_the_same_say():
    config = small_config("pi0_fast")
    model, given = random_model(config, seeded(5)), examples(config, seeded(6))
    losses = token_losses(model, given)
    expected = 0.5 * (losses[0] + losses[1]) / 2 + 0.5 * losses[2]
    found = Objective(model, Weights(by_row=True))(given, None, None)
    assert found.answer.item() == pytest.approx(expected.item(), rel=1e-5)
    assert by_rows(torch.tensor([2.0, 4.0]), torch.tensor([[True, True], [False, False]])).item() == 1.5


@torch.no_grad()
def test_only_the_robots_dimensions_count_where_the_targets_say_so():
    config = small_config("pi05")
    model, given, flow = random_model(config, seeded(7)), examples(config, seeded(8)), targets(config, seeded(9))
    flow = replace(flow, dims=3, weight=None)
    errors = model.flow_loss(flow.actions, flow.noise, flow.t, model.prefix(given.inputs))
    found = Objective(model, Weights(alpha=1.0))(given, None, flow).flow
    assert found.item() == pytest.approx(errors[..., :3].mean().item(), rel=1e-5)


@pytest.mark.parametrize("insulate", [True, False])
def test_insulation_keeps_the_flow_loss_out_of_the_trunk(insulate):
    config = small_config("pi05")
    model, given = random_model(config, seeded(10)).train(), examples(config, seeded(11))
    silent = replace(given, counts=torch.zeros_like(COUNTS))
    loss = Objective(model, Weights(insulate=insulate))(silent, None, targets(config, seeded(12)))
    loss.flow.backward()
    trunk = [p.grad for p in (*model.gemma.parameters(), *model.siglip.parameters()) if p.grad is not None]
    assert any(bool(g.any()) for g in trunk) != insulate
    assert all(p.grad is not None for p in model.expert.parameters())


def test_without_alpha_or_targets_nothing_reaches_the_expert():
    config = small_config("pi05")
    model, given = random_model(config, seeded(13)).train(), examples(config, seeded(14))
    for weights, flow in ((Weights(alpha=0.0), targets(config, seeded(15))), (Weights(), None)):
        model.zero_grad()
        loss = Objective(model, weights)(given, None, flow)
        loss.total.backward()
        assert loss.flow == 0 and all(p.grad is None for p in model.expert.parameters())


def test_a_place_shares_its_target_with_its_neighbours_and_a_word_does_not():
    logs = torch.randn(2, 2000, generator=seeded(16)).log_softmax(-1)
    first, wanted = 900, torch.tensor([900 + 516, 40])
    shares = {-16: 0.06, -8: 0.24, 0: 0.40, 8: 0.24, 16: 0.06}
    expected = -sum(share * logs[0, 900 + 516 + k] for k, share in shares.items())
    found = Places(first).token_loss(logs, wanted)
    assert found[0].item() == pytest.approx(expected.item(), rel=1e-6)
    assert found[1].item() == pytest.approx(-logs[1, 40].item(), rel=1e-6)


def test_a_token_of_an_action_has_its_own_id_as_its_target_though_places_have_the_same_ids():
    """Two rows: a place, "Action: ", two action tokens, the end; then the same of another row, and a place again."""
    action, end, first = 50, 1, 900
    wanted = torch.tensor([1300, action, 1400, 1500, end, 1000, action, 1200, end, 1100])
    logs = torch.randn(len(wanted), 2000, generator=seeded(17)).log_softmax(-1)
    found = Places(first, action, end).token_loss(logs, wanted)
    plain = -logs.gather(1, wanted[:, None])[:, 0]
    assert (found == plain).tolist() == [False, True, True, True, True, False, True, True, True, False]


class Facts(AuxiliaryLoss):
    """A loss that counts what it is shown."""

    names = ("seen",)

    def facts(self, rows):
        return len(rows) or None

    def watched(self, model):
        return (model.gemma.layers[1], model.expert.layers[0])

    def forward(self, model, seen, facts):
        self.shown = seen
        return {"seen": seen.prefix.hidden.sum() * 0.0 + 2.0 * facts}


@torch.no_grad()
def test_an_experiments_loss_sees_the_layers_it_watches_and_is_added_as_it_is():
    config = small_config("pi05")
    model, given = random_model(config, seeded(17)), examples(config, seeded(18))
    more = Facts()
    plain = Objective(model, Weights(alpha=1.0))(given, None, targets(config, seeded(19)))
    row = (None, None)
    loss = Objective(model, Weights(alpha=1.0), more)(replace(given, rows=row), None, targets(config, seeded(19)))
    assert loss.more["seen"] == 4.0 and loss.total.item() == pytest.approx(plain.total.item() + 4.0, rel=1e-6)
    trunk, expert = more.shown.layers
    assert trunk[0].shape[-1] == config.language.width and expert[0].shape[-1] == config.expert.width
    Objective(model, Weights(), more)(replace(given, rows=row), None, None)
    assert more.shown.layers[1] == ()


def test_rows_without_facts_run_without_the_experiments_loss():
    config = small_config("pi05")
    model, given = random_model(config, seeded(20)), examples(config, seeded(21))
    assert Objective(model, Weights(), Facts())(given, None, None).more == {}
    assert np.isfinite(Objective(model)(None, given, None).words.item())
