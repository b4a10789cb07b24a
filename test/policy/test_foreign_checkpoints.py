"""Checkpoints as other people have them: what runs is what their files and the policy YAML say, or a refusal.

Right values are LeRobot's recorded chunks (test/fixtures/golden) and formulas written out here.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from pi0_ros.cli import main
from pi0_ros.model.checkpoints import CheckpointError, open_checkpoint, tensorfile
from pi0_ros.policy import Observation, PolicyError, fast, load_adapter, load_policy
from pi0_ros.policy.adapter_vectors import state_to_model
from pi0_ros.policy.reading import load_words, read_policy
from pi0_ros.robot import load_robot

JOINTS = ("j1", "j2", "j3", "j4", "j5", "j6")
NAMES = (*JOINTS, "jaw", "finger")


@pytest.fixture(scope="module")
def arm(golden):
    return golden.folder("..") / "arm7"


@pytest.fixture(scope="module")
def robot(arm):
    return load_robot(arm / "arm7.yaml")


@pytest.fixture
def lerobot(golden, tmp_path):
    """A copy of LeRobot's π0.5 to change."""

    def make(name="checkpoint"):
        ignore = shutil.ignore_patterns("*.md", "io.*", "e2e.*")
        return shutil.copytree(golden.folder("lerobot_pi05"), tmp_path / name, ignore=ignore)

    return make


@pytest.fixture
def policy_yaml(arm, tmp_path):
    """LeRobot's policy YAML for the arm, with changes."""

    def make(**changes):
        content = yaml.safe_load((arm / "lerobot_policy.yaml").read_text()) | changes
        file = tmp_path / "policy.yaml"
        file.write_text(yaml.safe_dump(content))
        return file

    return make


@pytest.fixture(scope="module")
def seen(golden):
    """LeRobot's first recorded observation, its noise, and its own chunk in robot units."""
    own = golden("lerobot_pi05", "e2e")
    task = golden.json("lerobot_pi05", "e2e")[0]["task"]
    pictures = {c: own[f"obs0.observation.images.{c}"] for c in ("top", "left_wrist", "right_wrist")}
    state = dict(zip(NAMES, map(float, own["obs0.observation.state"].reshape(-1)), strict=True))
    return Observation(0.0, pictures, state, task), own["obs0.noise"][0], own["obs0.action_chunk"][0]


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def values(folder, robot, adapter, seen, **more):
    policy = load_policy(folder, robot, adapter=adapter, **more)
    observation, noise, _ = seen
    return policy.infer(observation, noise=noise).values


# Which ids a prompt may hold


def test_the_published_tokenizer_with_an_image_token_behind_the_networks_rows_gives_lerobots_chunk(
    lerobot, robot, arm, seen
):
    folder = lerobot()
    image = {"id": 448, "content": "<image>", "special": True}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    edit(folder / "tokenizer" / "tokenizer.json", lambda c: c["added_tokens"].append(image | plain))
    found = values(folder, robot, arm / "lerobot_policy.yaml", seen)
    np.testing.assert_allclose(found, seen[2], atol=1e-4)


def test_a_task_with_a_special_token_that_the_network_lacks_is_refused(lerobot, robot, arm, seen):
    folder = lerobot()
    image = {"id": 448, "content": "<image>", "special": True}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    edit(folder / "tokenizer" / "tokenizer.json", lambda c: c["added_tokens"].append(image | plain))
    policy = load_policy(folder, robot, adapter=arm / "lerobot_policy.yaml")
    observation = Observation(0.0, seen[0].images, seen[0].state, "pick up <image>")
    with pytest.raises(PolicyError, match="'<image>', a special token that the network has no row for"):
        policy.infer(observation, noise=seen[1])
    assert policy._tokenizer.vocab_size == 448  # FAST counts its ids down from the network's last row


# What the policy YAML says of a LeRobot checkpoint


def test_offsets_of_the_policy_yaml_are_added_to_the_state_at_chunk_start(lerobot, robot, policy_yaml, seen):
    blocks = [{"channels": list(JOINTS), "delta": True}, {"channels": ["jaw"]}]
    found = values(lerobot(), robot, policy_yaml(actions=blocks), seen)
    state = np.array([seen[0].state[n] for n in JOINTS] + [0.0])
    np.testing.assert_allclose(found, seen[2] + state, atol=1e-4)


