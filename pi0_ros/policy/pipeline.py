"""Everything around the network for one checkpoint, as pure functions: pictures, state and task in, model inputs out;
model actions in, the model's own absolute action space out. Robot names come in only with the adapter, one layer up.

Order of operations (openpi transforms.py, lerobot processor pipelines):
in    offsets of actions -> normalise -> prompt from the normalised state at its real size -> zero-pad -> pictures
out   cut -> un-normalise -> absolute
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi0_ros.model.kinds import traits
from pi0_ros.policy import transforms
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.normalize import Normalizer
from pi0_ros.policy.prompts import Prompt, PromptStyle, encode_prompt, encode_subtask_prompt
from pi0_ros.policy.resize import Float32, UInt8, model_image
from pi0_ros.policy.resolution import Setting
from pi0_ros.policy.tokenizer import Tokenizer

Array = NDArray[np.floating]


@dataclass(frozen=True)
class ModelInputs:
    """One observation as the network gets it.

    images: model camera -> float32 [3, H, W] in [-1, 1], or None if it is absent; in the model's order.
    prompt: text and unpadded ids. state: float32 [model state size], normalised and padded, None unless kind is pi0.
    normalised_state: the state as it was binned into the prompt, at its real size.
    """

    images: Mapping[str, Float32 | None]
    prompt: Prompt
    state: Array | None
    normalised_state: Array


@dataclass(frozen=True)
class Pipeline:
    """What one checkpoint does around its network.

    cameras: the model's picture slots in order. missing: "masked" or "black". delta: which action dimensions are
    offsets from the state; steps: which are steps from where the robot will be at each row, and the share of the way to a
    row that it goes in a period (0: no steps, 1: from the row before). action_size: real action dimensions (0: all the model has). state_input: size of the
    padded state vector the network takes, 0 for none. action_width: the network's action size. rename: observation
    keys renamed first (lerobot). empty_slots: always empty picture slots beyond `cameras` (lerobot's empty_cameras).
    settings: where the values come from, for `pi0 check` and logs.
    """

    origin: str
    style: PromptStyle
    cameras: tuple[str, ...]
    image_size: tuple[int, int]
    resampler: str
    state_norm: Normalizer
    action_norm: Normalizer
    action_width: int
    horizon: int
    state_input: int = 0
    action_size: int = 0
    delta: tuple[bool, ...] = ()
    steps: tuple[float, ...] = ()
    missing: str = "masked"
    rename: Mapping[str, str] = field(default_factory=dict)
    empty_slots: int = 0
    settings: tuple[Setting[object], ...] = ()

    def inputs(self, images: Mapping[str, UInt8], state: ArrayLike, task: str, tokenizer: Tokenizer) -> ModelInputs:
        """Model inputs of one observation.

        Args: images by model camera, uint8 RGB [H, W, 3], absent ones left out; state [S] in the model's units before
        normalisation; task as text.
        Raises: PolicyError for an unknown camera, no picture at all, a bad picture or state, an empty task.
        """
        normal = self.normalised_state(state)
        prompt = encode_prompt(tokenizer, self.style, task, normal)
        padded = transforms.pad(normal, self.state_input).astype(np.float32) if self.state_input else None
        return ModelInputs(self.pictures(images), prompt, padded, normal)

    def subtask_inputs(self, images: Mapping[str, UInt8], task: str, tokenizer: Tokenizer) -> ModelInputs:
        """Model inputs of the high-level question: pictures and `Task: ... Subtask: `, without the state."""
        prompt = encode_subtask_prompt(tokenizer, task, self.style.length)
        padded = np.zeros(self.state_input, np.float32) if self.state_input else None
        return ModelInputs(self.pictures(images), prompt, padded, np.zeros(0))

    def normalised_state(self, state: ArrayLike) -> Array:
        """State [S] on the network's scale, at its real size. Raises PolicyError if a value is not finite."""
        values = np.asarray(state)
        if not np.all(np.isfinite(values)):
            raise PolicyError(f"state value {int(np.flatnonzero(~np.isfinite(values))[0])} is not finite")
        return self.state_norm.forward(values)

    def pictures(self, images: Mapping[str, UInt8]) -> dict[str, Float32 | None]:
        """Pictures as the network gets them, in the model's order; absent ones are None, or black."""
        named = {self.rename.get(k, k): v for k, v in images.items()}
        unknown = sorted(set(named) - set(self.cameras))
        if unknown:
            raise PolicyError(f"the model has no picture slot {', '.join(unknown)}; it has {', '.join(self.cameras)}")
        if not named:
            raise PolicyError(f"no picture at all; the model sees with {', '.join(self.cameras)}")
        return {key: self._picture(named.get(key), key) for key in self.cameras}

    def _picture(self, image: UInt8 | None, key: str) -> Float32 | None:
        if image is None:
            return None if self.missing == "masked" else np.full((3, *self.image_size), -1.0, np.float32)
        try:
            return model_image(np.asarray(image), self.image_size, self.resampler)
        except PolicyError as error:
            raise PolicyError(f"camera {key}: {error}") from error

    def normalised_actions(self, actions: ArrayLike, state: ArrayLike) -> Array:
        """Absolute actions [..., H, D] in the model's units to the network's scale and width (training, prefixes).

        `state` [..., S] is the one at chunk start, before normalisation. π0-FAST's actions are not padded.
        """
        offsets = transforms.delta(actions, state, self.delta) if any(self.delta) else np.asarray(actions)
        if any(self.steps):
            offsets = transforms.step_delta(offsets, state, self.steps)
        normal = self.action_norm.forward(offsets)
        return normal if traits(self.style.kind).acts_in_tokens else transforms.pad(normal, self.action_width)

    def actions(self, normalised: ArrayLike, state: ArrayLike) -> Array:
        """The network's actions [..., H, D'] to absolute ones [..., H, D] in the model's units.

        `state` [..., S] is the one at chunk start, before normalisation.
        """
        values = np.asarray(normalised)
        if self.action_norm.method.startswith("lerobot"):  # its statistics cover the real dimensions alone
            values = values[..., : self.action_size or self.action_norm.statistics.size]
        values = self._restored(values)
        if any(self.delta):
            values = transforms.absolute(values, state, self.delta)
        if any(self.steps):
            values = transforms.step_absolute(values, state, self.steps)
        return values[..., : self.action_size] if self.action_size else values

    def _restored(self, values: Array) -> Array:
        """Un-normalised. π0-FAST's chunks have the real size; wider statistics were cut to it in training too."""
        if traits(self.style.kind).acts_in_tokens:
            return self.action_norm.cut(values.shape[-1]).inverse(values)
        return self.action_norm.inverse(values)

    def slots(self, inputs: ModelInputs) -> list[tuple[Float32, bool]]:
        """Every slot's picture and mask as the original project lays them out: absent ones are -1 and False, and
        lerobot puts them last."""
        blank = np.full((3, *self.image_size), -1.0, np.float32)
        filled = [(blank if p is None else p, p is not None) for p in inputs.images.values()]
        filled += [(blank, False)] * self.empty_slots
        return sorted(filled, key=lambda slot: not slot[1]) if self.style.dialect == "lerobot" else filled


def relative_mask(delta: Sequence[bool], size: int) -> tuple[bool, ...]:
    """A delta mask cut or extended with False to `size`."""
    return tuple(bool(d) for d in delta[:size]) + (False,) * max(0, size - len(delta))
