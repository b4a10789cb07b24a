"""The pi0 family as one network, in its plain masked form: readable as the papers, used for training and as the
reference that the fast path is tested against.

Sequence: [pictures][text] through SigLIP + projector and the Gemma trunk (the prefix), then [state (pi0)][actions]
through the action expert (the suffix). Time runs from t = 1 (noise) to t = 0 (action):
x_t = t * noise + (1 - t) * actions, the network predicts u = noise - actions.

State dict keys are those of the published PyTorch checkpoints behind shorter prefixes:
    siglip.     <- paligemma_with_expert.paligemma.model.vision_tower.vision_model.
    projector.  <- paligemma_with_expert.paligemma.model.multi_modal_projector.linear.
    gemma.      <- paligemma_with_expert.paligemma.model.language_model.   (gemma.embed_tokens is the tied lm_head)
    lm_head.    <- paligemma_with_expert.paligemma.lm_head., only if it is not tied
    expert.     <- paligemma_with_expert.gemma_expert.model.
    state_proj, action_in_proj, action_out_proj, action_time_mlp_in, action_time_mlp_out, time_mlp_in, time_mlp_out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pi0_ros.model.config import ModelConfig
from pi0_ros.model.errors import InputError
from pi0_ros.model.gemma import Gemma, KeyValue
from pi0_ros.model.inputs import FAST, PROMPT, Inputs
from pi0_ros.model.kinds import traits
from pi0_ros.model.siglip import SigLIP


@dataclass(frozen=True)
class Prefix:
    """Pictures and text after the trunk.

    cache: per layer keys (with rotary positions) and values [B, kv_heads, P, head_dim].
    hidden: [B, P, width] after the final norm. embeddings: [B, P, width], what entered the trunk.
    valid, visible: [B, P], which tokens count, and which of them the action expert sees.
    positions: [B, P].
    """

    cache: Sequence[KeyValue]
    hidden: Tensor
    embeddings: Tensor
    valid: Tensor
    visible: Tensor
    positions: Tensor

    def detached(self) -> Prefix:
        """The same keys and values without gradient: knowledge insulation (pi0.5-KI)."""
        return replace(self, cache=[(k.detach(), v.detach()) for k, v in self.cache])


def time_embedding(t: Tensor, width: int, min_period: float, max_period: float, dtype: torch.dtype) -> Tensor:
    """Sines then cosines of 2 pi t / period, periods geometric from min to max. t [...] -> [..., width] float32.

    In float64 as openpi's and LeRobot's PyTorch, in float32 as JAX: at t = 1 the fastest angle is 1571 rad, so the
    last bit of its frequency shows, down to how `jnp.linspace` rounds (index times the rounded step, last one exact)
    and the power too (to the nearest number, whereas torch's own float32 power is one off at every 60th frequency).
    """
    count = width // 2
    fraction = torch.linspace(0.0, 1.0, count, dtype=dtype, device=t.device)
    if dtype == torch.float32 and count > 1:
        fraction[:-1] = torch.arange(count - 1, dtype=dtype, device=t.device) * (1 / (count - 1))
    period = min_period * ((max_period / min_period) ** fraction.double()).to(dtype)
    angle = (1.0 / period * 2 * math.pi) * t.to(dtype)[..., None]
    return torch.cat([angle.sin(), angle.cos()], dim=-1).float()


def block_mask(valid: Tensor, starts: Tensor) -> Tensor:
    """Who sees whom from block starts: a token sees its own block and earlier ones. [B, T] twice -> [B, T, T] bool.

    `starts` is 1 if a new block begins (openpi's ar-mask): zeros everywhere give full attention, ones causal.
    """
    block = starts.long().cumsum(dim=1)
    return (block[:, None, :] <= block[:, :, None]) & valid[:, None, :] & valid[:, :, None]


class Pi0(nn.Module):
    """pi0, pi0.5 and pi0-FAST, as `config.kind` says.

    Larger than a class should be because the layers of the network are its attributes, by the names that they have in
    checkpoints.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        rope = config.numerics.rope
        self.siglip = SigLIP(config.vision)
        self.projector = nn.Linear(config.vision.width, config.language.width)
        self.gemma = Gemma(config.language, vocab=config.vocab, rope=rope)
        if config.untied:
            self.lm_head = nn.Linear(config.language.width, config.vocab, bias=False)
        if config.expert is None:
            return
        width = config.expert.width
        self.expert = Gemma(config.expert, adarms=config.adarms, rope=rope)
        self.action_in_proj = nn.Linear(config.action_dim, width)
        self.action_out_proj = nn.Linear(width, config.action_dim)
        if config.adarms:
            self.time_mlp_in = nn.Linear(width, width)
            self.time_mlp_out = nn.Linear(width, width)
        else:
            self.state_proj = nn.Linear(config.state_dim, width)
            self.action_time_mlp_in = nn.Linear(2 * width, width)
            self.action_time_mlp_out = nn.Linear(width, width)

    # Prefix: pictures and text through the trunk.

    def embed_images(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Pictures, each [B, 3, H, W] in [-1, 1], to tokens [B, tokens, language width] each, in one SigLIP pass."""
        if not images:
            return []
        features = self.siglip(torch.cat(list(images)))
        return list(self.projector(features.to(self.projector.weight.dtype)).split([len(i) for i in images]))

    def embed_text(self, tokens: Tensor) -> Tensor:
        """Token ids [B, L] to [B, L, language width], scaled by sqrt(width)."""
        rows = self.gemma.embed_tokens(tokens.long())
        scale = math.sqrt(self.config.language.width)
        kind = self.config.numerics.embedding_scale
        if kind == "float32":
            return rows * scale
        rounded = torch.tensor(scale, dtype=torch.bfloat16 if kind == "bfloat16" else rows.dtype, device=rows.device)
        return rows * rounded.to(rows.dtype)

    def embed_prefix(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings [B, P, width], valid [B, P] and roles [B, P] of pictures then text."""
        check_inputs(self.config, inputs)
        present = [image for image in inputs.images if image is not None]
        features = iter(self.embed_images(present))
        batch, count = inputs.batch, self.config.vision.tokens
        parts, valid = [], []
        for image, mask in zip(inputs.images, inputs.image_masks, strict=True):
            if image is not None:
                parts.append(next(features))
                valid.append(mask.bool()[:, None].expand(batch, count))
        text = self.embed_text(inputs.tokens)
        pictures = inputs.tokens.new_full((batch, sum(v.shape[1] for v in valid)), PROMPT)
        roles = torch.zeros_like(inputs.tokens) if inputs.roles is None else inputs.roles
        embeddings = torch.cat([part.to(text.dtype) for part in parts] + [text], dim=1)
        return embeddings, torch.cat([*valid, inputs.token_mask.bool()], dim=1), torch.cat([pictures, roles], dim=1)

    def prefix(self, inputs: Inputs) -> Prefix:
        """Run pictures and text through the trunk."""
        embeddings, valid, roles = self.embed_prefix(inputs)
        positions = valid.long().cumsum(dim=1) - 1
        training = traits(self.config.kind).acts_in_tokens and inputs.roles is not None
        if training and self.config.numerics.text_positions == "arange":
            positions = torch.arange(valid.shape[1], device=valid.device).expand(valid.shape)
        hidden, cache = self.gemma(embeddings, positions, block_mask(valid, roles != PROMPT))
        return Prefix(cache, hidden, embeddings, valid, valid & (roles != FAST), positions)

    def text_logits(self, prefix: Prefix, length: int) -> Tensor:
        """Logits [B, length, vocab] of the prefix's last `length` tokens, each predicted from the token before it."""
        return self.logits(prefix.hidden[:, -length - 1 : -1])

    def logits(self, hidden: Tensor) -> Tensor:
        """Vocabulary logits (float32) of trunk outputs [..., width], by the embedding where it is tied."""
        return F.linear(hidden, self.vocabulary).float()

    @property
    def vocabulary(self) -> Tensor:
        """The matrix [vocab, width] that turns trunk outputs into logits."""
        return self.lm_head.weight if self.config.untied else self.gemma.embed_tokens.weight

    # Suffix: state and noisy actions through the expert.

    def embed_time(self, t: Tensor) -> Tensor:
        """Sine and cosine features [..., expert width] (float32) of times [...]."""
        numerics = self.config.numerics
        dtype = torch.float64 if numerics.time_embedding == "float64" else torch.float32
        return time_embedding(t, self.expert.config.width, numerics.min_period, numerics.max_period, dtype)

    def time_condition(self, t: Tensor) -> Tensor:
        """adaRMS condition [..., expert width] of times [...] (pi0.5)."""
        hidden = F.silu(self.time_mlp_in(self.embed_time(t).to(self.time_mlp_in.weight.dtype)))
        return F.silu(self.time_mlp_out(hidden))

    def embed_actions(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Noisy actions [..., H, D], times [...] or [..., H], to tokens [..., H, expert width]."""
        actions = self.action_in_proj(x_t.to(self.action_in_proj.weight.dtype))
        if self.config.adarms:
            return actions
        time = self.embed_time(t if t.dim() == x_t.dim() - 1 else t[..., None]).to(actions.dtype)
        hidden = self.action_time_mlp_in(torch.cat([actions, time.expand_as(actions)], dim=-1))
        return self.action_time_mlp_out(F.silu(hidden))

    def embed_state(self, state: Tensor) -> Tensor:
        """State [B, state_dim] to its token [B, 1, expert width] (pi0)."""
        return self.state_proj(state.to(self.state_proj.weight.dtype))[:, None]

    def velocity(self, x_t: Tensor, t: Tensor, prefix: Prefix, state: Tensor | None = None) -> Tensor:
        """Velocity dx/dt at x_t.

        x_t [B, H, D] with t [B], or [B, H] for a time per token (training-time real-time chunking);
        or K independent draws that share the prefix: x_t [B, K, H, D] with t [B, K] or [B, K, H].
        state [B, state_dim] for pi0. Returns float32 of x_t's shape.
        """
        if x_t.dim() == 3:
            return self.velocity(x_t[:, None], t[:, None], prefix, state)[:, 0]
        batch, draws, horizon = x_t.shape[:3]
        tokens = self.embed_actions(x_t, t).flatten(1, 2)
        cond = self.time_condition(t.reshape(batch, -1)) if self.config.adarms else None
        if not self.config.adarms:
            if state is None:
                raise InputError("a pi0 model needs the state [B, state_dim]")
            tokens = torch.cat([self.embed_state(state), tokens], dim=1)
        positions, mask = self._suffix_layout(prefix, draws, horizon)
        hidden, _ = self.expert(tokens, positions, mask, past=prefix.cache, cond=cond)
        actions = hidden[:, -draws * horizon :].to(self.action_out_proj.weight.dtype)
        return self.action_out_proj(actions).float().view(x_t.shape)

    def flow_loss(
        self, actions: Tensor, noise: Tensor, t: Tensor, prefix: Prefix, state: Tensor | None = None
    ) -> Tensor:
        """Squared error of the velocity per element.

        actions [B, H, D]; noise [B, H, D] or K draws [B, K, H, D]; t as in `velocity`. Returns noise's shape.
        Paper convention with flipped time: (v - (noise - actions))^2 at x_t = t * noise + (1 - t) * actions.
        """
        target = actions if noise.dim() == 3 else actions[:, None]
        time = t[(...,) + (None,) * (noise.dim() - t.dim())]
        velocity = self.velocity(time * noise + (1 - time) * target, t, prefix, state)
        return (velocity - (noise - target)).square()

    def _suffix_layout(self, prefix: Prefix, draws: int, horizon: int) -> tuple[Tensor, Tensor]:
        """Positions [B, T] and mask [B, T, P + T]: all see the prefix, actions the state and their own draw."""
        device, batch = prefix.visible.device, prefix.visible.shape[0]
        state = torch.zeros(0 if self.config.adarms else 1, dtype=torch.long, device=device)
        step = torch.cat([state, torch.arange(horizon, device=device).repeat(draws) + len(state)])
        draw = torch.cat([state, torch.arange(draws, device=device).repeat_interleave(horizon) + 1])
        own = (draw[None, :] == draw[:, None]) | (draw[None, :] == 0)
        mask = torch.cat([prefix.visible[:, None].expand(-1, len(draw), -1), own.expand(batch, -1, -1)], dim=2)
        return prefix.visible.sum(dim=1, keepdim=True) + step, mask


def check_inputs(config: ModelConfig, inputs: Inputs) -> None:
    """Raise InputError if pictures, masks or text do not fit the configuration."""
    names = ", ".join(config.cameras)
    if len(inputs.images) != len(config.cameras) or len(inputs.image_masks) != len(config.cameras):
        raise InputError(f"expected a picture and a mask for each of {names}; got {len(inputs.images)} pictures")
    expected = (inputs.batch, 3, config.vision.image_size, config.vision.image_size)
    for name, image in zip(config.cameras, inputs.images, strict=True):
        if image is not None and tuple(image.shape) != expected:
            raise InputError(f"picture '{name}' is {tuple(image.shape)}; the model takes {expected}")
    if inputs.tokens.shape != inputs.token_mask.shape:
        raise InputError(f"tokens are {tuple(inputs.tokens.shape)} but their mask is {tuple(inputs.token_mask.shape)}")


def initialise(model: Pi0, generator: torch.Generator) -> Pi0:
    """Weights for training from scratch, in place.

    Linear and convolution: normal with std fan_in^-0.5, biases 0; token embedding width^-0.5, so that scaled tokens
    have unit size; picture positions 0.02; norms neutral; layers that write to a residual stream are smaller by
    sqrt(2 * depth) (GPT-2); the adaRMS modulation starts at zero (DiT's adaLN-Zero).
    """
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            _init_linear(name, module, model.config, generator)
        elif isinstance(module, nn.Embedding):
            std = model.config.language.width**-0.5 if name == "gemma.embed_tokens" else 0.02
            nn.init.normal_(module.weight, std=std, generator=generator)
    return model


def _init_linear(name: str, module: nn.Linear | nn.Conv2d, config: ModelConfig, generator: torch.Generator) -> None:
    fan_in = module.weight[0].numel()
    depth = config.vision.depth if name.startswith("siglip") else config.language.depth
    writes = name.endswith(("o_proj", "out_proj", "down_proj", "fc2")) and name != "action_out_proj"
    std = fan_in**-0.5 / (math.sqrt(2 * depth) if writes else 1.0)
    nn.init.normal_(module.weight, std=0.0 if name.endswith("norm.dense") else std, generator=generator)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
