"""Which models can exist: every field on both sides of its bounds, and the released sizes and arithmetic."""

from dataclasses import replace

import pytest
import torch
from model_cases import small_config

from pi0_ros.model.config import (
    FAST_NUMERICS,
    GEMMA_2B,
    GEMMA_300M,
    MAX_CAMERAS,
    NUMERICS,
    PRESETS,
    SO400M,
    ConfigError,
    GemmaConfig,
    ModelConfig,
    Numerics,
    VisionConfig,
    numerics_for,
    preset,
)
from pi0_ros.model.network import Pi0

GOOD = small_config("pi05")


def taken(make):
    """Whether something can be made."""
    try:
        make()
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(
    ("periods", "good"),
    [
        ((4e-3, 4.0), True), ((1.5e-9, 1.0), True), ((1e-9, 1.0), False), ((0.0, 1.0), False), ((2.0, 2.0), False),
        ((1.0, 9.9e8), True), ((1.0, 1e9), False), ((4.0, 4e-3), False), ((1, 2), True), ((True, 2.0), False), (("1", 2.0), False),
    ],
)  # fmt: skip
def test_the_periods_of_the_time_embedding_rise_and_are_times(periods, good):
    assert taken(lambda: Numerics(min_period=periods[0], max_period=periods[1])) is good


@pytest.mark.parametrize(
    ("values", "good"),
    [
        ({"decode_offset": 0}, True), ({"decode_offset": 1000}, True), ({"decode_offset": 1001}, False),
        ({"decode_offset": -1}, False), ({"decode_offset": 1.0}, False), ({"decode_offset": True}, False),
        ({"decode_start": ()}, True), ({"decode_start": (0, 2)}, True), ({"decode_start": (-1,)}, False),
        ({"decode_start": [2]}, False), ({"decode_start": (2.0,)}, False), ({"decode_start": (3,) * 16}, True),
        ({"decode_start": (3,) * 17}, False), ({"rope": "float64"}, False), ({"rope": "activation"}, True),
        ({"embedding_scale": "bfloat16"}, True), ({"time_grid": "both"}, False), ({"text_positions": "arange"}, True),
    ],
)  # fmt: skip
def test_the_arithmetic_is_one_of_those_that_there_are(values, good):
    assert taken(lambda: Numerics(**values)) is good


def test_each_project_has_its_own_arithmetic():
    """As the projects' code does it; what is not named is as ours."""
    ours, walks = (
        Numerics("multiply", "float64", "float32", "float32", "cumsum", 0, (), 4e-3, 4.0),
        {"time_grid": "accumulate"},
    )
    jax = walks | {"time_embedding": "float32", "embedding_scale": "activation"}
    rounds = {"embedding_scale": "activation"}
    assert {"pi0_ros": ours, "openpi": replace(ours, **walks), "openpi_jax": replace(ours, **jax), "lerobot": replace(ours, **rounds)} == NUMERICS  # fmt: skip
    fast = {"text_positions": "arange", "decode_offset": 1}
    assert {
        "pi0_ros": ours, "openpi": replace(ours, **walks, **fast), "openpi_jax": replace(ours, **jax, **fast),
        "lerobot": replace(ours, **rounds, decode_start=(2,)),
    } == FAST_NUMERICS  # fmt: skip
    for kind, table in (("pi0", NUMERICS), ("pi05", NUMERICS), ("pi0_fast", FAST_NUMERICS)):
        assert all(numerics_for(origin, kind) == own for origin, own in table.items())
    with pytest.raises(
        ConfigError, match="origin 'jax' is not known; choose one of pi0_ros, openpi, openpi_jax, lerobot"
    ):
        numerics_for("jax", "pi0")
    assert small_config("pi0_fast").with_origin("openpi").numerics.decode_offset == 1
    assert GOOD.with_origin("openpi_jax") == replace(GOOD, numerics=NUMERICS["openpi_jax"])


@pytest.mark.parametrize(
    ("field", "most"),
    [("vocab", 1 << 22), ("action_dim", 4096), ("horizon", 1000), ("prompt_length", 4096), ("state_dim", 4096)],
)
def test_a_size_is_a_whole_number_up_to_several_times_the_largest_published(field, most):
    for value, good in (
        (1, True),
        (most, True),
        (most + 1, False),
        (-1, False),
        (2.0, False),
        (True, False),
        ("3", False),
    ):
        assert taken(lambda value=value: replace(GOOD, **{field: value})) is good, value
    assert taken(lambda: replace(GOOD, **{field: 0})) is (field == "state_dim")


def test_the_state_is_as_wide_as_the_action_unless_it_is_said_otherwise_and_logits_are_tied():
    made = ModelConfig("pi05", GOOD.vision, GOOD.language, GOOD.expert, action_dim=7)
    assert (made.state_dim, made.untied, made.vocab, made.horizon, made.prompt_length) == (7, False, 257152, 50, 48)
    assert replace(GOOD, state_dim=3).state_dim == 3 and made.numerics == Numerics()
    assert made.cameras == ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
    assert [taken(lambda v=v: replace(GOOD, untied=v)) for v in (True, False, 1, None)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("cameras", "good"),
    [
        (("a",), True), (tuple(f"c{k}" for k in range(MAX_CAMERAS)), True), (tuple(f"c{k}" for k in range(33)), False),
        ((), False), (("a", "a"), False), (("a", ""), False), (("a", 1), False), (["a"], False), ("a", False),
    ],
)  # fmt: skip
def test_cameras_are_up_to_thirty_two_different_names(cameras, good):
    assert taken(lambda: replace(GOOD, cameras=cameras)) is good


