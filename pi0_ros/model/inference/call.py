"""One call of the network: its inputs, the buffers it runs in, and the positions of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.model.config import ModelConfig
from pi0_ros.model.euler import guidance_weight
from pi0_ros.model.gemma import KeyValue, rotary
from pi0_ros.model.inference.layouts import Layout
from pi0_ros.model.inputs import Inputs
from pi0_ros.model.kernels import Target
from pi0_ros.model.rtc import Rtc


class CallInputs(NamedTuple):
    """What a call is given.

    pictures: [cameras * B, 3, H, W]. tokens: [B, room]. length: how many of these count [1]; present: which cameras are
    there [cameras]; both empty if all count and no bias is wanted. state: [B, state_dim].
    """

    pictures: Tensor
    tokens: Tensor
    length: Tensor
    present: Tensor
    state: Tensor

    def on(self, device: torch.device) -> CallInputs:
        """The same on a device."""
        return CallInputs(*(tensor.to(device) for tensor in self))


class Guidance(NamedTuple):
    """Real-time chunking: the previous chunk [B, H, D], its weights [H, 1], given rows [H, 1], and strength [steps]."""

    previous: Tensor
    weight: Tensor
    given: Tensor
    strength: Tensor


@dataclass(frozen=True)
class Plan:
    """What stays between calls of one layout.

    cache: per layer key and value buffers [B, kv_heads, capacity, head_dim]. rope: cos and sin [capacity, d / 2, 2].
    prefix: tokens before the state and the actions. grid: step times. rows: time tables, a row a step, last for time 0
    (fused: styles, one a step).
    """

    layout: Layout
    cache: Sequence[KeyValue]
    rope: Tensor
    prefix: int
    grid: Sequence[float] = ()
    rows: Sequence[Any] = ()


@dataclass(frozen=True)
class Standing:
    """Where everything stands: rotary rows of the prefix, of π0's state and of the actions, and the bias [capacity] that
    hides absent cameras and padding (None if there are none)."""

    prefix: Tensor
    state: Tensor
    actions: Tensor
    bias: Tensor | None


def given(config: ModelConfig, inputs: Inputs, layout: Layout, room: Layout, hides: bool) -> CallInputs:
    """What a call of `layout` in a `room` is given. hides: whether a bias is wanted though nothing is absent or padding."""
    size = config.vision.image_size
    nothing = torch.zeros(layout.batch, 3, size, size)
    there = {camera: image for camera, image in enumerate(inputs.images) if image is not None}
    images = [there[camera] if camera in layout.cameras else nothing for camera in room.cameras]
    pictures = torch.cat([image.to(images[0].device) for image in images]).float() if images else nothing[:0]
    tokens = inputs.tokens[inputs.token_mask.bool()].view(layout.batch, layout.text).long()
    hides = hides or room != layout
    length = torch.tensor([layout.text] if hides else [], dtype=torch.long)
    present = torch.tensor([camera in layout.cameras for camera in room.cameras] if hides else [], dtype=torch.bool)
    state = torch.zeros(layout.batch, 0) if inputs.state is None else inputs.state.float()
    return CallInputs(pictures, F.pad(tokens, (0, room.text - layout.text)), length, present, state)


def guidance(rtc: Rtc | None, noise: Tensor, grid: Sequence[float]) -> Guidance:
    """Of a chunk that starts from `noise` [B, H, D], at the step times of `grid`; zeros without real-time chunking."""
    horizon, strength = noise.shape[1], torch.zeros(len(grid))
    if rtc is None:
        nothing = torch.zeros(horizon, 1)
        return Guidance(torch.zeros_like(noise, dtype=torch.float32), nothing, nothing > 0, strength)
    if rtc.method == "identity":
        strength = torch.tensor([guidance_weight(t, rtc.max_guidance_weight) for t in grid])
    fixed = (torch.arange(horizon) < (rtc.delay if rtc.method == "prefix" else 0))[:, None]
    return Guidance(rtc.padded(noise).float(), rtc.weights(horizon)[:, None], fixed, strength)


def new_plan(
    config: ModelConfig, to: Target, layout: Layout, behind: int, grid: Sequence[float], rows: Sequence[Any]
) -> Plan:
    """Buffers for a layout with room for `behind` tokens after the prefix."""
    c = config.language
    prefix = len(layout.cameras) * config.vision.tokens + layout.text
    shape = (layout.batch, c.kv_heads, prefix + behind, c.head_dim)
    cache = [
        (torch.empty(shape, device=to.device, dtype=to.dtype), torch.empty(shape, device=to.device, dtype=to.dtype))
        for _ in range(c.depth)
    ]
    room = prefix + behind + config.numerics.decode_offset
    rope = torch.stack(rotary(torch.arange(room, device=to.device)[None], c.head_dim), dim=-1)[0]
    return Plan(layout, cache, rope, prefix, grid, rows)


def first_action(config: ModelConfig, plan: Plan) -> int:
    """Where the actions begin: behind the prefix, and behind π0's state."""
    return plan.prefix + (0 if config.adarms else 1)


def standing(config: ModelConfig, dtype: torch.dtype, plan: Plan, own: CallInputs) -> Standing:
    """Where everything stands in a call; `dtype` of the bias.

    Tokens that count stand side by side, as if the others were not there. Waits for nothing.
    """
    first, length = first_action(config, plan), own.length
    end = first + config.horizon
    if not length.numel():
        return Standing(plan.rope[: plan.prefix], plan.rope[plan.prefix : first], plan.rope[first:end], None)
    text = torch.arange(plan.layout.text, device=length.device) < length
    pictures = own.present[:, None].expand(-1, config.vision.tokens).reshape(-1)
    counts = torch.cat([pictures, text])
    position = counts.cumsum(0)
    order = torch.arange(end, device=length.device)
    bias = torch.zeros(end, dtype=dtype, device=length.device)
    bias[: plan.prefix].masked_fill_(~counts, torch.finfo(dtype).min)
    rows = plan.rope[counts.sum() + order[: end - plan.prefix]]
    return Standing(
        plan.rope[(position - 1).clamp(min=0)], rows[: first - plan.prefix], rows[first - plan.prefix :], bias
    )
