"""Which slice of which leaf of a JAX tree is which weight, and how it is turned, number by number."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pi0_ros.model.checkpoints import jax_names, orbax
from pi0_ros.model.checkpoints.jax_names import lora_leaves, lora_parts, map_tree, merge_lora, parts_of
from pi0_ros.model.checkpoints.orbax import OrbaxSource, _to_torch, _tree, find_orbax
from pi0_ros.model.errors import CheckpointError

TOWER, TRUNK, EXPERT = (
    "paligemma.model.vision_tower.vision_model.",
    "paligemma.model.language_model.",
    "gemma_expert.model.",
)
LAYERS = "PaliGemma/llm/layers/"
X = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("turn", "value", "right"),
    [
        ("same", X[0, 0], X[0, 0]), ("transpose", X[0, 0], X[0, 0].T), ("flatten", X[0, 0], X[0, 0].ravel()),
        ("heads_out", X[0], np.einsum("nih->nhi", X[0]).reshape(15, 4)), ("heads_in", X[0], np.einsum("nho->onh", X[0]).reshape(5, 12)),
        ("kernel_heads_out", X[0], np.einsum("inh->nhi", X[0]).reshape(20, 3)), ("patches", X, np.einsum("hwco->ochw", X)),
        ("position", X[:1, 0], X[0, 0]),
    ],
)  # fmt: skip
def test_an_array_is_turned_into_the_weight(turn, value, right):
    np.testing.assert_array_equal(getattr(jax_names, turn)(torch.tensor(value)).numpy(), right)


@pytest.mark.parametrize(
    ("leaf", "names"),
    [
        ("PaliGemma/img/embedding/kernel", {TOWER + "embeddings.patch_embedding.weight": ()}),
        ("PaliGemma/img/pos_embedding", {TOWER + "embeddings.position_embedding.weight": ()}),
        ("PaliGemma/img/head/bias", {"paligemma.model.multi_modal_projector.linear.bias": ()}),
        ("PaliGemma/llm/embedder/input_embedding", {TRUNK + "embed_tokens.weight": ()}),
        ("PaliGemma/img/Transformer/encoderblock/MlpBlock_0/Dense_1/bias", {TOWER + f"encoder.layers.{i}.mlp.fc2.bias": (i,) for i in (0, 1)}),
        ("PaliGemma/img/Transformer/encoderblock/MultiHeadDotProductAttention_0/value/kernel", {TOWER + f"encoder.layers.{i}.self_attn.v_proj.weight": (i,) for i in (0, 1)}),
        (LAYERS + "attn/q_einsum/w", {TRUNK + f"layers.{i}.self_attn.q_proj.weight": (i,) for i in (0, 1)}),
        (LAYERS + "attn/kv_einsum_1/w", {EXPERT + f"layers.{i}.self_attn.{n}_proj.weight": (i, k) for i in (0, 1) for k, n in enumerate("kv")}),
        (LAYERS + "attn/qkv_einsum/w", {TRUNK + f"layers.{i}.self_attn.{n}_proj.weight": (i, k) for i in (0, 1) for k, n in enumerate("qkv")}),
        (LAYERS + "mlp_1/gating_einsum", {EXPERT + f"layers.{i}.mlp.{n}_proj.weight": (i, k) for i in (0, 1) for k, n in enumerate(("gate", "up"))}),
        (LAYERS + "pre_ffw_norm_1/Dense_0/bias", {EXPERT + f"layers.{i}.post_attention_layernorm.dense.bias": (i,) for i in (0, 1)}),
        ("PaliGemma/llm/final_norm_1/Dense_0/kernel", {EXPERT + "norm.dense.weight": ()}),
        ("PaliGemma/llm/final_norm/scale", {TRUNK + "norm.weight": ()}), ("state_proj/kernel", {"state_proj.weight": ()}),
        ("action_time_mlp_out/bias", {"action_time_mlp_out.bias": ()}), ("time_mlp_in/kernel", {"time_mlp_in.weight": ()}),
        ("state_proj/scale", {}), ("my_state_proj/bias", {}), (LAYERS + "attn/q_einsum_2/w", {}), ("PaliGemma/llm/final_norm_2/scale", {}),
    ],
)  # fmt: skip
def test_each_leaf_holds_the_weights_of_its_layers(leaf, names):
    found = parts_of(leaf, (2, 3, 4))
    assert {name: part.index for name, part in found.items()} == names and {part.leaf for part in found.values()} <= {
        leaf
    }
    assert parts_of(leaf, ()) == {} or not any("layers" in name for name in names)


def test_kernels_are_turned_and_biases_are_not():
    for leaf, turned in (("state_proj/kernel", True), ("state_proj/bias", False)):
        ((_, part),) = parts_of(leaf, (3, 4)).items()
        assert (part.turn is jax_names.transpose) is turned


def test_a_tree_is_mapped_as_a_whole_and_what_is_unknown_is_listed():
    shapes = {"state_proj/bias": (3,), LAYERS + "attn/q_einsum/lora_a": (2, 3), LAYERS + "mlp/linear_lora_b": (2, 3)}
    assert set(map_tree(shapes)) == {"state_proj.bias"}
    odd = {f"odd{k}": (1,) for k in range(9)}
    with pytest.raises(CheckpointError, match=r"unknown parameters in the JAX tree: odd0, odd1, .*odd7 \(9\)"):
        map_tree(shapes | odd)


def test_the_pair_of_a_weight_stands_beside_it():
    for leaf, stem in (
        (LAYERS + "attn/q_einsum/w", LAYERS + "attn/q_einsum/"),
        (LAYERS + "mlp/linear", LAYERS + "mlp/linear_"),
    ):
        pair = (stem + "lora_a", stem + "lora_b")
        assert lora_leaves(leaf, dict.fromkeys(pair)) == pair
        assert lora_leaves(leaf, {pair[0]: 1}) is None and lora_leaves(leaf, {pair[1]: 1}) is None


def test_a_pair_is_added_in_float32_and_of_output_heads_the_second_is_summed():
    rng = np.random.default_rng(2)
    w, a, b = (rng.normal(size=s).astype(np.float32) for s in ((3, 4, 5), (3, 4, 2), (3, 2, 5)))
    plain = merge_lora(LAYERS + "attn/q_einsum/w", *map(torch.tensor, (w, a, b)))
    np.testing.assert_allclose(plain.numpy(), w + a @ b, rtol=1e-5)
    summed = merge_lora(LAYERS + "attn/attn_vec_einsum/w", *map(torch.tensor, (w, a, b)))
    np.testing.assert_allclose(summed.numpy(), w + a @ b.sum(0), rtol=1e-5)
    assert merge_lora("x", torch.tensor(w).bfloat16(), torch.tensor(a), torch.tensor(b)).dtype == torch.bfloat16


def test_pairs_are_named_by_the_layer_they_change():
    shapes = {
        LAYERS + "attn/kv_einsum_1/lora_a": (2, 2, 1, 3), LAYERS + "mlp/gating_einsum_lora_b": (1, 2, 3),
        LAYERS + "attn/attn_vec_einsum/lora_a": (1, 3), LAYERS + "mlp_1/linear_lora_b": (2, 3),
    }  # fmt: skip
    found = {name: (part.leaf, part.index) for name, part in lora_parts(shapes).items()}
    one, two, three, four = shapes
    assert found == {
        **{f"{EXPERT}layers.{i}.self_attn.{n}_proj.lora_a": (one, (i, k)) for i in (0, 1) for k, n in enumerate("kv")},
        **{f"{TRUNK}layers.0.mlp.{n}_proj.lora_b": (two, (0, k)) for k, n in enumerate(("gate", "up"))},
        f"{TRUNK}layers.0.self_attn.o_proj.lora_a": (three, (0,)),
        **{f"{EXPERT}layers.{i}.mlp.down_proj.lora_b": (four, (i,)) for i in (0, 1)},
    }


# ---------------------------------------------------------------- the folder


def tree(folder, *paths, **more):
    entries = {str(k): {"key_metadata": [{"key": key} for key in path]} for k, path in enumerate(paths)}
    (folder / "_METADATA").write_text(json.dumps({"tree_metadata": entries} | more))
    return _tree(folder)


def test_both_layouts_of_a_tree_name_its_leaves_alike(tmp_path):
    found, third = tree(tmp_path, ["params", "a", "b", "value"], ["params", "c"], ["d", "e"], ["value"])
    assert found == {"a/b": "params.a.b.value", "c": "params.c", "d/e": "d.e", "": "value"} and third is False
    assert tree(tmp_path, ["a"], use_zarr3=True)[1] is True
    for bad in (["../x"], ["a b"], [3], []):
        with pytest.raises(CheckpointError, match="_METADATA: "):
            tree(tmp_path, bad)
    (tmp_path / "_METADATA").write_text('{"tree_metadata": [1]}')
    with pytest.raises(CheckpointError, match="has no readable 'tree_metadata'"):
        _tree(tmp_path)


def test_the_folder_is_the_one_named_or_its_params(tmp_path):
    assert find_orbax(tmp_path) is None
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "_METADATA").write_text("")
    assert find_orbax(tmp_path) == find_orbax(tmp_path / "params") == tmp_path / "params"
    (tmp_path / "_METADATA").write_text("")
    assert find_orbax(tmp_path) == tmp_path


def shaped(**shapes):
    source = OrbaxSource.__new__(OrbaxSource)
    source.leaf_shapes = {key.replace("__", "/"): shape for key, shape in shapes.items()}
    return source


def test_head_counts_are_those_of_the_shapes_that_tell_them():
    query = "PaliGemma__img__Transformer__encoderblock__MultiHeadDotProductAttention_0__query__kernel"
    attention = "PaliGemma__llm__layers__attn__"
    one = shaped(
        **{
            query: (27, 1152, 16, 72),
            attention + "q_einsum__w": (18, 8, 2048, 256),
            attention + "qkv_einsum_1__w": (18, 3, 4, 1024, 64),
        }
    )
    assert one.head_sizes() == {
        "vision": {"heads": 16},
        "gemma": {"heads": 8, "head_dim": 256},
        "expert": {"heads": 4, "kv_heads": 4, "head_dim": 64},
    }
    assert shaped().head_sizes() == {} == shaped(**{attention + "q_einsum__w": (18, 8, 2048)}).head_sizes()
    assert shaped(**{query: (27, 1152), attention + "qkv_einsum__w": (18, 3, 4, 64)}).head_sizes() == {}
    assert shaped(**{query: (27, 1152, 5)}).head_sizes() == {"vision": {"heads": 5}}


def test_an_array_that_announces_more_than_any_leaf_has_is_not_read(monkeypatch):
    pytest.importorskip("tensorstore")
    folder = Path(__file__).parents[2] / "fixtures" / "golden" / "orbax_pi0" / "params"
    largest = max(part.size * 4 for part in OrbaxSource(folder)._open.values())
    monkeypatch.setattr(orbax, "MAX_LEAF", largest)
    assert OrbaxSource(folder).nbytes > largest
    monkeypatch.setattr(orbax, "MAX_LEAF", largest - 1)
    with pytest.raises(CheckpointError, match="announces the shape"):
        OrbaxSource(folder)


def test_numbers_are_floats_of_any_width():
    for kind in (np.float16, np.float32, np.float64):
        assert _to_torch(np.array([1.5, -2.0], kind)).tolist() == [1.5, -2.0]
    with pytest.raises(CheckpointError, match="a JAX parameter has dtype int32"):
        _to_torch(np.array([1], np.int32))
    assert _to_torch(np.arange(6.0).reshape(2, 3).T).is_contiguous()
