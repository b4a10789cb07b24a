"""Pictures, prompt, statistics and vectors as a checkpoint's own files define them: its `Pipeline`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from pi0_ros.model.config import ModelConfig
from pi0_ros.model.conventions import Conventions
from pi0_ros.model.kinds import traits
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
from pi0_ros.policy.resolution import Claim, Setting, agreed, first
from pi0_ros.robot.files import is_file

T = TypeVar("T")
_METHODS = {"zscore": "openpi_zscore", "quantile": "openpi_quantile"}
_WORDS = {
    "openpi_zscore": "zscore",
    "lerobot_mean_std": "zscore",
    "openpi_quantile": "quantile",
    "lerobot_quantiles": "quantile",
}
# openpi's π0-FAST has slots of other names on DROID and LIBERO: src/openpi/policies/droid_policy.py, libero_policy.py.
_FAST_SLOTS = ("base_0_rgb", "base_1_rgb", "wrist_0_rgb")


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
    def settings(self) -> Mapping[str, object]: ...
    @property
    def assumed(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Overrides:
    """What a person may say over the checkpoint's files; empty fields leave it to them.

    statistics: a norm_stats.json (or its folder) to use, or the statistics themselves by "state" and "actions". asset:
    which of several statistics. pad_state_to: lerobot 0.4 padded the state before binning; its config does not say so.
    """

    statistics: str | Path | Mapping[str, Statistics] = ""
    asset: str = ""
    pad_state_to: int = 0


def build_pipeline(
    checkpoint: Checkpoint, adapter: Adapter | None = None, overrides: Overrides | None = None
) -> Pipeline:
    """The pipeline of a checkpoint, with where each of its values comes from in `settings`.

    A key of the adapter is honoured, or refused with both values where the checkpoint's own files fix it. Without an
    adapter openpi's vectors are taken as they come, with no offsets; lerobot's files say everything.
    Raises: PolicyError if statistics are missing, ambiguous or of the wrong size, or two files contradict each other.
    """
    overrides = overrides or Overrides()
    if checkpoint.origin == "lerobot":
        return _lerobot(checkpoint, adapter, overrides)
    return _openpi(checkpoint, adapter, overrides)


def _common(checkpoint: Checkpoint, adapter: Adapter | None, overrides: Overrides, length: Claim[int]) -> Pipeline:
    """The pipeline with the parts that every origin has: vectors are not normalised yet."""
    config, habits = checkpoint.config, checkpoint.conventions
    style, prompt = _style(checkpoint, adapter, overrides, length)
    resampler = first(
        "resampler",
        Claim((adapter and adapter.resampler) or None, _yaml(adapter)),
        Claim(habits.resampler, f"as {checkpoint.origin} does"),
    )
    return Pipeline(
        origin=checkpoint.origin,
        style=style,
        cameras=tuple(config.cameras),
        image_size=(config.vision.image_size, config.vision.image_size),
        resampler=resampler.value,
        state_norm=Normalizer("identity"),
        action_norm=Normalizer("identity"),
        action_width=config.action_dim,
        horizon=config.horizon,
        state_input=config.state_dim if traits(config.kind).state_token else 0,
        missing=adapter.missing if adapter else "masked",
        settings=(*prompt, resampler, _horizon(checkpoint, adapter)),
    )


def _yaml(adapter: Adapter | None) -> str:
    return str(adapter.file) if adapter else "no policy YAML"


def _horizon(checkpoint: Checkpoint, adapter: Adapter | None) -> Setting[int]:
    """Rows a chunk: what the checkpoint records and the adapter says have to agree."""
    rows = checkpoint.config.horizon
    if "horizon" not in checkpoint.assumed:
        return agreed(
            "horizon",
            Claim(rows, str(checkpoint.folder)),
            Claim((adapter and adapter.rows(checkpoint.config.kind)) or None, _yaml(adapter)),
            way_out="the network was trained with the checkpoint's; correct or remove `horizon` in the policy YAML",
        )
    given = bool(adapter and adapter.rows(checkpoint.config.kind) == rows)
    return Setting(
        "horizon", rows, _yaml(adapter) if given else "a guess: no file says how many rows it was trained with"
    )


def _style(
    checkpoint: Checkpoint, adapter: Adapter | None, overrides: Overrides, length: Claim[int]
) -> tuple[PromptStyle, list[Setting[object]]]:
    """The prompt, the adapter's word on it; the kind is the network's and can only be confirmed."""
    config, habits, wanted = checkpoint.config, checkpoint.conventions, dict((adapter and adapter.prompt) or {})
    if wanted.get("kind", config.kind) != config.kind:
        raise PolicyError(f"{_yaml(adapter)}: prompt.kind is {wanted['kind']}, the network is a {config.kind}")
    usual = f"as {checkpoint.origin} does"
    has_state = not traits(config.kind).state_token and not checkpoint.settings.get("use_proprioceptive_memory", False)

    def said(key: str, kind: type[T]) -> Claim[T]:
        value = wanted.get(key)
        return Claim(value if isinstance(value, kind) else None, _yaml(adapter))

    dialect = first("prompt.dialect", said("dialect", str), Claim(habits.dialect, usual))
    tokens = first("prompt.length", said("length", int), length, Claim(config.prompt_length, "the checkpoint"))
    state = first("prompt.state", said("state", bool), Claim(has_state, usual))
    padding = first(
        "prompt.pad_state_to",
        Claim(overrides.pad_state_to or None, "the parameter pad_state_to"),
        said("pad_state_to", int),
        Claim(habits.pad_state_to, usual),
    )
    mode = first("prompt.control_mode", said("control_mode", str), Claim("", usual))
    lowercase = first("prompt.lowercase", said("lowercase", bool), Claim(False, usual))
    style = PromptStyle(
        config.kind, dialect.value, tokens.value, state.value, padding.value, mode.value, lowercase.value
    )
    shown = [setting for setting in (mode, lowercase) if setting.key.removeprefix("prompt.") in wanted]
    return style, [Setting("prompt.kind", config.kind, "the network"), dialect, tokens, state, padding, *shown]


def _openpi(checkpoint: Checkpoint, adapter: Adapter | None, overrides: Overrides) -> Pipeline:
    common = _common(checkpoint, adapter, overrides, Claim(None, ""))
    habits = checkpoint.conventions
    state, actions = _statistics(checkpoint, adapter, overrides)
    from_lerobot = habits.dialect == "lerobot"  # converted to our layout, which keeps the habits in its config.json
    norms = _methods(checkpoint, adapter, (habits.state_norm, habits.action_norm), fixed=from_lerobot)
    size = 0 if adapter is None else len(adapter.action_channels)
    cameras = common.cameras if adapter is None else _openpi_cameras(checkpoint.config, adapter)
    recorded = _converted_offsets(checkpoint, adapter, actions.size) if from_lerobot else None
    if from_lerobot:
        size = actions.size
        _check_vectors(checkpoint, adapter, state.size, actions.size, ())
    offsets = _offsets(adapter, recorded, "the checkpoint's config.json")
    pipeline = replace(
        common,
        cameras=cameras,
        action_size=size,
        state_norm=Normalizer(norms[0].value, state),
        action_norm=Normalizer(norms[1].value, actions),
        delta=offsets.value,
        steps=_steps(adapter, offsets),
        settings=(*common.settings, *norms, offsets, *_sources(state, actions), _slots(cameras, adapter)),
    )
    _check_sizes(checkpoint, pipeline, adapter)
    return pipeline


def _converted_offsets(checkpoint: Checkpoint, adapter: Adapter | None, size: int) -> tuple[bool, ...] | None:
    """Which actions are offsets in a LeRobot checkpoint that was converted to our layout; None: none is said to be."""
    habits = checkpoint.conventions
    if habits.relative_mask:
        return relative_mask(habits.relative_mask, size)
    names = adapter.action_channels if adapter else None
    mask = RelativeActions(habits.relative_actions, habits.absolute_joints, names).mask(size)
    return mask if any(mask) else None


def _methods(
    checkpoint: Checkpoint, adapter: Adapter | None, own: tuple[str, str], fixed: bool
) -> tuple[Setting[str], Setting[str]]:
    """Normalisation of state and actions: `own` is the checkpoint's; if its files fix it an adapter has to agree."""
    word = (adapter and adapter.normalisation) or None
    source = "the checkpoint's files" if fixed else f"as {checkpoint.origin} does for {checkpoint.config.kind}"

    def chosen(key: str, method: str) -> Setting[str]:
        if fixed and word is not None and _WORDS.get(method, method) != word:
            agreed(
                f"normalisation of {key}",
                Claim(_WORDS.get(method, method), source),
                Claim(word, _yaml(adapter)),
                way_out="the statistics were made for the checkpoint's; correct or remove it in the policy YAML",
            )
        wanted = None if word is None or fixed else _METHODS[word]
        return first(f"normalisation of {key}", Claim(wanted, _yaml(adapter)), Claim(method, source))

    return chosen("state", own[0]), chosen("actions", own[1])


