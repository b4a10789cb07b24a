"""Every layout in which π0 weights come, read into one network."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from pi0_ros.model import CheckpointError, Pi0, initialise, load, preset, save
from pi0_ros.model.checkpoints import Conventions
from pi0_ros.model.checkpoints.lerobot import Vectors, save_lerobot
from pi0_ros.model.checkpoints.names import EMBEDDING, LM_HEAD, canonical, from_network, to_network
from pi0_ros.model.checkpoints.save import write_weights
from pi0_ros.model.checkpoints.sizes import infer
from pi0_ros.model.checkpoints.tensorfile import read_all, write
from pi0_ros.model.config import numerics_for

CASES = {
    "openpi_pi0": ("openpi", "pi0", 6, 12),
    "openpi_pi05": ("openpi", "pi05", 6, 16),
    "lerobot_pi0": ("lerobot", "pi0", 8, 20),
    "lerobot_pi05": ("lerobot", "pi05", 10, 72),
    "orbax_pi0": ("openpi_jax", "pi0", 6, 12),
    "orbax_pi05": ("openpi_jax", "pi05", 6, 16),
}


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_checkpoint_is_recognised_from_its_content(golden, case):
    loaded = load(golden / case)
    config = loaded.config
    assert (loaded.origin, config.kind, config.horizon, config.prompt_length) == CASES[case]
    assert config.numerics == numerics_for(loaded.origin, config.kind)
    assert config.language.heads == 8 and config.language.head_dim == 16 and config.vision.heads == 2
    assert not any(parameter.is_meta for parameter in loaded.model.parameters())


@pytest.mark.parametrize("case", ["openpi_pi0", "openpi_pi05", "lerobot_pi0", "lerobot_pi05"])
def test_every_weight_is_the_one_in_the_file(golden, case):
    loaded, tensors = load(golden / case), load_file(golden / case / "model.safetensors")
    _, names = canonical(tensors)
    for name, tensor in loaded.model.state_dict().items():
        source = from_network(name)
        key = names.sources[source if source in names.sources else LM_HEAD]
        assert torch.equal(tensor, tensors[key]), name


def test_the_kind_does_not_come_from_the_path(variant):
    assert load(variant("openpi_pi0", dict, name="pi05_fast_base")).config.kind == "pi0"


def unwrapped(tensors):
    return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}


def wrapped(tensors):
    return {"model." + name: tensor for name, tensor in tensors.items()}


def compiled(tensors):
    return {"module._orig_mod." + name: tensor for name, tensor in tensors.items()}


def legacy(tensors):
    """LeRobot <= 0.3."""
    old = {}
    for name, tensor in tensors.items():
        name = name.replace("paligemma.lm_head", "paligemma.language_model.lm_head")
        name = name.replace("paligemma.model.language_model", "paligemma.language_model.model")
        name = name.replace("paligemma.model.vision_tower", "paligemma.vision_tower")
        old[name.replace("paligemma.model.multi_modal_projector", "paligemma.multi_modal_projector")] = tensor
    return old


def flat_tower(tensors):
    """transformers >= 5 leaves `vision_model` out."""
    return {name.replace("vision_tower.vision_model.", "vision_tower."): tensor for name, tensor in tensors.items()}


def other_time_names(tensors):
    if "model.time_mlp_in.weight" in tensors:
        return {name.replace("model.time_mlp", "model.action_time_mlp"): t for name, t in tensors.items()}
    return {name.replace("action_time_mlp", "time_mlp"): t for name, t in tensors.items()}


def with_state_proj(tensors):
    width = tensors["model.action_in_proj.weight"].shape[0]
    extra = {"model.state_proj.weight": torch.zeros(width, 12), "model.state_proj.bias": torch.zeros(width)}
    return {**tensors, **extra} if "model.time_mlp_in.weight" in tensors else tensors


def with_buffers(tensors):
    """Statistics of LeRobot <= 0.3, and what transformers leaves behind."""
    return {
        **tensors,
        "normalize_inputs.buffer_observation_state.mean": torch.zeros(8),
        "model.paligemma_with_expert.paligemma.model.language_model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(
            8
        ),
        "model.paligemma_with_expert.paligemma.model.vision_tower.vision_model.embeddings.position_ids": torch.zeros(
            1, 16
        ),
    }


def without_lm_head(tensors):
    return {name: tensor for name, tensor in tensors.items() if "lm_head" not in name}


CHANGES = [
    unwrapped,
    wrapped,
    compiled,
    legacy,
    flat_tower,
    other_time_names,
    with_state_proj,
    with_buffers,
    without_lm_head,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("case", ["lerobot_pi0", "lerobot_pi05"])
def test_another_layout_of_the_same_weights_loads_to_the_same_network(golden, variant, case, change):
    loaded = load(variant(case, change))
    assert loaded.origin == "lerobot" and loaded.config.kind == case.removeprefix("lerobot_")
    assert same_weights(loaded.model, load(golden / case).model)


def test_embed_tokens_wins_over_lm_head(golden):
    tensors = read_all(golden / "lerobot_pi0" / "model.safetensors")
    head, tokens = (tensors["model.paligemma_with_expert." + name] for name in (LM_HEAD, EMBEDDING))
    assert not torch.equal(head, tokens)
    assert torch.equal(load(golden / "lerobot_pi0").model.gemma.embed_tokens.weight, tokens)


def test_lm_head_alone_is_the_embedding(golden):
    tensors = read_all(golden / "openpi_pi0" / "model.safetensors")
    assert "paligemma_with_expert." + EMBEDDING not in tensors
    loaded = load(golden / "openpi_pi0")
    assert torch.equal(loaded.model.gemma.embed_tokens.weight, tensors["paligemma_with_expert." + LM_HEAD])


def test_the_unused_head_of_the_expert_is_skipped_and_reported(golden):
    assert load(golden / "openpi_pi0").report.skipped == ("paligemma_with_expert.gemma_expert.lm_head.weight",)


def test_shards_load_like_one_file(golden, variant, tmp_path):
    folder = variant("lerobot_pi05", dict)
    write_weights(folder, read_all(folder / "model.safetensors"), shard_bytes=200_000)
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 3
    for path in (folder, folder / "model.safetensors.index.json"):
        assert same_weights(load(path).model, load(golden / "lerobot_pi05").model)


def test_a_single_file_loads_without_its_folder(golden):
    assert load(golden / "openpi_pi05" / "model.safetensors").config.kind == "pi05"


@pytest.mark.parametrize(
    ("stored", "asked", "expected"),
    [
        (torch.bfloat16, None, torch.bfloat16),
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.float32, torch.bfloat16, torch.bfloat16),
        (torch.float16, None, torch.float32),
    ],
)
def test_weights_come_in_the_stored_or_the_asked_dtype(golden, variant, stored, asked, expected):
    loaded = load(variant("openpi_pi0", lambda tensors: {n: t.to(stored) for n, t in tensors.items()}), asked)
    exact = load(golden / "openpi_pi0").model.state_dict()
    for name, tensor in loaded.model.state_dict().items():
        assert tensor.dtype == expected and torch.equal(tensor, exact[name].to(stored).to(expected))


def test_missing_and_unexpected_keys_are_listed_in_one_error(variant):
    def change(tensors):
        tensors["surprise.weight"] = tensors.pop("action_out_proj.bias")
        del tensors["paligemma_with_expert.gemma_expert.model.layers.1.mlp.up_proj.weight"]
        return tensors

    with pytest.raises(CheckpointError) as error:
        load(variant("openpi_pi0", change))
    for part in ("2 missing", "action_out_proj.bias", "expert.layers.1.mlp.up_proj.weight", "1 unexpected", "surprise"):
        assert part in str(error.value)


def test_a_wrong_shape_is_named_with_both_shapes(variant):
    def change(tensors):
        tensors["action_out_proj.weight"] = torch.zeros(5, 48)
        return tensors

    with pytest.raises(CheckpointError, match=r"action_out_proj.weight \[5, 48\] instead of \[8, 48\]"):
        load(variant("openpi_pi0", change))


def test_weights_of_another_model_are_refused(variant):
    with pytest.raises(CheckpointError, match="no pi0-family model"):
        load(variant("openpi_pi0", lambda tensors: {"bert.embeddings.weight": torch.zeros(3, 3)}))


@pytest.mark.parametrize("kind", ["pi0", "pi05", "pi0_fast"])
def test_published_sizes_need_no_sizes_file(kind):
    config = preset(kind)
    with torch.device("meta"):
        model = Pi0(config)
    shapes = {from_network(name): tuple(t.shape) for name, t in model.state_dict().items()}
    assert infer(kind, shapes, {}, {}, config.numerics) == config


def test_a_tower_of_unknown_heads_asks_for_them(golden, variant):
    folder = variant("openpi_pi0", dict)
    (folder / "sizes.json").unlink()
    with pytest.raises(CheckpointError, match="sizes.json"):
        load(folder)
    loaded = load(folder, sizes={"vision": {"heads": 2}, "prompt_length": 12})
    assert loaded.config == load(golden / "openpi_pi0").config


def test_several_key_value_heads_come_from_the_sizes(variant):
    folder = variant("openpi_pi0", dict)
    sizes = json.loads((folder / "sizes.json").read_text())
    sizes["gemma"] |= {"heads": 16, "kv_heads": 2, "head_dim": 8}
    sizes["expert"] |= {"heads": 16, "kv_heads": 2, "head_dim": 8}
    (folder / "sizes.json").write_text(json.dumps(sizes))
    language = load(folder).config.language
    assert (language.heads, language.kv_heads, language.head_dim) == (16, 2, 8)


def test_sizes_that_contradict_the_shapes_are_refused(variant):
    with pytest.raises(CheckpointError, match="do not divide"):
        load(variant("openpi_pi0", dict), sizes={"gemma": {"heads": 3, "kv_heads": 1, "head_dim": 16}})


def test_the_time_embedding_periods_follow_lerobots_config(variant):
    folder = variant("lerobot_pi0", dict)
    config = json.loads((folder / "config.json").read_text()) | {"min_period": 0.01, "field_of_tomorrow": 1}
    (folder / "config.json").write_text(json.dumps(config))
    assert load(folder).config.numerics.min_period == 0.01


def test_empty_cameras_follow_the_present_ones(variant):
    folder = variant("lerobot_pi0", dict)
    config = json.loads((folder / "config.json").read_text())
    del config["input_features"]["observation.images.right_wrist"]
    (folder / "config.json").write_text(json.dumps(config | {"empty_cameras": 1}))
    sizes = json.loads((folder / "sizes.json").read_text())
    del sizes["cameras"]
    (folder / "sizes.json").write_text(json.dumps(sizes))
    assert load(folder).config.cameras == ("top", "left_wrist", "empty_camera_0")


@pytest.mark.parametrize(("version", "padding"), [(None, 0), ("0.4.3", 12), ("0.5.0", 0), ("0.6.1", 0)])
def test_only_lerobot_0_4_pads_the_state_in_the_prompt(golden, version, padding):
    assert load(golden / "lerobot_pi05", lerobot_version=version).conventions.pad_state_to == padding


def test_habits_around_the_network_follow_the_origin(golden):
    habits = {case: load(golden / case).conventions for case in CASES}
    assert {case: h.resampler for case, h in habits.items()} == {
        c: "torch" if c.startswith("lerobot") else "pil" for c in CASES
    }
    assert habits["openpi_pi0"].action_norm == "openpi_zscore"
    assert habits["orbax_pi05"].action_norm == "openpi_quantile"
    assert habits["lerobot_pi0"].state_norm == "lerobot_mean_std"
    assert habits["lerobot_pi05"].state_norm == "lerobot_quantiles"


@pytest.mark.parametrize("shard_bytes", [0, 150_000])
def test_what_is_saved_loads_back_unchanged(golden, tmp_path, shard_bytes):
    first = load(golden / "lerobot_pi05")
    save(first.model, tmp_path, {"policy": "x"}, shard_bytes=shard_bytes, conventions=first.conventions)
    again = load(tmp_path)
    assert again.origin == "pi0_ros" and again.policy == {"policy": "x"}
    assert again.config == first.config and again.conventions == first.conventions
    assert same_weights(again.model, first.model)


def test_saving_again_leaves_no_stale_shards(golden, tmp_path):
    model = load(golden / "openpi_pi0").model
    save(model, tmp_path, shard_bytes=150_000)
    save(model, tmp_path, dtype=torch.bfloat16)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert load(tmp_path).model.action_in_proj.weight.dtype == torch.bfloat16


def test_written_files_are_plain_safetensors(golden, tmp_path):
    model = load(golden / "openpi_pi0").model
    save(model, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(tensors[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("case", ["openpi_pi05", "lerobot_pi0", "orbax_pi0"])
def test_lerobots_layout_keeps_every_key_lerobot_wants(golden, tmp_path, case):
    first = load(golden / case)
    save_lerobot(first.model, tmp_path, first.conventions, Vectors())
    keys = load_file(tmp_path / "model.safetensors").keys()
    reference = f"lerobot_{first.config.kind}"
    wanted = load_file(golden / reference / "model.safetensors").keys()
    assert keys == wanted
    again = load(tmp_path)
    assert again.origin == "lerobot" and same_weights(again.model, first.model)
    assert (again.config.vision, again.config.language, again.config.expert) == (
        first.config.vision,
        first.config.language,
        first.config.expert,
    )


def test_offsets_that_lerobot_cannot_express_are_refused(golden, tmp_path):
    first = load(golden / "openpi_pi0")
    vectors = Vectors(delta=(True, False), names=("joint1", "joint"))
    with pytest.raises(CheckpointError, match="joint"):
        save_lerobot(first.model, tmp_path, first.conventions, vectors)


def test_canonical_names_translate_both_ways():
    with torch.device("meta"):
        names = Pi0(preset("dummy")).state_dict()
    assert [to_network(from_network(name)) for name in names] == list(names)


def test_the_result_does_not_depend_on_the_file_afterwards(variant, golden):
    folder = variant("openpi_pi0", dict)
    loaded = load(folder)
    (folder / "model.safetensors").write_bytes(b"")
    assert same_weights(loaded.model, load(golden / "openpi_pi0").model)


MEMORY = """
import resource, sys, torch
from pathlib import Path
from pi0_ros.model import load
def status(key):
    return next(int(l.split()[1]) * 1024 for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(key))
