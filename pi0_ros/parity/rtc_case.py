"""Recorded real-time chunking: LeRobot's identity form, the true gradient, and the training-time prefix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pi0_ros.model import LoadedCheckpoint, Prefix
from pi0_ros.model.checkpoints.shards import read_json
from pi0_ros.model.checkpoints.tensorfile import read_all
from pi0_ros.model.euler import guidance_weight, time_grid
from pi0_ros.model.inference.sampler import FastSampler
from pi0_ros.model.rtc import Rtc, guided, prefix_weights
from pi0_ros.model.sampling import sample_actions
from pi0_ros.parity.model_case import Case, Tensors, read_case, times
from pi0_ros.parity.report import ParityError, Row, close, equal


@dataclass(frozen=True)
class RtcCase:
    """The model case it refers to, the recorded tensors, and the parameters of rtc.json."""

    case: Case
    io: Tensors
    settings: dict[str, Any]

    @property
    def steps(self) -> int:
        return int(self.settings["num_steps"])

    def rtc(self, method: str, schedule: str, previous: Tensor) -> Rtc:
        """The recorded request with this method, schedule and leftover."""
        values = self.settings
        return Rtc(
            previous,
            int(values["inference_delay"]),
            int(values["execution_horizon"]),
            method,
            schedule,
            float(values["max_guidance_weight"]),
        )


def rtc_rows(folder: Path) -> Iterator[Row]:
    """One row for every recorded value of a real-time chunking folder."""
    settings = read_json(folder / "rtc.json")
    source = settings.get("weights_and_observation_from")
    if not isinstance(source, str) or not (folder / source).is_dir():
        raise ParityError(f"{folder / 'rtc.json'}: the model case {source!r} it refers to is not there")
    case = RtcCase(read_case(folder / source), read_all(folder / "io.safetensors"), settings)
    yield from weight_rows(case)
    yield from guided_rows(case)
    if (folder / "trained.safetensors").is_file():
        yield from trained_rows(case, read_all(folder / "trained.safetensors"), read_json(folder / "trained.json"))


def weight_rows(case: RtcCase) -> Iterator[Row]:
    """Weights per row of the chunk and guidance weights per step."""
    values, horizon = case.settings, case.case.loaded.config.horizon
    for schedule in values["schedules"]:
        found = prefix_weights(int(values["inference_delay"]), int(values["execution_horizon"]), horizon, schedule)
        yield close(f"weights.{schedule}", found, case.io[f"weights.{schedule}"])
    if "guidance_weight_by_step" in case.io:
        grid = time_grid(case.steps, case.case.loaded.config.numerics.time_grid)
        found = torch.tensor([guidance_weight(t, float(values["max_guidance_weight"])) for t in grid])
        yield close("guidance_weight_by_step", found, case.io["guidance_weight_by_step"])


@torch.no_grad()
def guided_rows(case: RtcCase) -> Iterator[Row]:
    """Guided velocities at x_t and guided samples, for each method, schedule and leftover length."""
    model, inputs, io = case.case.loaded.model, case.case.inputs, case.io
    prefix, fast = model.prefix(inputs), FastSampler(model)
    if "sampled_actions_no_rtc" in io:
        found = sample_actions(model, inputs, io["noise"], case.steps)
        yield close("sampled_actions_no_rtc", found, io["sampled_actions_no_rtc"])
    for method in ("identity", "vjp"):
        for short in ("", "_short"):
            previous = io.get("prev_chunk_left_over" + short)
            if previous is None or f"{method}.sampled_actions{short}.LINEAR" not in io:
                continue
            for schedule in case.settings["schedules"]:
                rtc = case.rtc(method, schedule, previous)
                yield from velocity_rows(case, prefix, rtc, f"{method}.velocity{short}", schedule)
                name = f"{method}.sampled_actions{short}.{schedule}"
                yield close(name, sample_actions(model, inputs, io["noise"], case.steps, rtc), io[name])
                yield close(f"{name} (fast path)", fast(inputs, io["noise"], case.steps, rtc), io[name])


def velocity_rows(case: RtcCase, prefix: Prefix, rtc: Rtc, stem: str, schedule: str) -> Iterator[Row]:
    """The guided velocity at x_t for every recorded time."""
    model, x_t, state = case.case.loaded.model, case.io["x_t"], case.case.inputs.state
    recorded = {name.removesuffix("." + schedule): v for name, v in case.io.items() if name.endswith("." + schedule)}
    for text, value in times(recorded, stem):
        time = torch.full((len(x_t),), value)
        found = guided(lambda x, t: model.velocity(x, t, prefix, state), x_t, time, value, rtc)
        yield close(f"{stem}.t{text}.{schedule}", found, recorded[f"{stem}.t{text}"])


@torch.no_grad()
def trained_rows(case: RtcCase, io: Tensors, settings: dict[str, Any]) -> Iterator[Row]:
    """Training-time real-time chunking: samples behind a hard prefix, and the loss with a time per token."""
    model, inputs, recorded = case.case.loaded.model, case.case.inputs, case.case.io
    fast = FastSampler(model)
    for name in sorted(name for name in io if name.startswith("sampled_actions.d")):
        delay, _, steps = name.removeprefix("sampled_actions.d").partition(".steps")
        rtc = Rtc(io["prev_chunk_left_over"], int(delay), method="prefix")
        count = int(steps or settings["num_steps"])
        yield close(f"trained.{name}", sample_actions(model, inputs, io["noise"], count, rtc), io[name])
        yield close(f"trained.{name} (fast path)", fast(inputs, io["noise"], count, rtc), io[name])
    if "train_x_t" not in io:
        return
    prefix, time, x_t = model.prefix(inputs), io["train_token_time"], io["train_x_t"]
    if "train_delays" in io:
        rows = torch.arange(x_t.shape[1])[None] < io["train_delays"][:, None]
        yield equal("trained.train_prefix_mask", rows, io["train_prefix_mask"])
    yield close(
        "trained.velocity_token_time", model.velocity(x_t, time, prefix, inputs.state), io["velocity_token_time"]
    )
    noise, actions = recorded["noise"], recorded["actions"]
    loss = model.flow_loss(actions, noise, time, prefix, inputs.state)
    postfix = ~io["train_prefix_mask"].bool()
    yield close("trained.train_x_t", time[..., None] * noise + (1 - time[..., None]) * actions, x_t)
    yield close("trained.train_loss", loss, io["train_loss"])
    yield from reduced_loss_rows(loss[..., : action_size(case.case.loaded)], postfix, io)


def action_size(loaded: LoadedCheckpoint) -> int:
    """The real action dimensions: LeRobot averages the loss over these and not over the padding."""
    features = loaded.settings.get("output_features") or {}
    return int(features.get("action", {}).get("shape", [loaded.config.action_dim])[0])


def reduced_loss_rows(loss: Tensor, postfix: Tensor, io: Tensors) -> Iterator[Row]:
    """The loss averaged over the rows behind the prefix: over the batch and per sample."""
    masked, count = loss * postfix[..., None], postfix.sum(dim=1) * loss.shape[2]
    if "train_loss_mean" in io:
        yield close("trained.train_loss_mean", (masked.sum() / count.sum()).reshape(1), io["train_loss_mean"])
    if "train_loss_per_sample" in io:
        yield close("trained.train_loss_per_sample", masked.sum(dim=(1, 2)) / count, io["train_loss_per_sample"])
