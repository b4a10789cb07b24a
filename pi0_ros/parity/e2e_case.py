"""Recorded observations from raw pictures, state and task to actions in robot units, through LeRobot's processor files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pi0_ros.model import LoadedCheckpoint
from pi0_ros.model.checkpoints.tensorfile import read_all
from pi0_ros.model.sampling import sample_actions
from pi0_ros.parity.report import ParityError, Row, close, equal
from pi0_ros.policy.backends.torch_backend import tensors
from pi0_ros.policy.checkpoint import build_pipeline
from pi0_ros.policy.pipeline import ModelInputs, Pipeline
from pi0_ros.policy.prompts import padded
from pi0_ros.policy.tokenizer import load_tokenizer

Arrays = Mapping[str, np.ndarray]
IMAGE, IMAGES = "observation.image", "observation.images."  # LeRobot's name of an only camera, and of several


def e2e_rows(folder: Path, loaded: LoadedCheckpoint, tokenizer: str | Path | None) -> Iterator[Row]:
    """One row for every recorded stage of every observation obsJ."""
    io = {name: tensor.numpy() for name, tensor in read_all(folder / "e2e.safetensors").items()}
    try:
        texts = json.loads((folder / "e2e.json").read_text(encoding="utf-8"))
        tasks = [str(entry["task"]) for entry in texts]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ParityError(f"{folder / 'e2e.json'}: no list of tasks in it ({error})") from None
    pipeline, reader = build_pipeline(loaded), load_tokenizer(tokenizer or folder)
    for index, (task, entry) in enumerate(zip(tasks, texts, strict=True)):
        head = f"obs{index}."
        values = {name.removeprefix(head): value for name, value in io.items() if name.startswith(head)}
        images = {k.removeprefix(IMAGES): v for k, v in values.items() if k.startswith(IMAGE)}
        # LeRobot passes over cameras that its configuration does not name
        images = {k: v for k, v in images.items() if pipeline.rename.get(k, k) in pipeline.cameras}
        inputs = pipeline.inputs(images, values["observation.state"], task, reader)
        for row in observation_rows(loaded, pipeline, inputs, values, entry):
            yield Row(head + row.name, row.difference, row.exact, row.note)


def observation_rows(
    loaded: LoadedCheckpoint, pipeline: Pipeline, inputs: ModelInputs, values: Arrays, entry: Mapping[str, Any]
) -> Iterator[Row]:
    """The stages of one observation in their order."""
    yield from text_rows(pipeline, inputs, values, entry)
    yield close("pre.observation.state", inputs.normalised_state[None], values["pre.observation.state"])
    yield from picture_rows(pipeline, inputs, values)
    if "model.state" in values and inputs.state is not None:
        yield close("model.state", inputs.state[None], values["model.state"])
    yield from action_rows(loaded, pipeline, inputs, values)


def text_rows(pipeline: Pipeline, inputs: ModelInputs, values: Arrays, entry: Mapping[str, Any]) -> Iterator[Row]:
    """The prompt's text and ids."""
    if "tokenized_text" in entry:
        yield equal("tokenized_text", inputs.prompt.text, entry["tokenized_text"])
    if "token_ids" in entry:
        yield equal("token_ids", inputs.prompt.ids, entry["token_ids"])
    if "pre.tokens" in values:
        ids, mask = padded(inputs.prompt.ids, values["pre.tokens"].shape[-1])
        yield equal("pre.tokens", ids[None], values["pre.tokens"])
        yield equal("pre.token_mask", mask[None], values["pre.token_mask"])


def picture_rows(pipeline: Pipeline, inputs: ModelInputs, values: Arrays) -> Iterator[Row]:
    """Pictures as the network gets them, in the recorded slots."""
    for slot, (picture, present) in enumerate(pipeline.slots(inputs)):
        if f"model.image.{slot}" in values:
            yield close(f"model.image.{slot}", picture[None], values[f"model.image.{slot}"])
            yield equal(f"model.image_mask.{slot}", [present], values[f"model.image_mask.{slot}"])
    for name in sorted(name for name in values if name.startswith("pre." + IMAGE)):
        raw = values.get(name.removeprefix("pre."))
        if raw is not None:
            scaled = raw.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)
            yield close(name, scaled, values[name])


def action_rows(loaded: LoadedCheckpoint, pipeline: Pipeline, inputs: ModelInputs, values: Arrays) -> Iterator[Row]:
    """Sampled actions on the network's scale and in robot units, and a recorded action on the network's scale."""
    state = values["observation.state"]
    if "noise" in values:
        batch = tensors(inputs)
        steps = int(loaded.settings.get("num_inference_steps", 10))
        sampled = sample_actions(loaded.model, batch, torch.from_numpy(values["noise"]), steps).numpy()
        size = values["action_chunk_normalized"].shape[-1]
        yield close("action_chunk_normalized", sampled[..., :size], values["action_chunk_normalized"])
        yield close("action_chunk", pipeline.actions(sampled, state), values["action_chunk"])
    if "train_action_normalized" in values:
        found = pipeline.normalised_actions(values["train_action"], state)
        recorded = values["train_action_normalized"]
        yield close("train_action_normalized", found[None, :, : recorded.shape[-1]], recorded)
