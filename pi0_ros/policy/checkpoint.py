"""A checkpoint folder's own word on pictures, prompt, statistics and vectors: the `Pipeline` it wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.lerobot_files import ACTION, STATE, Processors, RelativeActions, has_processors, read_processors
from pi0_ros.policy.normalize import (
    Normalizer,
    Statistics,
    find_norm_stats,
    missing_statistics,
    read_norm_stats,
)
from pi0_ros.policy.pipeline import Pipeline, relative_mask
from pi0_ros.policy.prompts import PromptStyle

if TYPE_CHECKING:  # importing pi0_ros.model imports torch, which reading a pipeline does not need
    from pi0_ros.model.checkpoints.conventions import Conventions
    from pi0_ros.model.config import ModelConfig

_METHODS = {"zscore": "openpi_zscore", "quantile": "openpi_quantile"}


class Checkpoint(Protocol):
    """What `pi0_ros.model` says of a checkpoint, with or without its weights in memory."""

    @property
    def origin(self) -> str: ...
    @property
    def config(self) -> ModelConfig: ...
    @property
    def folder(self) -> Path: ...
    @property
    def conventions(self) -> Conventions: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Overrides:
    """What a person may say over the checkpoint's files; empty fields leave it to them.

    statistics: a norm_stats.json (or its folder) to use. asset: which of several statistics. pad_state_to: lerobot 0.4
    padded the state before binning; its config does not say so.
    """

    statistics: str | Path = ""
    asset: str = ""
    pad_state_to: int = 0


def build_pipeline(
    checkpoint: Checkpoint, adapter: Adapter | None = None, overrides: Overrides | None = None
) -> Pipeline:
    """The pipeline of a checkpoint.

    Without an adapter openpi's vectors are taken as they come, with no offsets; lerobot's files say everything.
    Raises: PolicyError where statistics are missing, ambiguous or of the wrong size.
    """
    overrides = overrides or Overrides()
    if checkpoint.origin == "lerobot":
        return _lerobot(checkpoint, adapter, overrides)
    return _openpi(checkpoint, adapter, overrides)


def _common(checkpoint: Checkpoint, adapter: Adapter | None, overrides: Overrides) -> dict[str, Any]:
    config, habits = checkpoint.config, checkpoint.conventions
    style = PromptStyle(
        kind=config.kind,
        dialect=habits.dialect,
        length=config.prompt_length,
        state=config.kind != "pi0",
        pad_state_to=overrides.pad_state_to or habits.pad_state_to,
    )
    return {
        "origin": checkpoint.origin,
        "style": style,
        "cameras": tuple(config.cameras),
        "image_size": (config.vision.image_size,) * 2,
        "resampler": habits.resampler,
        "action_width": config.action_dim,
        "horizon": config.horizon,
        "state_input": config.state_dim if config.kind == "pi0" else 0,
        "missing": adapter.missing if adapter else "masked",
    }


def _openpi(checkpoint: Checkpoint, adapter: Adapter | None, overrides: Overrides) -> Pipeline:
    parts = _common(checkpoint, adapter, overrides)
    habits = checkpoint.conventions
    state_method, action_method = habits.state_norm, habits.action_norm
    if adapter is not None:
        parts["style"] = _style(parts["style"], adapter)
        parts["resampler"] = adapter.resampler or parts["resampler"]
        parts["action_size"] = len(adapter.action_channels)
        parts["delta"] = adapter.delta_mask
        parts["cameras"] = _cameras(checkpoint.config, adapter)
        if adapter.normalisation:
            state_method = action_method = _METHODS[adapter.normalisation]
    state, actions = _statistics(checkpoint, adapter, overrides)
    if habits.dialect == "lerobot":  # converted to our layout, which keeps the habits in its config.json
        names = adapter.action_channels if adapter else None
        mask = RelativeActions(habits.relative_actions, habits.absolute_joints, names).mask(actions.size)
        parts |= {"action_size": actions.size, "delta": mask if any(mask) else ()}
    pipeline = Pipeline(
        state_norm=Normalizer(state_method, state), action_norm=Normalizer(action_method, actions), **parts
    )
    _check_sizes(checkpoint, pipeline, adapter)
    return pipeline


def _style(style: PromptStyle, adapter: Adapter) -> PromptStyle:
    """The prompt with the adapter's word on it; the kind is the network's and can only be confirmed."""
    wanted = dict(adapter.prompt or {})
    if wanted.get("kind", style.kind) != style.kind:
        raise PolicyError(f"{adapter.file}: prompt.kind is {wanted['kind']}, the network is a {style.kind}")
    return replace(style, **wanted)


def _cameras(config: ModelConfig, adapter: Adapter) -> tuple[str, ...]:
    """Picture slots in the network's order: openpi's π0-FAST on DROID names its three slots otherwise."""
    known, slots = set(config.cameras), tuple(adapter.cameras)
    if set(slots) <= known:
        return tuple(config.cameras)
    if len(slots) == len(config.cameras):
        return slots
    raise PolicyError(
        f"{adapter.file}: cameras: the checkpoint's picture slots are {', '.join(config.cameras)}, "
        f"the adapter fills {', '.join(slots)}"
    )


def _statistics(checkpoint: Checkpoint, adapter: Adapter | None, overrides: Overrides) -> tuple[Statistics, Statistics]:
    """State and action statistics: the override, the adapter's asset if the checkpoint has it, else its only ones."""
    if overrides.statistics:
        file: Path = Path(overrides.statistics)
    else:
        file = _asset_file(checkpoint.folder, overrides.asset, adapter.asset if adapter else "")
    found = read_norm_stats(file)
    lost = [key for key in ("state", "actions") if key not in found]
    if lost:
        raise PolicyError(f"{file}: statistics of {' and '.join(lost)} are missing; both are needed to move a robot")
    return found["state"], found["actions"]