def _offsets(adapter: Adapter | None, recorded: tuple[bool, ...] | None, source: str) -> Setting[tuple[bool, ...]]:
    """Which action dimensions are offsets from the state. What the checkpoint records and the adapter's have to agree."""
    wanted = adapter.delta_mask if adapter and any(adapter.delta_mask) else None
    if recorded is None or adapter is None or wanted is None:
        return first("offsets", Claim(recorded, source), Claim(wanted, _yaml(adapter)), Claim((), "none are"))
    return agreed(
        "offsets",
        Claim(recorded, source),
        Claim(relative_mask(wanted, len(recorded)), _yaml(adapter)),
        way_out=f"dimensions are those of {', '.join(adapter.action_channels)}; correct `delta` in the policy YAML",
    )


def _steps(adapter: Adapter | None, offsets: Setting[tuple[bool, ...]]) -> tuple[float, ...]:
    """Which action dimensions are steps from where the robot will be (`Adapter.step_shares`): only a policy YAML can say so."""
    steps = adapter.step_shares if adapter is not None else ()
    both = [
        n for n, s, o in zip(adapter.action_channels if adapter else (), steps, offsets.value, strict=False) if s and o
    ]
    if both:
        raise PolicyError(
            f"{_yaml(adapter)} calls {', '.join(both)} steps from the row before, {offsets.source} offsets from the state; "
            "correct `delta` in the policy YAML"
        )
    return steps


