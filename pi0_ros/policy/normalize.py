"""State and action vectors to the network's scale and back, with each project's own formula and epsilon.

| method            | forward                              | inverse                              |
|-------------------|--------------------------------------|--------------------------------------|
| openpi_zscore     | (x - mean) / (std + 1e-6)            | x (std + 1e-6) + mean                |
| openpi_quantile   | 2 (x - q01) / (q99 - q01 + 1e-6) - 1 | (x + 1) / 2 (q99 - q01 + 1e-6) + q01 |
| lerobot_mean_std  | (x - mean) / (std + eps)             | x std + mean                         |
| lerobot_quantiles | 2 (x - q01) / d - 1                  | (x + 1) d / 2 + q01                  |
| identity          | x                                    | x                                    |

with d = q99 - q01, or eps only if that is exactly 0; lerobot_quantile10 and lerobot_min_max are the same with q10,
q90 and min, max. Sources: openpi transforms.py, lerobot normalize_processor.py.
Nothing is clipped. lerobot computes in float32, openpi in the promoted type of data and statistics.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi0_ros.model.norm_methods import METHODS
from pi0_ros.policy.errors import PolicyError
from pi0_ros.robot.files import read_json
from pi0_ros.robot.quoting import MAX_QUOTED, escape

Array = NDArray[np.floating]
OPENPI_EPSILON = 1e-6
LEROBOT_EPSILON = 1e-8
LARGEST = 1e6  # no joint angle, length or velocity in SI units is beyond it
_BOUNDS = {
    "lerobot_quantiles": ("q01", "q99"),
    "lerobot_quantile10": ("q10", "q90"),
    "lerobot_min_max": ("min", "max"),
}
_NEEDS = {
    "openpi_zscore": ("mean", "std"),
    "openpi_quantile": ("q01", "q99"),
    "lerobot_mean_std": ("mean", "std"),
    **_BOUNDS,
    "identity": (),
}


@dataclass(frozen=True)
class Statistics:
    """Named statistics (mean, std, q01, q99, ...) of one vector, each [D]; `source`: file and key, for messages."""

    values: Mapping[str, Array] = field(default_factory=dict)
    source: str = ""

    @property
    def size(self) -> int:
        """D, or 0 if there are none."""
        return max((len(v) for v in self.values.values() if v.ndim), default=0)

    def __getitem__(self, name: str) -> Array:
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.values


@dataclass(frozen=True)
class Normalizer:
    """One vector's method and statistics. Constant dimensions behave as the method's project has them."""

    method: str
    statistics: Statistics = field(default_factory=Statistics)
    epsilon: float = LEROBOT_EPSILON  # lerobot's methods only; openpi's is fixed

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise PolicyError(f"normalisation {self.method!r} is unknown; there are {', '.join(METHODS)}")
        problem = _problem(self.method, self.statistics)
        if problem:
            raise PolicyError(f"{self.statistics.source}: {problem}" if self.statistics.source else problem)

    def cut(self, size: int) -> Normalizer:
        """The same for the first `size` dimensions."""
        values = {name: v[..., :size] if v.ndim else v for name, v in self.statistics.values.items()}
        return replace(self, statistics=Statistics(values, self.statistics.source))

    def constant(self) -> tuple[int, ...]:
        """Dimensions whose statistics have no width: the value never changed where they were computed."""
        needs = _NEEDS[self.method]
        if not needs:
            return ()
        low, high = (self.statistics[name] for name in needs)
        width = high if needs == ("mean", "std") else high - low
        return tuple(int(i) for i in np.flatnonzero(width == 0))

    def forward(self, x: ArrayLike) -> Array:
        """Robot units [..., D] to network scale. D may be below the statistics' size with openpi's methods."""
        return _FORWARD[self.method.split("_")[0]](self, np.asarray(x))

    def inverse(self, x: ArrayLike) -> Array:
        """Network scale [..., D] to robot units. With openpi's methods D may be above the statistics' size."""
        return _INVERSE[self.method.split("_")[0]](self, np.asarray(x))


def _problem(method: str, statistics: Statistics) -> str:
    """What makes statistics unusable for a method, "" if they are sound."""
    needs = _NEEDS[method]
    lost = [name for name in needs if name not in statistics]
    if lost:
        other = "; or set `normalisation: zscore` in the policy YAML, if it was trained so" if "q01" in lost else ""
        return (
            f"there is no {' and no '.join(lost)}, which the normalisation {method} needs; compute the statistics anew "
            f"(openpi: scripts/compute_norm_stats.py){other}"
        )
    shapes = {name: statistics[name].shape for name in needs}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 or not shape[0] for shape in shapes.values()):
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        return f"the statistics are no lists of one length ({listed}); compute them anew"
    for name in needs:
        values = statistics[name]
        bad = ~np.isfinite(values) | (np.abs(values) > LARGEST) | ((values < 0) & (name == "std"))
        if np.any(bad):
            first = int(np.flatnonzero(bad)[0])
            return (
                f"{name} is {values[first]:g} in dimension {first}, which no joint gives: it has to be finite, at most "
                f"{LARGEST:g}{', and not negative' if name == 'std' else ''}; compute the statistics anew"
            )
    if needs and needs != ("mean", "std"):
        low, high = (statistics[name] for name in needs)
        if low.shape == high.shape and np.any(low > high):
            first = int(np.flatnonzero(low > high)[0])
            return (
                f"{needs[0]} {low[first]:g} is above {needs[1]} {high[first]:g} in dimension {first}: they are exchanged, "
                "and the robot would move mirrored; compute the statistics anew"
            )
    return ""


def _openpi_forward(n: Normalizer, x: Array) -> Array:
    size = x.shape[-1]
    low, high = (n.statistics[name][..., :size] for name in _NEEDS[n.method])
    if len(low) < size:
        raise PolicyError(f"a vector of {size} numbers cannot be normalised with statistics of {len(low)}")
    if n.method == "openpi_zscore":
        return (x - low) / (high + OPENPI_EPSILON)
    return (x - low) / (high - low + OPENPI_EPSILON) * 2.0 - 1.0


def _openpi_inverse(n: Normalizer, x: Array) -> Array:
    low, high = (n.statistics[name] for name in _NEEDS[n.method])
    size = len(low)
    extra = x.shape[-1] - size
    if extra < 0:
        raise PolicyError(f"a vector of {x.shape[-1]} numbers cannot be un-normalised with statistics of {size}")
    if n.method == "openpi_zscore":
        return x * (np.pad(high, (0, extra), constant_values=1.0) + OPENPI_EPSILON) + np.pad(low, (0, extra))
    scaled = (x[..., :size] + 1.0) / 2.0 * (high - low + OPENPI_EPSILON) + low
    return np.concatenate([scaled, x[..., size:]], axis=-1) if extra else scaled


def _lerobot_bounds(n: Normalizer, x: Array) -> tuple[Array, Array, Array]:
    """x and the two statistics in float32, sizes checked."""
    low, high = (np.asarray(n.statistics[name], np.float32) for name in _NEEDS[n.method])
    if x.shape[-1] != len(low):
        raise PolicyError(f"a vector of {x.shape[-1]} numbers does not fit statistics of {len(low)}")
    return x.astype(np.float32), low, high


def _lerobot_span(n: Normalizer, low: Array, high: Array) -> Array:
    span = high - low
    return np.where(span == 0, np.float32(n.epsilon), span)


def _lerobot_forward(n: Normalizer, x: Array) -> Array:
    x, low, high = _lerobot_bounds(n, x)
    if n.method == "lerobot_mean_std":
        return (x - low) / (high + np.float32(n.epsilon))
    return np.float32(2.0) * (x - low) / _lerobot_span(n, low, high) - np.float32(1.0)


def _lerobot_inverse(n: Normalizer, x: Array) -> Array:
    x, low, high = _lerobot_bounds(n, x)
    if n.method == "lerobot_mean_std":
        return x * high + low
    span, one, two = _lerobot_span(n, low, high), np.float32(1.0), np.float32(2.0)
    # lerobot divides before or after multiplying by the span, depending on the mode
    return ((x + one) / two * span if n.method == "lerobot_min_max" else (x + one) * span / two) + low


def _same(_: Normalizer, x: Array) -> Array:
    return x


_FORWARD = {"openpi": _openpi_forward, "lerobot": _lerobot_forward, "identity": _same}
_INVERSE = {"openpi": _openpi_inverse, "lerobot": _lerobot_inverse, "identity": _same}


def read_norm_stats(path: str | Path) -> dict[str, Statistics]:
    """openpi's norm_stats.json (file, or folder holding it) as {"state": ..., "actions": ...}.

    Raises: PolicyError naming the file and the key.
    """
    file = Path(path) if Path(path).suffix == ".json" else Path(path) / "norm_stats.json"
    if not file.exists():
        raise PolicyError(missing_statistics(str(file.parent)))
    content = read_json(file, PolicyError)
    tree = content.get("norm_stats") if isinstance(content, dict) else None
    if not isinstance(tree, dict):
        raise PolicyError(f"{file}: no 'norm_stats' map in it")
    return {key: _statistics(file, key, node) for key, node in tree.items()}


def _statistics(file: Path, key: str, node: object) -> Statistics:
    if not isinstance(node, dict):
        raise PolicyError(f"{file}: norm_stats.{escape(key, MAX_QUOTED)} is not a map of statistics")
    values = {}
    for name, numbers in node.items():
        if numbers is None:  # openpi writes null for quantiles it did not compute
            continue
        try:
            values[name] = np.asarray(numbers, np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise PolicyError(
                f"{file}: norm_stats.{escape(key, MAX_QUOTED)}.{escape(name, MAX_QUOTED)} is not a list of numbers"
            ) from error
        if values[name].ndim != 1 or not values[name].size:
            raise PolicyError(
                f"{file}: norm_stats.{escape(key, MAX_QUOTED)}.{escape(name, MAX_QUOTED)} is not one list of numbers"
            )
    if len({v.shape for v in values.values()}) > 1:
        raise PolicyError(f"{file}: the statistics of norm_stats.{escape(key, MAX_QUOTED)} differ in length")
    return Statistics(values, f"{file}: norm_stats.{escape(key, MAX_QUOTED)}")


def write_norm_stats(path: str | Path, statistics: Mapping[str, Statistics]) -> None:
    """Write openpi's norm_stats.json layout: {"norm_stats": {"state": {mean, std, q01, q99}, "actions": {...}}}."""
    tree = {key: {n: [float(v) for v in s[n]] for n in s.values} for key, s in statistics.items()}
    file = Path(path) if Path(path).suffix == ".json" else Path(path) / "norm_stats.json"
    file.write_text(json.dumps({"norm_stats": tree}, indent=2) + "\n", encoding="utf-8")


