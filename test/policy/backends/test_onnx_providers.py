"""onnxruntime's providers for a device, and their options."""

import pytest

from pi0_ros.model import preset
from pi0_ros.policy import PolicyError
from pi0_ros.policy.backends.onnx_providers import CPU, CUDA, TENSORRT, input_sizes, place_of, providers

EVERYTHING = (TENSORRT, CUDA, CPU)


@pytest.mark.parametrize(
    ("device", "place"),
    [("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:1", ("cuda", 1)), ("tensorrt:2", ("tensorrt", 2))],
)
def test_a_device_is_a_kind_and_a_number(device, place):
    assert place_of(device, EVERYTHING) == place


@pytest.mark.parametrize(
    ("device", "available"),
    [("cuda", (CPU,)), ("tensorrt", (CUDA, CPU)), ("cuda:x", EVERYTHING), ("cpu:1", EVERYTHING), ("gpu", EVERYTHING)],
)
def test_a_device_that_is_not_there_says_what_to_install(device, available):
    with pytest.raises(PolicyError, match=f"device {device}: .* install onnxruntime-gpu"):
        place_of(device, available)


def test_cuda_falls_back_to_the_cpu_and_runs_where_it_is_told(tmp_path):
    chosen = providers("cuda", 1, "step", preset("tiny"), tmp_path)
    assert [p if isinstance(p, str) else p[0] for p in chosen] == [CUDA, CPU]
    assert chosen[0][1]["device_id"] == 1


def test_tensorrt_computes_in_16_bits_and_keeps_its_engines_beside_the_graphs(tmp_path):
    (first, options), (second, _), third = providers("tensorrt", 2, "prefix", preset("pi05"), tmp_path)
    assert (first, second, third) == EVERYTHING
    engines = str(tmp_path / "engines")
    assert {k: v for k, v in options.items() if "profile" not in k} == {
        "device_id": 2, "trt_fp16_enable": True, "trt_engine_cache_enable": True, "trt_timing_cache_enable": True,
        "trt_engine_cache_path": engines, "trt_timing_cache_path": engines, "trt_engine_cache_prefix": "prefix",
    }  # fmt: skip
    # pi05: 256 tokens a picture of 2048 numbers, three cameras, prompts of up to 200 tokens.
    assert options["trt_profile_min_shapes"] == "pictures:1x256x2048,ids:1x2"
    assert options["trt_profile_opt_shapes"] == "pictures:1x768x2048,ids:1x100"
    assert options["trt_profile_max_shapes"] == "pictures:1x768x2048,ids:1x200"


def test_the_largest_sizes_hold_all_cameras_the_longest_prompt_and_an_answer():
    config = preset("pi05")
    least, usual, most = (sizes["keys"] for sizes in input_sizes("step", config))
    assert least == (18, 1, 1, 256 + 2, 256) and usual == (18, 1, 1, 768 + 100, 256) and most == (18, 1, 1, 968, 256)
    assert input_sizes("step", config)[2]["x"] == (1, config.horizon, 32)
    assert input_sizes("word", config)[2]["keys"][3] == 968 + 256
    for sizes in input_sizes("word", config):
        assert (sizes["ids"], sizes["position"]) == ((1, 1), (1, 1)), "a word at a time"
    assert "state" in input_sizes("step", preset("pi0"))[0] and "state" not in input_sizes("step", config)[0]
    assert input_sizes("vision", config)[0] == {"images": (1, 3, 224, 224)}


@pytest.mark.parametrize(
    ("graph", "sizes"),
    [
        ("vision", [{"images": (n, 3, 224, 224)} for n in (1, 3, 3)]),
        ("prefix", [{"pictures": (1, 256 * n, 2048), "ids": (1, w)} for n, w in ((1, 2), (3, 100), (3, 200))]),
        ("word", [("ids", "position", "keys", "values", 256 * n + w) for n, w in ((1, 2), (3, 100), (3, 200 + 256))]),
        ("step", [("x", "t", "keys", "values", 256 * n + w) for n, w in ((1, 2), (3, 100), (3, 200))]),
    ],
)
def test_each_graph_has_its_smallest_usual_and_largest_inputs(graph, sizes):
    """pi05: three pictures of 256 tokens, prompts of 200; an answer of 256 words behind the longest for `word` alone."""
    found = input_sizes(graph, preset("pi05"))
    if isinstance(sizes[0], tuple):
        found = [(*each, each["keys"][3]) for each in found]
        assert all(each["keys"] == each["values"] for each in input_sizes(graph, preset("pi05")))
    assert list(found) == sizes
