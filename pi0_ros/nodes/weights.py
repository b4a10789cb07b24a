"""One copy of a policy's weights for all nodes of a process, and one thread that uses it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, TypeVar

from pi0_ros.nodes.server_parameters import SERVER_PARAMETERS, server_settings
from pi0_ros.policy import load_policy
from pi0_ros.policy.checkpoint import Overrides
from pi0_ros.robot import Robot
from pi0_ros.ros.loop import lower_priority
from pi0_ros.ros.parameters import Parameter

Result = TypeVar("Result")


MODEL_PARAMETERS = (
    Parameter("robot", "", "robot YAML: a file, or a name under config/robots", required=True),
    Parameter("checkpoint", "", "checkpoint: a folder, or a name under checkpoints", required=True),
    Parameter("adapter", "", "policy YAML: a file, or a name under config/policies; empty: the checkpoint's own"),
    Parameter("device", "cpu", "where the network runs: cpu, cuda, cuda:1", required=True),
    Parameter("threads", 1, "processor threads for inference; 0 leaves the choice to the library", low=0, high=256),
    Parameter(
        "backend",
        "torch",
        "library that runs the network: torch, or onnx for the graphs that `pi0 export` writes",
        choices=("torch", "onnx"),
    ),
    Parameter(
        "mode",
        "auto",
        "how torch runs the network: eager; compile (needs a C++ compiler); graph, compile_graph (CUDA graphs); kernels (fused, 16-bit weights); auto: kernels or graphs on a GPU, else eager",
        choices=("auto", "eager", "compile", "graph", "compile_graph", "kernels"),
    ),
    Parameter(
        "fp8",
        True,
        "on a card that can, run the trunk in 8 bits by the scales that `pi0 quantise` left beside the weights",
    ),
    Parameter("steps", 0, "flow steps of a plan; 0: as many as the checkpoint says, else 10", low=0, high=100),
    Parameter("tokenizer", "", "tokenizer's file or folder, if the checkpoint has none"),
    Parameter("fast_tokenizer", "", "FAST tokenizer's folder, if a π0-FAST checkpoint has none"),
    Parameter("statistics", "", "norm_stats.json to use instead of the checkpoint's"),
    Parameter("asset", "", "which of several statistics under the checkpoint's assets/"),
    Parameter("pad_state_to", 0, "LeRobot 0.4 padded the state in prompts to this size (32); 0: not", low=0, high=1024),
    *SERVER_PARAMETERS,
)


class Weights:
    """Loads a policy once and runs it in a thread of its own, one question at a time.

    The libraries under torch count their threads per calling thread: if another one loads than infers, `threads`
    is forgotten, and on a busy machine the surplus threads wait for each other fifty times as long as they work.
    """

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "network", initializer=lower_priority)
        self._loaded: dict[tuple[object, ...], Any] = {}

    def run(self, work: Callable[..., Result], *args: object, **kwargs: object) -> Result:
        """The result of `work(...)`, done in the network's thread; its exception is raised here."""
        return self._worker.submit(work, *args, **kwargs).result()

    def get(self, values: SimpleNamespace, robot: Robot, warn: Callable[[str], None] = lambda _: None) -> Any:
        """The policy that a node's `MODEL_PARAMETERS` ask for; `warn` hears of a server's oddities.

        Raises PolicyError.
        """
        key = (str(robot.file), *(getattr(values, parameter.name) for parameter in MODEL_PARAMETERS))
        if key not in self._loaded:
            self._loaded[key] = self.run(
                load_policy,
                values.checkpoint,
                robot,
                device=values.device,
                threads=values.threads or None,
                adapter=values.adapter or None,
                tokenizer=values.tokenizer or None,
                fast=values.fast_tokenizer or None,
                overrides=Overrides(values.statistics, values.asset, values.pad_state_to),
                steps=values.steps or None,
                backend=values.backend,
                mode=None if values.mode == "auto" else values.mode,
                fp8=values.fp8,
                server=server_settings(values),
                warn=warn,
            )
        return self._loaded[key]

    def drop(self) -> None:
        """Forget what is loaded; the next `get` reads it again."""
        self._loaded.clear()
