"""The fast path for inference. The plain network's numbers (to float32 rounding), by four identities:

1. absent cameras and padding are dropped instead of masked;
2. pi0's state token depends on neither actions nor time: its keys and values join the prefix's;
3. so nothing needs a mask;
4. the last layer of the prefix is needed for its keys and values alone.

Beside them: pictures in one batch, fused weights, time tables, buffers that stay, no waiting for the device in a call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pi0_ros.model.errors import InputError
from pi0_ros.model.euler import time_grid
from pi0_ros.model.inference.call import CallInputs, Guidance, Plan, given, guidance, new_plan, standing
from pi0_ros.model.inference.decoding import Decoding, decode_text, sample_by_gradients
from pi0_ros.model.inference.graph import CapturedGraph
from pi0_ros.model.inference.layouts import Layout, Recent, Rooms, group_rows
from pi0_ros.model.inference.modes import check_mode, records
from pi0_ros.model.inference.network import PackedNetwork
from pi0_ros.model.inference.torch_path import TorchPath
from pi0_ros.model.inputs import Inputs
from pi0_ros.model.kernels import Target
from pi0_ros.model.network import Pi0, check_inputs
from pi0_ros.model.rtc import Rtc
from pi0_ros.model.text import EOS, with_start

if TYPE_CHECKING:
    from pi0_ros.model.fused.narrow import Scales
    from pi0_ros.model.inference.fused_path import FusedPath


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
    ) -> None:
        weight, config = model.gemma.embed_tokens.weight, model.config
        self.model, self.config = model, config
        self.to = Target(torch.device(device or weight.device), dtype or weight.dtype, blocked=mode != "kernels")
        check_mode(mode, self.to.device)
        self.network = PackedNetwork(model, self.to, release)
        self._torch_path = TorchPath(self.network, "compile" in mode)
        self.path: TorchPath | FusedPath = self._torch_path
        if mode == "kernels" and config.expert is not None:
            from pi0_ros.model.inference.fused_path import FusedPath

            self.path = FusedPath(self.network)
        self.plans: Recent[Plan] = Recent(cache_size)
        self._tables: Recent[Sequence[Any]] = Recent(cache_size)
        self.graphs: Recent[CapturedGraph] | None = Recent(cache_size) if records(mode, self.to.device) else None
        self._pool = None if self.graphs is None else torch.cuda.graph_pool_handle()
        self.rooms = Rooms(bucket)

    @torch.no_grad()
    def __call__(self, inputs: Inputs, noise: Tensor, steps: int = 10, rtc: Rtc | None = None) -> Tensor:
        """Actions [B, H, D] (normalised, float32) from noise [B, H, D].

        Masks are best on the CPU: they decide shapes, and reading them from a device waits for it. Rows with other
        cameras or prompt lengths run one after another. Raises InputError or RtcError if something does not fit.
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
        generated: list[list[int]] = [[] for _ in range(inputs.batch)]
        scores = [0.0] * inputs.batch
        for rows, layout in group_rows(inputs):
            how = Decoding(max_tokens, temperature, None if noise is None else noise[rows], stop)
            found = self._text(inputs.rows(rows), layout, how)
            for row, ids, score in zip(rows, *found, strict=True):
                generated[row], scores[row] = ids, score
        return generated, scores

    def stages(self, inputs: Inputs, noise: Tensor, steps: int = 10) -> dict[str, Callable[[], object]]:
        """The parts of a call on their own, for measuring: "vision", "prefix" (vision included) and "steps".

        All rows need the same cameras and prompt length.
        """
        ((_, layout),) = group_rows(inputs)
        room = self.rooms.of(layout)
        plan = self._plan(room, self.config.horizon + 1, steps)
        own = self._given(inputs, layout, room).on(self.to.device)
        start = noise.float().to(self.to.device)
        guide = Guidance(*(tensor.to(self.to.device) for tensor in guidance(None, noise, plan.grid)))
        place, path = standing(self.config, self.to.dtype, plan, own), self.path
        path.fill(plan, own, place)
        return {
            "vision": torch.no_grad()(lambda: path.look(own.pictures)),
            "prefix": torch.no_grad()(lambda: path.fill(plan, own, place)),
            "steps": torch.no_grad()(lambda: path.integrate(plan, place, None, start, guide)),
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
        if self.graphs is None or self.config.expert is None:
            return
        longest, bucket = self.config.prompt_length, self.rooms.bucket
        lengths = sorted({min(length, longest) for length in range(bucket, longest + bucket, bucket)})
        which = tuple(range(len(self.config.cameras))) if cameras is None else tuple(cameras)
        self.rooms.prepared = [Layout(1, which, length) for length in lengths]
        ways = tuple(dict.fromkeys(self.path.recorded(method) for method in methods))
        self.graphs.size = self.plans.size = max(self.graphs.size, len(lengths) * len(ways))
        size, horizon, actions = self.config.vision.image_size, self.config.horizon, self.config.action_dim
        noise, state = torch.zeros(1, horizon, actions), torch.zeros(1, self.config.state_dim)
        images = [torch.zeros(1, 3, size, size) for _ in self.config.cameras]
        here = [torch.tensor([camera in which]) for camera in range(len(images))]
        done = 0
        for room in self.rooms.prepared:
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

        path = self._fused()

        def fill_all() -> None:
            for inputs in examples:
                for rows, layout in group_rows(inputs):
                    plan = self._plan(layout, self.config.horizon + 1)
                    own = self._given(inputs.rows(rows), layout, layout).on(self.to.device)
                    path.fill_prefix(plan, own, standing(self.config, self.to.dtype, plan, own))

        return measure(self.network.trunk.layers[:-1], fill_all)

    def narrow(self, scales: Scales) -> None:
        """Take the trunk's MLPs in 8 bits from here on, by scales of `measure` (mode kernels). Before `prepare`."""
        from pi0_ros.model.fused.narrow import narrow

        self._fused()
        narrow(self.network.trunk.layers[:-1], scales)

    def _fused(self) -> FusedPath:
        if isinstance(self.path, TorchPath):
            raise InputError("8-bit MLPs are part of the fused kernels; use mode kernels")
        return self.path

    # One layout.

    def _sample(self, inputs: Inputs, layout: Layout, noise: Tensor, steps: int, rtc: Rtc | None) -> Tensor:
        if rtc is not None and rtc.method == "vjp":
            return self._sample_vjp(inputs, layout, noise, steps, rtc)
        room = self.rooms.of(layout)
        plan = self.plans.get((room, steps, False), lambda: self._plan(room, self.config.horizon + 1, steps))
        tensors = [*self._given(inputs, layout, room), noise.float(), *guidance(rtc, noise, plan.grid)]
        method = None if rtc is None else rtc.method
        if self.graphs is None:
            own = [tensor.to(self.to.device, non_blocking=True) for tensor in tensors]
            return self._run(plan, method, CallInputs(*own[:5]), own[5], Guidance(*own[6:]))
        recorded = self.path.recorded(method)

        def run(*own: Tensor) -> Tensor:
            return self._run(plan, recorded, CallInputs(*own[:5]), own[5], Guidance(*own[6:]))

        key = (room, steps, recorded)
        return self.graphs.get(key, lambda: CapturedGraph(run, tensors, self.to.device, self._pool))(*tensors)

    def _run(self, plan: Plan, method: str | None, own: CallInputs, noise: Tensor, guide: Guidance) -> Tensor:
        """A whole call on the device: prefix, state, and all steps. Waits for nothing."""
        place = standing(self.config, self.to.dtype, plan, own)
        self.path.fill(plan, own, place)
        return self.path.integrate(plan, place, method, noise, guide)

    def _sample_vjp(self, inputs: Inputs, layout: Layout, noise: Tensor, steps: int, rtc: Rtc) -> Tensor:
        """The rarer method, for the exact layout: the cached prefix goes to the plain network, which has gradients."""
        plan = self.plans.get((layout, steps, True), lambda: self._plan(layout, self.config.horizon + 1, steps))
        own = self._given(inputs, layout, layout).on(self.to.device)
        own = own._replace(length=own.length[:0])
        self._torch_path.fill(plan, own, standing(self.config, self.to.dtype, plan, own))
        return sample_by_gradients(self.model, plan, own, noise.float().to(self.to.device), rtc)

    def _text(self, inputs: Inputs, layout: Layout, how: Decoding) -> tuple[list[list[int]], list[float]]:
        plan = self.plans.get((layout, "text", how.max_tokens), lambda: self._plan(layout, how.max_tokens))
        own = self._given(inputs, layout, layout).on(self.to.device)
        return decode_text(self.network, self._torch_path, plan, own, how)

    # What a call needs.

    def _given(self, inputs: Inputs, layout: Layout, room: Layout) -> CallInputs:
        hides = self.path.hides or (self.rooms.bucket > 1 and room.text > 0)
        return given(self.config, inputs, layout, room, hides)

    def _plan(self, layout: Layout, behind: int, steps: int = 0) -> Plan:
        grid = time_grid(steps, self.config.numerics.time_grid) if steps else []
        rows = self._tables.get(steps, lambda: self.path.rows(grid)) if steps else []
        return new_plan(self.config, self.to, layout, behind, grid, rows)