def _sources(state: Statistics, actions: Statistics) -> tuple[Setting[str], ...]:
    pairs = (("statistics of state", state), ("statistics of actions", actions))
    return tuple(Setting(key, f"{s.size} dimensions", s.source or "none are needed") for key, s in pairs)


def _slots(cameras: Sequence[str], adapter: Adapter | None) -> Setting[tuple[str, ...]]:
    """Picture slots and the robot cameras that fill them."""
    filled = dict(adapter.cameras) if adapter else {}
    return Setting("cameras", tuple(f"{slot} <- {filled.get(slot) or 'nothing'}" for slot in cameras), _yaml(adapter))


def _openpi_cameras(config: ModelConfig, adapter: Adapter) -> tuple[str, ...]:
    """Picture slots in the network's order: openpi's π0-FAST on DROID and LIBERO names its three slots otherwise."""
    slots = tuple(adapter.cameras)
    if set(slots) <= set(config.cameras):
        return tuple(config.cameras)
    if traits(config.kind).acts_in_tokens and set(slots) <= set(_FAST_SLOTS):
        return _FAST_SLOTS
    raise _misnamed(adapter, slots, config.cameras)


def _misnamed(adapter: Adapter, slots: Sequence[str], there: Sequence[str], more: str = "") -> PolicyError:
    return PolicyError(
        f"{adapter.file}: cameras: the checkpoint's picture slots are {', '.join(there)}, the adapter fills "
        f"{', '.join(slots)}{more}; name the slots as the checkpoint does"
    )


def _statistics(checkpoint: Checkpoint, adapter: Adapter | None, overrides: Overrides) -> tuple[Statistics, Statistics]:
    """State and action statistics: the override, the adapter's asset if the checkpoint has it, else its only ones."""
    if isinstance(overrides.statistics, Mapping):
        return _pair(overrides.statistics, "the statistics given")
    if overrides.statistics:
        file: Path = Path(overrides.statistics)
    else:
        file = _asset_file(checkpoint.folder, overrides.asset, adapter.asset if adapter else "")
    return _both(file)


