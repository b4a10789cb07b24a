"""Observation in, plan out: the policy as nodes, simulator and evaluation use it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from pi0_ros.model.kinds import traits
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.adapter_vectors import actions_from_model, actions_to_model, state_to_model
from pi0_ros.policy.backend import Backend, NormalisedPrefix
from pi0_ros.policy.bins import BinTokenizer
from pi0_ros.policy.boxes import without_boxes
from pi0_ros.policy.contract import Contract, check_fit, contract_of
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.fast import ActionTokenizer, extract_actions
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
from pi0_ros.policy.tokenizer import Tokenizer
from pi0_ros.policy.turns import rows_beside_robot, rows_beside_state
from pi0_ros.robot.spec import Robot

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
        NotFiniteError if the network's output is not finite.
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
        """What to do next towards `task`, in words, from the pictures (π0.5, arXiv 2504.16054, section IV-B). Boxes that the
        network says first are no part of it.

        Raises: PolicyError if the checkpoint has no text head, the task is empty, or no picture is there.
        """
        if not self.contract.has_text_head:
            raise PolicyError(f"{self.contract.name} is a checkpoint without a text head; give subtasks yourself")
        images = self._slots(obs.images, self.adapter.question_cameras)
        inputs = self.pipeline.subtask_inputs(images, task, self._tokenizer)
        words = self._backend.text(inputs, max_tokens, (self._tokenizer.eos,))
        return Answer(without_boxes(self._tokenizer.decode(words.ids)), words.log_probability)

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

    def close(self) -> None:
        """Nothing: a network on this computer has nothing with others."""

    def noise_shape(self) -> tuple[int, int]:
        """Rows and columns of the noise `infer` takes."""
        return self.pipeline.horizon, self.pipeline.action_width

    def _slots(self, images: Images, cameras: Mapping[str, str | None]) -> dict[str, NDArray[np.uint8]]:
        """Pictures by picture slot; a camera that gave none is left out (masked)."""
        return {slot: images[camera] for slot, camera in cameras.items() if camera is not None and camera in images}

    def _normalised(
        self,
        inputs: ModelInputs,
        noise: NDArray[np.floating] | None,
        seed: int | np.random.Generator | None,
        prefix: NormalisedPrefix | None,
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

    def _prefix(self, prefix: PlanPrefix | None, state: NDArray[np.float64]) -> NormalisedPrefix | None:
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