def test_offsets_that_the_checkpoint_contradicts_are_refused_with_both_lists(lerobot, robot, policy_yaml, seen):
    folder = lerobot()

    def relative(content):
        step = next(s for s in content["steps"] if s["registry_name"] == "relative_actions_processor")
        step["config"] = {"enabled": True, "exclude_joints": ["j6", "jaw"], "action_names": list(NAMES[:7])}

    edit(folder / "policy_preprocessor.json", relative)
    blocks = [{"channels": list(JOINTS), "delta": True}, {"channels": ["jaw"]}]
    with pytest.raises(
        PolicyError, match="offsets: policy_preprocessor.json says .*policy.yaml says .*correct `delta`"
    ):
        values(folder, robot, policy_yaml(actions=blocks), seen)


def test_the_prompt_of_the_policy_yaml_reaches_a_lerobot_checkpoint(lerobot, robot, policy_yaml, seen):
    file = policy_yaml(prompt={"pad_state_to": 12})
    opened, adapter, pipeline = read_policy(lerobot(), robot, file)
    words, _ = load_words(opened, pipeline)
    inputs = pipeline.inputs(seen[0].images, state_to_model(adapter, seen[0].state), seen[0].prompt, words)
    assert inputs.prompt.text.endswith("63 10 255 128 128 128 128;\nAction: ")
    said = {s.key: s for s in pipeline.settings}
    assert said["prompt.pad_state_to"].value == 12 and said["prompt.pad_state_to"].source == str(file)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"normalisation": "zscore"}, "normalisation of state: the checkpoint's files says quantile, .* says zscore"),
        ({"horizon": 7}, "horizon: .* says 10, .* says 7"),
    ],
)
def test_a_key_that_the_checkpoints_files_fix_otherwise_is_refused(lerobot, robot, policy_yaml, seen, changes, match):
    with pytest.raises(PolicyError, match=match):
        values(lerobot(), robot, policy_yaml(**changes), seen)


def test_the_resampler_of_the_policy_yaml_is_taken(lerobot, robot, policy_yaml):
    folder = lerobot()
    _, _, pipeline = read_policy(folder, robot, policy_yaml(resampler="pil"))
    assert pipeline.resampler == "pil"
    _, _, pipeline = read_policy(folder, robot, policy_yaml())
    assert pipeline.resampler == "torch"


# Cameras and vectors by name


@pytest.mark.parametrize(
    "slots",
    [("cam_wrist_left", "cam_wrist_right", "cam_high"), ("top", "wrist_l", "wrist_r")],
    ids=["none of them", "one of them"],
)
def test_picture_slots_are_never_matched_by_position(lerobot, robot, policy_yaml, slots):
    cameras = dict(zip(slots, ("left_wrist", "right_wrist", "top"), strict=True))
    given = ", ".join(sorted(slots))
    with pytest.raises(PolicyError, match="picture slots are top, left_wrist, right_wrist, the adapter fills " + given):
        read_policy(lerobot(), robot, policy_yaml(cameras=cameras))


def test_picture_slots_of_the_dataset_go_through_the_rename_map(lerobot, robot, policy_yaml):
    folder = lerobot()
    head = "observation.images."

    def rename(content):
        step = next(s for s in content["steps"] if s["registry_name"] == "rename_observations_processor")
        step["config"] = {"rename_map": {head + "cam_high": head + "top"}}

    edit(folder / "policy_preprocessor.json", rename)
    cameras = {"cam_high": "top", "left_wrist": "left_wrist", "right_wrist": "right_wrist"}
    _, _, pipeline = read_policy(folder, robot, policy_yaml(cameras=cameras))
    picture = np.full((8, 8, 3), 255, np.uint8)
    assert pipeline.pictures({"cam_high": picture})["top"].max() == 1.0

    def turned(content):
        step = next(s for s in content["steps"] if s["registry_name"] == "rename_observations_processor")
        step["config"] = {"rename_map": {head + "top": head + "cam_high"}}

    edit(folder / "policy_preprocessor.json", turned)
    with pytest.raises(PolicyError, match="the other way round"):
        read_policy(folder, robot, policy_yaml(cameras=cameras))


