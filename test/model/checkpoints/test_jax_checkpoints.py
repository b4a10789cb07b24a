"""openpi's JAX folders: the tree, both layouts, and LoRA merged as its layers compute it."""

import json

import numpy as np
import pytest
import torch

from pi0_ros.model import CheckpointError, load
from pi0_ros.model.checkpoints.jax_names import LORA, map_tree, merge_lora
from pi0_ros.model.checkpoints.orbax import OrbaxSource

tensorstore = pytest.importorskip("tensorstore")


def write_tree(folder, leaves: dict[str, np.ndarray]) -> None:
    """A plain-dict orbax folder without OCDBT: one zarr array a leaf."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {}
    for leaf, value in leaves.items():
        keys = ["params", *leaf.split("/")]
        spec = {
            "driver": "zarr",
            "kvstore": f"file://{folder}/{'.'.join(keys)}/",
            "metadata": {"shape": list(value.shape), "dtype": value.dtype.str},
            "create": True,
        }
        tensorstore.open(spec).result().write(value).result()
        metadata[str(tuple(keys))] = {"key_metadata": [{"key": key, "key_type": 2} for key in keys]}
    (folder / "_METADATA").write_text(json.dumps({"tree_metadata": metadata, "use_zarr3": False}))


@pytest.fixture(scope="module")
def leaves():
    """The recorded pi0 tree by leaf."""
    from pathlib import Path

    source = OrbaxSource(Path(__file__).parents[2] / "fixtures" / "golden" / "orbax_pi0" / "params")
    return {leaf: source.leaf(leaf).numpy() for leaf in source.leaf_shapes}


def test_a_folder_without_ocdbt_reads_the_same(golden, tmp_path, leaves):
    write_tree(tmp_path / "params", leaves)
    (tmp_path / "sizes.json").write_text((golden / "orbax_pi0" / "sizes.json").read_text())
    ours, reference = load(tmp_path).model.state_dict(), load(golden / "orbax_pi0").model.state_dict()
    assert all(torch.equal(ours[name], reference[name]) for name in reference)


def test_head_counts_come_from_the_shapes(golden, tmp_path, leaves):
    write_tree(tmp_path, leaves)
    config = load(tmp_path, sizes={"horizon": 6, "prompt_length": 12}).config
    assert config == load(golden / "orbax_pi0").config


def test_an_unknown_leaf_is_named(tmp_path, leaves):
    write_tree(tmp_path, {**leaves, "PaliGemma/llm/layers/surprise": np.zeros((3, 4), np.float32)})
    with pytest.raises(CheckpointError, match="surprise"):
        load(tmp_path)


def test_a_missing_leaf_is_named(tmp_path, leaves):
    write_tree(tmp_path, {leaf: value for leaf, value in leaves.items() if leaf != "state_proj/bias"})
    with pytest.raises(CheckpointError, match=r"state_proj\.bias"):
        load(tmp_path)


def test_a_damaged_leaf_is_named(tmp_path, leaves):
    damaged = leaves["action_in_proj/kernel"].copy()
    damaged[0, 0] = np.nan
    write_tree(tmp_path, {**leaves, "action_in_proj/kernel": damaged})
    with pytest.raises(CheckpointError, match="action_in_proj/kernel.*NaN"):
        load(tmp_path)


def test_every_leaf_of_the_tree_maps_somewhere(leaves):
    parts = map_tree({leaf: value.shape for leaf, value in leaves.items()})
    assert {part.leaf for part in parts.values()} == set(leaves)


# einsum of each projection: input axes, weight axes, output axes (openpi gemma.py)
EINSUMS = {
    "q_einsum": ("btd,ndh->btnh", (8, 64, 16)),
    "kv_einsum": ("bsd,ckdh->cbskh", (2, 1, 64, 16)),
    "attn_vec_einsum": ("btnh,nhd->btd", (8, 16, 64)),
}


@pytest.mark.parametrize("name", EINSUMS)
def test_merged_lora_computes_what_the_lora_layer_computes(name):
    """The layer's two einsums as openpi builds them: the last two weight axes are cut to the rank in turn."""
    equation, shape = EINSUMS[name]
    left, _, rest = equation.partition(",")
    weight, _, out = rest.partition("->")
    a_label, b_label = weight[-2], weight[-1]
    generator = torch.Generator().manual_seed(0)
    w, a, b = (
        torch.randn(*shape[:-2], rows, columns, generator=generator)
        for rows, columns in ((shape[-2], shape[-1]), (shape[-2], 4), (4, shape[-1]))
    )
    x = torch.randn(2, 5, *(shape[:2] if name == "attn_vec_einsum" else shape[-2:-1]), generator=generator)
    middle = torch.einsum(f"{left},{weight.replace(b_label, 'l')}->{out.replace(b_label, 'l')}", x, a)
    adapted = torch.einsum(f"{out.replace(b_label, 'l')},{weight.replace(a_label, 'l')}->{out}", middle, b)
    expected = torch.einsum(equation, x, w) + adapted
    merged = merge_lora(f"PaliGemma/llm/layers/attn/{name}/w", w, a, b)
    torch.testing.assert_close(torch.einsum(equation, x, merged), expected, rtol=1e-4, atol=1e-3)


