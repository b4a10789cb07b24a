"""Recorded vectors through statistics, normalisation, offsets, padding and the robots' adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pi0_ros.model.checkpoints.tensorfile import read_all
from pi0_ros.parity.report import Row, close, equal
from pi0_ros.policy import transforms
from pi0_ros.policy.adapter import Adapter, Block
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.adapter_vectors import actions_from_model, actions_to_model, state_to_model
from pi0_ros.policy.normalize import Normalizer, Statistics, read_norm_stats
from pi0_ros.policy.pipeline import Pipeline
from pi0_ros.policy.prompts import default_style
from pi0_ros.policy.resize import camera_bytes
from pi0_ros.policy.statistics import running

Arrays = Mapping[str, np.ndarray]
ALOHA_MASK = transforms.mask_of(6, -1, 6, -1)
ADAPTERS = {
    "droid": {"pi0": "droid", "pi05": "droid", "pi0_fast": "droid_fast"},
    "libero": {"pi0": "libero", "pi05": "libero", "pi0_fast": "libero_fast"},
}


def transforms_rows(folder: Path) -> Iterator[Row]:
    """One row for every recorded vector of a transforms folder."""
    io = {name: tensor.numpy() for name, tensor in read_all(folder / "io.safetensors").items()}
    statistics = read_norm_stats(folder)
    yield from statistics_rows(io, statistics)
    yield from normalise_rows(io, statistics)
    yield from offset_rows(io)
    yield from aloha_rows(io)
    for robot in ADAPTERS:
        yield from robot_rows(io, robot)
    yield from chain_rows(io, statistics)


def statistics_rows(io: Arrays, written: Mapping[str, Statistics]) -> Iterator[Row]:
    """Running statistics over the recorded batches, and those of norm_stats.json."""
    for key in ("state", "actions"):
        batches = [io[f"stats_in.{key}.{index}"] for index in numbers(f"stats_in.{key}.", io)]
        found = running(batches).statistics() if batches else None  # type: ignore[arg-type]
        for name in ("mean", "std", "q01", "q99"):
            recorded = io.get(f"stats.{key}.{name}")
            if recorded is not None and found is not None:
                yield close(f"stats.{key}.{name}", found[name], recorded)
            if recorded is not None:
                yield close(f"norm_stats.json {key}.{name}", written[key][name], recorded)


def numbers(stem: str, io: Arrays) -> list[int]:
    """The numbers I of the recorded names <stem>I, in order: statistics depend on the order of their batches."""
    return sorted(int(name.removeprefix(stem)) for name in io if name.startswith(stem))


def normalise_rows(io: Arrays, statistics: Mapping[str, Statistics]) -> Iterator[Row]:
    """normalize.<method>.<x> and unnormalize.<method>.<x> of the recorded x."""
    for name in sorted(io):
        direction, _, rest = name.partition(".")
        method, _, vector = rest.partition(".")
        if direction not in ("normalize", "unnormalize") or f"x.{vector}" not in io:
            continue
        table = statistics["actions" if vector.startswith("actions") else "state"]
        normalizer = Normalizer(f"openpi_{method}", table)
        convert = normalizer.forward if direction == "normalize" else normalizer.inverse
        yield close(name, convert(io[f"x.{vector}"]), io[name])


def offset_rows(io: Arrays) -> Iterator[Row]:
    """Offsets from the state, back again, and zero padding."""
    mask = tuple(bool(v) for v in io["mask_6_-1_6_-1"]) if "mask_6_-1_6_-1" in io else ALOHA_MASK
    found: dict[str, Callable[[], object]] = {
        "delta.actions": lambda: transforms.delta(io["x.actions"], io["x.state"], mask),
        "absolute.actions": lambda: transforms.absolute(io["x.actions"], io["x.state"], mask),
        "delta7.actions32": lambda: transforms.delta(io["x.actions32"], io["x.state32"], transforms.mask_of(7, -1)),
        "pad32.state": lambda: transforms.pad(io["x.state"], 32),
        "pad32.actions": lambda: transforms.pad(io["x.actions"], 32),
    }
    for name, compute in found.items():
        if name in io:
            yield close(name, compute(), io[name])


def _measured(adapter: Adapter, values: np.ndarray) -> dict[str, float]:
    """Robot-unit channels that a dataset's vector stands for: grippers leave the model's range, the rest is as it is."""
    return dict(zip(adapter.state_channels, _robot_units(adapter.state, values), strict=True))


def _robot_units(blocks: tuple[Block, ...], values: np.ndarray) -> np.ndarray:
    """Values in the units of openpi's data turned into the robot's: only `range` blocks (grippers) differ."""
    parts, start = [], 0
    for block in blocks:
        part = values[..., start : start + len(block.channels)]
        parts.append(transforms.unit_from(part, *block.range) if block.range is not None else part)
        start += len(block.channels)
    return np.concatenate(parts, axis=-1)


def _as_recorded(adapter: Adapter) -> Adapter:
    """The adapter up to where openpi's transforms end: their runners clip, scale and binarise the rows afterwards."""
    actions = tuple(replace(block, scale=1.0, clip=None, binary=None) for block in adapter.actions)
    return replace(adapter, actions=actions)