def _both(file: str | Path) -> tuple[Statistics, Statistics]:
    """State and actions of a norm_stats.json. Raises PolicyError if one is missing."""
    return _pair(read_norm_stats(file), str(file))


def _pair(found: Mapping[str, Statistics], source: str) -> tuple[Statistics, Statistics]:
    lost = [key for key in ("state", "actions") if key not in found]
    if lost:
        raise PolicyError(f"{source}: statistics of {' and '.join(lost)} are missing; both are needed to move a robot")
    return found["state"], found["actions"]


def _asset_file(folder: Path, chosen: str, preferred: str) -> Path:
    if chosen:
        return find_norm_stats(folder, chosen)
    if preferred and is_file(folder / "assets" / preferred / "norm_stats.json"):
        return folder / "assets" / preferred / "norm_stats.json"
    return find_norm_stats(folder)


def _check_sizes(checkpoint: Checkpoint, pipeline: Pipeline, adapter: Adapter | None) -> None:
    """Statistics may be wider than the robot (openpi slices them for the state) but never narrower."""
    if adapter is None:
        return
    wanted = {"state": len(adapter.state_channels), "actions": len(adapter.action_channels)}
    for key, norm in (("state", pipeline.state_norm), ("actions", pipeline.action_norm)):
        if norm.method != "identity" and norm.statistics.size < wanted[key]:
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
    _refuse_old(checkpoint)
    files, has_files = _processors(checkpoint, overrides)
    before = "policy_preprocessor.json"
    common = _common(checkpoint, adapter, overrides, Claim(files.prompt_length or None, before))
    size = _feature_size(checkpoint, "output_features", ACTION) or files.actions.statistics.size
    state_size = _feature_size(checkpoint, "input_features", STATE) or files.state.statistics.size
    habits = checkpoint.conventions
    relative = files.delta or RelativeActions(habits.relative_actions, habits.absolute_joints, _names(checkpoint))
    _check_vectors(checkpoint, adapter, state_size, size, relative.names or _names(checkpoint) or ())
    mask = relative_mask(relative.mask(size), size)
    offsets = _offsets(adapter, mask if any(mask) else None, before if files.delta else "config.json")
    norms = _methods(checkpoint, adapter, (files.state.method, files.actions.method), fixed=has_files)
    cameras = common.cameras
    if adapter is not None and cameras:
        cameras = _lerobot_cameras(checkpoint.config, adapter, _short(files.rename))
    return replace(
        common,
        cameras=cameras,
        state_norm=replace(files.state, method=norms[0].value),
        action_norm=replace(files.actions, method=norms[1].value),
        action_size=size,
        delta=offsets.value,
        steps=_steps(adapter, offsets),
        rename=_short(files.rename),
        empty_slots=max(0, _picture_slots(checkpoint) - len(cameras)),
        settings=(
            *common.settings,
            *norms,
            offsets,
            *_sources(files.state.statistics, files.actions.statistics),
            _slots(cameras, adapter),
        ),
    )


def _refuse_old(checkpoint: Checkpoint) -> None:
    """LeRobot <= 0.3 kept its statistics among the weights, padded pictures at the top and left, and took `num_steps`.

    Source: lerobot v0.3.3 policies/pi0/modeling_pi0.py, configuration_pi0.py.
    """
    if checkpoint.settings.get("adapt_to_pi_aloha") is True:
        raise PolicyError(
            f"{checkpoint.folder / 'config.json'}: adapt_to_pi_aloha is true, LeRobot 0.3's conversion of Aloha's "
            "joints, which is not done here; train again with a newer LeRobot, or take openpi's checkpoint"
        )
    if "resize_imgs_with_padding" in checkpoint.settings and not has_processors(checkpoint.folder):
        raise PolicyError(
            f"{checkpoint.folder}: written by LeRobot 0.3 or older (statistics among the weights, pictures padded at "
            "the top and left); migrate it first: python -m lerobot.processor.migrate_policy_normalization "
            f"--pretrained-path {checkpoint.folder}"
        )


