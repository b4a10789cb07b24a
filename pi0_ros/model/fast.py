"""The fast path for inference. The plain network's numbers (to float32 rounding), by four identities:

1. absent cameras and padding are dropped instead of masked;
2. pi0's state token depends on neither actions nor time: its keys and values join the prefix's;
3. so nothing needs a mask;
4. the last layer of the prefix is needed for its keys and values alone.

Beside them: pictures in one batch, fused weights, time tables, buffers that stay, no waiting for the device in a call.
"""

from __future__ import annotations

import math
import shutil
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.model.gemma import KeyValue, normalised, rotary
from pi0_ros.model.graph import Captured
from pi0_ros.model.inputs import InputError, Inputs
from pi0_ros.model.kernels import Target, unpair
from pi0_ros.model.network import Pi0, Prefix, check_inputs
from pi0_ros.model.packed import Heads, Stack, Style, Vision, give_up, keep
from pi0_ros.model.rtc import Rtc, guidance_weight, identity
from pi0_ros.model.sampling import integrate, time_grid
from pi0_ros.model.text import EOS, choose, until, with_start

MODES = ("eager", "compile", "graph", "compile_graph")
COMPILERS = ("g++", "clang++")


@dataclass(frozen=True)
class Layout:
    """What decides the shapes of a call: rows, which cameras are there, room for how many text tokens."""

    batch: int
    cameras: tuple[int, ...]
    text: int


@dataclass(frozen=True)
class Plan:
    """What stays between calls of one layout.

    cache: per layer key and value buffers [B, kv_heads, capacity, head_dim]. rope: cos and sin [capacity, d / 2, 2].
    prefix: tokens before the state and the actions. grid: step times. rows: time tables, a row a step, last for time 0.
    """

    layout: Layout
    cache: Sequence[KeyValue]
    rope: Tensor
    prefix: int
    grid: Sequence[float] = ()
    rows: Sequence[Tensor] = ()


@dataclass(frozen=True)
class Behind:
    """What follows the prefix: rotary rows of π0's state and of the actions, and the bias [capacity] that hides padding
    between text and state (None where there is none)."""

    state: Tensor
    actions: Tensor
    bias: Tensor | None


class Recent:
    """The values used last, at most `size`, made on demand."""

    def __init__(self, size: int):
        self.size = size
        self.values: OrderedDict[Hashable, object] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], object]) -> object:
        """The value of `key`, made now where there is none; the one unused for longest goes."""
        if key not in self.values:
            while len(self.values) >= self.size:
                self.values.popitem(last=False)
            self.values[key] = make()
        self.values.move_to_end(key)
        return self.values[key]