@pytest.mark.parametrize("case", ["openpi_pi05", "orbax_pi05"])
def test_openpis_slots_are_not_matched_by_position_either(golden, robot, arm, tmp_path, case):
    folder = openpi(golden, tmp_path, case)
    content = yaml.safe_load((arm / "openpi_policy.yaml").read_text())
    content["cameras"] = {"left": "left_wrist", "right": "right_wrist", "top": "top"}
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(PolicyError, match="picture slots are base_0_rgb, left_wrist_0_rgb, right_wrist_0_rgb"):
        read_policy(folder, robot, tmp_path / "policy.yaml")


def test_an_action_too_few_in_the_policy_yaml_is_refused(lerobot, robot, policy_yaml):
    few = [{"channels": ["j1", "j2", "j3", "j4", "j5", "jaw"]}]
    with pytest.raises(PolicyError, match=r"has 7 actions, .* has 6 \(j1, j2, j3, j4, j5, jaw\)"):
        read_policy(lerobot(), robot, policy_yaml(actions=few, hold=["j6"]))


def test_a_state_too_few_in_the_policy_yaml_is_refused(lerobot, robot, policy_yaml):
    with pytest.raises(PolicyError, match="has 8 state, .* has 7"):
        read_policy(lerobot(), robot, policy_yaml(state=[{"channels": list(NAMES[:7])}]))


def test_actions_whose_names_stand_in_another_order_are_refused(lerobot, robot, policy_yaml):
    folder = lerobot()
    names = ["j2", "j1", "j3", "j4", "j5", "j6", "jaw"]
    edit(folder / "config.json", lambda c: c.update(action_feature_names=[f"{n}.pos" for n in names]))
    with pytest.raises(PolicyError, match="actions are j2, j1, .*another order: j1, j2"):
        read_policy(folder, robot, policy_yaml())


# Horizon


