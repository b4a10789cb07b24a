"""`pi0 convert`: weights, statistics and tokenizer arrive in the other layout and mean the same there."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from pi0_ros.cli import main
from pi0_ros.model import load
from pi0_ros.model.checkpoints.tensorfile import read_all
from pi0_ros.model.sampling import sample_actions
from pi0_ros.parity.model_case import recorded_inputs
from pi0_ros.policy.checkpoint import build_pipeline
from pi0_ros.policy.lerobot_files import read_processors
from pi0_ros.policy.normalize import read_norm_stats
from pi0_ros.policy.tokenizer import load_tokenizer

STATE = np.linspace(-0.5, 0.5, 8)


def test_a_lerobot_checkpoint_acts_the_same_after_conversion_to_ours(golden, tmp_path, capsys):
    source, target = golden / "lerobot_pi05", tmp_path / "ours"
    assert main(["convert", str(source), str(target)]) == 0
    assert {p.name for p in target.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "norm_stats.json",
        "tokenizer.json",
    }
    before, after = load(source), load(target)
    assert after.origin == "pi0_ros" and after.config == before.config
    assert all(torch.equal(a, b) for a, b in zip(before.model.parameters(), after.model.parameters(), strict=True))
    ours, theirs = build_pipeline(after), build_pipeline(before)
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    pictures = dict.fromkeys(before.config.cameras, picture)
    one = ours.inputs(pictures, STATE, "pick up the red_cup ", load_tokenizer(target))
    two = theirs.inputs(pictures, STATE, "pick up the red_cup ", load_tokenizer(source))
    assert one.prompt == two.prompt and all(np.array_equal(one.images[c], two.images[c]) for c in pictures)
    actions = np.random.default_rng(1).normal(size=(10, 7))
    np.testing.assert_allclose(ours.actions(actions, STATE), theirs.actions(actions, STATE), atol=1e-6)


@pytest.mark.parametrize("case", ["openpi_pi0", "orbax_pi05"])
def test_an_openpi_checkpoint_becomes_lerobots_with_its_statistics(golden, tmp_path, case):
    source, target = tmp_path / "source", tmp_path / "lerobot"
    shutil.copytree(golden / case, source)
    if not (source / "assets").exists():
        shutil.copytree(golden / "orbax_pi0" / "assets", source / "assets")
    arguments = ["--to", "lerobot", "--tokenizer", str(golden / "lerobot_pi05"), "--dtype", "bfloat16"]
    assert main(["convert", str(source), str(target), *arguments]) == 0
    found, recorded = read_processors(target), read_norm_stats(next(source.rglob("norm_stats.json")))
    for norm, key in ((found.state, "state"), (found.actions, "actions")):
        assert norm.method == ("lerobot_mean_std" if case.endswith("pi0") else "lerobot_quantiles")
        for name in ("mean", "std", "q01", "q99"):
            np.testing.assert_allclose(norm.statistics[name], recorded[key][name], rtol=1e-6)
    loaded = load(target)
    assert loaded.origin == "lerobot" and loaded.model.action_in_proj.weight.dtype == torch.bfloat16
    assert loaded.config.vision == load(source).config.vision
    assert load_tokenizer(target).vocab_size > 0
    assert json.loads((target / "config.json").read_text())["type"] == loaded.config.kind


def test_a_checkpoint_without_statistics_converts_and_says_what_is_missing(golden, tmp_path, capsys):
    assert main(["convert", str(golden / "openpi_pi0"), str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "no normalisation statistics" in said.err and "none found, see --tokenizer" in said.out
    assert not (tmp_path / "out" / "norm_stats.json").exists()


def test_a_folder_that_is_not_empty_is_left_alone(golden, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("x")
    assert main(["convert", str(golden / "openpi_pi0"), str(tmp_path)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_damaged_source_writes_nothing(golden, tmp_path, capsys):
    source = tmp_path / "source"
    shutil.copytree(golden / "openpi_pi0", source)
    (source / "model.safetensors").write_bytes(b"\x80\x04")
    assert main(["convert", str(source), str(tmp_path / "out")]) == 1
    assert "pickle" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_shards_are_cut_on_request(golden, tmp_path):
    assert main(["convert", str(golden / "openpi_pi0"), str(tmp_path / "out"), "--shard-gb", "0.0002"]) == 0
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 2
    assert load(tmp_path / "out").config == load(golden / "openpi_pi0").config


CASES = ("openpi_pi0", "openpi_pi05", "orbax_pi0", "orbax_pi05", "lerobot_pi0", "lerobot_pi05")


def chunk_of(loaded, io, state):
    """One chunk [H, A] in the robot's units, from a recorded observation and recorded noise."""
    case = recorded_inputs(loaded, io, loaded.folder)
    sampled = sample_actions(loaded.model, case, io["noise"], 10)[0].numpy().astype(np.float64)
    return build_pipeline(loaded).actions(sampled, state)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_ours_and_lerobots_and_back_to_ours_plan_what_the_source_plans(golden, tmp_path, case):
    """The largest difference of a chunk: nothing but the arithmetic of the project whose layout it is in."""
    if case.startswith("orbax"):
        pytest.importorskip("tensorstore", reason="reading JAX folders needs the optional tensorstore package")
    source = tmp_path / "source"
    shutil.copytree(golden / case, source)
    if not case.startswith("lerobot") and not (source / "assets").exists():
        shutil.copytree(golden / "orbax_pi0" / "assets", source / "assets")
    words = ["--tokenizer", str(golden / "lerobot_pi05")]
    assert main(["convert", str(source), str(tmp_path / "ours"), "--dtype", "float32", *words]) == 0
    assert main(["convert", str(tmp_path / "ours"), str(tmp_path / "lerobot"), "--to", "lerobot", *words]) == 0
    assert main(["convert", str(tmp_path / "lerobot"), str(tmp_path / "back"), *words]) == 0
    io = read_all(golden / case / "io.safetensors")
    first = load(source, dtype=torch.float32)
    state = np.linspace(-0.5, 0.5, build_pipeline(first).state_norm.statistics.size)
    wanted = chunk_of(first, io, state)
    for name in ("ours", "lerobot", "back"):
        loaded = load(tmp_path / name, dtype=torch.float32)
        assert loaded.config.horizon == first.config.horizon and loaded.config.action_dim == first.config.action_dim
        assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), loaded.model.parameters(), strict=True))
        sampled = chunk_of(replace(loaded, config=replace(loaded.config, cameras=first.config.cameras)), io, state)
        size = min(sampled.shape[-1], wanted.shape[-1])
        same_project = loaded.config.numerics == first.config.numerics
        np.testing.assert_allclose(sampled[:, :size], wanted[:, :size], atol=1e-5 if same_project else 5e-4)
    for name in ("ours", "back"):
        assert load(tmp_path / name).origin == "pi0_ros"
