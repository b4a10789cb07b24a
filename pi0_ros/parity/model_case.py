"""A recorded model: weights, inputs, and what the reference made of them at every stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pi0_ros.model import Inputs, LoadedCheckpoint, Prefix, load
from pi0_ros.model.checkpoints.tensorfile import read_all
from pi0_ros.model.inference.sampler import FastSampler
from pi0_ros.model.kinds import traits
from pi0_ros.model.sampling import sample_actions
from pi0_ros.parity.report import ParityError, Row, close, equal

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A loaded model (float32) with its recorded tensors and their inputs."""

    loaded: LoadedCheckpoint
    io: Tensors
    inputs: Inputs


def read_case(folder: Path) -> Case:
    """Loads the checkpoint of `folder` and the inputs of its io.safetensors. Raises CheckpointError, ParityError."""
    io = read_all(folder / "io.safetensors")
    loaded = load(folder, dtype=torch.float32)
    recorded, known = {name.removeprefix("image.") for name in io if name.startswith("image.")}, loaded.config.cameras
    if recorded - set(known):
        # Slots that the checkpoint's files do not list, such as LeRobot's empty cameras, come last.
        order = [*(camera for camera in known if camera in recorded), *sorted(recorded - set(known))]
        loaded = load(folder, dtype=torch.float32, sizes={"cameras": order})
    return Case(loaded, io, recorded_inputs(loaded, io, folder))


def recorded_inputs(loaded: LoadedCheckpoint, io: Tensors, where: Path) -> Inputs:
    """The network's inputs as recorded under image.<camera>, image_mask.<camera>, tokens, token_mask, state."""
    cameras = loaded.config.cameras
    needed = [f"{kind}.{camera}" for camera in cameras for kind in ("image", "image_mask")] + ["tokens", "token_mask"]
    missing = [name for name in needed if name not in io]
    if missing:
        raise ParityError(
            f"{where / 'io.safetensors'}: lacks {', '.join(missing)} for the cameras {', '.join(cameras)}"
        )
    return Inputs(
        images=[io[f"image.{camera}"] for camera in cameras],
        image_masks=[io[f"image_mask.{camera}"] for camera in cameras],
        tokens=io["tokens"].long(),
        token_mask=io["token_mask"].bool(),
        state=io.get("state") if traits(loaded.config.kind).state_token else None,
    )


@torch.no_grad()
def model_rows(case: Case) -> Iterator[Row]:
    """One row for every recorded output of a model case, in the order of the network's stages."""
    prefix = case.loaded.model.prefix(case.inputs)
    yield from feature_rows(case)
    yield from prefix_rows(case, prefix)
    if case.loaded.config.expert is not None:
        yield from suffix_rows(case, prefix)
        yield from loss_rows(case, prefix)
        yield from sample_rows(case)


def feature_rows(case: Case) -> Iterator[Row]:
    """Pictures after SigLIP and projector."""
    images = [image for image in case.inputs.images if image is not None]
    features = case.loaded.model.embed_images(images)
    for camera, found in zip(case.loaded.config.cameras, features, strict=True):
        if f"image_features.{camera}" in case.io:
            yield close(f"image_features.{camera}", found, case.io[f"image_features.{camera}"])


def prefix_rows(case: Case, prefix: Prefix) -> Iterator[Row]:
    """What enters and leaves the trunk; rows of padding and masked pictures carry no meaning after it."""
    io, valid = case.io, prefix.valid
    if "prefix_embs" in io:
        yield close("prefix_embs", prefix.embeddings, io["prefix_embs"])
    if "prefix_pad_mask" in io:
        yield equal("prefix_pad_mask", valid, io["prefix_pad_mask"])
    if "prefix_positions" in io:
        yield equal("prefix_positions", prefix.positions, io["prefix_positions"])
    if "prefix_last_hidden" in io:
        yield close("prefix_last_hidden", prefix.hidden, io["prefix_last_hidden"], valid)
    for index, name in enumerate(("prefix_keys", "prefix_values")):
        if name in io:
            layers = torch.stack([pair[index] for pair in prefix.cache]).permute(1, 3, 0, 2, 4)
            yield close(name, layers, io[name].permute(1, 3, 0, 2, 4), valid)


def times(io: Tensors, stem: str) -> Iterator[tuple[str, float]]:
    """The times T recorded as `stem`.tT, from noise to action."""
    found = [name[len(stem) + 2 :] for name in io if name.startswith(stem + ".t")]
    yield from sorted(((text, float(text)) for text in found), key=lambda item: -item[1])


def suffix_rows(case: Case, prefix: Prefix) -> Iterator[Row]:
    """Suffix embeddings, adaRMS condition and velocity at the recorded times."""
    model, io, state = case.loaded.model, case.io, case.inputs.state
    for text, value in times(io, "x_t"):
        x_t = io[f"x_t.t{text}"]
        t = torch.full((len(x_t),), value)
        if f"suffix_embs.t{text}" in io:
            tokens = model.embed_actions(x_t, t)
            tokens = torch.cat([model.embed_state(state), tokens], dim=1) if state is not None else tokens
            yield close(f"suffix_embs.t{text}", tokens, io[f"suffix_embs.t{text}"])
        if f"adarms_cond.t{text}" in io:
            yield close(f"adarms_cond.t{text}", model.time_condition(t), io[f"adarms_cond.t{text}"])
        if f"velocity.t{text}" in io:
            yield close(f"velocity.t{text}", model.velocity(x_t, t, prefix, state), io[f"velocity.t{text}"])


def loss_rows(case: Case, prefix: Prefix) -> Iterator[Row]:
    """The flow loss per element, and its mean over action dimensions if that was recorded (JAX)."""
    io = case.io
    if "loss" not in io:
        return
    noise, time = io.get("loss_noise", io.get("noise")), io.get("loss_time", io.get("time"))
    if noise is None or time is None or "actions" not in io:
        raise ParityError("the recorded loss lacks its noise, time or actions")
    loss = case.loaded.model.flow_loss(io["actions"], noise, time, prefix, case.inputs.state)
    yield close("loss", loss, io["loss"])
    if "loss_mean_over_dims" in io:
        yield close("loss_mean_over_dims", loss.mean(dim=-1), io["loss_mean_over_dims"])


def sample_rows(case: Case) -> Iterator[Row]:
    """Euler samples of the recorded numbers of steps, by the plain network and by the fast path."""
    fast = FastSampler(case.loaded.model)
    for name in sorted(name for name in case.io if name.startswith("sampled_actions_")):
        steps = int(name.removeprefix("sampled_actions_"))
        noise = case.io["noise"]
        yield close(name, sample_actions(case.loaded.model, case.inputs, noise, steps), case.io[name])
        yield close(f"{name} (fast path)", fast(case.inputs, noise, steps), case.io[name])
