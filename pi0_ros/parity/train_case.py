"""Recorded optimiser steps: the same batches, noise and times through our loss, optimiser, schedule and averages.

Parameters are compared as the reference's authors advise: root mean square of the difference over that of the movement,
since Adam gives an element with a gradient near zero an arbitrary step. The key biases of SigLIP are left out: their
gradient is zero in exact arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pi0_ros.model import PROMPT, TEXT, Ema, FlowTargets, Inputs, LoadedCheckpoint, LoraConfig, Pi0, add_lora, load
from pi0_ros.model.checkpoints.jax_names import lora_parts, map_tree
from pi0_ros.model.checkpoints.names import canonical_name, to_network
from pi0_ros.model.checkpoints.shards import read_json
from pi0_ros.model.checkpoints.tensorfile import read_all
from pi0_ros.model.kinds import traits
from pi0_ros.parity.report import ParityError, Row, close
from pi0_ros.policy.resize import torch_bilinear
from pi0_ros.train import optim
from pi0_ros.train.examples import Examples
from pi0_ros.train.objective import Objective, Weights
from pi0_ros.train.recipe import RECIPES, Recipe
from pi0_ros.train.settings import TrainSettings

Tensors = Mapping[str, Tensor]
ZERO = 1e-12  # a gradient below this everywhere is zero


@dataclass(frozen=True)
class TrainCase:
    """A loaded start with its recorded steps."""

    loaded: LoadedCheckpoint
    io: Tensors
    expected: Tensors
    recipe: Recipe
    settings: TrainSettings
    steps: int

    @property
    def jax(self) -> bool:
        """Whether the reference is openpi's JAX code, with its names."""
        return self.loaded.origin == "openpi_jax"


def is_train_case(folder: Path) -> bool:
    """Whether a folder records optimiser steps."""
    sizes = folder / "sizes.json"
    return sizes.is_file() and "train" in read_json(sizes) and (folder / "expected.safetensors").is_file()


def read_train_case(folder: Path) -> TrainCase:
    """The start, the batches and the recipe. Raises ParityError, CheckpointError."""
    sizes = read_json(folder / "sizes.json")
    given, loaded = sizes["train"], load(folder, dtype=torch.float32)
    if "lora" in sizes:
        put_lora(loaded.model, sizes["lora"], read_all(folder / "params_flat.safetensors"))
    name = "lerobot" if loaded.origin == "lerobot" else "openpi"
    warmup = int(given.get("warmup_steps") or given["scheduler_warmup_steps"])
    span = int(given.get("decay_steps") or given["scheduler_decay_steps"])
    if given.get("num_training_steps", span) < span:  # LeRobot shortens both to a run's length
        run = int(given["num_training_steps"])
        warmup, span = int(warmup * run / span), run
    settings = TrainSettings(
        steps=span,
        warmup=warmup,
        peak_rate=float(given.get("peak_lr") or given["optimizer_lr"]),
        final_rate=float(given.get("decay_lr") or given["scheduler_decay_lr"]),
        weight_decay=float(given.get("weight_decay", given.get("optimizer_weight_decay"))),
        clip=float(given.get("clip_gradient_norm") or given["optimizer_grad_clip_norm"]),
        ema=float(given.get("ema_decay") or 0.0),
        precision="float32",
    )
    io, expected = read_all(folder / "io.safetensors"), read_all(folder / "expected.safetensors")
    return TrainCase(loaded, io, expected, RECIPES[name], settings, int(given["steps"]))