class FastSampler:
    """Actions and text from a model by the fast path.

    dtype: of weights and activations (default: the model's); rotary angles, norms, softmax, actions and Euler steps
    stay float32. device: where it runs (default: the model's). mode: "eager", "compile" (torch.compile), "graph" (CUDA
    graph of the whole call) or "compile_graph". cache_size: for how many layouts (prompt lengths, cameras) buffers and
    graphs are kept. bucket: text lengths are rounded up to its multiples, so that a prompt which changes by a token
    (π0.5's state) does not need another graph; padding is then hidden by a bias. 1: exact lengths, no bias.
    After changing the model's weights make a new sampler: this one holds rearranged copies. release: give up the
    model's own vision and language weights while rearranging them, so that they are never held twice; the model is
    then of use to this sampler only.
    """

    def __init__(
        self,
        model: Pi0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        mode: str = "eager",
        cache_size: int = 8,
        bucket: int = 1,
        release: bool = False,
    ):
        weight, config = model.gemma.embed_tokens.weight, model.config
        self.model, self.config, self.mode, self.bucket = model, config, mode, bucket
        self.to = Target(torch.device(device or weight.device), dtype or weight.dtype)
        check_mode(mode, self.to.device)
        pictures, done = config.vision.tokens * len(config.cameras), give_up if release else keep
        self.embedding, head = self.to(weight), model.vocabulary
        self.vocabulary = self.embedding if head is weight or torch.equal(head, weight) else self.to(head)
        self.norm = self.to.full(model.gemma.norm.weight) + 1.0
        self.vision = Vision(model, self.to, pictures, done)
        self.trunk = Stack(model.gemma, self.to, pictures + config.prompt_length // 2, done)
        done(model.gemma)
        if config.untied:
            done(model.lm_head)
        self.scale = math.sqrt(config.language.width)
        if config.numerics.embedding_scale == "activation":
            self.scale = float(torch.tensor(self.scale, dtype=self.to.dtype))
        if config.expert is not None:
            self.expert = Stack(model.expert, self.to, config.horizon)
            self.heads = Heads(model, self.to)
        # Whole graphs or an error: in pieces it would be compiled anew for every layer, and be slower than not at all.
        compiled = partial(torch.compile, fullgraph=True) if "compile" in mode else (lambda function: function)
        self._prefix, self._step = compiled(self._run_prefix), compiled(self._run_step)
        self.plans, self.graphs, self.tables = Recent(cache_size), Recent(cache_size), Recent(cache_size)
        self.pool = torch.cuda.graph_pool_handle() if "graph" in mode else None

    @torch.no_grad()
    def __call__(self, inputs: Inputs, noise: Tensor, steps: int = 10, rtc: Rtc | None = None) -> Tensor:
        """Actions [B, H, D] (normalised, float32) from noise [B, H, D].

        Masks are best on the CPU: they decide shapes, and reading them from a device waits for it. Rows with other
        cameras or prompt lengths run one after another. Raises InputError or RtcError where something does not fit.
        """
        if self.config.expert is None:
            raise InputError("a pi0_fast model has no expert; generate action tokens with generate_text")
        check_inputs(self.config, inputs)
        expected = (inputs.batch, self.config.horizon, self.config.action_dim)
        if tuple(noise.shape) != expected:
            raise InputError(f"noise is {tuple(noise.shape)}; the model takes {expected}")
        if not self.config.adarms and inputs.state is None:
            raise InputError("a pi0 model needs the state [B, state_dim]")
        groups = list(group_rows(inputs))
        if len(groups) == 1:
            return self._sample(inputs, groups[0][1], noise, steps, rtc)
        answers = torch.empty(noise.shape, dtype=torch.float32, device=self.to.device)
        for rows, layout in groups:
            own = rtc if rtc is None else replace(rtc, previous=rtc.previous[rows])
            answers[rows] = self._sample(inputs.rows(rows), layout, noise[rows], steps, own)
        return answers

    @torch.no_grad()
    def generate_text(
        self,
        inputs: Inputs,
        max_tokens: int,
        temperature: float = 0.0,
        noise: Tensor | None = None,
        stop: Sequence[int] = (EOS,),
    ) -> list[list[int]]:
        """Token ids behind the prompt, a list a row; arguments as `pi0_ros.model.text.generate_text`."""
        inputs = with_start(inputs, self.config.numerics.decode_start)
        check_inputs(self.config, inputs)
        answers: list[list[int]] = [[] for _ in range(inputs.batch)]
        for rows, layout in group_rows(inputs):
            uniform = None if noise is None else noise[rows]
            found = self._text(inputs.rows(rows), layout, max_tokens, temperature, uniform, stop)
            for row, ids in zip(rows, found, strict=True):
                answers[row] = ids
        return answers

    def stages(self, inputs: Inputs, noise: Tensor, steps: int = 10) -> dict[str, Callable[[], object]]:
        """The parts of a call on their own, for measuring: "vision", "prefix" (vision included) and "steps".

        All rows need the same cameras and prompt length.
        """
        ((_, layout),) = group_rows(inputs)
        room = self._room(layout)
        plan = self._plan(room, self.config.horizon + 1, steps)
        tensors = [*self._tensors(inputs, layout, room), noise.float(), *_guide(None, noise)]
        pictures, tokens, length, state, start, *guide = (tensor.to(self.to.device) for tensor in tensors)
        behind = self._behind(plan, length)
        self._fill(plan, pictures, tokens, state, behind)
        return {
            "vision": torch.no_grad()(lambda: self.vision(pictures)),
            "prefix": torch.no_grad()(lambda: self._fill(plan, pictures, tokens, state, behind)),
            "steps": torch.no_grad()(lambda: self._integrate(plan, behind, start, None, 0.0, *guide)),
        }

    # One layout.

    def _sample(self, inputs: Inputs, layout: Layout, noise: Tensor, steps: int, rtc: Rtc | None) -> Tensor:
        vjp = rtc is not None and rtc.method == "vjp"
        room = layout if vjp else self._room(layout)
        plan = self.plans.get((room, steps), lambda: self._plan(room, self.config.horizon + 1, steps))
        tensors = [*self._tensors(inputs, layout, room), noise.float(), *_guide(rtc, noise)]
        if vjp:
            return self._sample_vjp(plan, [tensor.to(self.to.device) for tensor in tensors], rtc)
        method, cap = (None, 0.0) if rtc is None else (rtc.method, rtc.max_guidance_weight)

        def run(*own: Tensor) -> Tensor:
            return self._run(plan, method, cap, *own)

        if "graph" in self.mode:
            key = (room, steps, method, cap)
            return self.graphs.get(key, lambda: Captured(run, tensors, self.to.device, self.pool))(*tensors)
        return run(*(tensor.to(self.to.device, non_blocking=True) for tensor in tensors))

    def _room(self, layout: Layout) -> Layout:
        """The layout with room for a whole number of buckets of text."""
        return replace(layout, text=-(-layout.text // self.bucket) * self.bucket)

    def _tensors(self, inputs: Inputs, layout: Layout, room: Layout) -> list[Tensor]:
        """Pictures [cameras * B, 3, H, W], tokens [B, room], how many of these count (nothing: all) and state, compacted,
        where they are."""
        size = self.config.vision.image_size
        images = [inputs.images[camera] for camera in layout.cameras]
        pictures = torch.cat(images).float() if images else torch.zeros(0, 3, size, size)
        tokens = inputs.tokens[inputs.token_mask.bool()].view(layout.batch, layout.text).long()
        length = torch.tensor([layout.text] if self.bucket > 1 and room.text else [], dtype=torch.long)
        state = torch.zeros(layout.batch, 0) if inputs.state is None else inputs.state.float()
        return [pictures, F.pad(tokens, (0, room.text - layout.text)), length, state]

    def _plan(self, layout: Layout, behind: int, steps: int = 0) -> Plan:
        """Buffers for a layout with room for `behind` tokens after the prefix."""
        c = self.config.language
        prefix = len(layout.cameras) * self.config.vision.tokens + layout.text
        shape = (layout.batch, c.kv_heads, prefix + behind, c.head_dim)
        cache = [
            tuple(torch.empty(shape, device=self.to.device, dtype=self.to.dtype) for _ in "kv") for _ in range(c.depth)
        ]
        room = prefix + behind + self.config.numerics.decode_offset
        rope = torch.stack(rotary(torch.arange(room, device=self.to.device)[None], c.head_dim), dim=-1)[0]
        grid = time_grid(steps, self.config.numerics.time_grid) if steps else []
        rows = self.tables.get(steps, lambda: list(self.heads.tables(grid))) if steps else []
        return Plan(layout, cache, rope, prefix, grid, rows)

    def _run(
        self,
        plan: Plan,
        method: str | None,
        cap: float,
        pictures: Tensor,
        tokens: Tensor,
        length: Tensor,
        state: Tensor,
        noise: Tensor,
        *guide: Tensor,
    ) -> Tensor:
        """A whole call on the device: prefix, state, and all steps. Waits for nothing."""
        behind = self._behind(plan, length)
        self._fill(plan, pictures, tokens, state, behind)
        return self._integrate(plan, behind, noise, method, cap, *guide)

    def _behind(self, plan: Plan, length: Tensor) -> Behind:
        """Where state and actions stand, with `length` [1] text tokens that count ([0]: all). Waits for nothing."""
        own = plan.prefix + (0 if self.config.adarms else 1)
        if not length.numel():
            return Behind(plan.rope[plan.prefix : own], plan.rope[own : own + self.config.horizon], None)
        first = length + (plan.prefix - plan.layout.text)
        order = torch.arange(own + self.config.horizon, device=length.device)
        bias = torch.zeros(len(order), dtype=self.to.dtype, device=length.device)
        bias.masked_fill_((order >= first) & (order < plan.prefix), torch.finfo(self.to.dtype).min)
        rows = plan.rope[first + order[: len(order) - plan.prefix]]
        return Behind(rows[: own - plan.prefix], rows[own - plan.prefix :], bias)

    def _integrate(
        self,
        plan: Plan,
        behind: Behind,
        noise: Tensor,
        method: str | None,
        cap: float,
        previous: Tensor,
        weight: Tensor,
        given: Tensor,
    ) -> Tensor:
        """All steps; previous [B, H, D], weight and given [H, 1] for real-time chunking."""
        start = plan.prefix + (0 if self.config.adarms else 1)
        x = torch.where(given, previous, noise) if method == "prefix" else noise
        for index, t in enumerate(plan.grid):
            row = plan.rows[index]
            if method == "prefix":
                row = _per_token(row, plan.rows[-1], given)
            v = self._step(x, row, behind.actions, plan.cache, start, behind.bias)
            if method == "identity":
                v = identity(x, v, t, previous, weight, guidance_weight(t, cap))
            x = x - v / len(plan.grid)
            if method == "prefix":
                x = torch.where(given, previous, x)
        return x

    def _fill(self, plan: Plan, pictures: Tensor, tokens: Tensor, state: Tensor, behind: Behind) -> None:
        """Prefix and state into the cache."""
        if plan.prefix:
            self._prefix(pictures, tokens, plan.rope, plan.cache, False, behind.bias)
        if self.config.adarms:
            return
        token, styles = self.heads.embed_state(state), self._plain(self.expert)
        self.expert(token, styles, behind.state, plan.cache, plan.prefix, False, behind.bias)

    def _run_prefix(
        self,
        pictures: Tensor,
        tokens: Tensor,
        rope: Tensor,
        cache: Sequence[KeyValue],
        output: bool,
        bias: Tensor | None = None,
    ) -> Tensor:
        x = self._embed_text(tokens)
        if len(pictures):
            features = self.vision(pictures).unflatten(0, (-1, len(tokens))).transpose(0, 1).flatten(1, 2)
            x = torch.cat([features, x], dim=1)
        return self.trunk(x, self._plain(self.trunk), rope[: x.shape[1]], cache, 0, output, bias)

    def _run_step(
        self, x: Tensor, row: Tensor, table: Tensor, cache: Sequence[KeyValue], start: int, bias: Tensor | None
    ) -> Tensor:
        """Velocity of x [B, H, D] in float32."""
        styles: Sequence[Style] = [*self._plain(self.expert), None]
        if self.config.adarms:
            styles = [tuple(style.unbind(0)) for style in row.unbind(0)]
        tokens = self.heads.embed(x, row)
        hidden = self.expert(tokens, styles[:-1], table, cache, start, True, bias)
        return self.heads.velocity(hidden, styles[-1])

    def _embed_text(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.embedding) * self.scale

    @staticmethod
    def _plain(stack: Stack) -> list[Style]:
        return [None] * (2 * len(stack.layers))

    # The rarer methods.

    def _sample_vjp(self, plan: Plan, tensors: Sequence[Tensor], rtc: Rtc) -> Tensor:
        """The paper's guidance needs gradients through the expert: the cached prefix is handed to the plain network."""
        pictures, tokens, length, state, noise = tensors[:5]
        self._fill(plan, pictures, tokens, state, self._behind(plan, length[:0]))
        like = self.model.expert.layers[0].self_attn.k_proj.weight
        cache = [(unpair(k[:, :, : plan.prefix]).to(like), v[:, :, : plan.prefix].to(like)) for k, v in plan.cache]
        seen = torch.ones(len(noise), plan.prefix, dtype=torch.bool, device=like.device)
        nothing = torch.empty(0, device=like.device)
        prefix = Prefix(cache, nothing, nothing, seen, seen, seen.long().cumsum(dim=1) - 1)
        own = state.to(like.device) if state.shape[1] else None

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            return self.model.velocity(x, t, prefix, own)

        rtc = replace(rtc, previous=rtc.previous.to(like.device))
        return integrate(velocity, noise.to(like.device), list(plan.grid), rtc).to(self.to.device)

    def _text(
        self,
        inputs: Inputs,
        layout: Layout,
        max_tokens: int,
        temperature: float,
        noise: Tensor | None,
        stop: Sequence[int],
    ) -> list[list[int]]:
        plan = self.plans.get((layout, "text", max_tokens), lambda: self._plan(layout, max_tokens))
        if not plan.prefix:
            raise InputError("text needs a prompt or a picture to follow; a row has neither")
        pictures, tokens, *_ = (tensor.to(self.to.device) for tensor in self._tensors(inputs, layout, layout))
        hidden = self._prefix(pictures, tokens, plan.rope, plan.cache, True)
        ended = torch.zeros(layout.batch, dtype=torch.bool, device=self.to.device)
        ids: list[Tensor] = []
        while len(ids) < max_tokens:
            uniform = None if noise is None else noise[:, len(ids)]
            ids.append(choose(self._logits(hidden[:, -1]), temperature, uniform))
            ended |= torch.isin(ids[-1], ids[-1].new_tensor(list(stop)))
            if len(ids) == max_tokens or bool(ended.all()):
                break
            hidden = self._decode(ids[-1], plan, plan.prefix + len(ids) - 1)
        return [until(row, stop) for row in torch.stack(ids, dim=1).tolist()] if ids else [[]] * layout.batch

    def _decode(self, ids: Tensor, plan: Plan, start: int) -> Tensor:
        """One more token [B] behind `start` cached ones -> trunk output [B, 1, width] before the final norm."""
        position = start + self.config.numerics.decode_offset
        table = plan.rope[position : position + 1]
        return self.trunk(self._embed_text(ids[:, None]), self._plain(self.trunk), table, plan.cache, start)

    def _logits(self, hidden: Tensor) -> Tensor:
        return F.linear((normalised(hidden) * self.norm).to(self.embedding.dtype), self.vocabulary).float()


def group_rows(inputs: Inputs) -> Iterator[tuple[list[int], Layout]]:
    """Rows that share cameras and prompt length, and their layout."""
    if inputs.roles is not None:
        raise InputError("the fast path takes prompts only; text with roles belongs to the plain forward")
    present = [
        mask.bool().tolist() if image is not None else [False] * inputs.batch
        for image, mask in zip(inputs.images, inputs.image_masks, strict=True)
    ]
    lengths = inputs.token_mask.bool().sum(dim=1).tolist()
    groups: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for row in range(inputs.batch):
        cameras = tuple(camera for camera, here in enumerate(present) if here[row])
        groups.setdefault((cameras, lengths[row]), []).append(row)
    for (cameras, text), rows in groups.items():
        yield rows, Layout(len(rows), cameras, text)


def _guide(rtc: Rtc | None, noise: Tensor) -> list[Tensor]:
    """Previous chunk [B, H, D], weights [H, 1] and given rows [H, 1]; empty without real-time chunking."""
    if rtc is None:
        return [noise.new_empty(0), noise.new_empty(0), torch.empty(0, dtype=torch.bool)]
    horizon = noise.shape[1]
    return [rtc.padded(noise).float(), rtc.weights(horizon)[:, None], (torch.arange(horizon) < rtc.delay)[:, None]]


def _per_token(row: Tensor, zero: Tensor, given: Tensor) -> Tensor:
    """A table row per token: `zero` for the given tokens [H, 1]. [..., width] -> [..., H, width]."""
    return torch.where(given, zero[..., None, :], row[..., None, :])


def has_compiler() -> bool:
    """Whether torch.compile finds what it needs for a CPU."""
    return any(map(shutil.which, COMPILERS))


def check_mode(mode: str, device: torch.device) -> None:
    """Refuse a way of running the network that cannot be had on `device`. Raises InputError."""
    if mode not in MODES:
        raise InputError(f"mode {mode!r} is unknown; there are {', '.join(MODES)}")
    if "graph" in mode and device.type != "cuda":
        raise InputError(f"mode {mode} records CUDA graphs and the device is {device}; use eager or compile")
    if mode == "compile" and device.type == "cpu" and not has_compiler():
        raise InputError(f"mode compile needs a C++ compiler ({' or '.join(COMPILERS)}); install one, or use eager")
