"""A checkpoint's files without its weights: what the network is, the adapter for a robot, the pipeline, the words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pi0_ros.model.description import NAME, read_description
from pi0_ros.model.kinds import traits
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.adapter_reading import adapter_names, adapter_of_checkpoint, load_adapter
from pi0_ros.policy.checkpoint import Checkpoint, Overrides, build_pipeline
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.fast import ActionTokenizer, load_action_tokenizer
from pi0_ros.policy.pipeline import Pipeline
from pi0_ros.policy.tokenizer import Tokenizer, load_tokenizer
from pi0_ros.robot.resources import checkpoint_folder
from pi0_ros.robot.spec import Robot

GRAPHS_FOLDER = "onnx"
"""Folder of a checkpoint in which `pi0 export` writes its graphs."""
Sizes = Mapping[str, object]


def read_policy(
    checkpoint: str | Path,
    robot: Robot,
    adapter: str | Path | Adapter | None = None,
    overrides: Overrides | None = None,
    sizes: Sizes | None = None,
    backend: str = "torch",
) -> tuple[Checkpoint, Adapter, Pipeline]:
    """A checkpoint without its weights: what it is, the adapter for the robot, and its pipeline.

    The weights' names, shapes and types are compared with the network's from the files' headers. For the backend "onnx"
    what `pi0 export` wrote beside the graphs is read instead, and torch is not needed.
    Raises: PolicyError, CheckpointError.
    """
    folder = checkpoint_folder(checkpoint)
    graphs = _graphs_of(Path(folder)) if backend == "onnx" else None
    if graphs is None:
        opened, found = _read_checkpoint(folder, robot, adapter, sizes)
    else:
        opened, found = _read_graphs(graphs, robot, adapter, sizes)
    return opened, found, build_pipeline(opened, found, overrides)


def _graphs_of(checkpoint: Path) -> Path | None:
    """The folder of a checkpoint's graphs, if they say what they were made from; older ones do not."""
    beside = checkpoint if checkpoint.is_dir() and checkpoint.name != "params" else checkpoint.parent
    graphs = beside / GRAPHS_FOLDER
    return graphs if (graphs / NAME).is_file() else None


def _read_graphs(
    graphs: Path, robot: Robot, adapter: str | Path | Adapter | None, sizes: Sizes | None
) -> tuple[Checkpoint, Adapter]:
    opened = read_description(graphs / NAME, graphs.parent)
    found = find_adapter(opened, robot, adapter)
    rows = (sizes_for(opened, found, sizes) or {}).get("horizon", opened.config.horizon)
    if rows != opened.config.horizon:
        raise PolicyError(
            f"{graphs}: the graphs were written for chunks of {opened.config.horizon} rows and {found.file} says {rows}; "
            f'write {{"horizon": {rows}}} into {graphs.parent / "sizes.json"} and export again'
        )
    return opened, found


def _read_checkpoint(
    folder: str | Path, robot: Robot, adapter: str | Path | Adapter | None, sizes: Sizes | None
) -> tuple[Checkpoint, Adapter]:
    from pi0_ros.model.checkpoints import check_weights, open_checkpoint

    opened = open_checkpoint(folder, sizes=sizes)
    found = find_adapter(opened, robot, adapter)
    wanted = sizes_for(opened, found, sizes)
    if wanted != sizes:
        # What the adapter adds stays an assumption of this checkpoint, so that it differs from what is recorded.
        opened = replace(open_checkpoint(folder, sizes=wanted), assumed=opened.assumed)
    check_weights(opened)
    return opened, found


def sizes_for(opened: Checkpoint, adapter: Adapter, sizes: Sizes | None) -> Sizes | None:
    """`sizes` with the adapter's horizon, if the checkpoint does not record one (openpi's PyTorch and JAX trainers)."""
    rows = adapter.rows(opened.config.kind)
    if "horizon" not in opened.assumed or not rows:
        return sizes
    return {**(sizes or {}), "horizon": rows}


def find_adapter(opened: Checkpoint, robot: Robot, adapter: str | Path | Adapter | None = None) -> Adapter:
    """The adapter given, the checkpoint's own, LeRobot's names, or config/policies/<robot>.yaml, in this order."""
    if isinstance(adapter, Adapter):
        return adapter
    if adapter is not None:
        return load_adapter(adapter)
    own = adapter_of_checkpoint(opened.folder / "config.json") if opened.origin == "pi0_ros" else None
    if own is not None:
        return own
    if robot.name not in adapter_names():
        raise PolicyError(
            f"{opened.folder}: nothing says how this checkpoint's vectors map to robot {robot.name}; write "
            f"config/policies/{robot.name}.yaml or name one of {', '.join(adapter_names())}: `pi0 check --adapter FILE`, parameter adapter"
        )
    return load_adapter(robot.name)


def load_words(
    opened: Checkpoint, pipeline: Pipeline, tokenizer: str | Path | None = None, fast: str | Path | None = None
) -> tuple[Tokenizer, ActionTokenizer | None]:
    """The text tokenizer and, for a π0-FAST, the action tokenizer: those given, or the checkpoint's own.

    Raises: PolicyError if one is missing, or has ids that the network does not.
    """
    words = load_tokenizer(tokenizer or opened.folder)
    try:
        words.restrict(opened.config.vocab)
    except PolicyError as error:
        raise PolicyError(f"{opened.folder}: {error}") from error
    return words, load_fast_for(opened, fast) if traits(pipeline.style.kind).acts_in_tokens else None


def policy_lines(opened: Checkpoint, adapter: Adapter, pipeline: Pipeline) -> tuple[str, ...]:
    """The policy as it runs: every value and where it comes from, and what deserves a look, a line each."""
    lines = [f"    {setting.line()}" for setting in pipeline.settings]
    for key, norm, channels in (
        ("state", pipeline.state_norm, adapter.state_channels),
        ("actions", pipeline.action_norm, adapter.action_channels),
    ):
        names = [channels[i] for i in norm.constant() if i < len(channels)]
        if names:
            lines.append(f"look  statistics of {key}: {', '.join(names)} never changed where they were computed")
    unknown = opened.origin == "lerobot" and traits(pipeline.style.kind).adarms and not pipeline.style.pad_state_to
    if unknown and not _records_relative(opened):
        lines.append(
            "look  prompt.pad_state_to: this checkpoint may be of LeRobot 0.4, which padded the state in the prompt to 32; "
            "its files do not say. If it is, set it in the policy YAML (prompt: {pad_state_to: 32})"
        )
    return tuple(lines)


def _records_relative(opened: Checkpoint) -> bool:
    """Whether LeRobot's config.json has the fields of relative actions, which came after the padding was dropped."""
    return "use_relative_actions" in opened.settings


def load_fast_for(opened: Checkpoint, fast: str | Path | None) -> ActionTokenizer:
    """The FAST tokenizer given, or the one in the checkpoint's fast_tokenizer/ folder.

    An answer of the wrong length is cut or filled up as LeRobot does, or, for openpi's checkpoints (which would decode
    it to zeros, a command to the middle of the range), refused.
    """
    failure = "truncate" if opened.conventions.dialect == "lerobot" else "refuse"
    return load_action_tokenizer(fast or opened.folder / "fast_tokenizer", failure)
