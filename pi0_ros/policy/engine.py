"""Observation in, plan out: the policy as nodes, simulator and evaluation use it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from pi0_ros.model.kinds import traits
from pi0_ros.policy.adapter import (
    Adapter,
    actions_from_model,
    actions_to_model,
    adapter_names,
    adapter_of_checkpoint,
    load_adapter,
    state_to_model,
)
from pi0_ros.policy.address import server_address
from pi0_ros.policy.backend import Backend, NormalisedPrefix
from pi0_ros.policy.bins import BinTokenizer
from pi0_ros.policy.checkpoint import Checkpoint, Overrides, build_pipeline
from pi0_ros.policy.contract import Contract, Fit, check_fit, contract_of
from pi0_ros.policy.errors import PolicyError, WeightsError
from pi0_ros.policy.fast import ActionTokenizer, extract_actions, load_action_tokenizer
from pi0_ros.policy.pipeline import ModelInputs, Pipeline
from pi0_ros.policy.plan import (
    Answer,
    Images,
    MisfitError,
    NotFiniteError,
    Observation,
    Plan,
    PlanPrefix,
    in_plan_order,
    values_before,
)
from pi0_ros.policy.tokenizer import Tokenizer, load_tokenizer
from pi0_ros.policy.turns import rows_beside_robot, rows_beside_state
from pi0_ros.robot.resources import checkpoint_folder
from pi0_ros.robot.spec import Robot

if TYPE_CHECKING:
    from pi0_ros.policy.backends.remote import RemotePolicy

Given = ParamSpec("Given")
Result = TypeVar("Result")
_log = logging.getLogger(__name__)
FAST_TOKENS = 256  # longest answer of π0-FAST, as in openpi
AROUND = 16  # tokens of an answer beside its numbers: "Action: " and "|"


class Policy:
    """One checkpoint on one robot. Not thread-safe; the contract never changes."""

    def __init__(
        self,
        robot: Robot,
        adapter: Adapter,
        pipeline: Pipeline,
        tokenizer: Tokenizer,
        backend: Backend,
        fast: ActionTokenizer | None = None,
    ) -> None:
        self.contract: Contract = contract_of(adapter, pipeline, robot)
        fit = check_fit(robot, self.contract)
        if not fit.ok:
            raise MisfitError(f"robot {robot.name} and policy {adapter.name} do not fit:", fit.lines)
        if traits(pipeline.style.kind).acts_in_tokens and fast is None:
            raise PolicyError("a π0-FAST checkpoint needs the FAST tokenizer's folder (processor_config.json)")
        self.robot, self.adapter, self.pipeline = robot, adapter, pipeline
        self._tokenizer, self._backend, self._fast = tokenizer, backend, fast

    def infer(
        self,
        obs: Observation,
        noise: NDArray[np.floating] | None = None,
        prefix: PlanPrefix | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> Plan:
        """A plan from one observation.

        Args: noise [H, action width] standard normal; or `seed` (a number, or a Generator that is drawn from) to make
        it, times the adapter's `noise`. prefix: continue the running plan (real-time chunking); ignored, with no frozen rows, by a π0-FAST network,
        which decodes tokens (`contract.continues`).
        Raises: PolicyError for a missing state, bad pictures, an empty prompt, a prefix that does not fit;
        NotFiniteError where the network's output is not finite.
        """
        started, before = time.perf_counter(), values_before(obs, prefix)
        prefix = prefix if self.contract.continues else None
        state = state_to_model(self.adapter, obs.state)
        inputs = self.pipeline.inputs(self._slots(obs.images, self.adapter.cameras), state, obs.prompt, self._tokenizer)
        normalised = self._normalised(inputs, noise, seed, self._prefix(prefix, state))
        if not np.all(np.isfinite(normalised)):
            raise NotFiniteError(f"the network of {self.contract.name} gave NaN or infinity; no plan made")
        values = actions_from_model(self.adapter, self.pipeline.actions(normalised, state), before)
        values = rows_beside_robot(self.adapter, values, obs.state)
        return Plan(
            values=in_plan_order(
                self.robot, self.adapter, self.contract.channels, values, {**obs.state, **obs.command}
            ),
            names=self.contract.channels,
            period=self.contract.period,
            frozen_rows=0 if prefix is None else min(prefix.delay_rows, len(prefix.values)),
            inference_seconds=time.perf_counter() - started,
        )

    def subtask(self, obs: Observation, task: str, max_tokens: int = 32) -> str:
        """The words of `answer`."""
        return self.answer(obs, task, max_tokens).text

    def answer(self, obs: Observation, task: str, max_tokens: int = 32) -> Answer:
        """What to do next towards `task`, in words, from the pictures (π0.5, arXiv 2504.16054, section IV-B).

        Raises: PolicyError where the checkpoint has no text head, the task is empty, or no picture is there.
        """
        if not self.contract.has_text_head:
            raise PolicyError(f"{self.contract.name} is a checkpoint without a text head; give subtasks yourself")
        cameras = self.adapter.high_level_cameras
        images = self._slots(obs.images, self.adapter.cameras if cameras is None else cameras)
        inputs = self.pipeline.subtask_inputs(images, task, self._tokenizer)
        words = self._backend.text(inputs, max_tokens, (self._tokenizer.eos,))
        return Answer(self._tokenizer.decode(words.ids).strip(), words.log_probability)

    def rehearse(self, obs: Observation, progress: Callable[[str], None]) -> None:
        """Plan once before anything moves: the first inference is the slowest, and what is broken shows here.

        progress: called now and then with what is being waited for. Raises: as `infer`.
        """
        self.infer(obs, seed=0)

    def new_episode(self) -> None:
        """Somebody else was driving: nothing to do, the network has no memory."""

    def lanes(self, most: int) -> list[Policy]:
        """This policy alone: a network on this computer computes one plan after another, whatever `most` says."""
        return [self]

    def noise_shape(self) -> tuple[int, int]:
        """Rows and columns of the noise `infer` takes."""
        return self.pipeline.horizon, self.pipeline.action_width

    def _slots(self, images: Images, cameras: Mapping[str, str | None]) -> dict[str, NDArray[np.uint8]]:
        """Pictures by picture slot; a camera that gave none is left out (masked)."""
        return {slot: images[camera] for slot, camera in cameras.items() if camera is not None and camera in images}

    def _normalised(
        self, inputs: ModelInputs, noise: Any, seed: int | np.random.Generator | None, prefix: NormalisedPrefix | None
    ) -> NDArray[np.floating]:
        if self._fast is not None:
            return self._from_tokens(inputs, self._fast)
        if noise is None:
            if seed is None:
                raise PolicyError("infer needs noise or a seed to draw it with; zeros would not be a sample")
            noise = np.random.default_rng(seed).standard_normal(self.noise_shape(), np.float32)
            noise *= np.float32(self.adapter.noise)
        if np.shape(noise) != self.noise_shape():
            raise PolicyError(f"noise has shape {np.shape(noise)}, the network takes {self.noise_shape()}")
        return self._backend.actions(inputs, np.asarray(noise), prefix)

    def _from_tokens(self, inputs: ModelInputs, fast: ActionTokenizer) -> NDArray[np.floating]:
        """π0-FAST: generated ids to a chunk."""
        stop = (self._tokenizer.eos, self._tokenizer.encode("|")[-1])
        bins = isinstance(fast, BinTokenizer)  # a token for every number, and what stands around them
        longest = self.pipeline.horizon * self.pipeline.action_size + AROUND if bins else FAST_TOKENS
        ids = self._backend.text(inputs, longest, stop).ids
        return extract_actions(self._tokenizer, fast, ids, self.pipeline.horizon, self.pipeline.action_size)

    def _prefix(self, prefix: PlanPrefix | None, state: NDArray[np.floating]) -> NormalisedPrefix | None:
        """The leftover re-anchored: absolute rows become offsets from the new state, then the network's scale."""
        if prefix is None:
            return None
        values = rows_beside_state(self.adapter, actions_to_model(self.adapter, prefix.values, prefix.names), state)
        if not len(values) or not np.all(np.isfinite(values)):
            raise PolicyError("the plan prefix is empty or not finite; infer without it")
        if not 0 <= prefix.delay_rows <= self.pipeline.horizon:
            raise PolicyError(f"a delay of {prefix.delay_rows} rows does not fit a chunk of {self.pipeline.horizon}")
        normalised = self.pipeline.normalised_actions(values, state)
        return NormalisedPrefix(normalised, prefix.delay_rows, prefix.execution_rows, prefix.method)