@pytest.mark.parametrize(
    ("part", "values", "words"),
    [
        ("vision", {"image_size": 29}, "image_size 29 is not a multiple of patch 14"),
        ("vision", {"heads": 3}, "vision width 32 is not a multiple of its 3 heads"),
        ("vision", {"depth": 513}, "'vision.depth' has to be a whole number from 1 to 512"),
        ("vision", {"width": (1 << 17) + 2}, "'vision.width' has to be a whole number from 1 to 131072"),
        ("language", {"kv_heads": 3}, "language heads have to be a multiple of kv_heads, and head_dim even"),
        ("language", {"head_dim": 15}, "language heads have to be a multiple of kv_heads, and head_dim even"),
        ("language", {"mlp": 0}, "'language.mlp' has to be a whole number from 1"),
        ("expert", {"depth": 2}, "expert and language share attention: 'depth' has to be equal in both"),
        ("expert", {"heads": 2}, "expert and language share attention: 'heads' has to be equal in both"),
        ("expert", {"kv_heads": 1}, "expert and language share attention: 'kv_heads' has to be equal in both"),
        ("expert", {"head_dim": 8}, "expert and language share attention: 'head_dim' has to be equal in both"),
        ("expert", {"width": 33}, "expert width 33 has to be even"),
        ("expert", {"width": 34}, ""),
        ("vision", {"image_size": 42, "depth": 512}, ""),
    ],
)
def test_the_sizes_of_the_towers_fit_one_another(part, values, words):
    make = lambda: replace(GOOD, **{part: replace(getattr(GOOD, part), **values)})
    if words:
        with pytest.raises(ConfigError, match=words):
            make()
    else:
        assert getattr(make(), part) == replace(getattr(GOOD, part), **values)


def test_only_a_model_that_acts_in_tokens_has_no_expert():
    with pytest.raises(ConfigError, match="kind 'pi05' needs an expert"):
        replace(GOOD, expert=None)
    with pytest.raises(ConfigError, match="kind 'pi0_fast' has no expert"):
        replace(GOOD, kind="pi0_fast")
    with pytest.raises(ConfigError, match="model kind 'pi1' is not known; choose one of pi0, pi05, pi0_fast"):
        replace(GOOD, kind="pi1")
    assert [replace(GOOD, kind=kind).adarms for kind in ("pi0", "pi05")] == [False, True]


@pytest.mark.parametrize("kind", ["pi0", "pi05", "pi0_fast"])
def test_a_configuration_is_written_as_plain_values_and_read_back(kind):
    config = small_config(kind, untied=True, state_dim=4).with_origin("lerobot")
    values = config.to_dict()
    assert values["cameras"] == ["a", "b", "c"] and isinstance(values["numerics"]["decode_start"], list)
    assert ModelConfig.from_dict(values) == config
    del values["numerics"]
    assert ModelConfig.from_dict(values).numerics == Numerics()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (None, "'model' has to be a mapping, got None"),
        ({"vision": 3}, "'vision' has to be a mapping, got 3"),
        (
            {"language": {"widths": 3}},
            "unknown field 'widths' in 'language'; known: depth, head_dim, heads, kv_heads, mlp, width",
        ),
        ({"expert": {"width": 3}}, "'expert' is incomplete"),
        (
            {"colour": 1},
            "unknown field 'colour' in 'model'; known: action_dim, cameras, expert, horizon, kind, language, ",
        ),
        ({"numerics": {"rope": "x"}}, "numerics: 'rope' has to be float32 or activation, got 'x'"),
    ],
)
def test_what_is_wrong_in_a_written_configuration_is_named(values, words):
    given = values if values is None else GOOD.to_dict() | values
    with pytest.raises(ConfigError, match=words):
        ModelConfig.from_dict(given)
    missing = GOOD.to_dict()
    del missing["vision"]
    with pytest.raises(ConfigError, match="'vision' has to be a mapping, got None"):
        ModelConfig.from_dict(missing)


def parameters(config):
    with torch.device("meta"):
        return sum(p.numel() for p in Pi0(config).parameters())


def test_the_released_sizes():
    """PaliGemma (arXiv 2407.07726): SigLIP So400m/14 and Gemma 2B; the expert of 300 million of pi0 (arXiv 2410.24164)."""
    assert VisionConfig(1152, 27, 16, 4304, 224, 14) == SO400M and SO400M.tokens == 256
    assert GemmaConfig(2048, 18, 8, 1, 256, 16384) == GEMMA_2B and GemmaConfig(1024, 18, 8, 1, 256, 4096) == GEMMA_300M
    assert [PRESETS[name].prompt_length for name in ("pi0", "pi05", "pi0_fast")] == [48, 200, 250]
    assert [PRESETS[name].horizon for name in ("pi0", "pi05", "pi0_fast")] == [50, 50, 32]
    # PaliGemma has 2,923,466,480 parameters with Hugging Face's 64 rows more of 2,048 numbers.
    assert parameters(PRESETS["pi0_fast"]) == 2_923_466_480 - 64 * 2048
    assert parameters(PRESETS["pi0_small"]) == pytest.approx(470e6, rel=0.01)
    # openpi src/openpi/models/gemma.py, get_config("dummy").
    assert PRESETS["dummy"].language == PRESETS["dummy"].expert == GemmaConfig(64, 4, 8, 1, 16, 128)
    assert preset("pi05", horizon=10) == replace(PRESETS["pi05"], horizon=10)
    with pytest.raises(
        ConfigError, match="preset 'huge' is not known; choose one of pi0, pi05, pi0_fast, pi0_small, dummy, tiny"
    ):
        preset("huge")
