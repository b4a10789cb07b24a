"""openpi's JAX parameter tree mapped onto canonical (PyTorch) names: which slice of which leaf, turned how.

Source: openpi src/openpi/models/{gemma,siglip,pi0}.py and examples/convert_jax_model_to_pytorch.py. Leaves of a scanned
stack carry the layer as their first axis. flax kernels are [in, out]; einsum weights keep their head axes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from pi0_ros.model.checkpoints.names import EMBEDDING, EXPERT, LANGUAGE, PROJECTOR, VISION
from pi0_ros.model.errors import CheckpointError

Turn = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Part:
    """One canonical tensor: leaf name, index into the leaf's leading axes, and how to turn that slice."""

    leaf: str
    index: tuple[int, ...]
    turn: Turn


def same(x: Tensor) -> Tensor:
    return x


def transpose(x: Tensor) -> Tensor:
    """[in, out] -> [out, in]."""
    return x.T


def flatten(x: Tensor) -> Tensor:
    return x.reshape(-1)


def heads_out(x: Tensor) -> Tensor:
    """[heads, in, head_dim] -> [heads·head_dim, in] (Gemma's q, k, v)."""
    return x.transpose(1, 2).reshape(-1, x.shape[1])


def heads_in(x: Tensor) -> Tensor:
    """[heads, head_dim, out] -> [out, heads·head_dim] (output projections)."""
    return x.reshape(-1, x.shape[2]).T


def kernel_heads_out(x: Tensor) -> Tensor:
    """[in, heads, head_dim] -> [heads·head_dim, in] (flax attention kernels)."""
    return x.reshape(x.shape[0], -1).T


def patches(x: Tensor) -> Tensor:
    """[height, width, 3, out] -> [out, 3, height, width]."""
    return x.permute(3, 2, 0, 1)


def position(x: Tensor) -> Tensor:
    """[1, tokens, width] -> [tokens, width]."""
    return x.reshape(x.shape[-2], x.shape[-1])


IMG = "PaliGemma/img/"
BLOCK = IMG + "Transformer/encoderblock/"
MHA = BLOCK + "MultiHeadDotProductAttention_0/"

SINGLE: dict[str, tuple[str, Turn]] = {
    IMG + "embedding/kernel": (VISION + "embeddings.patch_embedding.weight", patches),
    IMG + "embedding/bias": (VISION + "embeddings.patch_embedding.bias", same),
    IMG + "pos_embedding": (VISION + "embeddings.position_embedding.weight", position),
    IMG + "Transformer/encoder_norm/scale": (VISION + "post_layernorm.weight", same),
    IMG + "Transformer/encoder_norm/bias": (VISION + "post_layernorm.bias", same),
    IMG + "head/kernel": (PROJECTOR + "weight", transpose),
    IMG + "head/bias": (PROJECTOR + "bias", same),
    "PaliGemma/llm/embedder/input_embedding": (EMBEDDING, same),
}

# {i} is the layer.
VISION_LAYER: dict[str, tuple[str, Turn]] = {
    BLOCK + "LayerNorm_0/scale": ("layer_norm1.weight", same),
    BLOCK + "LayerNorm_0/bias": ("layer_norm1.bias", same),
    BLOCK + "LayerNorm_1/scale": ("layer_norm2.weight", same),
    BLOCK + "LayerNorm_1/bias": ("layer_norm2.bias", same),
    BLOCK + "MlpBlock_0/Dense_0/kernel": ("mlp.fc1.weight", transpose),
    BLOCK + "MlpBlock_0/Dense_0/bias": ("mlp.fc1.bias", same),
    BLOCK + "MlpBlock_0/Dense_1/kernel": ("mlp.fc2.weight", transpose),
    BLOCK + "MlpBlock_0/Dense_1/bias": ("mlp.fc2.bias", same),
    MHA + "query/kernel": ("self_attn.q_proj.weight", kernel_heads_out),
    MHA + "query/bias": ("self_attn.q_proj.bias", flatten),
    MHA + "key/kernel": ("self_attn.k_proj.weight", kernel_heads_out),
    MHA + "key/bias": ("self_attn.k_proj.bias", flatten),
    MHA + "value/kernel": ("self_attn.v_proj.weight", kernel_heads_out),
    MHA + "value/bias": ("self_attn.v_proj.bias", flatten),
    MHA + "out/kernel": ("self_attn.out_proj.weight", heads_in),
    MHA + "out/bias": ("self_attn.out_proj.bias", same),
}

# {x} is "" for the VLM and "_1" for the action expert; the index is what follows the layer axis.
LLM_LAYER: tuple[tuple[str, tuple[int, ...], str, Turn], ...] = (
    ("attn/q_einsum{x}/w", (), "self_attn.q_proj.weight", heads_out),
    ("attn/kv_einsum{x}/w", (0,), "self_attn.k_proj.weight", heads_out),
    ("attn/kv_einsum{x}/w", (1,), "self_attn.v_proj.weight", heads_out),
    ("attn/qkv_einsum{x}/w", (0,), "self_attn.q_proj.weight", heads_out),
    ("attn/qkv_einsum{x}/w", (1,), "self_attn.k_proj.weight", heads_out),
    ("attn/qkv_einsum{x}/w", (2,), "self_attn.v_proj.weight", heads_out),
    ("attn/attn_vec_einsum{x}/w", (), "self_attn.o_proj.weight", heads_in),
    ("mlp{x}/gating_einsum", (0,), "mlp.gate_proj.weight", transpose),
    ("mlp{x}/gating_einsum", (1,), "mlp.up_proj.weight", transpose),
    ("mlp{x}/linear", (), "mlp.down_proj.weight", transpose),
    ("pre_attention_norm{x}/scale", (), "input_layernorm.weight", same),
    ("pre_attention_norm{x}/Dense_0/kernel", (), "input_layernorm.dense.weight", transpose),
    ("pre_attention_norm{x}/Dense_0/bias", (), "input_layernorm.dense.bias", same),
    ("pre_ffw_norm{x}/scale", (), "post_attention_layernorm.weight", same),
    ("pre_ffw_norm{x}/Dense_0/kernel", (), "post_attention_layernorm.dense.weight", transpose),
    ("pre_ffw_norm{x}/Dense_0/bias", (), "post_attention_layernorm.dense.bias", same),
)
FINAL_NORM: tuple[tuple[str, str, Turn], ...] = (
    ("final_norm{x}/scale", "norm.weight", same),
    ("final_norm{x}/Dense_0/kernel", "norm.dense.weight", transpose),
    ("final_norm{x}/Dense_0/bias", "norm.dense.bias", same),
)
HEAD = re.compile(r"^(state_proj|action_in_proj|action_out_proj|(?:action_)?time_mlp_(?:in|out))/(kernel|bias)$")
LORA = re.compile(r"[/_]lora_[ab]$")