def _weights_errors(load: Callable[Given, Result]) -> Callable[Given, Result]:
    """`load`, with errors of the weights as WeightsError: who calls it needs no torch to name them."""

    @wraps(load)
    def guarded(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return load(*args, **kwargs)
        except PolicyError:
            raise
        except ValueError as error:
            from pi0_ros.model import CheckpointError

            if isinstance(error, CheckpointError):
                raise WeightsError(str(error)) from error
            raise

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
    sizes: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
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
    server: fields of `ServerSettings` for an address; such a policy connects with its first plan, or in `rehearse`.
    warn: called with what somebody should know of a server.
    Raises: PolicyError (MisfitError where robot and checkpoint do not fit, WeightsError for the weights).
    """
    address = server_address(checkpoint)
    if address is not None:
        from pi0_ros.policy.backends.remote import ServerSettings, open_policy

        return open_policy(address, robot, adapter, ServerSettings(**(server or {})), warn)
    import torch

    from pi0_ros.policy.backends.torch_backend import check_device, check_mode

    if backend == "torch":
        check_device(device)
        check_mode(mode, device)
    if threads is not None:
        torch.set_num_threads(threads)
    checkpoint = checkpoint_folder(checkpoint)
    opened, found, pipeline = read_policy(checkpoint, robot, adapter, overrides, sizes)
    misfit = check_fit(robot, contract_of(found, pipeline, robot))
    if not misfit.ok:
        raise MisfitError(f"robot {robot.name} and {checkpoint} do not fit:", misfit.lines)
    words, speech = load_words(opened, pipeline, tokenizer, fast)
    count = steps or int(opened.settings.get("num_inference_steps") or 10)
    network = _network(checkpoint, opened, backend, device, mode, count, threads, sizes_for(opened, found, sizes), fp8)
    for line in policy_lines(opened, found, pipeline):
        _log.info("%s", line)
    if backend == "torch":
        slots = opened.config.cameras
        seen = [index for index, slot in enumerate(slots) if found.cameras.get(slot) is not None]
        network.prepare(seen, lambda done, of: _log.info("graph %d of %d recorded", done, of))
    return Policy(robot, found, pipeline, words, network, speech)


def _network(
    checkpoint: str | Path,
    opened: Checkpoint,
    backend: str,
    device: str,
    mode: str | None,
    steps: int,
    threads: int | None,
    sizes: Mapping[str, Any] | None,
    fp8: bool,
) -> Backend:
    """The backend of that name. Raises PolicyError for another name or missing graphs, CheckpointError."""
    if backend == "onnx":
        from pi0_ros.policy.backends.onnx_backend import OnnxBackend

        return OnnxBackend(opened.folder / "onnx", opened.config, steps, threads or 0, device)
    if backend != "torch":
        raise PolicyError(f"backend {backend!r} is unknown; there are torch and onnx (and ws:// addresses)")
    from pi0_ros.model import load
    from pi0_ros.policy.backends.torch_backend import TorchBackend

    model = load(checkpoint, device=device, sizes=sizes).model
    scales = _scales(opened, model, device, mode) if fp8 else None
    return TorchBackend(model, device, steps, mode=mode, release=True, scales=scales)


def _scales(opened: Checkpoint, model: Any, device: str, mode: str | None) -> Sequence[tuple[float, float]] | None:
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


def read_policy(
    checkpoint: str | Path,
    robot: Robot,
    adapter: str | Path | Adapter | None = None,
    overrides: Overrides | None = None,
    sizes: Mapping[str, Any] | None = None,
) -> tuple[Checkpoint, Adapter, Pipeline]:
    """A checkpoint without its weights: what it is, the adapter for the robot, and its pipeline.

    The weights' names, shapes and types are compared with the network's from the files' headers.
    Raises: PolicyError, CheckpointError.
    """
    from pi0_ros.model.checkpoints import check_weights, open_checkpoint

    checkpoint = checkpoint_folder(checkpoint)
    opened: Any = open_checkpoint(checkpoint, sizes=sizes)
    found = find_adapter(opened, robot, adapter)
    wanted = sizes_for(opened, found, sizes)
    if wanted != sizes:
        # What the adapter adds stays an assumption of this checkpoint, so that it can be told from what is recorded.
        opened = replace(open_checkpoint(checkpoint, sizes=wanted), assumed=opened.assumed)
    check_weights(opened)
    return opened, found, build_pipeline(opened, found, overrides)


def sizes_for(opened: Checkpoint, adapter: Adapter, sizes: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """`sizes` with the adapter's horizon, where the checkpoint does not record one (openpi's PyTorch and JAX trainers)."""
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

    Raises: PolicyError where one is missing, or has ids that the network does not.
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


__all__ = [
    "Contract",
    "Fit",
    "MisfitError",
    "NotFiniteError",
    "Observation",
    "Plan",
    "PlanPrefix",
    "Policy",
    "check_fit",
    "load_policy",
    "read_policy",
]