def openpi(golden, tmp_path, case, config=False):
    """An openpi training folder: weights, statistics, tokenizer; config.json only where asked for."""
    folder = tmp_path / "openpi"
    folder.mkdir()
    if case.startswith("orbax"):
        shutil.copytree(golden.folder(case) / "params", folder / "params")
    else:
        shutil.copyfile(golden.folder(case) / "model.safetensors", folder / "model.safetensors")
    if config:
        shutil.copyfile(golden.folder(case) / "config.json", folder / "config.json")
    sizes = golden.json(case, "sizes")
    heads = {k: sizes[k] for k in ("vision", "gemma", "expert")}
    (folder / "sizes.json").write_text(json.dumps(heads))
    (folder / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
    numbers = {"mean": [0.0] * 7, "std": [1.0] * 7, "q01": [-1.0] * 7, "q99": [1.5] * 7}
    place = folder / "assets" / "arm7"
    place.mkdir(parents=True)
    (place / "norm_stats.json").write_text(json.dumps({"norm_stats": {"state": numbers, "actions": numbers}}))
    return folder


def byte_tokenizer():
    """A tokenizer.json of 260 ids, few enough for openpi's tiny networks: four special ones and the 256 bytes."""
    names = ["<pad>", "<eos>", "<bos>", "<unk>"]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": False, "byte_fallback": True, "merges": []}
    vocab = {n: i for i, n in enumerate(names)} | {f"<0x{i:02X}>": 4 + i for i in range(256)}
    added = [{"id": i, "content": n, **plain} for i, n in enumerate(names)]
    return {
        "version": "1.0",
        "added_tokens": added,
        "decoder": {"type": "ByteFallback"},
        "model": {**model, "vocab": vocab},
    }


@pytest.mark.parametrize("case", ["openpi_pi05", "orbax_pi05"])
def test_the_horizon_of_the_policy_yaml_counts_where_the_checkpoint_records_none(golden, robot, arm, tmp_path, case):
    folder = openpi(golden, tmp_path, case)
    opened, _, pipeline = read_policy(folder, robot, arm / "openpi_policy.yaml")
    assert pipeline.horizon == 6 and opened.config.horizon == 6
    content = yaml.safe_load((arm / "openpi_policy.yaml").read_text())
    del content["horizon"]
    (tmp_path / "none.yaml").write_text(yaml.safe_dump(content))
    _, _, pipeline = read_policy(folder, robot, tmp_path / "none.yaml")
    assert pipeline.horizon == 50
    assert "a guess" in next(s.source for s in pipeline.settings if s.key == "horizon")


def test_converting_asks_for_a_horizon_that_nothing_records(golden, robot, arm, tmp_path, seen, capsys):
    folder, target = openpi(golden, tmp_path, "orbax_pi05"), tmp_path / "ours"
    assert main(["convert", str(folder), str(target)]) == 1
    assert "give --horizon" in capsys.readouterr().err and not target.exists()
    adapter = arm / "openpi_policy.yaml"
    assert main(["convert", str(folder), str(target), "--adapter", str(adapter)]) == 0
    noise = np.random.default_rng(0).standard_normal((6, open_checkpoint(target).config.action_dim), np.float32)
    before, after = (
        load_policy(f, robot, adapter=adapter).infer(seen[0], noise=noise).values for f in (folder, target)
    )
    assert before.shape == (6, 7)
    np.testing.assert_allclose(after, before, atol=1e-6)


# Conversion loses nothing


def test_relative_actions_stay_what_they_are_when_converted(lerobot, robot, arm, tmp_path, seen):
    folder = lerobot()
    names = [f"joint_{i}.pos" for i in range(6)] + ["gripper.pos"]  # the robot calls it jaw

    def relative(content):
        step = next(s for s in content["steps"] if s["registry_name"] == "relative_actions_processor")
        step["config"] = {"enabled": True, "exclude_joints": ["gripper"], "action_names": names}

    edit(folder / "policy_preprocessor.json", relative)
    adapter, expected = arm / "lerobot_policy.yaml", seen[2].copy()
    expected[:, :6] += [seen[0].state[n] for n in JOINTS]
    np.testing.assert_allclose(values(folder, robot, adapter, seen), expected, atol=1e-4)
    assert main(["convert", str(folder), str(tmp_path / "ours")]) == 0
    np.testing.assert_allclose(values(tmp_path / "ours", robot, adapter, seen), expected, atol=1e-4)
    assert main(["convert", str(tmp_path / "ours"), str(tmp_path / "ours2")]) == 0
    np.testing.assert_allclose(values(tmp_path / "ours2", robot, adapter, seen), expected, atol=1e-4)


def test_statistics_of_several_robots_come_along_or_one_is_asked_for(golden, tmp_path, capsys):
    folder = openpi(golden, tmp_path, "openpi_pi05")
    shutil.copytree(folder / "assets" / "arm7", folder / "assets" / "droid")
    assert main(["convert", str(folder), str(tmp_path / "ours"), "--horizon", "6"]) == 0
    found = sorted(p.parent.name for p in (tmp_path / "ours").rglob("norm_stats.json"))
    assert found == ["arm7", "droid"]
    to_lerobot = ["convert", str(folder), str(tmp_path / "lr"), "--horizon", "6", "--to", "lerobot"]
    assert main(to_lerobot) == 1
    assert "arm7, droid" in capsys.readouterr().err and not (tmp_path / "lr").exists()
    assert main([*to_lerobot, "--asset", "droid"]) == 0


def test_an_interrupted_conversion_leaves_what_was_there(golden, tmp_path, monkeypatch):
    folder, target = openpi(golden, tmp_path, "openpi_pi05"), tmp_path / "ours"
    assert main(["convert", str(folder), str(target), "--horizon", "6"]) == 0
    before = {p.relative_to(target): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    monkeypatch.setattr("pi0_ros.commands.convert.carry", lambda *given: 1 / 0)
    assert main(["convert", str(folder), str(target), "--horizon", "9", "--overwrite"]) == 1
    assert {p.relative_to(target): p.read_bytes() for p in target.rglob("*") if p.is_file()} == before
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted({folder.name, "ours"})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("layout", ["pi0_ros", "lerobot"])
def test_a_conversion_onto_a_full_disk_names_the_folder_and_leaves_nothing(
    golden, tmp_path, monkeypatch, capsys, layout
):
    folder, target = openpi(golden, tmp_path, "openpi_pi05"), tmp_path / "ours"
    monkeypatch.setattr(tensorfile, "_rows", lambda tensor: Path("/dev/full").write_bytes(b"some"))
    assert main(["convert", str(folder), str(target), "--to", layout, "--horizon", "6"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"pi0: {target}: the disk is full (") and told.count("\n") == 1
    assert [f.name for f in tmp_path.iterdir()] == [folder.name]


# LoRA


@pytest.fixture
def lora(lerobot):
    """A base, LoRA pairs on it as LeRobot saves them, and the weights that PEFT's merge gives."""
    base, folder = lerobot("base"), lerobot("lora")
    weights = load_file(base / "model.safetensors")
    (folder / "model.safetensors").unlink()
    generator, pairs, merged = torch.Generator().manual_seed(7), {}, dict(weights)
    for key, weight in weights.items():
        chosen = "gemma_expert" in key and key.endswith((".q_proj.weight", ".v_proj.weight"))
        if not chosen and key != "model.action_in_proj.weight":
            continue
        rank = 8 if "v_proj" in key else 4
        a, b = (torch.randn(n, generator=generator) * 0.1 for n in ((rank, weight.shape[1]), (weight.shape[0], rank)))
        stem = "base_model.model." + key.removesuffix(".weight")
        pairs[f"{stem}.lora_A.weight"], pairs[f"{stem}.lora_B.weight"] = a, b
        merged[key] = weight + (12 / 4 if rank == 4 else 2 / 8) * b @ a
    pairs["base_model.model.model.action_out_proj.bias"] = weights["model.action_out_proj.bias"] + 0.25
    merged["model.action_out_proj.bias"] = weights["model.action_out_proj.bias"] + 0.25
    save_file(pairs, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "r": 4, "lora_alpha": 12, "rank_pattern": {"v_proj": 8}, "alpha_pattern": {"v_proj": 2},
        "base_model_name_or_path": "lerobot/pi05_base",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return base, folder, merged


def test_a_lora_folder_is_its_base_with_the_pairs_added(lora, robot, arm, tmp_path, seen):
    base, folder, merged = lora
    with pytest.raises(CheckpointError, match="LoRA adapter on lerobot/pi05_base.*hf download.*--base FOLDER"):
        open_checkpoint(folder)
    edit(folder / "adapter_config.json", lambda c: c.update(base_model_name_or_path=str(base)))
    adapter = arm / "lerobot_policy.yaml"
    found = values(folder, robot, adapter, seen)
    whole = shutil.copytree(base, tmp_path / "whole")
    save_file(merged, whole / "model.safetensors")
    np.testing.assert_allclose(found, values(whole, robot, adapter, seen), atol=1e-5)
    assert np.abs(found - seen[2]).max() > 0.01
    assert main(["convert", str(folder), str(tmp_path / "ours"), "--base", str(base)]) == 0
    np.testing.assert_allclose(values(tmp_path / "ours", robot, adapter, seen), found, atol=1e-5)


@pytest.mark.parametrize("change", [{"use_dora": True}, {"peft_type": "IA3"}, {"bias": "all"}])
def test_what_is_no_plain_lora_is_refused_with_its_key(lora, change):
    base, folder, _ = lora
    edit(folder / "adapter_config.json", lambda c: c.update(change))
    with pytest.raises(CheckpointError, match=f"adapter_config.json: {next(iter(change))}"):
        open_checkpoint(folder, base=base)


def test_rank_stabilised_lora_is_scaled_by_the_root_of_the_rank(lora):
    from pi0_ros.model.checkpoints.peft import read_peft

    _, folder, _ = lora
    edit(folder / "adapter_config.json", lambda c: c.update(use_rslora=True))
    config = read_peft(folder)
    assert config.scale("model.action_in_proj") == pytest.approx(12 / 2)
    assert config.scale("expert.layers.0.self_attn.v_proj") == pytest.approx(2 / 8**0.5)


# Files as they lie about


def test_model_safetensors_wins_over_older_shards_as_in_lerobot(lerobot, robot, arm, seen):
    folder = lerobot()
    weights = load_file(folder / "model.safetensors")
    stale = {k: v + 5 if k == "model.action_out_proj.bias" else v for k, v in weights.items()}
    save_file(stale, folder / "model-00001-of-00001.safetensors")
    index = {"weight_map": dict.fromkeys(stale, "model-00001-of-00001.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = values(folder, robot, arm / "lerobot_policy.yaml", seen)
    np.testing.assert_allclose(found, seen[2], atol=1e-4)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda key: "_fsdp_wrapped_module." + key,
        lambda key: key.replace(".self_attn.", "._orig_mod.self_attn."),
        lambda key: key.replace(".mlp.", "._checkpoint_wrapped_module.mlp."),
    ],
    ids=["fsdp in front", "compiled inside", "checkpointed inside"],
)
def test_wrappers_of_training_frameworks_are_seen_through(lerobot, robot, arm, seen, wrap):
    folder = lerobot()
    weights = load_file(folder / "model.safetensors")
    save_file({wrap(k): v for k, v in weights.items()}, folder / "model.safetensors")
    found = values(folder, robot, arm / "lerobot_policy.yaml", seen)
    np.testing.assert_allclose(found, seen[2], atol=1e-4)


def test_statistics_in_bfloat16_are_read_as_lerobot_reads_them(lerobot, robot, arm):
    folder = lerobot()
    for file in folder.glob("policy_*.safetensors"):
        save_file({k: v.bfloat16() if v.is_floating_point() else v for k, v in load_file(file).items()}, file)
    _, _, rounded = read_policy(folder, robot, arm / "lerobot_policy.yaml")
    _, _, exact = read_policy(lerobot("exact"), robot, arm / "lerobot_policy.yaml")
    for name in ("q01", "q99"):
        expected = torch.tensor(exact.state_norm.statistics[name]).bfloat16().float().numpy()
        np.testing.assert_array_equal(rounded.state_norm.statistics[name], expected)


def test_each_way_to_lose_lerobots_statistics_is_named(lerobot, robot, arm):
    adapter = arm / "lerobot_policy.yaml"
    gone, lacks, prefixed = lerobot("gone"), lerobot("lacks"), lerobot("prefixed")
    for file in gone.glob("policy_*.safetensors"):
        file.unlink()
    for file in lacks.glob("policy_*.safetensors"):
        save_file({k: v for k, v in load_file(file).items() if not k.startswith("observation.state")}, file)
    for file in prefixed.glob("policy_*.safetensors"):
        save_file({f"so100.buffer.{k}": v for k, v in load_file(file).items()}, file)
    for folder, match in (
        (
            gone,
            "points? to policy_preprocessor_step_3_normalizer_processor.safetensors, which is not there; copy it too",
        ),
        (lacks, "no statistics of observation.state: .*has action.count"),
        (prefixed, "for the datasets so100 apart"),
    ):
        with pytest.raises(PolicyError, match=match):
            read_policy(folder, robot, adapter)


def test_a_checkpoint_of_lerobot_03_is_to_be_migrated_first(golden, robot, arm, tmp_path):
    folder = shutil.copytree(golden.folder("lerobot_pi0"), tmp_path / "old")
    for file in folder.glob("policy_*"):
        file.unlink()
    edit(folder / "config.json", lambda c: c.update(resize_imgs_with_padding=[56, 56], num_steps=5))
    with pytest.raises(PolicyError, match="LeRobot 0.3 or older.*migrate_policy_normalization"):
        read_policy(folder, robot, arm / "lerobot_policy.yaml")
    edit(folder / "config.json", lambda c: c.update(adapt_to_pi_aloha=True))
    with pytest.raises(PolicyError, match="adapt_to_pi_aloha"):
        read_policy(folder, robot, arm / "lerobot_policy.yaml")


def test_the_newest_checkpoint_below_a_run_is_suggested(lerobot, tmp_path):
    source = lerobot("source")
    for place in (
        "run/9000",
        "run/29999",
        "lr/checkpoints/005000/pretrained_model",
        "lr/checkpoints/010000/pretrained_model",
    ):
        shutil.copytree(source, tmp_path / place)
    (tmp_path / "lr/checkpoints/last").symlink_to("010000")
    shutil.copytree(source, tmp_path / "hub/models--a--b/snapshots/abc123")
    for given, wanted in (
        ("run", "run/29999"),
        ("lr", "lr/checkpoints/last/pretrained_model"),
        ("lr/checkpoints", "lr/checkpoints/last/pretrained_model"),
        ("hub/models--a--b", "hub/models--a--b/snapshots/abc123"),
    ):
        with pytest.raises(CheckpointError) as error:
            open_checkpoint(tmp_path / given)
        assert str(error.value).endswith(f"did you mean {tmp_path / wanted}?")
    with pytest.raises(CheckpointError, match="hf download lerobot/pi05_base --local-dir pi05_base"):
        open_checkpoint("lerobot/pi05_base")


# `check` compares what loading compares


@pytest.mark.parametrize("fault", ["missing", "extra", "integer", "shape"])
def test_check_sees_from_the_headers_what_loading_would_refuse(lerobot, arm, capsys, fault):
    folder = lerobot()
    weights = load_file(folder / "model.safetensors")
    key = next(k for k in weights if k.endswith("layers.0.mlp.up_proj.weight") and "gemma_expert" in k)
    if fault == "missing":
        del weights[key]
    elif fault == "extra":
        weights["model.something_else.weight"] = torch.zeros(3)
    elif fault == "integer":
        weights[key] = weights[key].to(torch.int32)
    else:
        weights[key] = weights[key][:, :-1].contiguous()
    save_file(weights, folder / "model.safetensors")
    arguments = ["--robot", arm / "arm7.yaml", "--checkpoint", folder, "--adapter", arm / "lerobot_policy.yaml"]
    assert main(["check", *map(str, arguments)]) == 1
    said = {"missing": "1 missing", "extra": "1 unexpected", "integer": "stored as torch.int32", "shape": "wrong shape"}
    assert said[fault] in capsys.readouterr().err


def test_check_shows_every_value_and_its_source(lerobot, arm, capsys):
    adapter = arm / "lerobot_policy.yaml"
    arguments = ["--robot", arm / "arm7.yaml", "--checkpoint", lerobot(), "--adapter", adapter]
    assert main(["check", *map(str, arguments)]) == 0
    shown = capsys.readouterr().out
    for line in ("resampler: torch (as lerobot does)", "horizon: 10 (", "normalisation of actions: lerobot_quantiles"):
        assert line in shown
    assert f"cameras: top <- top, left_wrist <- left_wrist, right_wrist <- right_wrist ({adapter})" in shown


# π0-FAST


def test_fast_answers_are_decoded_at_the_robots_size_whatever_the_width_of_the_statistics(maker, tmp_path):
    folder = maker(tmp_path / "fast", kind="pi0_fast", expert=None, horizon=16, action_dim=32)
    chunk = np.cumsum(np.random.default_rng(1).normal(0, 0.05, (16, 18)), axis=0)
    fast.fit_fast([chunk * s for s in np.linspace(-1, 1, 9)], vocab_size=512).save(folder / "fast_tokenizer")
    robot = load_robot("mobile_bimanual")
    edit(folder / "norm_stats.json", _wider)
    opened, _, pipeline = read_policy(folder, robot, load_adapter("mobile_bimanual"))
    words, codes = load_words(opened, pipeline)
    spoken = fast.answer_ids(words, codes, chunk)
    found = fast.extract_actions(words, codes, spoken, pipeline.horizon, pipeline.action_size)
    assert np.abs(found - chunk).max() < 0.1 and found.shape == (16, 18)
    low, high = (pipeline.action_norm.statistics[n][:18] for n in ("q01", "q99"))
    expected = (found + 1) / 2 * (high - low + 1e-6) + low
    np.testing.assert_allclose(pipeline.actions(found, np.zeros(18)), expected, atol=1e-9)


def _wider(content):
    for table in content["norm_stats"].values():
        for name, numbers in table.items():
            table[name] = numbers + [1.0 if name in ("std", "q99") else 0.0] * (32 - len(numbers))


def test_a_converted_fast_checkpoint_keeps_its_action_tokenizer(maker, tmp_path, capsys):
    folder = maker(tmp_path / "fast", kind="pi0_fast", expert=None, horizon=16)
    fast.fit_fast([np.zeros((16, 18))], vocab_size=512).save(folder / "fast_tokenizer")
    assert main(["convert", str(folder), str(tmp_path / "ours")]) == 0
    assert "FAST tokenizer: fast_tokenizer" in capsys.readouterr().out
    for name in ("tokenizer.json", "processor_config.json"):
        copied = tmp_path / "ours" / "fast_tokenizer" / name
        assert copied.read_bytes() == (folder / "fast_tokenizer" / name).read_bytes()
    shutil.rmtree(tmp_path / "ours" / "fast_tokenizer")
    assert main(["check", "--robot", "mobile_bimanual", "--checkpoint", str(tmp_path / "ours")]) == 1
    assert "FAST tokenizer" in capsys.readouterr().err