def _lerobot_cameras(config: ModelConfig, adapter: Adapter, rename: Mapping[str, str]) -> tuple[str, ...]:
    """Picture slots of LeRobot's network; the adapter names them as the network or as the dataset before `rename_map`.

    A single camera needs no name. Raises PolicyError with both lists if a name is none of the network's.
    """
    slots, known = tuple(adapter.cameras), tuple(config.cameras)
    if {rename.get(slot, slot) for slot in slots} <= set(known):
        return known
    if len(slots) == len(known) == 1:
        return slots
    back = {new: old for old, new in rename.items()}
    turned = {back.get(slot, slot) for slot in slots} <= set(known)
    raise _misnamed(adapter, slots, known, " (its rename_map is written the other way round)" if turned else "")


def _check_vectors(
    checkpoint: Checkpoint, adapter: Adapter | None, state: int, actions: int, names: Sequence[str]
) -> None:
    """LeRobot's vectors have the robot's exact size. `names` are those of the actions, () if no file has them.

    Raises: PolicyError with both lists if sizes differ, or if the same names stand in another order.
    """
    if adapter is None:
        return
    for key, size, channels in (
        ("state", state, adapter.state_channels),
        ("actions", actions, adapter.action_channels),
    ):
        if size and size != len(channels):
            named = f" ({', '.join(names)})" if names and key == "actions" else ""
            raise PolicyError(
                f"{checkpoint.folder}: the checkpoint has {size} {key}{named}, {adapter.file} has {len(channels)} "
                f"({', '.join(channels)}); every number would reach another joint: list all of them, in its order"
            )
    plain = tuple(name.removesuffix(".pos") for name in names)
    if plain != adapter.action_channels and sorted(plain) == sorted(adapter.action_channels):
        raise PolicyError(
            f"{checkpoint.folder}: the checkpoint's actions are {', '.join(plain)}, {adapter.file} has them in another "
            f"order: {', '.join(adapter.action_channels)}"
        )


def _picture_slots(checkpoint: Checkpoint) -> int:
    """How many pictures LeRobot's network gets: visual features, and empty cameras not yet among them."""
    features = checkpoint.settings.get("input_features")
    named = features if isinstance(features, Mapping) else {}
    visual = {k for k, v in named.items() if isinstance(v, Mapping) and v.get("type") == "VISUAL"}
    empty = checkpoint.settings.get("empty_cameras", 0)
    more = range(empty if isinstance(empty, int) and 0 <= empty <= 64 else 0)
    return len(visual | {f"observation.images.empty_camera_{i}" for i in more})


def _processors(checkpoint: Checkpoint, overrides: Overrides) -> tuple[Processors, bool]:
    """LeRobot's processor files, or a norm_stats.json put beside a checkpoint that lost its own; whether it has them."""
    habits, folder = checkpoint.conventions, checkpoint.folder
    if has_processors(folder) and not overrides.statistics:
        return read_processors(folder), True
    if not overrides.statistics and not (folder / "norm_stats.json").is_file():
        raise PolicyError(missing_statistics(str(folder)))
    given = overrides.statistics
    state, actions = _pair(given, "the statistics given") if isinstance(given, Mapping) else _both(given or folder)
    return Processors(Normalizer(habits.state_norm, state), Normalizer(habits.action_norm, actions), {}), False


def _short(rename: Mapping[str, str]) -> dict[str, str]:
    head = "observation.images."
    return {k.removeprefix(head): v.removeprefix(head) for k, v in rename.items() if STATE not in (k, v)}


def _names(checkpoint: Checkpoint) -> tuple[str, ...] | None:
    names = checkpoint.settings.get("action_feature_names")
    return tuple(str(n) for n in names) if isinstance(names, list) else None


def _feature_size(checkpoint: Checkpoint, section: str, key: str) -> int:
    features = checkpoint.settings.get(section)
    shape = features.get(key, {}).get("shape") if isinstance(features, Mapping) else None
    match shape:
        case [int() as size]:
            return size
    return 0
