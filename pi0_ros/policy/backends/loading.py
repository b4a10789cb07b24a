"""A checkpoint, an address or exported graphs as a policy: the one place that knows all backends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pi0_ros.model.errors import CheckpointError
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.address import server_address
from pi0_ros.policy.backend import Backend
from pi0_ros.policy.checkpoint import Checkpoint, Overrides
from pi0_ros.policy.contract import check_fit, contract_of
from pi0_ros.policy.engine import Policy
from pi0_ros.policy.errors import PolicyError, WeightsError
from pi0_ros.policy.plan import MisfitError
from pi0_ros.policy.reading import GRAPHS_FOLDER, Sizes, load_words, policy_lines, read_policy, sizes_for
from pi0_ros.robot.resources import checkpoint_folder
from pi0_ros.robot.spec import Robot

if TYPE_CHECKING:
    from pi0_ros.model import Pi0
    from pi0_ros.policy.backends.remote import RemotePolicy
    from pi0_ros.policy.server_settings import ServerSettings

Given = ParamSpec("Given")
Result = TypeVar("Result")
BACKENDS = ("torch", "onnx")
_log = logging.getLogger(__name__)


def _weights_errors(load: Callable[Given, Result]) -> Callable[Given, Result]:
    """`load`, with errors of the weights as WeightsError: who calls it needs no torch to name them."""

    @wraps(load)
    def guarded(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return load(*args, **kwargs)
        except CheckpointError as error:
            raise WeightsError(str(error)) from error

    return guarded


@_weights_errors
def load_policy(
    checkpoint: str | Path,
    robot: Robot,
    device: str = "cpu",
    threads: int | None = None,
    *,
    adapter: str | Path | Adapter | None = None,
    tokenizer: str | Path | None = None,
    fast: str | Path | None = None,
    overrides: Overrides | None = None,
    steps: int | None = None,
    backend: str = "torch",
    mode: str | None = None,
    fp8: bool = True,
    sizes: Sizes | None = None,
    server: ServerSettings | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Policy | RemotePolicy:
    """Load a checkpoint for a robot and check that they fit, before a weight is read.

    Args: checkpoint: folder of ours, openpi's (PyTorch or JAX) or LeRobot's, the name of one that came with this
    package, or ws://host:port of an openpi server.
    adapter: its YAML, a name under config/policies, or None for the checkpoint's own, else the one named after the
    robot. tokenizer, fast: where the checkpoint lacks them. threads: of torch, for the whole process. steps: of the
    flow (None: what the checkpoint says, else 10). backend: "torch", or "onnx" for the graphs of `pi0 export`. mode: how
    torch runs it ("eager", "compile", "graph", "compile_graph", "kernels"; None: kernels or graphs on CUDA, else eager).
    fp8: whether the scales of `pi0 quantise` are used, where the checkpoint has them and the card computes in 8 bits.
    server: how an address is reached; such a policy connects with its first plan, or in `rehearse`.
    warn: called with what somebody should know of a server.
    Raises: PolicyError (MisfitError if robot and checkpoint do not fit, WeightsError for the weights).
    """
    address = server_address(checkpoint)
    if address is not None:
        from pi0_ros.policy.backends.remote import open_policy

        return open_policy(address, robot, adapter, server, warn)
    if backend not in BACKENDS:
        raise PolicyError(f"backend {backend!r} is unknown; there are torch and onnx (and ws:// addresses)")
    if backend == "torch":
        _prepare_torch(device, mode, threads)
    folder = checkpoint_folder(checkpoint)
    opened, found, pipeline = read_policy(folder, robot, adapter, overrides, sizes, backend)
    misfit = check_fit(robot, contract_of(found, pipeline, robot))
    if not misfit.ok:
        raise MisfitError(f"robot {robot.name} and {folder} do not fit:", misfit.lines)
    words, speech = load_words(opened, pipeline, tokenizer, fast)
    recorded = opened.settings.get("num_inference_steps")
    count = steps or int(recorded if isinstance(recorded, int | float | str) and recorded else 10)
    network: Backend
    if backend == "onnx":
        from pi0_ros.policy.backends.onnx_backend import OnnxBackend

        network = OnnxBackend(opened.folder / GRAPHS_FOLDER, opened.config, count, threads or 0, device)
    else:
        network = _torch_network(folder, opened, found, device, mode, count, sizes_for(opened, found, sizes), fp8)
    for line in policy_lines(opened, found, pipeline):
        _log.info("%s", line)
    return Policy(robot, found, pipeline, words, network, speech)


def _prepare_torch(device: str, mode: str | None, threads: int | None) -> None:
    """Raises PolicyError for a device or mode that cannot be had here, before a weight is read."""
    import torch

    from pi0_ros.policy.backends.torch_backend import check_device, check_mode

    check_device(device)
    check_mode(mode, device)
    if threads is not None:
        torch.set_num_threads(threads)


def _torch_network(
    folder: str | Path,
    opened: Checkpoint,
    adapter: Adapter,
    device: str,
    mode: str | None,
    steps: int,
    sizes: Sizes | None,
    fp8: bool,
) -> Backend:
    """The network in this process, with its graphs recorded. Raises CheckpointError, PolicyError."""
    from pi0_ros.model import load
    from pi0_ros.model.processor import better_in_float32
    from pi0_ros.policy.backends.torch_backend import TorchBackend

    model = load(folder, device=device, sizes=sizes).model
    if better_in_float32(model, device):
        _log.info("computing in float32, as this processor has no instructions for the weights' bfloat16")
        model = model.float()
    scales = _scales(opened, model, device, mode) if fp8 else None
    network = TorchBackend(model, device, steps, mode=mode, release=True, scales=scales)
    seen = [index for index, slot in enumerate(opened.config.cameras) if adapter.cameras.get(slot) is not None]
    network.prepare(seen, lambda done, of: _log.info("graph %d of %d recorded", done, of))
    return network


def _scales(opened: Checkpoint, model: Pi0, device: str, mode: str | None) -> Sequence[tuple[float, float]] | None:
    """The scales of `pi0 quantise` where they are there and of use here. Raises PolicyError for another checkpoint's."""
    import torch

    from pi0_ros.policy.backends.torch_backend import narrows
    from pi0_ros.policy.fp8_scales import FILE, load_scales

    found = load_scales(opened.folder, model.config.language.depth - 1)
    if found is None:
        return None
    if not narrows(model.config, model.gemma.dtype, mode, torch.device(device)):
        _log.info("%s is not used: 8 bits need mode kernels on a card of compute capability 8.9", FILE)
        return None
    _log.info("the trunk runs in 8 bits, by scales of %d observations of %s", found.observations, found.dataset)
    return found.layers
