"""`pi0 check --backend B --device D`: can the network run so on this computer? No weight is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pi0_ros.policy.errors import PolicyError


def backend_lines(folder: Path, kind: str, backend: str, device: str) -> list[str]:
    """A line for everything that the backend needs on this computer; of what is missing it begins with "no".

    folder: of the checkpoint. kind: of its network. backend: "torch" or "onnx".
    """
    if backend == "torch":
        from pi0_ros.policy.backends.torch_backend import check_device

        return [_line(f"PyTorch on {device}", lambda: check_device(device))]
    from pi0_ros.policy.backends.onnx_backend import check_device as check_runtime
    from pi0_ros.policy.backends.onnx_files import check_graphs
    from pi0_ros.policy.reading import GRAPHS_FOLDER

    graphs = folder / GRAPHS_FOLDER
    return [
        _line(f"ONNX graphs in {graphs}", lambda: check_graphs(graphs, kind)),
        _line(f"onnxruntime on {device}", lambda: check_runtime(device)),
    ]


def _line(what: str, check: Callable[[], None]) -> str:
    try:
        check()
    except PolicyError as problem:
        return f"no  {what}: {problem}"
    return f"ok  {what}"