def _heads(leaf: str) -> dict[str, Part]:
    match = HEAD.match(leaf)
    if match is None:
        return {}
    kernel = match[2] == "kernel"
    return {f"{match[1]}.{'weight' if kernel else 'bias'}": Part(leaf, (), transpose if kernel else same)}


def _llm(leaf: str, layers: int) -> dict[str, Part]:
    found = {}
    for suffix, prefix in (("", LANGUAGE), ("_1", EXPERT)):
        for pattern, index, name, turn in LLM_LAYER:
            if leaf == "PaliGemma/llm/layers/" + pattern.format(x=suffix):
                found.update({f"{prefix}layers.{i}.{name}": Part(leaf, (i, *index), turn) for i in range(layers)})
        for pattern, name, turn in FINAL_NORM:
            if leaf == "PaliGemma/llm/" + pattern.format(x=suffix):
                found[prefix + name] = Part(leaf, (), turn)
    return found


def parts_of(leaf: str, shape: tuple[int, ...]) -> dict[str, Part]:
    """The canonical tensors that one leaf holds; empty if the leaf is unknown, or has no layers though it should."""
    layers = shape[0] if shape else 0
    if leaf in SINGLE:
        name, turn = SINGLE[leaf]
        return {name: Part(leaf, (), turn)}
    if leaf in VISION_LAYER:
        name, turn = VISION_LAYER[leaf]
        return {f"{VISION}encoder.layers.{i}.{name}": Part(leaf, (i,), turn) for i in range(layers)}
    return _heads(leaf) or _llm(leaf, layers)


def map_tree(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Part]:
    """Canonical name -> part, for a whole tree. Raises CheckpointError listing leaves of no known meaning."""
    parts: dict[str, Part] = {}
    unknown = []
    for leaf, shape in shapes.items():
        if LORA.search(leaf):
            continue
        found = parts_of(leaf, shape)
        parts.update(found)
        if not found:
            unknown.append(leaf)
    if unknown:
        raise CheckpointError(f"unknown parameters in the JAX tree: {', '.join(sorted(unknown)[:8])} ({len(unknown)})")
    return parts


def lora_leaves(leaf: str, leaves: Mapping[str, object]) -> tuple[str, str] | None:
    """The names of a weight's LoRA pair (a, b), if the tree has one."""
    stem = leaf[: -len("w")] + "lora_" if leaf.endswith("/w") else leaf + "_lora_"
    return (stem + "a", stem + "b") if stem + "a" in leaves and stem + "b" in leaves else None


def merge_lora(leaf: str, w: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """w + a·b in float32, as openpi's LoRA layers compute it with alpha = rank (scale 1, as in all its presets).

    For `attn_vec_einsum` ("BTNH,NHD->BTD") the layer's two einsums each sum over the heads, so head n receives
    a[n] · Σ_m b[m] and not a[n] · b[n] (openpi src/openpi/models/lora.py, `_make_lora_eqns`).
    """
    a, b = a.float(), b.float()
    if "attn_vec_einsum" in leaf:
        b = b.sum(dim=-3, keepdim=True)
    return (w.float() + a @ b).to(w.dtype)


# LoRA leaves by what stands before `lora_a`; the index is what follows the layer axis, as above.
LORA_LAYER: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("attn/q_einsum{x}/", (), "self_attn.q_proj"),
    ("attn/kv_einsum{x}/", (0,), "self_attn.k_proj"),
    ("attn/kv_einsum{x}/", (1,), "self_attn.v_proj"),
    ("attn/attn_vec_einsum{x}/", (), "self_attn.o_proj"),
    ("mlp{x}/gating_einsum_", (0,), "mlp.gate_proj"),
    ("mlp{x}/gating_einsum_", (1,), "mlp.up_proj"),
    ("mlp{x}/linear_", (), "mlp.down_proj"),
)


def lora_parts(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Part]:
    """Canonical name -> part for the LoRA pairs of a tree: `….q_proj.lora_a`, a pair for every head (`model.lora`)."""
    found: dict[str, Part] = {}
    for suffix, prefix in (("", LANGUAGE), ("_1", EXPERT)):
        for pattern, index, name in LORA_LAYER:
            for pair in ("lora_a", "lora_b"):
                leaf = "PaliGemma/llm/layers/" + pattern.format(x=suffix) + pair
                layers = range(shapes[leaf][0]) if leaf in shapes else ()
                found.update({f"{prefix}layers.{i}.{name}.{pair}": Part(leaf, (i, *index), same) for i in layers})
    return found
