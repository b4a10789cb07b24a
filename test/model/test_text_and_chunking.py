"""Text decoding against running everything again, and the formulas of real-time chunking."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from model_cases import RECORDED, random_inputs, random_model, small_config
from safetensors.torch import load_file

from pi0_ros.model import (
    TEXT,
    FastSampler,
    InputError,
    Inputs,
    Pi0,
    Rtc,
    RtcError,
    generate_scored,
    generate_text,
    load,
    sample_actions,
    save,
)
from pi0_ros.model.checkpoints.lerobot import save_lerobot
from pi0_ros.model.conventions import conventions_for
from pi0_ros.model.rtc import prefix_weights
from pi0_ros.model.text import choose, with_start


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def written_out(model: Pi0, inputs: Inputs, count: int) -> list[int]:
    """Greedy text of one row by running the whole sequence again for each token."""
    tokens = inputs.tokens[inputs.token_mask][None]
    roles = torch.zeros_like(tokens)
    found: list[int] = []
    for _ in range(count):
        own = Inputs(inputs.images, inputs.image_masks, tokens, torch.ones_like(tokens, dtype=torch.bool), None, roles)
        found.append(int(model.logits(model.prefix(own).hidden[:, -1]).argmax()))
        tokens = torch.cat([tokens, torch.tensor([[found[-1]]])], dim=1)
        roles = torch.cat([roles, torch.tensor([[TEXT]])], dim=1)
    return found


@pytest.mark.parametrize("kind", ["pi05", "pi0_fast"])
def test_cached_decoding_equals_running_everything_again(kind: str) -> None:
    for seed in range(5):
        generator = seeded(seed)
        config = small_config(kind)
        model, inputs = random_model(config, generator), random_inputs(config, 1, generator)
        assert generate_text(model, inputs, 6, stop=()) == [written_out(model, inputs, 6)]


@torch.no_grad()
def test_an_answers_score_is_the_mean_log_probability_of_its_tokens_and_of_the_one_that_ends_it() -> None:
    generator = seeded(11)
    config = small_config("pi05")
    model, inputs = random_model(config, generator), random_inputs(config, 1, generator)
    (ids,) = generate_text(model, inputs, 6, stop=())
    tokens, roles = (
        inputs.tokens[inputs.token_mask][None],
        torch.zeros(1, int(inputs.token_mask.sum()), dtype=torch.long),
    )
    logs = []
    for token in ids:
        own = Inputs(inputs.images, inputs.image_masks, tokens, torch.ones_like(tokens, dtype=torch.bool), None, roles)
        chances = torch.softmax(model.logits(model.prefix(own).hidden[:, -1]).double(), dim=-1)[0]
        logs.append(float(chances[token].log()))
        tokens = torch.cat([tokens, torch.tensor([[token]])], dim=1)
        roles = torch.cat([roles, torch.tensor([[TEXT]])], dim=1)
    assert len({round(log, 4) for log in logs}) > 1
    for generate in (partial(generate_scored, model), FastSampler(model).generate_scored):
        for stop, said in (((), 6), ((ids[0],), 0)):
            found, scores = generate(inputs, 6, stop=stop)
            assert found == [ids[:said]]
            assert scores == pytest.approx([sum(logs[: said + 1]) / len(logs[: said + 1])], abs=1e-4)


@pytest.mark.parametrize("layout", ["recorded", "ours", "lerobot"])
def test_lerobots_fast_model_answers_from_a_matrix_of_its_own(layout: str, tmp_path: Path) -> None:
    """LeRobot does not tie `lm_head`: in a fine-tuned pi0-FAST it is not the embedding, and it gives the answer."""
    loaded = load(RECORDED / "lerobot_pi0_fast")
    if layout == "ours":
        loaded = load(save(loaded.model, tmp_path))
    if layout == "lerobot":
        loaded = load(save_lerobot(loaded.model, tmp_path, conventions_for("lerobot", "pi0_fast", {})))
    io = load_file(RECORDED / "lerobot_pi0_fast" / "io.safetensors")
    pictures, masks = ([io[f"{kind}.{camera}"] for camera in range(3)] for kind in ("image", "image_mask"))
    inputs = Inputs(pictures, masks, io["tokens"], io["token_mask"])
    expected = io["generated_ids"].tolist()
    assert loaded.config.untied
    assert generate_text(loaded.model, inputs, 12, stop=()) == expected
    assert FastSampler(loaded.model, release=True).generate_text(inputs, 12, stop=()) == expected


def test_text_ends_before_a_stop_id_and_rows_end_on_their_own() -> None:
    generator = seeded(3)
    config = small_config("pi05")
    model, inputs = random_model(config, generator), random_inputs(config, 3, generator)
    free = generate_text(model, inputs, 8, stop=())
    stop = free[0][3]
    ended = generate_text(model, inputs, 8, stop=(stop,))
    assert ended == [row[: row.index(stop)] if stop in row else row for row in free]


def test_one_quantile_of_the_distribution_is_drawn() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.7]]).log().repeat(4, 1)
    drawn = choose(logits, 1.0, torch.tensor([0.0, 0.15, 0.35, 0.999999]))
    assert drawn.tolist() == [0, 1, 2, 2]
    assert choose(logits).tolist() == [2] * 4
    with pytest.raises(InputError, match="uniform random numbers"):
        choose(logits, 0.5)


def test_openpi_fast_skips_one_position_and_lerobot_starts_with_bos() -> None:
    generator = seeded(4)
    config = small_config("pi0_fast")
    model, inputs = random_model(config, generator), random_inputs(config, 1, generator)
    plain = generate_text(model, inputs, 8, stop=())
    shifted = random_model(replace(config, numerics=replace(config.numerics, decode_offset=1)), seeded())
    shifted.load_state_dict(model.state_dict())
    assert generate_text(shifted, inputs, 8, stop=())[0][0] == plain[0][0]
    started = random_model(replace(config, numerics=replace(config.numerics, decode_start=(2,))), seeded())
    started.load_state_dict(model.state_dict())
    assert generate_text(started, inputs, 8, stop=()) == generate_text(model, with_start(inputs, (2,)), 8, stop=())
    assert with_start(inputs, (2,)).tokens[0, -1] == 2


def test_training_positions_of_fast_follow_the_dialect() -> None:
    generator = seeded(5)
    config = small_config("pi0_fast").with_origin("openpi")
    model, inputs = random_model(config, generator), random_inputs(config, 1, generator)
    inputs = replace(inputs, roles=torch.full_like(inputs.tokens, TEXT))
    positions = model.prefix(inputs).positions
    assert positions.tolist() == [list(range(positions.shape[1]))]
    assert not torch.equal(model.prefix(replace(inputs, roles=None)).positions, positions)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("LINEAR", [1, 1, 1, 0.833, 0.667, 0.5, 0.333, 0.167, 0, 0]),
        ("EXP", [1, 1, 1, 0.631, 0.368, 0.189, 0.077, 0.018, 0, 0]),
        ("ONES", [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]),
        ("ZEROS", [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_weights_fall_as_the_schedule_says(schedule: str, expected: list[float]) -> None:
    assert prefix_weights(3, 8, 10, schedule).tolist() == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("schedule", ["LINEAR", "EXP", "ONES", "ZEROS"])
def test_weights_exist_for_every_delay_and_horizon(schedule: str) -> None:
    for start in range(13):
        for end in range(13):
            weights = prefix_weights(start, end, 10, schedule)
            assert weights.shape == (10,) and (weights[:-1] >= weights[1:]).all()
            assert (weights[min(end, 10) :] == 0).all() and (weights[: min(start, end, 10)] == 1).all()


def test_a_given_prefix_comes_back_unchanged() -> None:
    generator = seeded(6)
    config = small_config("pi05")
    model, inputs = random_model(config, generator), random_inputs(config, 2, generator)
    previous, noise = torch.randn(2, 6, 5, generator=generator), torch.randn(2, 6, 5, generator=generator)
    actions = sample_actions(model, inputs, noise, 4, Rtc(previous, 3, method="prefix"))
    assert torch.equal(actions[:, :3], previous[:, :3])
    assert not torch.equal(actions[:, 3:], previous[:, 3:])


def test_the_paper_s_guidance_differs_from_lerobot_s() -> None:
    generator = seeded(7)
    config = small_config("pi05")
    model, inputs = random_model(config, generator), random_inputs(config, 1, generator)
    previous, noise = torch.randn(1, 6, 5, generator=generator), torch.randn(1, 6, 5, generator=generator)
    one, other = (sample_actions(model, inputs, noise, 4, Rtc(previous, 2, 4, m)) for m in ("identity", "vjp"))
    assert not torch.allclose(one, other, atol=1e-3)


def test_requests_that_cannot_be_met_are_named() -> None:
    previous = torch.zeros(1, 4, 5)
    with pytest.raises(RtcError, match="choose one of identity, vjp, prefix"):
        Rtc(previous, 1, method="magic")
    with pytest.raises(RtcError, match="LINEAR"):
        Rtc(previous, 1, schedule="STEEP")
    with pytest.raises(RtcError, match="longer than the 4 rows"):
        Rtc(previous, 5, method="prefix")
    with pytest.raises(RtcError, match="number of rows"):
        Rtc(previous, -1)
