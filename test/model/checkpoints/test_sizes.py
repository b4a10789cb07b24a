"""A network's sizes from the shapes of its weights: twelve different numbers, and what cannot be read off them."""

import pytest

from pi0_ros.model.checkpoints.names import EMBEDDING, EXPERT, LANGUAGE, LM_HEAD, VISION
from pi0_ros.model.checkpoints.sizes import cameras_of, gemma_sizes, infer, records_horizon, vision_sizes
from pi0_ros.model.config import CAMERAS, GemmaConfig, Numerics, VisionConfig
from pi0_ros.model.errors import CheckpointError

TOWER = {
    VISION + "embeddings.patch_embedding.weight": (384, 3, 14, 14),
    VISION + "embeddings.position_embedding.weight": (25, 384),
    VISION + "encoder.layers.0.mlp.fc1.weight": (500, 384),
    VISION + "encoder.layers.1.mlp.fc1.weight": (500, 384),
}


def stack(prefix, width, mlp, layers=3, query=96, key=24):
    """Shapes of a Gemma stack."""
    found = {}
    for k in range(layers):
        found |= {
            f"{prefix}layers.{k}.self_attn.q_proj.weight": (query, width),
            f"{prefix}layers.{k}.self_attn.k_proj.weight": (key, width),
            f"{prefix}layers.{k}.mlp.gate_proj.weight": (mlp, width),
        }
    return found


WHOLE = TOWER | stack(LANGUAGE, 48, 70) | stack(EXPERT, 32, 44) | {
    EMBEDDING: (301, 48), "action_in_proj.weight": (32, 17), "state_proj.weight": (32, 11),
}  # fmt: skip


def test_a_tower_is_as_wide_deep_and_large_as_its_weights():
    assert vision_sizes(TOWER, {}) == VisionConfig(384, 2, 6, 500, 5 * 14, 14)
    assert vision_sizes(TOWER, {"vision": {"heads": 4}}).heads == 4
    for width, heads in ((1152, 16), (1024, 16), (768, 12)):  # So400m, L, B
        wide = {k: tuple(width if n == 384 else n for n in shape) for k, shape in TOWER.items()}
        assert vision_sizes(wide, {}).heads == heads


@pytest.mark.parametrize(
    ("changes", "sizes", "words"),
    [
        ({"embeddings.position_embedding.weight": (26, 384)}, {}, "26 rows, which is no square"),
        ({"embeddings.position_embedding.weight": (24, 384)}, {}, "24 rows, which is no square"),
        ({"embeddings.patch_embedding.weight": (385, 3, 14, 14)}, {}, "width 385 is none of the published"),
        ({"embeddings.patch_embedding.weight": (384, 3, 14)}, {}, "4 non-empty axes are expected"),
        ({"embeddings.patch_embedding.weight": (384, 0, 14, 14)}, {}, "4 non-empty axes are expected"),
        ({"embeddings.patch_embedding.weight": None}, {}, "the weights lack .*patch_embedding.weight"),
        ({"encoder.layers.3.mlp.fc1.weight": (1, 1)}, {}, "lack layer 2 under .*, but have layer 3"),
        ({}, {"vision": {"heads": 0}}, "'heads' must be a positive whole number, got 0"),
        ({}, {"vision": {"heads": 2.0}}, "'heads' must be a positive whole number, got 2.0"),
        ({}, {"vision": {"heads": True}}, "'heads' must be a positive whole number, got True"),
        ({}, {"vision": [3]}, "sizes: 'vision' must be an object"),
    ],
)
def test_a_tower_that_cannot_be_is_refused_with_what_is_wrong(changes, sizes, words):
    shapes = {k: v for k, v in (TOWER | {VISION + k: v for k, v in changes.items()}).items() if v is not None}
    with pytest.raises(CheckpointError, match=words):
        vision_sizes(shapes, sizes)


@pytest.mark.parametrize(
    ("sizes", "heads", "kv_heads", "head_dim"),
    [
        ({}, 4, 1, 24), ({"kv_heads": 2}, 8, 2, 12), ({"heads": 8}, 8, 2, 12), ({"head_dim": 8}, 12, 3, 8),
        ({"heads": 12, "kv_heads": 3}, 12, 3, 8), ({"heads": 4, "kv_heads": 1, "head_dim": 24}, 4, 1, 24),
    ],
)  # fmt: skip
def test_a_stack_has_one_key_value_head_unless_something_else_is_said(sizes, heads, kv_heads, head_dim):
    found = gemma_sizes(stack(LANGUAGE, 48, 70), LANGUAGE, sizes)
    assert found == GemmaConfig(48, 3, heads, kv_heads, head_dim, 70)