def put_lora(model: Pi0, sizes: Mapping[str, Mapping[str, float]], leaves: Tensors) -> None:
    """Takes merged weights apart again, in place: frozen ones as openpi keeps them (bfloat16), and the recorded pairs."""
    ranks = [sizes.get(stack, {}) for stack in ("gemma", "expert")]
    numbers = [(int(r.get("rank", 0)), float(r.get("alpha", 1.0))) for r in ranks]
    config = LoraConfig(*numbers[0], *numbers[1], per_head=True)
    add_lora(model, config, torch.Generator().manual_seed(0))
    model.config = replace(model.config, numerics=replace(model.config.numerics, embedding_scale="bfloat16"))
    shapes = {leaf: tuple(tensor.shape) for leaf, tensor in leaves.items()}
    parts = {**map_tree(shapes), **lora_parts(shapes)}
    state = {to_network(name): part.turn(leaves[part.leaf][part.index]) for name, part in parts.items()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = state[name].float()
            parameter.copy_(value if parameter.requires_grad else value.bfloat16().float())


def train_rows(folder: Path) -> Iterator[Row]:
    """Losses, norms, rates, the first gradient, and weights and averages after the steps."""
    case = read_train_case(folder)
    model = case.loaded.model.train()
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    dims = case.recipe.real_dims
    objective = Objective(model, Weights(alpha=1.0, by_row=case.recipe.by_row))
    optimizer = optim.make_optimizer(objective, case.settings, case.recipe)
    idle = optim.idle_parameters(model, case.recipe)
    ema = Ema(model, case.settings.ema) if case.settings.ema else None
    for step in range(case.steps):
        batch = Batch(case, step)
        yield from loss_rows(case, batch, model, step)
        loss = objective(batch.examples(), None, batch.flow(dims))
        found = loss.flow if batch.acts else loss.answer
        yield relative(f"s{step}.loss", float(found.detach()), float(case.expected["loss"][step]))
        rate = case.recipe.rate(case.settings, step, step / case.settings.steps)
        yield relative(f"s{step}.lr", rate, float(case.expected["lr"][step]))
        for group in optimizer.param_groups:
            group["lr"] = rate
        if step == 0:
            learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
            gradients = torch.autograd.grad(loss.total, list(learning.values()), retain_graph=True, allow_unused=True)
            named = dict(zip(learning, gradients, strict=True))
            yield gradient_row(case, {n: g for n, g in named.items() if g is not None})
        norm, _ = optim.advance(loss.total, objective, optimizer, case.settings.clip, idle)
        yield relative(f"s{step}.grad_norm", float(norm), float(case.expected["grad_norm"][step]))
        if ema is not None:
            ema.update(model)
        if step == 0:
            yield from moved_rows(case, "params.after_step1", before, dict(model.state_dict()))
    last = f"after_step{case.steps}"
    yield from moved_rows(case, f"params.{last}", before, dict(model.state_dict()))
    if ema is not None:
        yield from moved_rows(case, f"ema.{last}", before, {**model.state_dict(), **ema.state_dict()})


@dataclass(frozen=True)
class Batch:
    """The recorded tensors of one step."""

    case: TrainCase
    step: int

    def __getitem__(self, name: str) -> Tensor:
        return self.case.io[f"s{self.step}.{name}"]

    def has(self, name: str) -> bool:
        """Whether the step has such a tensor."""
        return f"s{self.step}.{name}" in self.case.io

    @property
    def acts(self) -> bool:
        """Whether the network has an action expert."""
        return self.case.loaded.config.expert is not None

    def examples(self) -> Examples:
        """What the network gets, and which tokens are learned."""
        tokens, mask, roles, counts = self._text()
        config = self.case.loaded.config
        images, present = self._pictures(len(tokens))
        state = _padded(self["state"], config.state_dim) if traits(config.kind).state_token else None
        inputs = Inputs(images, present, tokens, mask, state, roles)
        return Examples(inputs, counts)

    def flow(self, real_dims: bool) -> FlowTargets | None:
        """Noise and times as recorded."""
        if not self.acts:
            return None
        actions = self["actions"]
        dims = actions.shape[-1] if real_dims else None
        width = self.case.loaded.config.action_dim
        return FlowTargets(_padded(actions, width), self["noise"], self["time"], dims=dims)

    def _text(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens, mask, roles, and which are learned: LeRobot's answer stands in tensors of its own, BOS first."""
        tokens, mask = self["tokens"].long(), self["token_mask"].bool()
        if self.has("action_tokens"):
            answer, shown = self["action_tokens"].long(), self["action_token_mask"].bool()
            roles = torch.cat([torch.full_like(tokens, PROMPT), torch.full_like(answer, TEXT)], 1)
            learned = shown.clone()
            learned[:, 0] = False
            counts = torch.cat([torch.zeros_like(mask), learned], 1)
            return torch.cat([tokens, answer], 1), torch.cat([mask, shown], 1), roles, counts
        if self.has("token_loss_mask"):
            roles = torch.where(self["token_ar_mask"].bool(), TEXT, PROMPT)
            return tokens, mask, roles, self["token_loss_mask"].bool()
        nothing = torch.zeros_like(mask)
        return tokens, mask, torch.full_like(tokens, PROMPT), nothing

    def _pictures(self, rows: int) -> tuple[list[Tensor | None], list[Tensor]]:
        """Pictures in [-1, 1] by the network's slots; LeRobot records them in [0, 1], at the camera's size."""
        images: list[Tensor | None] = []
        masks = []
        for camera in self.case.loaded.config.cameras:
            image = self[f"image.{camera}"] if self.has(f"image.{camera}") else None
            if image is not None and not self.case.jax:
                image = self._resized(image)
            images.append(image)
            mask = self[f"image_mask.{camera}"].bool() if self.has(f"image_mask.{camera}") else None
            masks.append(torch.full((rows,), image is not None) if mask is None else mask)
        return images, masks

    def _resized(self, image: Tensor) -> Tensor:
        size = self.case.loaded.config.vision.image_size
        rows = [torch_bilinear(one.permute(1, 2, 0).numpy(), (size, size)) for one in image]
        return torch.from_numpy(np.stack(rows).transpose(0, 3, 1, 2).copy()) * 2.0 - 1.0


def _padded(values: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(values, (0, width - values.shape[-1]))


def loss_rows(case: TrainCase, batch: Batch, model: Pi0, step: int) -> Iterator[Row]:
    """The loss per element, row or token, before any mean."""
    examples = batch.examples()
    with torch.no_grad():
        prefix = model.prefix(examples.inputs)
        flow = batch.flow(False)
        if flow is not None:
            errors = model.flow_loss(flow.actions, flow.noise, flow.t, prefix, examples.inputs.state)
            yield close(f"s{step}.loss_per_element", errors, case.expected[f"s{step}.loss_per_element"])
            return
        logs = model.text_logits(prefix, examples.counts.shape[1]).log_softmax(-1)
        losses = -logs.gather(2, examples.inputs.tokens[..., None])[..., 0]
    if f"s{step}.loss_per_row" in case.expected:
        counts = examples.counts
        rows = (losses * counts).sum(1) / counts.sum(1).clamp(min=1)
        yield close(f"s{step}.loss_per_row", rows, case.expected[f"s{step}.loss_per_row"])
    else:
        recorded = case.expected[f"s{step}.cross_entropy_per_token"]
        answer = losses[:, -recorded.shape[1] :]
        yield close(f"s{step}.cross_entropy_per_token", answer, recorded, batch["action_token_mask"][:, 1:])


def relative(name: str, found: float, recorded: float) -> Row:
    """A row for one number, its difference relative to what was recorded."""
    difference = abs(found - recorded) / max(abs(recorded), 1e-12)
    return Row(name, difference if math.isfinite(difference) else math.inf, note="relative")


def network_tensors(case: TrainCase, stem: str) -> dict[str, Tensor]:
    """Recorded weights, gradients or averages under `stem`/ by the network's names."""
    found = {n.removeprefix(stem + "/"): t for n, t in case.expected.items() if n.startswith(stem + "/")}
    if case.jax:
        shapes = {leaf: tuple(t.shape) for leaf, t in found.items()}
        parts = {**map_tree(shapes), **lora_parts(shapes)}
        return {to_network(n): part.turn(found[part.leaf][part.index]) for n, part in parts.items()}
    kind = case.loaded.config.kind
    named = {key: canonical_name(key, kind) for key in found}
    return {to_network(name): found[key] for key, name in named.items() if name is not None}


def compared(case: TrainCase, stem: str, ours: Mapping[str, Any]) -> dict[str, tuple[Tensor, Tensor]]:
    """Ours and the recorded tensor by name, without SigLIP's key biases and what the network does not have."""
    recorded = network_tensors(case, stem)
    names = [n for n in recorded if n in ours and not (n.startswith("siglip") and n.endswith("k_proj.bias"))]
    return {n: (ours[n].detach().double(), recorded[n].double()) for n in names}


def gradient_row(case: TrainCase, gradients: Mapping[str, Tensor]) -> Row:
    """The first gradient: the worst tensor's largest difference over its largest element."""
    worst, where = 0.0, ""
    for name, (ours, recorded) in compared(case, "grad.s0", gradients).items():
        largest = float(recorded.abs().max())
        if largest > ZERO:
            difference = float((ours - recorded).abs().max()) / largest
            worst, where = max((worst, where), (difference, name))
    return Row("grad.s0", worst if where else math.inf, note=f"of the tensor's largest; worst {where}")


def moved_rows(case: TrainCase, stem: str, before: Tensors, after: Tensors) -> Iterator[Row]:
    """Weights or averages after some steps: rms difference over rms movement, of all and of the worst tensor."""
    pairs = compared(case, stem, after)
    if not pairs:
        raise ParityError(f"nothing is recorded under {stem}")
    off, moved, worst, where = 0.0, 0.0, 0.0, ""
    for name, (ours, recorded) in pairs.items():
        error, way = (ours - recorded).square(), (recorded - before[name].double()).square()
        off, moved = off + float(error.sum()), moved + float(way.sum())
        if float(way.sum()) > 0.0:
            worst, where = max((worst, where), (math.sqrt(float(error.sum()) / float(way.sum())), name))
    yield Row(f"{stem} overall", math.sqrt(off / moved) if moved else math.inf, note="rms difference / rms movement")
    yield Row(f"{stem} worst tensor", worst / 10.0, note=f"a tenth of it counts; {where}")