def _asset_file(folder: Path, chosen: str, preferred: str) -> Path:
    if chosen:
        return find_norm_stats(folder, chosen)
    if preferred and (folder / "assets" / preferred / "norm_stats.json").is_file():
        return folder / "assets" / preferred / "norm_stats.json"
    return find_norm_stats(folder)


def _check_sizes(checkpoint: Checkpoint, pipeline: Pipeline, adapter: Adapter | None) -> None:
    """Statistics may be wider than the robot (openpi slices them for the state) but never narrower."""
    if adapter is None:
        return
    wanted = {"state": len(adapter.state_channels), "actions": len(adapter.action_channels)}
    for key, norm in (("state", pipeline.state_norm), ("actions", pipeline.action_norm)):
        if norm.statistics.size < wanted[key]:
            raise PolicyError(
                f"{checkpoint.folder}: statistics of {key} have {norm.statistics.size} dimensions, {adapter.file} "
                f"has {wanted[key]}; they belong to different robots"
            )
    if pipeline.action_norm.statistics.size > checkpoint.config.action_dim:
        raise PolicyError(
            f"{checkpoint.folder}: statistics of actions have {pipeline.action_norm.statistics.size} dimensions, "
            f"the network {checkpoint.config.action_dim}"
        )


def _lerobot(checkpoint: Checkpoint, adapter: Adapter | None, overrides: Overrides) -> Pipeline:
    parts = _common(checkpoint, adapter, overrides)
    files = _processors(checkpoint, overrides)
    size = _feature_size(checkpoint, "output_features", ACTION) or files.actions.statistics.size
    length = files.prompt_length or parts["style"].length
    state = parts["style"].state and not checkpoint.settings.get("use_proprioceptive_memory", False)
    parts["style"] = replace(parts["style"], length=length, state=state)
    habits = checkpoint.conventions
    relative = files.delta or RelativeActions(habits.relative_actions, habits.absolute_joints, _names(checkpoint))
    mask = relative_mask(relative.mask(size), size)
    if adapter is not None and parts["cameras"] and not set(adapter.cameras) & set(parts["cameras"]):
        parts["cameras"] = _cameras(checkpoint.config, adapter)
    return Pipeline(
        state_norm=files.state,
        action_norm=files.actions,
        action_size=size,
        delta=mask if any(mask) else (),
        rename=_short(files.rename),
        empty_slots=max(0, _picture_slots(checkpoint) - len(parts["cameras"])),
        **parts,
    )


def _picture_slots(checkpoint: Checkpoint) -> int:
    """How many pictures LeRobot's network gets: visual features, and empty cameras not yet among them."""
    features = checkpoint.settings.get("input_features")
    named = features if isinstance(features, Mapping) else {}
    visual = {k for k, v in named.items() if isinstance(v, Mapping) and v.get("type") == "VISUAL"}
    empty = checkpoint.settings.get("empty_cameras", 0)
    more = range(empty if isinstance(empty, int) and 0 <= empty <= 64 else 0)
    return len(visual | {f"observation.images.empty_camera_{i}" for i in more})


def _processors(checkpoint: Checkpoint, overrides: Overrides) -> Processors:
    """LeRobot's processor files, or a norm_stats.json put beside a checkpoint that lost its own."""
    habits, folder = checkpoint.conventions, checkpoint.folder
    if overrides.statistics or not has_processors(folder):
        if not overrides.statistics and not (folder / "norm_stats.json").is_file():
            raise PolicyError(missing_statistics(str(folder)))
        found = read_norm_stats(overrides.statistics or folder)
        if "state" not in found or "actions" not in found:
            raise PolicyError(f"{overrides.statistics or folder}: statistics of state and actions are both needed")
        state, actions = (
            Normalizer(m, found[k]) for m, k in ((habits.state_norm, "state"), (habits.action_norm, "actions"))
        )
        return Processors(state, actions, {})
    return read_processors(folder)


def _short(rename: Mapping[str, str]) -> dict[str, str]:
    head = "observation.images."
    return {k.removeprefix(head): v.removeprefix(head) for k, v in rename.items() if STATE not in (k, v)}


def _names(checkpoint: Checkpoint) -> tuple[str, ...] | None:
    names = checkpoint.settings.get("action_feature_names")
    return tuple(str(n) for n in names) if isinstance(names, list) else None


def _feature_size(checkpoint: Checkpoint, section: str, key: str) -> int:
    features = checkpoint.settings.get(section)
    shape = features.get(key, {}).get("shape") if isinstance(features, Mapping) else None
    return int(shape[0]) if isinstance(shape, list) and len(shape) == 1 and isinstance(shape[0], int) else 0