def find_norm_stats(folder: str | Path, asset: str | None = None) -> Path:
    """The norm_stats.json of a checkpoint folder: beside the weights or at assets/<asset>/.

    Raises: PolicyError if there is none, or several and `asset` does not choose.
    """
    folder = Path(folder)
    if asset is None and (folder / "norm_stats.json").is_file():
        return folder / "norm_stats.json"
    names = asset_names(folder)
    if (asset is None and len(names) == 1) or asset in names:
        return folder / "assets" / (asset or next(iter(names))) / "norm_stats.json"
    if names:
        raise PolicyError(f"{folder}: statistics for {', '.join(names)}; choose one of them as `asset`")
    raise PolicyError(missing_statistics(str(folder)))


def asset_names(folder: Path) -> list[str]:
    """Names of the robots that a checkpoint folder has statistics for, under assets/."""
    assets = folder / "assets"
    found = sorted(assets.rglob("norm_stats.json")) if assets.is_dir() else []
    return [file.parent.relative_to(assets).as_posix() for file in found]


def missing_statistics(where: str) -> str:
    """The sentence for a checkpoint without statistics."""
    return (
        f"{where}: no normalisation statistics, and a π0 policy without them moves the robot wrongly; copy the "
        "norm_stats.json of openpi's checkpoint (assets/<robot>/norm_stats.json) or of your training run next to the "
        "weights"
    )
