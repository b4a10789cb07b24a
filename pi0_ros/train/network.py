"""Which network a run trains: a checkpoint's, grown if another kind is wanted, or a preset from nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pi0_ros.model import ModelConfig, preset
from pi0_ros.model.checkpoints import Conventions, open_checkpoint, start_config
from pi0_ros.model.kinds import traits
from pi0_ros.policy import tiny_tokenizer
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.tokenizer import find_tokenizer, load_tokenizer
from pi0_ros.train.errors import TrainError
from pi0_ros.train.export import FAST_FOLDER


@dataclass(frozen=True)
class Network:
    """Sizes and what comes with them.

    tokenizer: file or folder, "" for the project's own. fast: folder of the action tokenizer, "" if there is none.
    origin: project of the start, "pi0_ros" without one. conventions: its habits, None for ours.
    """

    model: ModelConfig
    tokenizer: str = ""
    fast: str = ""
    origin: str = "pi0_ros"
    conventions: Conventions | None = None


def grown_network(
    init: str,
    kind: str,
    adapter: Adapter,
    changes: Mapping[str, Any],
    tokenizer: str = "",
    others: Sequence[Adapter] = (),
) -> Network:
    """The network of the checkpoint `init`, grown to `kind` ("" keeps its own).

    changes: horizon and prompt_length where a person asked. others: adapters of further robots of a mixture.
    Raises: CheckpointError, PolicyError.
    """
    opened = open_checkpoint(init, as_start=True)
    wanted = kind or opened.config.kind
    if opened.origin == "paligemma" and not kind:
        raise TrainError(
            f"{init}: a PaliGemma can become each kind of policy; say which: --model pi0, pi05 or pi0_fast"
        )
    more = dict(changes)
    grown = opened.origin == "paligemma" or wanted != opened.config.kind
    if grown or "horizon" in opened.assumed:
        more.setdefault("horizon", adapter.rows(wanted) or opened.config.horizon)
    if grown:
        more["cameras"] = all_slots(adapter, others)
    if traits(wanted).acts_in_tokens:  # its chunks have the robot's size, and no weight depends on it
        more["action_dim"] = widest(adapter, others)
    config = start_config(opened, kind, more)
    foreign = opened.origin not in ("pi0_ros", "paligemma") or opened.conventions.dialect != "openpi"
    conventions = opened.conventions if foreign and not grown else None
    fast = opened.folder / FAST_FOLDER
    words = tokenizer or str(find_tokenizer(Path(init)))
    return Network(config, words, str(fast) if fast.is_dir() else "", opened.origin, conventions)


def fresh_network(
    name: str, adapter: Adapter, changes: Mapping[str, Any], tokenizer: str, mlp: int, others: Sequence[Adapter] = ()
) -> Network:
    """A preset (`name`, "" for tiny) with the policy YAML's cameras and rows, over a tokenizer ("" for the project's own).

    others: adapters of further robots of a mixture, whose slots and widths it has room for.
    """
    rows = adapter.rows(preset(name or "tiny").kind)
    if name in ("", "tiny") and not tokenizer:
        plain = tiny_model(mlp)
        room = max(plain.action_dim, widest(adapter, others), *(len(a.state_channels) for a in (adapter, *others)))
        more: dict[str, Any] = {"cameras": all_slots(adapter, others), "action_dim": room, "state_dim": room}
        return Network(replace(plain, **{**more, "horizon": rows or plain.horizon, **changes}))
    words = load_tokenizer(tokenizer) if tokenizer else tiny_tokenizer.build()
    plain = preset(name or "tiny")
    more = {"vocab": words.vocab_size, "cameras": all_slots(adapter, others)}
    if rows:
        more["horizon"] = rows
    if traits(plain.kind).acts_in_tokens:
        more["action_dim"] = widest(adapter, others)
    return Network(replace(plain, **{**more, **changes}), tokenizer)


def tiny_model(mlp: int = 512, **changes: Any) -> ModelConfig:
    """The network of pi05_reach_tiny: the `tiny` preset over the project's own tokenizer."""
    config = preset("tiny", vocab=tiny_tokenizer.build().vocab_size, **changes)
    narrowed = {n: replace(getattr(config, n), mlp=mlp) for n in ("vision", "language", "expert")}
    return replace(config, **narrowed)


def all_slots(adapter: Adapter, others: Sequence[Adapter] = ()) -> tuple[str, ...]:
    """Picture slots of all robots of a run, each once, the first robot's first."""
    return tuple(dict.fromkeys(slot for a in (adapter, *others) for slot in a.cameras))


def widest(adapter: Adapter, others: Sequence[Adapter] = ()) -> int:
    """Action dimensions of the widest robot of a run."""
    return max(len(a.action_channels) for a in (adapter, *others))