load(sys.argv[2])  # what torch imports on first use is not the model's
base = status("VmRSS")
loaded = load(sys.argv[1])
size = sum(p.numel() * p.element_size() for p in loaded.model.parameters())
print(size, status("VmHWM") - base)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_needs_little_more_memory_than_the_model(golden, tmp_path):
    config = preset("tiny", vocab=400_000)
    with torch.device("meta"):
        model = Pi0(config)
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    save(model, tmp_path)
    script = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path), str(golden / "openpi_pi0")],
        capture_output=True,
        text=True,
        check=True,
    )
    size, grown = map(int, script.stdout.split())
    assert size > 200e6
    assert grown < 1.15 * size + 80e6  # 64 MiB of the file are mapped at a time


@pytest.mark.parametrize("prefix", ["model.paligemma_with_expert.", "paligemma_with_expert."])
def test_a_model_without_expert_is_pi0_fast(tmp_path, prefix):
    config = preset("dummy", kind="pi0_fast", expert=None, prompt_length=30)
    model = initialise(Pi0(config), torch.Generator().manual_seed(0))
    save_lerobot(model, tmp_path, Conventions("torch", "lerobot", "lerobot_mean_std", "lerobot_mean_std"))
    tensors = read_all(tmp_path / "model.safetensors")
    renamed = {prefix + name.removeprefix("model.paligemma_with_expert."): t for name, t in tensors.items()}
    write(tmp_path / "model.safetensors", renamed)
    loaded = load(tmp_path)
    assert loaded.config.kind == "pi0_fast" and loaded.config.prompt_length == 30
    assert loaded.config.numerics.decode_start == (2,) and loaded.config.untied
    found, saved = loaded.model.state_dict(), model.state_dict()
    head = found.pop("lm_head.weight")  # LeRobot's answers come from it
    assert torch.equal(head, saved["gemma.embed_tokens.weight"])
    assert found.keys() == saved.keys() and all(torch.equal(found[name], saved[name]) for name in saved)
