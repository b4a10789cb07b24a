"""Every project's names of the same weight are one name."""

import pytest

from pi0_ros.model.checkpoints.names import (
    canonical,
    canonical_name,
    detect_kind,
    from_network,
    is_junk,
    strip,
    to_network,
)
from pi0_ros.model.errors import CheckpointError

TRUNK, EXPERT = "paligemma.model.language_model.norm.weight", "gemma_expert.model.norm.weight"
GATED = "gemma_expert.model.layers.11.input_layernorm.dense.weight"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("paligemma_with_expert.paligemma.model.x", "paligemma.model.x"), ("model.module._orig_mod.a.b", "a.b"),
        ("a._fsdp_wrapped_module.b._checkpoint_wrapped_module.c._orig_mod.d", "a.b.c.d"), ("models.a", "models.a"),
        ("model.paligemma_with_expert.gemma_expert.model.norm", "gemma_expert.model.norm"),
        ("language_model.model.norm.weight", "paligemma.language_model.model.norm.weight"),
        ("model.vision_tower.x", "paligemma.vision_tower.x"), ("multi_modal_projector.y", "paligemma.multi_modal_projector.y"),
        ("lm_head.weight", "paligemma.lm_head.weight"), ("lm_headed.weight", "lm_headed.weight"),
    ],
)  # fmt: skip
def test_wrappers_are_taken_off_and_a_paligemmas_own_names_get_their_place(key, name):
    assert strip(key) == name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("paligemma.language_model.lm_head.weight", "paligemma.lm_head.weight"),
        ("paligemma.language_model.model.layers.2.x", "paligemma.model.language_model.layers.2.x"),
        ("paligemma.language_model.layers.2.x", "paligemma.model.language_model.layers.2.x"),
        ("paligemma.multi_modal_projector.linear.bias", "paligemma.model.multi_modal_projector.linear.bias"),
        ("paligemma.vision_tower.vision_model.post.x", "paligemma.model.vision_tower.vision_model.post.x"),
        ("paligemma.model.vision_tower.post.x", "paligemma.model.vision_tower.vision_model.post.x"),
    ],
)
def test_names_of_old_layouts_are_todays(old, new):
    assert canonical_name(old, "pi0") == new


@pytest.mark.parametrize(
    "key",
    [
        "gemma_expert.lm_head.weight", "gemma_expert.model.embed_tokens.weight", "a.rotary_emb.inv_freq", "b.position_ids",
        "paligemma.model.vision_tower.vision_model.head.probe", "normalize_inputs.buffer", "unnormalize_outputs.x",
        "normalize_targets.y",
    ],
)  # fmt: skip
def test_what_no_network_uses_is_left_out(key):
    assert is_junk(key) and canonical_name(key, "pi05") is None
    assert not is_junk("my_" + key) or "inv_freq" in key or "position_ids" in key


def test_the_kind_is_told_by_the_expert_and_its_norms():
    assert detect_kind([TRUNK]) == "pi0_fast" and detect_kind([TRUNK, EXPERT]) == "pi0"
    for gated in (GATED, "gemma_expert.model.norm.dense.weight"):
        assert detect_kind([TRUNK, EXPERT, gated]) == "pi05"
    assert detect_kind([TRUNK, EXPERT, GATED + "s"]) == "pi0"
    with pytest.raises(CheckpointError, match=r"no pi0-family model: .*\(first key: 'a'\)"):
        detect_kind(["b", "a"])
    with pytest.raises(CheckpointError, match="first key: '-'"):
        detect_kind([])


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("state_proj.bias", {"pi0": "state_proj.bias", "pi05": None, "pi0_fast": "state_proj.bias"}),
        ("action_time_mlp_in.bias", {"pi0": "action_time_mlp_in.bias", "pi05": "time_mlp_in.bias"}),
        ("time_mlp_out.bias", {"pi0": "action_time_mlp_out.bias", "pi05": "time_mlp_out.bias"}),
        ("my_time_mlp_out.bias", {"pi0": "my_time_mlp_out.bias", "pi05": "my_time_mlp_out.bias"}),
    ],
)
def test_the_time_layers_have_the_names_of_their_kind(key, names):
    assert {kind: canonical_name(key, kind) for kind in names} == names


def test_of_a_whole_file_the_names_their_sources_and_what_was_wrapped_are_told():
    keys = [f"model.{k}" for k in (TRUNK, EXPERT, "b.position_ids", "a.rotary_emb.inv_freq")]
    kind, names = canonical(keys)
    assert kind == "pi0" and names.sources == {TRUNK: keys[0], EXPERT: keys[1]}
    assert names.skipped == (keys[3], keys[2]) and names.wrapped and not names.legacy and not names.bare
    kind, names = canonical([TRUNK, f"model.{EXPERT}"])
    assert not names.wrapped
    kind, names = canonical(["language_model.model.norm.weight", "vision_tower.x"])
    assert kind == "pi0_fast" and names.bare and names.legacy and not names.wrapped
    assert not canonical([TRUNK])[1].bare
    with pytest.raises(CheckpointError, match="the keys '.*' and 'model.*' both mean"):
        canonical([TRUNK, f"model.{TRUNK}"])


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (TRUNK, "gemma.norm.weight"), (EXPERT, "expert.norm.weight"), ("paligemma.lm_head.weight", "lm_head.weight"),
        ("paligemma.model.vision_tower.vision_model.post.x", "siglip.post.x"),
        ("paligemma.model.multi_modal_projector.linear.bias", "projector.bias"), ("state_proj.bias", "state_proj.bias"),
    ],
)  # fmt: skip
def test_the_network_keeps_each_part_in_its_place(name, place):
    assert (to_network(name), from_network(place)) == (place, name)
