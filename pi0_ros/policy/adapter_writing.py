"""An adapter as plain values in the YAML's schema, for a checkpoint's config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from pi0_ros.policy.adapter import SURE_ENOUGH, Adapter, Block, Delta
from pi0_ros.policy.adapter_remote import remote_to_dict
from pi0_ros.robot.measurement import TURN


def adapter_to_dict(adapter: Adapter) -> dict[str, object]:
    """Plain values in the YAML's schema, for a checkpoint's config.json; `adapter_from` reads them back."""
    values: dict[str, object] = {
        "policy": adapter.name,
        "cameras": dict(adapter.cameras),
        "missing_cameras": adapter.missing,
        "state": [_block_dict(b) for b in adapter.state],
        "actions": [_block_dict(b) for b in adapter.actions],
        "period": adapter.period,
    }
    optional = {
        "high_level_cameras": adapter.high_level_cameras and dict(adapter.high_level_cameras),
        "hold": list(adapter.hold),
        "horizon": adapter.horizon or dict(adapter.horizons),
        "asset": adapter.asset,
        "normalisation": adapter.normalisation,
        "resampler": adapter.resampler,
        "prompt": adapter.prompt and dict(adapter.prompt),
        "remote": adapter.remote and remote_to_dict(adapter.remote),
        "finished": list(adapter.finished),
        "subtasks": adapter.subtasks,
        "dataset": adapter.dataset and {k: v for k, v in _plain(asdict(adapter.dataset)).items() if v},
    }
    calm = {} if adapter.noise == 1.0 else {"noise": adapter.noise}
    if adapter.subtask_log_probability != SURE_ENOUGH:
        calm["subtask_log_probability"] = adapter.subtask_log_probability
    return values | {k: v for k, v in optional.items() if v} | calm


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _block_dict(block: Block) -> dict[str, object]:
    values: dict[str, object] = {"channels": list(block.channels)}
    if any(s != 1.0 for s in block.signs):
        values["signs"] = list(block.signs)
    if block.range is not None:
        values["range"] = list(block.range)
    if block.convert:
        values["convert"] = block.convert
    if block.delta is not Delta.ABSOLUTE:
        values["delta"] = True if block.delta is Delta.START else block.delta.value
    if block.follows != 1.0:
        values["follows"] = block.follows
    if block.wrap is not None:
        values["wrap"] = [block.wrap, block.wrap + TURN]
    if block.scale != 1.0:
        values["scale"] = block.scale
    if block.clip is not None:
        values["clip"] = list(block.clip)
    if block.binary is not None:
        values |= {"threshold": block.binary.threshold, "hysteresis": block.binary.hysteresis}
    return values
