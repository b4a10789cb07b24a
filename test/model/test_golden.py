"""The network against what the reference implementations recorded (test/fixtures/golden)."""

from __future__ import annotations

import pytest
import torch
from model_cases import CASES, GOLDEN, Case, open_case
from safetensors.torch import load_file
from torch import Tensor

from pi0_ros.model import FastSampler, Rtc, delayed_times, flow_mean, sample_actions
from pi0_ros.model.euler import guidance_weight, time_grid
from pi0_ros.model.rtc import SCHEDULES, guided

CLOSE, ACTIONS = 2e-5, 1e-4
TIMES = ("1.0", "0.7", "0.3", "0.1")


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return open_case(request.param)


def gap(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return (a - b).abs().max().item()


def rounding(reference: Tensor) -> float:
    """How far from recorded numbers other ones may be: CLOSE, or 2e-6 of the largest of them if that is more.

    float32 has seven digits. The same computation in doubles is up to 3.4e-5 away from what the references recorded of guided
    velocities (which reach 38) and 2.6e-5 of losses (23): that much the references were rounded, and a processor that adds up in
    another order rounds otherwise.
    """
    return max(CLOSE, 2e-6 * reference.abs().max().item())


@torch.no_grad()
def test_picture_features_equal_the_reference(case: Case) -> None:
    for camera, features in zip(case.model.config.cameras, case.model.embed_images(case.inputs.images), strict=True):
        assert gap(features, case.io[f"image_features.{camera}"]) < CLOSE


@torch.no_grad()
def test_the_prefix_equals_the_reference_where_tokens_count(case: Case) -> None:
    prefix, io = case.model.prefix(case.inputs), case.io
    valid = io["prefix_pad_mask"]
    assert torch.equal(prefix.valid, valid)
    assert torch.equal(prefix.positions[valid], io["prefix_positions"][valid].long())
    assert gap(prefix.embeddings[valid], io["prefix_embs"][valid]) < CLOSE
    assert gap(prefix.hidden[valid], io["prefix_last_hidden"][valid]) < CLOSE
    for layer, (keys, values) in enumerate(prefix.cache):
        assert gap(keys.transpose(1, 2)[valid], io["prefix_keys"][layer].transpose(1, 2)[valid]) < CLOSE
        assert gap(values.transpose(1, 2)[valid], io["prefix_values"][layer].transpose(1, 2)[valid]) < CLOSE


@pytest.mark.parametrize("case", [name for name in CASES if not name.startswith("lerobot")], indirect=True)
@torch.no_grad()
def test_suffix_tokens_and_time_conditions_equal_the_reference(case: Case) -> None:
    model, io, horizon = case.model, case.io, case.model.config.horizon
    for t in TIMES:
        time = torch.full((len(case.inputs.tokens),), float(t))
        assert gap(model.embed_actions(io[f"x_t.t{t}"], time), io[f"suffix_embs.t{t}"][:, -horizon:]) < CLOSE
        if model.config.adarms:
            assert gap(model.time_condition(time), io[f"adarms_cond.t{t}"]) < CLOSE
        else:
            assert gap(model.embed_state(case.inputs.state), io[f"suffix_embs.t{t}"][:, :1]) < CLOSE


@torch.no_grad()
def test_velocities_equal_the_reference(case: Case) -> None:
    prefix = case.model.prefix(case.inputs)
    for t in TIMES:
        time = torch.full((len(case.inputs.tokens),), float(t))
        velocity = case.model.velocity(case.io[f"x_t.t{t}"], time, prefix, case.inputs.state)
        assert gap(velocity, case.io[f"velocity.t{t}"]) < CLOSE


@pytest.mark.parametrize("gradients", [False, True])
def test_losses_per_element_equal_the_reference(case: Case, gradients: bool) -> None:
    io = case.io
    noise, time = io.get("loss_noise", io["noise"]), io.get("loss_time", io.get("time"))
    with torch.set_grad_enabled(gradients):
        prefix = case.model.prefix(case.inputs)
        loss = case.model.flow_loss(io["actions"], noise, time, prefix, case.inputs.state)
    assert gap(loss, io["loss"]) < rounding(io["loss"])
    if "loss_mean_over_dims" in io:
        assert gap(loss.mean(-1), io["loss_mean_over_dims"]) < CLOSE


@pytest.mark.parametrize("path", ["plain", "fast"])
@pytest.mark.parametrize("steps", [10, 5])
def test_sampled_actions_equal_the_reference(case: Case, path: str, steps: int) -> None:
    noise = case.io["noise"]
    if path == "plain":
        actions = sample_actions(case.model, case.inputs, noise, steps)
    else:
        actions = FastSampler(case.model)(case.inputs, noise, steps)
    assert gap(actions, case.io[f"sampled_actions_{steps}"]) < ACTIONS


def test_time_grids_are_those_of_the_projects() -> None:
    accumulated = [1.0, 0.8999999761581421, 0.7999999523162842, 0.6999999284744263, 0.5999999046325684]
    assert time_grid(10, "accumulate")[:5] == accumulated
    assert time_grid(10, "multiply")[:3] == [1.0, 0.8999999761581421, 0.800000011920929]
    assert len(time_grid(10, "accumulate")) == len(time_grid(10, "multiply")) == 10


@pytest.fixture(scope="module")
def chunked() -> tuple[Case, dict[str, Tensor]]:
    case = open_case("lerobot_pi05")
    return case, load_file(GOLDEN / "rtc" / "io.safetensors")


@pytest.mark.parametrize("path", ["plain", "fast"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_guided_actions_equal_the_reference(chunked, schedule: str, path: str) -> None:
    case, io = chunked
    sample = FastSampler(case.model) if path == "fast" else lambda *a: sample_actions(case.model, *a)
    for name, key, method in (
        ("identity.sampled_actions", "prev_chunk_left_over", "identity"),
        ("identity.sampled_actions_short", "prev_chunk_left_over_short", "identity"),
        ("vjp.sampled_actions", "prev_chunk_left_over", "vjp"),
    ):
        rtc = Rtc(io[key], delay=3, execution_horizon=8, method=method, schedule=schedule)
        assert gap(sample(case.inputs, io["noise"], 10, rtc), io[f"{name}.{schedule}"]) < ACTIONS


@pytest.mark.parametrize("schedule", SCHEDULES)
@torch.no_grad()
def test_guided_velocities_and_weights_equal_the_reference(chunked, schedule: str) -> None:
    case, io = chunked
    prefix = case.model.prefix(case.inputs)
    assert gap(Rtc(io["prev_chunk_left_over"], 3, 8, schedule=schedule).weights(10), io[f"weights.{schedule}"]) < 1e-6
    for name, key, method in (
        ("identity.velocity", "prev_chunk_left_over", "identity"),
        ("identity.velocity_short", "prev_chunk_left_over_short", "identity"),
        ("vjp.velocity", "prev_chunk_left_over", "vjp"),
    ):
        rtc = Rtc(io[key], 3, 8, method, schedule)
        for t in ("1.0", "0.7", "0.1"):
            time = torch.full((2,), float(t))
            velocity = guided(lambda x, s: case.model.velocity(x, s, prefix), io["x_t"], time, float(t), rtc)
            recorded = io[f"{name}.t{t}.{schedule}"]
            assert gap(velocity, recorded) < rounding(recorded)


def test_guidance_weights_are_capped_and_symmetric(chunked) -> None:
    found = [guidance_weight(t, 10.0) for t in time_grid(10, "multiply")]
    assert found == pytest.approx(chunked[1]["guidance_weight_by_step"].tolist(), rel=1e-5)


@pytest.mark.parametrize("path", ["plain", "fast"])
def test_actions_behind_a_given_prefix_equal_the_reference(chunked, path: str) -> None:
    case, io = chunked[0], load_file(GOLDEN / "rtc" / "trained.safetensors")
    sample = FastSampler(case.model) if path == "fast" else lambda *a: sample_actions(case.model, *a)
    for delay, steps, key in ((0, 10, "d0"), (1, 10, "d1"), (3, 10, "d3"), (5, 10, "d5"), (3, 5, "d3.steps5")):
        rtc = Rtc(io["prev_chunk_left_over"], delay, method="prefix")
        assert gap(sample(case.inputs, io["noise"], steps, rtc), io[f"sampled_actions.{key}"]) < ACTIONS


@torch.no_grad()
def test_training_with_a_given_prefix_equals_the_reference(chunked) -> None:
    case, io = chunked[0], load_file(GOLDEN / "rtc" / "trained.safetensors")
    t, weight = delayed_times(case.io["time"], io["train_delays"], case.model.config.horizon)
    assert torch.equal(t, io["train_token_time"])
    assert torch.equal(weight == 0, io["train_prefix_mask"])
    prefix = case.model.prefix(case.inputs)
    assert gap(case.model.velocity(io["train_x_t"], t, prefix), io["velocity_token_time"]) < CLOSE
    loss = case.model.flow_loss(case.io["actions"], case.io["noise"], t, prefix)
    assert gap(loss, io["train_loss"]) < CLOSE
    assert flow_mean(loss, weight, dims=7).item() == pytest.approx(io["train_loss_mean"].item(), abs=CLOSE)
    each = torch.stack([flow_mean(one, w, dims=7) for one, w in zip(loss, weight, strict=True)])
    assert gap(each, io["train_loss_per_sample"]) < CLOSE
