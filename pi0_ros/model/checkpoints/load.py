"""Anyone's checkpoint into our network: detect, check everything, then fill tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pi0_ros.model.checkpoints.names import to_network
from pi0_ros.model.checkpoints.nearby import hub_hint
from pi0_ros.model.checkpoints.orbax import OrbaxSource, find_orbax
from pi0_ros.model.checkpoints.peft import PeftSource, open_source
from pi0_ros.model.checkpoints.shards import open_weights, read_json
from pi0_ros.model.checkpoints.sizes import infer, records_horizon
from pi0_ros.model.checkpoints.sources import OwnSource, ShardSource, Source, TrunkSource
from pi0_ros.model.config import ConfigError, ModelConfig, Numerics, numerics_for
from pi0_ros.model.conventions import Conventions, conventions_for, recorded_conventions
from pi0_ros.model.errors import CheckpointError
from pi0_ros.model.kinds import traits
from pi0_ros.model.network import Pi0

Origin = Literal["openpi", "openpi_jax", "lerobot", "pi0_ros", "paligemma"]
ORIGINS: tuple[Origin, ...] = ("openpi", "openpi_jax", "lerobot", "pi0_ros")  # of policies
FORMAT, VERSION = "pi0_ros", 1
LISTED = 8  # keys named in an error; the rest is counted
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Report:
    """What was read: tensor count and bytes taken, keys left out on purpose, and remarks worth a log line."""

    tensors: int
    nbytes: int
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint in memory.

    `settings` is the checkpoint's own config.json, `policy` the "policy" section of ours (empty for foreign ones),
    `conventions` what the origin does around the network, `folder` where statistics and tokenizer are looked for,
    `assumed` the sizes ("horizon") that nothing records, so that a usual value was taken.
    """

    model: Pi0
    origin: Origin
    config: ModelConfig
    report: Report
    folder: Path
    conventions: Conventions
    settings: Mapping[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()

    @property
    def policy(self) -> Mapping[str, Any]:
        return self.settings.get("policy") or {} if self.origin == "pi0_ros" else {}


@dataclass(frozen=True)
class OpenedCheckpoint:
    """A checkpoint recognised and measured, with no weight read yet."""

    source: Source
    origin: Origin
    config: ModelConfig
    folder: Path
    conventions: Conventions
    settings: Mapping[str, Any]
    notes: tuple[str, ...]
    assumed: tuple[str, ...] = ()


def load(
    path: str | Path,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    *,
    sizes: Mapping[str, Any] | None = None,
    origin: Origin | None = None,
    lerobot_version: str | None = None,
    base: str | Path | None = None,
    progress: Progress | None = None,
) -> LoadedCheckpoint:
    """Loads an openpi (PyTorch or JAX), LeRobot or pi0_ros checkpoint; which one it is, its content says.

    path: folder, safetensors file, or index file. dtype: of the parameters, None keeps the stored one (float16 and
    float64 become float32). sizes: as in a sizes.json beside the weights, if shapes cannot tell (head counts,
    horizon, prompt length). origin: overrides the detected project. lerobot_version: "0.4.x" brings back its state
    padding in prompts. base: the checkpoint that a LoRA (PEFT) folder was trained on, where the path in its
    adapter_config.json is none on this machine. progress: called with (numbers done, numbers in all).

    Memory: the model itself plus 64 MiB. Raises CheckpointError, always before any half-filled model could be seen.
    """
    opened = open_checkpoint(path, sizes=sizes, origin=origin, lerobot_version=lerobot_version, base=base)
    source, model = opened.source, empty(opened.config)
    with naming(path):
        plan = _plan(opened, model)
        fill(model, source, plan, dtype, torch.device(device), progress)
    skipped = source.names.skipped if isinstance(source, ShardSource) else ()
    report = Report(len(plan), source.nbytes, skipped, opened.notes)
    return LoadedCheckpoint(
        model.eval(),
        opened.origin,
        opened.config,
        report,
        opened.folder,
        opened.conventions,
        opened.settings,
        opened.assumed,
    )


def check_weights(opened: OpenedCheckpoint) -> int:
    """Compare the weights' names, shapes and types with the network's, from the files' headers alone.

    Returns the number of tensors. Raises CheckpointError for what `load` would refuse before it reads a weight.
    """
    with naming(opened.folder):
        plan = _plan(opened, empty(opened.config))
        for name in plan:
            stored_type(opened.source.dtype_of(name), opened.source.key(name))
    return len(plan)


def empty(config: ModelConfig) -> Pi0:
    """The network without memory for its weights: names, shapes and types."""
    with torch.device("meta"):
        return Pi0(config)


def open_checkpoint(
    path: str | Path,
    *,
    sizes: Mapping[str, Any] | None = None,
    origin: Origin | None = None,
    lerobot_version: str | None = None,
    base: str | Path | None = None,
    as_start: bool = False,
) -> OpenedCheckpoint:
    """Recognises a checkpoint and works out its configuration without reading weights.

    as_start: a PaliGemma, which training can begin with but which is no policy, is opened too (`start.start_from`).
    Raises: CheckpointError.
    """
    with naming(path):
        opened = _open(Path(path), sizes, origin, lerobot_version, base)
        if opened.origin == "paligemma" and not as_start:
            raise CheckpointError(
                "a PaliGemma, the vision-language model that policies are trained from; it gives no actions. Train "
                f"one from it: pi0 train --init {path} --model pi05 --dataset FOLDER --out FOLDER"
            )
        return opened


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Puts the checkpoint's path before messages of CheckpointError that do not name it yet."""
    try:
        yield
    except CheckpointError as error:
        if str(path) in str(error):
            raise
        raise CheckpointError(f"{path}: {error}") from None


def _open(
    path: Path,
    sizes: Mapping[str, Any] | None,
    origin: Origin | None,
    lerobot_version: str | None,
    base: str | Path | None,
) -> OpenedCheckpoint:
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or folder{hub_hint(path)}")
    if origin is not None and origin not in ORIGINS:
        raise CheckpointError(f"origin {origin!r} is not known; choose one of {', '.join(ORIGINS)}")
    orbax = find_orbax(path) if path.is_dir() else None
    folder = _folder(path, orbax)
    settings = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    beside = read_json(folder / "sizes.json") if (folder / "sizes.json").is_file() else {}
    merged = _merge(beside, sizes or {})
    if orbax is None and settings.get("format") == FORMAT:
        return _open_own(path, folder, settings)
    source: Source = OrbaxSource(orbax) if orbax else open_source(path, base)
    if isinstance(source, ShardSource) and source.names.bare:
        return _open_paligemma(TrunkSource(source, settings), folder, merged, settings)
    if isinstance(source, OrbaxSource):
        merged = _merge(merged, source.head_sizes())
    origin = origin or ("openpi_jax" if orbax else _detect_origin(source, settings))
    numerics = _numerics(origin, source.kind, settings)
    config = infer(source.kind, source.shapes, merged, settings, numerics)
    conventions = conventions_for(origin, config.kind, settings, lerobot_version)
    notes, assumed = _notes(source, origin, lerobot_version), () if records_horizon(merged, settings) else ("horizon",)
    return OpenedCheckpoint(source, origin, config, folder, conventions, settings, notes, assumed)


def _open_paligemma(
    source: TrunkSource, folder: Path, sizes: Mapping[str, Any], settings: Mapping[str, Any]
) -> OpenedCheckpoint:
    numerics = numerics_for("pi0_ros", source.kind)
    config = infer(source.kind, source.shapes, _merge(source.sizes, sizes), {}, numerics)
    conventions = conventions_for("pi0_ros", config.kind, {})
    return OpenedCheckpoint(source, "paligemma", config, folder, conventions, settings, (), ("horizon",))


def _folder(path: Path, orbax: Path | None) -> Path:
    """The folder whose JSON files describe the weights; for `…/params` it is the one above."""
    if orbax is not None:
        return orbax.parent if orbax.name == "params" else orbax
    return path if path.is_dir() else path.parent


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`high` over `low`, one level deep."""
    merged = dict(low)
    for key, value in high.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if both else value
    return merged


def _detect_origin(source: Source, settings: Mapping[str, Any]) -> Origin:
    """LeRobot's config names a `type`, its keys often begin with `model.`, and it unties the embedding; else openpi."""
    if isinstance(settings.get("type"), str) and settings["type"].startswith("pi0"):
        return "lerobot"
    if "action_horizon" in settings and "type" not in settings:
        return "openpi"
    assert isinstance(source, ShardSource | PeftSource)
    return "lerobot" if source.names.wrapped or source.names.legacy or source.untied else "openpi"


def _numerics(origin: Origin, kind: str, settings: Mapping[str, Any]) -> Numerics:
    numerics = numerics_for(origin, kind)
    periods = {key: settings[key] for key in ("min_period", "max_period") if key in settings}
    try:
        return replace(numerics, **periods)
    except ConfigError as error:
        raise CheckpointError(f"config.json: {error}") from None


def _notes(source: Source, origin: Origin, lerobot_version: str | None) -> tuple[str, ...]:
    notes = []
    if isinstance(source, ShardSource) and source.untied:
        used = (
            "each is used, as LeRobot does"
            if traits(source.kind).acts_in_tokens
            else "embed_tokens is used, as LeRobot does"
        )
        notes.append(f"embed_tokens and lm_head are both in the file; {used}")
    if isinstance(source, PeftSource):
        notes.append(f"LoRA pairs merged into {len(source.pairs)} weights of {source.base_path}")
    if isinstance(source, OrbaxSource) and source.lora:
        notes.append(f"LoRA pairs merged into {source.lora} weights (scale 1, as in openpi's presets)")
    if origin == "lerobot" and traits(source.kind).adarms and lerobot_version is None:
        notes.append(
            "a model trained with LeRobot 0.4.x also needs lerobot_version='0.4' (state padding in its prompt)"
        )
    return tuple(notes)


def _open_own(path: Path, folder: Path, settings: Mapping[str, Any]) -> OpenedCheckpoint:
    if settings.get("version") != VERSION:
        raise CheckpointError(f"{folder / 'config.json'}: version {settings.get('version')!r}; this is read: {VERSION}")
    try:
        config = ModelConfig.from_dict(settings.get("model", {}))
    except ConfigError as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from None
    source = OwnSource(open_weights(path), config.kind)
    with naming(folder / "config.json"):
        conventions = recorded_conventions(settings.get("conventions"), config.kind)
    return OpenedCheckpoint(source, "pi0_ros", config, folder, conventions, settings, ())


def _plan(opened: OpenedCheckpoint, model: nn.Module) -> dict[str, str]:
    """Source name -> network parameter name. One CheckpointError lists all that is missing, unexpected or misshapen."""
    translate = (lambda name: name) if opened.origin == "pi0_ros" else to_network
    plan = {name: translate(name) for name in opened.source.shapes}
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict(keep_vars=True).items()}
    shapes = {plan[name]: shape for name, shape in opened.source.shapes.items()}
    problems = [
        ("missing", sorted(expected.keys() - shapes.keys())),
        ("unexpected", sorted(opened.source.key(name) for name in plan if plan[name] not in expected)),
        ("of a wrong shape", _misshapen(shapes, expected)),
    ]
    found = [f"{len(names)} {what}: {', '.join(names[:LISTED])}" for what, names in problems if names]
    if found:
        raise CheckpointError(f"the weights do not fit a {opened.config.kind} model; {'; '.join(found)}")
    return plan


