"""What each project does around the network: resampler, prompt format, normalisation formula, chosen by origin.

The network's own arithmetic (time grid, rope, ...) is `ModelConfig.numerics`. Method names are those of
pi0_ros.policy.normalize, resampler names those of pi0_ros.policy.resize.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pi0_ros.model.errors import CheckpointError
from pi0_ros.model.kinds import traits
from pi0_ros.model.norm_methods import LEROBOT_METHODS, METHODS
from pi0_ros.robot.quoting import quote_value

WORDS: Mapping[str, tuple[str, ...]] = {
    "resampler": ("pil", "torch"),
    "dialect": ("openpi", "lerobot"),
    "state_norm": METHODS,
    "action_norm": METHODS,
}


@dataclass(frozen=True)
class Conventions:
    """Habits of the project a checkpoint comes from.

    resampler: "pil" (antialiased, openpi's policy transform) or "torch" (not antialiased, LeRobot).
    dialect: prompt and FAST dialect, "openpi" or "lerobot".
    state_norm, action_norm: normalisation method names.
    pad_state_to: LeRobot 0.4.0-0.4.4 pads the state to this size before binning it into the prompt; 0: no padding.
    relative_actions: LeRobot's `use_relative_actions`; `absolute_joints` are the name parts it leaves out.
    relative_mask: which action dimensions that makes offsets, in a checkpoint that was converted; (): not recorded.
    """

    resampler: str
    dialect: str
    state_norm: str
    action_norm: str
    pad_state_to: int = 0
    relative_actions: bool = False
    absolute_joints: tuple[str, ...] = ()
    relative_mask: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        for name, words in WORDS.items():
            if getattr(self, name) not in words:
                raise ValueError(f"{name} is {quote_value(getattr(self, name))}; there are {', '.join(words)}")
        if type(self.pad_state_to) is not int or not 0 <= self.pad_state_to <= 4096:
            raise ValueError(f"pad_state_to is {quote_value(self.pad_state_to)}, no number of dimensions")
        for name, kind in (("absolute_joints", str), ("relative_mask", bool)):
            found = getattr(self, name)
            if not isinstance(found, tuple) or len(found) > 4096 or not all(type(value) is kind for value in found):
                raise ValueError(f"{name} is {quote_value(found)}, no list of {kind.__name__}")


def pads_state(version: str | None) -> bool:
    """Whether that LeRobot version ("0.4.3") pads the state before binning; None (unknown) counts as one that does not.

    config.json does not record the version, so only the caller can know it.
    """
    return version is not None and version.lstrip("v").split(".")[:2] == ["0", "4"]


def conventions_for(
    origin: str, kind: str, config: Mapping[str, Any], lerobot_version: str | None = None
) -> Conventions:
    """The habits of `origin`, with the choices that LeRobot's config.json records."""
    if origin != "lerobot":
        norm = "openpi_quantile" if traits(kind).quantiles else "openpi_zscore"
        return Conventions("pil", "openpi", norm, norm)
    mapping = config.get("normalization_mapping")
    mapping = mapping if isinstance(mapping, Mapping) else {}
    default = "QUANTILES" if traits(kind).adarms else "MEAN_STD"
    state, action = (LEROBOT_METHODS.get(str(mapping.get(key, default)), "") for key in ("STATE", "ACTION"))
    exclude = config.get("relative_exclude_joints")
    return Conventions(
        resampler="torch",
        dialect="lerobot",
        state_norm=state or LEROBOT_METHODS[default],
        action_norm=action or LEROBOT_METHODS[default],
        pad_state_to=config.get("max_state_dim", 32) if traits(kind).adarms and pads_state(lerobot_version) else 0,
        relative_actions=bool(config.get("use_relative_actions", False)),
        absolute_joints=tuple(str(name) for name in exclude) if isinstance(exclude, list) else ("gripper",),
    )


def recorded_conventions(saved: object, kind: str) -> Conventions:
    """Those that a file of ours holds, of the project a checkpoint came from; else our own habits (openpi's).

    saved: the value of the key "conventions". Raises: CheckpointError for what cannot be habits.
    """
    if not isinstance(saved, Mapping):
        return conventions_for("pi0_ros", kind, {})
    try:
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()
        }
        return Conventions(**values)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"'conventions' is malformed ({error})") from None