@pytest.mark.parametrize(
    "sizes", [{"heads": 7}, {"kv_heads": 5}, {"head_dim": 7}, {"head_dim": 48}, {"heads": 8, "kv_heads": 1}, {"heads": 4, "head_dim": 12}, {"heads": 97}, {"kv_heads": 25}]
)  # fmt: skip
def test_heads_that_do_not_divide_the_rows_are_refused(sizes):
    with pytest.raises(CheckpointError, match="96 query and 24 key rows do not divide"):
        gemma_sizes(stack(LANGUAGE, 48, 70), LANGUAGE, sizes)


def test_cameras_are_those_of_sizes_or_of_lerobots_features_or_openpis_three():
    features = {
        "observation.images.top": {"type": "VISUAL"}, "observation.state": {"type": "STATE"},
        "wrist": {"type": "VISUAL"}, "odd": 3,
    }  # fmt: skip
    assert cameras_of({"cameras": ["a", "b"]}, {"input_features": features}) == ("a", "b")
    assert cameras_of({}, {"input_features": features}) == ("top", "wrist")
    assert cameras_of({}, {"input_features": features, "empty_cameras": 2}) == (
        "top",
        "wrist",
        "empty_camera_0",
        "empty_camera_1",
    )
    named = features | {"observation.images.empty_camera_0": {"type": "VISUAL"}}
    assert cameras_of({}, {"input_features": named, "empty_cameras": 1}) == ("top", "wrist", "empty_camera_0")
    assert len(cameras_of({}, {"empty_cameras": 64})) == 64
    for config in ({}, {"input_features": [1]}, {"empty_cameras": 65}, {"empty_cameras": -1}, {"empty_cameras": "2"}):
        assert cameras_of({}, config) == CAMERAS
    for given in ([], "top", [1], None):
        assert cameras_of({"cameras": given}, {}) == CAMERAS


def test_a_horizon_is_recorded_in_sizes_or_in_either_projects_config():
    for sizes, config, says in (
        ({"horizon": 9}, {}, True),
        ({}, {"action_horizon": 9}, True),
        ({}, {"chunk_size": 9}, True),
        ({}, {"n_action_steps": 9}, False),
    ):
        assert records_horizon(sizes, config) is says
    with pytest.raises(CheckpointError, match="config.json: 'chunk_size' must be a positive whole number, got 0"):
        records_horizon({}, {"chunk_size": 0})


def test_a_whole_network_from_its_shapes():
    numerics = Numerics(rope="activation")
    found = infer("pi0", WHOLE, {"cameras": ["a"]}, {}, numerics)
    assert found.vision == VisionConfig(384, 2, 6, 500, 70, 14)
    assert found.language == GemmaConfig(48, 3, 4, 1, 24, 70) and found.expert == GemmaConfig(32, 3, 4, 1, 24, 44)
    assert (found.kind, found.vocab, found.action_dim, found.state_dim) == ("pi0", 301, 17, 11)
    assert (found.horizon, found.prompt_length, found.cameras, found.untied) == (50, 48, ("a",), False)
    assert found.numerics == numerics
    split = {"gemma": {"kv_heads": 2}, "expert": {"heads": 8}}
    assert infer("pi0", WHOLE, split, {}, numerics).expert.kv_heads == 2
    assert infer("pi0", {k: v for k, v in WHOLE.items() if k != "state_proj.weight"}, {}, {}, numerics).state_dim == 17


@pytest.mark.parametrize(
    ("sizes", "config", "horizon", "length"),
    [
        ({}, {}, 50, 48), ({"horizon": 7, "prompt_length": 9}, {"chunk_size": 8, "tokenizer_max_length": 10}, 7, 9),
        ({}, {"action_horizon": 11, "max_token_len": 12}, 11, 12), ({}, {"chunk_size": 13, "tokenizer_max_length": 14}, 13, 14),
    ],
)  # fmt: skip
def test_rows_and_prompt_are_as_long_as_the_files_say_or_as_the_released_ones(sizes, config, horizon, length):
    found = infer("pi0", WHOLE, sizes, config, Numerics())
    assert (found.horizon, found.prompt_length) == (horizon, length)


def test_a_network_of_tokens_has_no_expert_and_its_actions_are_as_wide_as_the_config_says():
    shapes = TOWER | stack(LANGUAGE, 48, 70) | {EMBEDDING: (301, 48)}
    for config, dim in (
        ({}, 32),
        ({"action_dim": 7}, 7),
        ({"max_action_dim": 9}, 9),
        ({"action_dim": 7, "max_action_dim": 9}, 7),
    ):
        found = infer("pi0_fast", shapes, {}, config, Numerics())
        assert (found.expert, found.action_dim, found.horizon, found.prompt_length) == (None, dim, 32, 250)
    assert infer("pi0_fast", shapes | {LM_HEAD: (301, 48)}, {}, {}, Numerics()).untied
    with pytest.raises(CheckpointError, match="the weights do not make a model: .*'horizon'"):
        infer("pi0_fast", shapes, {"horizon": 1001}, {}, Numerics())