def aloha_rows(io: Arrays) -> Iterator[Row]:
    """ALOHA's vectors and pictures, with and without `adapt_to_pi`."""
    for variant, name in (("adapt_true", "aloha"), ("adapt_false", "aloha_plain")):
        adapter, stem = load_adapter(name), f"aloha.{variant}"
        if f"{stem}.in.state" not in io:
            continue
        for suffix in ("state", "state_edge"):
            if f"{stem}.in.{suffix}" in io:
                found = state_to_model(adapter, _measured(adapter, io[f"aloha.{suffix}"]))
                yield close(f"{stem}.in.{suffix}", found, io[f"{stem}.in.{suffix}"])
        if f"{stem}.in.image_from_float" in io:
            picture = camera_bytes(io["image.base_float_chw"])
            yield equal(f"{stem}.in.image_from_float", picture, io[f"{stem}.in.image_from_float"])
        recorded = _robot_units(adapter.actions, io["aloha.actions"])
        found = actions_to_model(adapter, recorded, adapter.action_channels)
        yield close(f"{stem}.in.actions", found, io[f"{stem}.in.actions"])
        commands = actions_from_model(adapter, io["aloha.model_actions"])
        yield close(f"{stem}.out.actions", commands, _robot_units(adapter.actions, io[f"{stem}.out.actions"]))
        given = {"base_0_rgb": io["image.base"], "right_wrist_0_rgb": io["image.wrist"]}
        yield from picture_rows(io, stem + ".in", adapter, given)


def robot_rows(io: Arrays, robot: str) -> Iterator[Row]:
    """DROID's and LIBERO's vectors and pictures for every kind of model."""
    for kind, name in ADAPTERS[robot].items():
        stem = f"{robot}.{kind}.in"
        if f"{stem}.state" not in io:
            continue
        adapter = _as_recorded(load_adapter(name))
        state = io.get(f"{robot}.state")
        if state is None:
            state = np.concatenate([io[f"{robot}.joint_position"], io[f"{robot}.gripper_position"]])
        yield close(f"{stem}.state", state_to_model(adapter, _measured(adapter, state)), io[f"{stem}.state"])
        recorded = _robot_units(adapter.actions, io[f"{robot}.actions"])
        found = actions_to_model(adapter, recorded, adapter.action_channels)
        yield close(f"{stem}.actions", found, io[f"{stem}.actions"])
        seen = iter(slot for slot, camera in adapter.cameras.items() if camera is not None)
        base = io["image.base"] if robot == "droid" else camera_bytes(io["image.base_float_chw"])
        yield from picture_rows(io, stem, adapter, {next(seen): base, next(seen): io["image.wrist"]})
    if f"{robot}.out.actions" in io:
        adapter = _as_recorded(load_adapter(ADAPTERS[robot]["pi0"]))
        found = actions_from_model(adapter, io[f"{robot}.model_actions"])
        yield close(f"{robot}.out.actions", found, _robot_units(adapter.actions, io[f"{robot}.out.actions"]))


def picture_rows(io: Arrays, stem: str, adapter: Adapter, given: Mapping[str, np.ndarray]) -> Iterator[Row]:
    """Pictures in their slots and masks; absent ones are zeros, masked unless the adapter says that they count."""
    slots = [name.removeprefix(f"{stem}.image.") for name in io if name.startswith(f"{stem}.image.")]
    for slot in sorted(slots):
        recorded = io[f"{stem}.image.{slot}"]
        yield equal(f"{stem}.image.{slot}", given.get(slot, np.zeros_like(recorded)), recorded)
        mask = slot in adapter.cameras and (slot in given or adapter.missing == "black")
        yield equal(f"{stem}.image_mask.{slot}", [mask], io[f"{stem}.image_mask.{slot}"])


def chain_rows(io: Arrays, statistics: Mapping[str, Statistics]) -> Iterator[Row]:
    """ALOHA all the way in (offsets, normalisation, padding) and all the way out."""
    adapter = load_adapter("aloha")
    for method in ("zscore", "quantile"):
        if f"chain.{method}.in.state" not in io:
            continue
        pipeline = _pipeline(adapter, method, statistics)
        state = state_to_model(adapter, _measured(adapter, io["aloha.state"]))
        actions = actions_to_model(adapter, io["aloha.actions"], adapter.action_channels)
        stem = f"chain.{method}.in"
        yield close(f"{stem}.state", transforms.pad(pipeline.normalised_state(state), 32), io[f"{stem}.state"])
        normalised = pipeline.normalised_actions(actions, state)
        yield close(f"{stem}.actions", normalised, io[f"{stem}.actions"])
        found = actions_from_model(adapter, pipeline.actions(io[f"{stem}.actions"] + 0.01, state))
        yield close(f"chain.{method}.out.actions", found, io[f"chain.{method}.out.actions"])


def _pipeline(adapter: Adapter, method: str, statistics: Mapping[str, Statistics]) -> Pipeline:
    return Pipeline(
        origin="openpi",
        style=default_style("pi0" if method == "zscore" else "pi05"),
        cameras=tuple(adapter.cameras),
        image_size=(224, 224),
        resampler="pil",
        state_norm=Normalizer(f"openpi_{method}", statistics["state"]),
        action_norm=Normalizer(f"openpi_{method}", statistics["actions"]),
        action_width=32,
        horizon=10,
        action_size=14,
        delta=adapter.delta_mask,
    )