def test_lora_pairs_of_a_tree_are_merged(golden, tmp_path, leaves):
    generator = np.random.default_rng(0)
    extra = {}
    for leaf in ("PaliGemma/llm/layers/attn/q_einsum/w", "PaliGemma/llm/layers/mlp_1/linear"):
        value = leaves[leaf]
        stem = leaf[:-1] + "lora_" if leaf.endswith("/w") else leaf + "_lora_"
        extra[stem + "a"] = generator.normal(size=(*value.shape[:-1], 2)).astype(np.float32)
        extra[stem + "b"] = generator.normal(size=(*value.shape[:-2], 2, value.shape[-1])).astype(np.float32)
    assert all(LORA.search(leaf) for leaf in extra)
    write_tree(tmp_path, {**leaves, **extra})
    loaded, plain = load(tmp_path, sizes={"horizon": 6, "prompt_length": 12}), load(golden / "orbax_pi0")
    assert "LoRA pairs merged into 2 weights" in loaded.report.notes[0]
    linear = "PaliGemma/llm/layers/mlp_1/linear"
    down = leaves[linear][1] + extra[linear + "_lora_a"][1] @ extra[linear + "_lora_b"][1]
    found = loaded.model.expert.layers[1].mlp.down_proj.weight
    torch.testing.assert_close(found, torch.from_numpy(down.T.copy()), rtol=1e-5, atol=1e-5)
    changed = [n for n, t in loaded.model.state_dict().items() if not torch.equal(t, plain.model.state_dict()[n])]
    assert {name.split(".", 3)[-1] for name in changed} == {"self_attn.q_proj.weight", "mlp.down_proj.weight"}


def test_as_many_key_value_heads_as_heads_come_in_one_leaf(tmp_path, leaves):
    """openpi's gemma fuses q, k and v if there are as many key/value heads as heads."""
    fused = dict(leaves)
    for suffix in ("", "_1"):
        stem = "PaliGemma/llm/layers/attn/"
        q, kv = fused.pop(f"{stem}q_einsum{suffix}/w"), fused.pop(f"{stem}kv_einsum{suffix}/w")
        k, v = (np.repeat(kv[:, i], q.shape[1], axis=1) for i in (0, 1))
        fused[f"{stem}qkv_einsum{suffix}/w"] = np.stack([q, k, v], axis=1)
    write_tree(tmp_path, fused)
    loaded = load(tmp_path)
    assert (loaded.config.language.heads, loaded.config.language.kv_heads, loaded.config.language.head_dim) == (
        8,
        8,
        16,
    )
    weight = loaded.model.gemma.layers[2].self_attn.k_proj.weight
    expected = leaves["PaliGemma/llm/layers/attn/kv_einsum/w"][2, 0, 0].T
    assert np.array_equal(weight[:16].detach(), expected) and np.array_equal(weight[-16:].detach(), expected)
