"""The graphs of a network in a folder: which there are for a kind. Needs neither torch nor onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pi0_ros.policy.errors import PolicyError

GRAPHS: Mapping[str, tuple[str, ...]] = {
    "pi0": ("vision", "prefix", "step"),
    "pi05": ("vision", "prefix", "step", "word"),
    "pi0_fast": ("vision", "prefix", "word"),
}
"""What a kind of network needs: π0 has no text head, π0-FAST has nothing else."""


def check_graphs(folder: Path, kind: str) -> None:
    """Refuse a folder without the graphs of a `kind` of network. Raises PolicyError naming the first one."""
    for name in GRAPHS[kind]:
        if not (folder / f"{name}.onnx").is_file():
            raise PolicyError(f"{folder / name}.onnx is missing; write the graphs with `pi0 export {folder.parent}`")