def _misshapen(shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> list[str]:
    return [
        f"{name} {list(shapes[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]


def finite(piece: Tensor) -> bool:
    """Whether all values are finite: smallest and largest carry NaN and infinity, and need no memory."""
    return not piece.numel() or all(bool(value.isfinite()) for value in torch.aminmax(piece))


def stored_type(dtype: torch.dtype, name: str) -> torch.dtype:
    """The type in which a weight is kept. Raises CheckpointError if it is no floating point number."""
    if not dtype.is_floating_point:
        raise CheckpointError(f"{name!r} is stored as {dtype}; weights must be floating point")
    return dtype if dtype in (torch.bfloat16, torch.float32) else torch.float32


def fill(
    model: nn.Module,
    source: Source,
    plan: Mapping[str, str],
    dtype: torch.dtype | None,
    device: torch.device,
    progress: Progress | None = None,
) -> None:
    """Allocates and fills the parameters `plan` names, one after the other; nothing else of the model's size is held.

    plan: name in the source -> parameter. Raises: CheckpointError for weights that are not finite.
    """
    shapes, done = source.shapes, 0
    total = sum(p.numel() for p in model.parameters())
    for name in source.order(list(plan)):
        stored = stored_type(source.dtype_of(name), name)
        out = torch.empty(shapes[name], dtype=dtype or stored, device=device)
        if not source.copy_into(name, out, finite):
            raise CheckpointError(f"{source.key(name)!r} holds NaN or infinite weights; the checkpoint is damaged")
        _assign(model, plan[name], out)
        done += out.numel()
        if progress is not None:
            progress(done, total)


def _assign(model: nn.Module, name: str, value: Tensor) -> None:
    parent, _, leaf = name.rpartition(".")
    module = model.get_submodule(parent)
    setattr(module, leaf, nn.Parameter(value) if leaf in module._parameters else value)
