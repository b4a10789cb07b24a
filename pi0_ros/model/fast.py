"""The fast path for inference. The plain network's numbers (to float32 rounding), by four identities:

1. absent cameras and padding are dropped instead of masked;
2. pi0's state token depends on neither actions nor time: its keys and values join the prefix's;
3. so nothing needs a mask;
4. the last layer of the prefix is needed for its keys and values alone.

Beside them: pictures in one batch, fused weights, time tables, buffers that stay, no waiting for the device in a call.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pi0_ros.model.config import ModelConfig
from pi0_ros.model.gemma import KeyValue, normalised, rotary
from pi0_ros.model.graph import Captured
from pi0_ros.model.inputs import InputError, Inputs
from pi0_ros.model.kernels import Target, unpair
from pi0_ros.model.network import Pi0, Prefix, check_inputs
from pi0_ros.model.packed import Heads, Stack, Style, Vision, give_up, keep
from pi0_ros.model.rtc import Rtc, guidance_weight, identity
from pi0_ros.model.sampling import integrate, time_grid
from pi0_ros.model.text import EOS, answers, choose, log_probability, with_start

if TYPE_CHECKING:
    from pi0_ros.model.fused.narrow import Scales
    from pi0_ros.model.fused.path import Fused, Operations

MODES = ("eager", "compile", "graph", "compile_graph", "kernels")
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
    prefix: tokens before the state and the actions. grid: step times. rows: time tables, a row a step, last for time 0
    (mode kernels: styles, one a step).
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
    hides absent cameras and padding (None where there are none)."""

    prefix: Tensor
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
    graph of the whole call), "compile_graph" or "kernels" (a graph of our own fused kernels, `fused`; without CUDA their
    plain twins, for tests). cache_size: for
    how many layouts (prompt lengths, cameras) buffers and graphs are kept. bucket: text lengths are rounded up to its
    multiples, so that a prompt which changes by a token (π0.5's state) does not need another graph; padding is then
    hidden by a bias. 1: exact lengths, no bias. `prepare` records what calls will need.
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
        self.to = Target(torch.device(device or weight.device), dtype or weight.dtype, blocked=mode != "kernels")
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
        self.records = records(mode, self.to.device)
        self.pool = torch.cuda.graph_pool_handle() if self.records else None
        self.rooms: list[Layout] = []
        self.fused: Fused | None = None
        if mode == "kernels" and config.expert is not None:
            from pi0_ros.model.fused.path import Fused

            do = fused_operations(self.to.device)
            self.fused = Fused(config, do, self.vision, self.trunk, self.expert, self.heads)

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
        return self.generate_scored(inputs, max_tokens, temperature, noise, stop)[0]

    def generate_scored(
        self,
        inputs: Inputs,
        max_tokens: int,
        temperature: float = 0.0,
        noise: Tensor | None = None,
        stop: Sequence[int] = (EOS,),
    ) -> tuple[list[list[int]], list[float]]:
        """As `generate_text`, with the mean log-probability of each row's tokens, the one that ends it included."""
        inputs = with_start(inputs, self.config.numerics.decode_start)
        check_inputs(self.config, inputs)
        said: list[list[int]] = [[] for _ in range(inputs.batch)]
        scores = [0.0] * inputs.batch
        for rows, layout in group_rows(inputs):
            uniform = None if noise is None else noise[rows]
            found = self._text(inputs.rows(rows), layout, max_tokens, temperature, uniform, stop)
            for row, ids, score in zip(rows, *found, strict=True):
                said[row], scores[row] = ids, score
        return said, scores

    def stages(self, inputs: Inputs, noise: Tensor, steps: int = 10) -> dict[str, Callable[[], object]]:
        """The parts of a call on their own, for measuring: "vision", "prefix" (vision included) and "steps".

        All rows need the same cameras and prompt length.
        """
        ((_, layout),) = group_rows(inputs)
        room = self._room(layout)
        plan = self._plan(room, self.config.horizon + 1, steps)
        tensors = [*self._tensors(inputs, layout, room), noise.float(), *_guide(None, noise, plan.grid)]
        own = [tensor.to(self.to.device) for tensor in tensors]
        pictures, tokens, length, present, state = own[:5]
        standing = self._standing(plan, length, present)
        fill, integrate, look = self._fill, self._integrate, self.vision
        if self.fused is not None:
            fill, integrate, look = self._fill_fused, self._integrate_fused, self.fused.pictures
        fill(plan, pictures, tokens, state, standing)
        return {
            "vision": torch.no_grad()(lambda: look(pictures)),
            "prefix": torch.no_grad()(lambda: fill(plan, pictures, tokens, state, standing)),
            "steps": torch.no_grad()(lambda: integrate(plan, standing, None, *own[5:])),
        }

    @torch.no_grad()
    def prepare(
        self,
        steps: int = 10,
        cameras: Sequence[int] | None = None,
        methods: Sequence[str | None] = (None,),
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        """Record all graphs that calls with one row need, so that none is recorded later: every length of text, any of
        `cameras` (indices; None: all) present or absent, real-time chunking by any of `methods`.

        Nothing to do in modes that record none. progress: called with how many of how many are done.
        """
        if not self.records or self.config.expert is None:
            return
        longest = self.config.prompt_length
        lengths = sorted({min(length, longest) for length in range(self.bucket, longest + self.bucket, self.bucket)})
        which = tuple(range(len(self.config.cameras))) if cameras is None else tuple(cameras)
        self.rooms = [Layout(1, which, length) for length in lengths]
        ways = sorted({self._recorded_method(method) for method in methods})
        self.graphs.size = self.plans.size = max(self.graphs.size, len(lengths) * len(ways))
        size, horizon, actions = self.config.vision.image_size, self.config.horizon, self.config.action_dim
        noise, state = torch.zeros(1, horizon, actions), torch.zeros(1, self.config.state_dim)
        images = [torch.zeros(1, 3, size, size) for _ in self.config.cameras]
        here = [torch.tensor([camera in which]) for camera in range(len(images))]
        done = 0
        for room in self.rooms:
            tokens = torch.zeros(1, room.text, dtype=torch.long)
            inputs = Inputs(images, here, tokens, tokens == 0, None if self.config.adarms else state)
            for way in ways:
                rtc = Rtc(noise, 0, 0, way) if way == "prefix" else None
                self._sample(inputs, room, noise, steps, rtc)
                done += 1
                progress(done, len(lengths) * len(ways))

    @torch.no_grad()
    def measure(self, examples: Sequence[Inputs]) -> Scales:
        """Scales for `narrow` from recorded observations (mode kernels)."""
        from pi0_ros.model.fused.narrow import measure

        return measure(self.trunk.layers[:-1], lambda: [self._measure(example) for example in examples])

    def _measure(self, inputs: Inputs) -> None:
        for rows, layout in group_rows(inputs):
            plan = self._plan(layout, self.config.horizon + 1)
            own = self._tensors(inputs.rows(rows), layout, layout)
            pictures, tokens, length, present, _ = (tensor.to(self.to.device) for tensor in own)
            standing = self._standing(plan, length, present)
            self._embed_and_fill(plan, pictures, tokens, standing)

    def narrow(self, scales: Scales) -> None:
        """Take the trunk's MLPs in 8 bits from here on, by scales of `measure` (mode kernels). Before `prepare`."""
        from pi0_ros.model.fused.narrow import narrow

        if self.fused is None:
            raise InputError("8-bit MLPs are part of the fused kernels; use mode kernels")
        narrow(self.trunk.layers[:-1], scales)

    # One layout.

    def _sample(self, inputs: Inputs, layout: Layout, noise: Tensor, steps: int, rtc: Rtc | None) -> Tensor:
        vjp = rtc is not None and rtc.method == "vjp"
        room = layout if vjp else self._room(layout)
        plan = self.plans.get((room, steps, vjp), lambda: self._plan(room, self.config.horizon + 1, steps))
        tensors = [*self._tensors(inputs, layout, room), noise.float(), *_guide(rtc, noise, plan.grid)]
        if vjp:
            return self._sample_vjp(plan, [tensor.to(self.to.device) for tensor in tensors], rtc)
        method = None if rtc is None else rtc.method
        if not self.records:
            return self._run(plan, method, *(tensor.to(self.to.device, non_blocking=True) for tensor in tensors))
        recorded = self._recorded_method(method)

        def run(*own: Tensor) -> Tensor:
            return self._run(plan, recorded, *own)

        key = (room, steps, recorded)
        return self.graphs.get(key, lambda: Captured(run, tensors, self.to.device, self.pool))(*tensors)

    def _recorded_method(self, method: str | None) -> str:
        """What a graph is recorded for: without a previous chunk its strength is zero, and kernels do all in one."""
        return "prefix" if method == "prefix" and self.fused is None else "identity"

    def _room(self, layout: Layout) -> Layout:
        """The smallest room prepared that the layout fits into, or one with a whole number of buckets of text."""
        for room in self.rooms:
            if room.batch == layout.batch and room.text >= layout.text and set(layout.cameras) <= set(room.cameras):
                return room
        return replace(layout, text=-(-layout.text // self.bucket) * self.bucket)

    def _tensors(self, inputs: Inputs, layout: Layout, room: Layout) -> list[Tensor]:
        """What a call in a room is given: pictures [cameras * B, 3, H, W], tokens [B, room], how many of these count [1],
        which cameras are there [cameras] (both empty where all do, and no bias is wanted), and the state."""
        size = self.config.vision.image_size
        nothing = torch.zeros(layout.batch, 3, size, size)
        images = [inputs.images[camera] if camera in layout.cameras else nothing for camera in room.cameras]
        pictures = torch.cat([image.to(images[0].device) for image in images]).float() if images else nothing[:0]
        tokens = inputs.tokens[inputs.token_mask.bool()].view(layout.batch, layout.text).long()
        hides = self.fused is not None or room != layout or (self.bucket > 1 and room.text > 0)
        length = torch.tensor([layout.text] if hides else [], dtype=torch.long)
        present = torch.tensor([camera in layout.cameras for camera in room.cameras] if hides else [], dtype=torch.bool)
        state = torch.zeros(layout.batch, 0) if inputs.state is None else inputs.state.float()
        return [pictures, F.pad(tokens, (0, room.text - layout.text)), length, present, state]

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
        rows = self.tables.get(steps, lambda: self._rows(grid)) if steps else []
        return Plan(layout, cache, rope, prefix, grid, rows)

    def _rows(self, grid: Sequence[float]) -> list[Any]:
        return list(self.heads.tables(grid)) if self.fused is None else self.fused.styles(grid)

    def _run(
        self,
        plan: Plan,
        method: str | None,
        pictures: Tensor,
        tokens: Tensor,
        length: Tensor,
        present: Tensor,
        state: Tensor,
        noise: Tensor,
        *guide: Tensor,
    ) -> Tensor:
        """A whole call on the device: prefix, state, and all steps. Waits for nothing."""
        standing = self._standing(plan, length, present)
        if self.fused is not None:
            self._fill_fused(plan, pictures, tokens, state, standing)
            return self._integrate_fused(plan, standing, method, noise, *guide)
        self._fill(plan, pictures, tokens, state, standing)
        return self._integrate(plan, standing, method, noise, *guide)

    def _standing(self, plan: Plan, length: Tensor, present: Tensor) -> Standing:
        """Where everything stands, with `length` [1] text tokens that count and `present` [cameras] (both empty: all).

        Tokens that count stand side by side, as if the others were not there. Waits for nothing.
        """
        own = plan.prefix + (0 if self.config.adarms else 1)
        end = own + self.config.horizon
        if not length.numel():
            return Standing(plan.rope[: plan.prefix], plan.rope[plan.prefix : own], plan.rope[own:end], None)
        text = torch.arange(plan.layout.text, device=length.device) < length
        pictures = present[:, None].expand(-1, self.config.vision.tokens).reshape(-1)
        counts = torch.cat([pictures, text])
        position = counts.cumsum(0)
        order = torch.arange(end, device=length.device)
        bias = torch.zeros(end, dtype=self.to.dtype, device=length.device)
        bias[: plan.prefix].masked_fill_(~counts, torch.finfo(self.to.dtype).min)
        rows = plan.rope[counts.sum() + order[: end - plan.prefix]]
        return Standing(
            plan.rope[(position - 1).clamp(min=0)], rows[: own - plan.prefix], rows[own - plan.prefix :], bias
        )

    def _integrate(
        self,
        plan: Plan,
        standing: Standing,
        method: str | None,
        noise: Tensor,
        previous: Tensor,
        weight: Tensor,
        given: Tensor,
        strength: Tensor,
    ) -> Tensor:
        """All steps; previous [B, H, D], weight and given [H, 1] and strength [steps] for real-time chunking."""
        start = plan.prefix + (0 if self.config.adarms else 1)
        x = torch.where(given, previous, noise) if method == "prefix" else noise
        for index, t in enumerate(plan.grid):
            row = plan.rows[index]
            if method == "prefix":
                row = _per_token(row, plan.rows[-1], given)
            v = self._step(x, row, standing.actions, plan.cache, start, standing.bias)
            if method == "identity":
                v = identity(x, v, t, previous, weight, strength[index])
            x = x - v / len(plan.grid)
            if method == "prefix":
                x = torch.where(given, previous, x)
        return x

    # The same by fused kernels.

    def _fill_fused(self, plan: Plan, pictures: Tensor, tokens: Tensor, state: Tensor, standing: Standing) -> None:
        from pi0_ros.model.fused.shapes import Place

        self._embed_and_fill(plan, pictures, tokens, standing)
        if not self.config.adarms:
            place = Place(1, plan.prefix, _for_each(standing.state, len(tokens)), standing.bias)
            self.fused.state(state, plan.rows[0], place, plan.cache)

    def _embed_and_fill(self, plan: Plan, pictures: Tensor, tokens: Tensor, standing: Standing) -> None:
        from pi0_ros.model.fused.shapes import Place

        if plan.prefix:
            x = self._embedded(pictures, tokens, self.fused.pictures)
            place = Place(plan.prefix, 0, _for_each(standing.prefix, len(tokens)), standing.bias)
            self.fused.prefix(x.flatten(0, 1), place, plan.cache)

    def _integrate_fused(
        self,
        plan: Plan,
        standing: Standing,
        method: str | None,
        noise: Tensor,
        previous: Tensor,
        weight: Tensor,
        given: Tensor,
        strength: Tensor,
    ) -> Tensor:
        from pi0_ros.model.fused.shapes import Guide, Place

        start = plan.prefix + (0 if self.config.adarms else 1)
        place = Place(self.config.horizon, start, _for_each(standing.actions, len(noise)), standing.bias)
        rows = given.sum(dtype=torch.int32).view(1)
        guide = Guide(rows, previous.flatten(0, 1), weight.flatten(), strength)
        return self.fused.steps(noise, plan.grid, plan.rows, place, guide, plan.cache)

    # The same by PyTorch's operators.

    def _fill(self, plan: Plan, pictures: Tensor, tokens: Tensor, state: Tensor, standing: Standing) -> None:
        """Prefix and state into the cache."""
        if plan.prefix:
            self._prefix(pictures, tokens, standing.prefix, plan.cache, False, standing.bias)
        if self.config.adarms:
            return
        token, styles = self.heads.embed_state(state), self._plain(self.expert)
        self.expert(token, styles, standing.state, plan.cache, plan.prefix, False, standing.bias)

    def _run_prefix(
        self,
        pictures: Tensor,
        tokens: Tensor,
        rope: Tensor,
        cache: Sequence[KeyValue],
        output: bool,
        bias: Tensor | None = None,
    ) -> Tensor:
        x = self._embedded(pictures, tokens, self.vision)
        return self.trunk(x, self._plain(self.trunk), rope, cache, 0, output, bias)

    def _embedded(self, pictures: Tensor, tokens: Tensor, look: Callable[[Tensor], Tensor]) -> Tensor:
        """What enters the trunk: pictures and text [B, P, width]."""
        x = self._embed_text(tokens)
        if not len(pictures):
            return x
        features = look(pictures).unflatten(0, (-1, len(tokens))).transpose(0, 1).flatten(1, 2)
        return torch.cat([features, x], dim=1)

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
        pictures, tokens, length, present, state, noise = tensors[:6]
        self._fill(plan, pictures, tokens, state, self._standing(plan, length[:0], present))
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
    ) -> tuple[list[list[int]], list[float]]:
        plan = self.plans.get((layout, "text", max_tokens), lambda: self._plan(layout, max_tokens))
        if not plan.prefix:
            raise InputError("text needs a prompt or a picture to follow; a row has neither")
        pictures, tokens, *_ = (tensor.to(self.to.device) for tensor in self._tensors(inputs, layout, layout))
        # Never compiled: every prompt has its own length, and would be compiled in mid-run.
        hidden = self._run_prefix(pictures, tokens, plan.rope[: plan.prefix], plan.cache, True)
        ended = torch.zeros(layout.batch, dtype=torch.bool, device=self.to.device)
        ids: list[Tensor] = []
        scores: list[Tensor] = []
        while len(ids) < max_tokens:
            uniform = None if noise is None else noise[:, len(ids)]
            logits = self._logits(hidden[:, -1])
            ids.append(choose(logits, temperature, uniform))
            scores.append(log_probability(logits, ids[-1]))
            ended |= torch.isin(ids[-1], ids[-1].new_tensor(list(stop)))
            if len(ids) == max_tokens or bool(ended.all()):
                break
            hidden = self._decode(ids[-1], plan, plan.prefix + len(ids) - 1)
        return answers(ids, scores, stop, layout.batch)

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


def _guide(rtc: Rtc | None, noise: Tensor, grid: Sequence[float]) -> list[Tensor]:
    """Previous chunk [B, H, D], weights [H, 1], given rows [H, 1] and strength [steps]; zeros without real-time chunking."""
    horizon, strength = noise.shape[1], torch.zeros(len(grid))
    if rtc is None:
        return [
            torch.zeros_like(noise, dtype=torch.float32),
            torch.zeros(horizon, 1),
            torch.zeros(horizon, 1) > 0,
            strength,
        ]
    if rtc.method == "identity":
        strength = torch.tensor([guidance_weight(t, rtc.max_guidance_weight) for t in grid])
    given = (torch.arange(horizon) < (rtc.delay if rtc.method == "prefix" else 0))[:, None]
    return [rtc.padded(noise).float(), rtc.weights(horizon)[:, None], given, strength]


def _for_each(rows: Tensor, batch: int) -> Tensor:
    """Rotary rows [T, d / 2, 2] for all of a batch, [B * T, d / 2, 2]."""
    return rows.contiguous() if batch == 1 else rows.repeat(batch, 1, 1)


def _per_token(row: Tensor, zero: Tensor, given: Tensor) -> Tensor:
    """A table row per token: `zero` for the given tokens [H, 1]. [..., width] -> [..., H, width]."""
    return torch.where(given, zero[..., None, :], row[..., None, :])


def has_compiler() -> bool:
    """Whether torch.compile finds what it needs for a CPU."""
    return any(map(shutil.which, COMPILERS))


def records(mode: str, device: torch.device) -> bool:
    """Whether a call is one CUDA graph."""
    return "graph" in mode or (mode == "kernels" and device.type == "cuda")


def has_triton() -> bool:
    """Whether the package is there that our kernels are written in."""
    return importlib.util.find_spec("triton") is not None


def suits_kernels(config: ModelConfig, dtype: torch.dtype) -> bool:
    """Whether the fused kernels run a network, and well: 16-bit weights, heads of a power of two, rows of whole tiles."""
    if config.expert is None or dtype not in (torch.bfloat16, torch.float16):
        return False
    dim, expert = config.language.head_dim, config.expert
    whole = all(size % 64 == 0 for size in (expert.width, expert.mlp, expert.heads * dim))
    return whole and dim >= 32 and dim & (dim - 1) == 0


def fused_operations(device: torch.device) -> Operations:
    """The fused operations as they run on a device: Triton's kernels on CUDA, elsewhere plain ones."""
    if device.type != "cuda":
        from pi0_ros.model.fused import plain

        return plain
    from pi0_ros.model.fused.launch import Launch, tuning_for

    return Launch(tuning_for(torch.cuda.get_device_capability(device)))


def check_mode(mode: str, device: torch.device) -> None:
    """Refuse a way of running the network that cannot be had on `device`. Raises InputError."""
    if mode not in MODES:
        raise InputError(f"mode {mode!r} is unknown; there are {', '.join(MODES)}")
    if "graph" in mode and device.type != "cuda":
        raise InputError(f"mode {mode} records CUDA graphs and the device is {device}; use eager or compile")
    if mode == "kernels" and device.type == "cuda" and not has_triton():
        raise InputError("mode kernels needs the package triton (pip install triton); install it, or use graph")
    if mode == "compile" and device.type == "cpu" and not has_compiler():
        raise InputError(f"mode compile needs a C++ compiler ({' or '.join(COMPILERS)}); install one, or use eager")
