"""A checkpoint of a run, and those beside it for further robots."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file

from pi0_ros.model import GemmaConfig, Pi0, VisionConfig, initialise
from pi0_ros.policy import tiny_tokenizer
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.normalize import Statistics, read_norm_stats
from pi0_ros.train import export as module
from pi0_ros.train.checkpoints import keep_copy
from pi0_ros.train.export import export, export_beside, linked
from pi0_ros.train.network import tiny_model

ADAPTER = load_adapter("mobile_bimanual")
STACK = GemmaConfig(width=16, depth=1, heads=1, kv_heads=1, head_dim=16, mlp=16)
CONFIG = replace(tiny_model(), vision=VisionConfig(16, 1, 1, 16, image_size=16, patch=16), language=STACK, expert=STACK)


def table(value: float) -> dict[str, Statistics]:
    return {k: Statistics({"mean": np.full(18, value), "std": np.full(18, 2.0)}) for k in ("state", "actions")}


@pytest.fixture(scope="module")
def model() -> Pi0:
    return initialise(Pi0(CONFIG), torch.Generator().manual_seed(1))


def test_a_checkpoint_says_what_it_is_and_has_weights_in_bfloat16_statistics_and_a_tokenizer(tmp_path, model):
    (tmp_path / "fast").mkdir()
    (tmp_path / "fast" / "processor_config.json").write_text("{}")
    words = tmp_path / "words.model"
    words.write_bytes(b"pieces")
    target = tmp_path / "out"
    found = export(
        model, target, ADAPTER, table(0.5), "Seed 3.\n", words, origin="the checkpoint x", fast_folder=tmp_path / "fast"
    )
    assert found == target and sorted(f.name for f in target.iterdir()) == [
        *("README.md", "config.json", "fast_tokenizer", "model.safetensors", "norm_stats.json", "words.model")
    ]
    assert (target / "words.model").read_bytes() == b"pieces"
    count = sum(p.numel() for p in model.parameters())
    said = (target / "README.md").read_text()
    assert said.startswith(
        f"# out\n\nA π0.5 policy ({count / 1e6:.1f} million parameters) trained from the checkpoint x by `pi0 train`.\nSeed 3.\n"
    )
    assert {t.dtype for t in load_file(target / "model.safetensors").values()} == {torch.bfloat16}
    assert read_norm_stats(target)["state"]["mean"].tolist() == [0.5] * 18
    assert json.loads((target / "config.json").read_text())["policy"]["policy"] == ADAPTER.name


def test_without_a_tokenizer_of_its_own_the_projects_goes_along(tmp_path, model):
    target = export(model, tmp_path / "out", ADAPTER, table(0.5), dtype=None)
    assert (target / "tokenizer.json").is_file() and not (target / "fast_tokenizer").exists()
    tiny_tokenizer.save(tmp_path / "own.json")
    assert (target / "tokenizer.json").read_bytes() == (tmp_path / "own.json").read_bytes()
    assert {t.dtype for t in load_file(target / "model.safetensors").values()} == {torch.float32}
    assert "trained from random weights" in (target / "README.md").read_text()


def test_a_checkpoint_for_another_robot_has_the_same_weights_once_on_disk_and_its_own_adapter_and_statistics(
    tmp_path, model
):
    first = export(model, tmp_path / "out", ADAPTER, table(0.5))
    other = replace(ADAPTER, name="second_robot")
    beside = export_beside(first, tmp_path / "out-second", other, table(0.25))
    assert beside == tmp_path / "out-second"
    assert os.path.samefile(first / "model.safetensors", beside / "model.safetensors")
    assert not os.path.samefile(first / "tokenizer.json", beside / "tokenizer.json")
    here, there = (json.loads((place / "config.json").read_text()) for place in (first, beside))
    assert here.pop("policy")["policy"] == ADAPTER.name and there.pop("policy")["policy"] == "second_robot"
    assert here == there and "model" in here
    means = [read_norm_stats(place)["actions"]["mean"][0] for place in (first, beside)]
    assert means == [0.5, 0.25]


def test_weights_have_a_second_name_and_where_the_disk_knows_none_they_are_copied(tmp_path, monkeypatch):
    for name in ("a.safetensors", "a.json"):
        (tmp_path / name).write_text(name)
        assert linked(str(tmp_path / name), str(tmp_path / f"second {name}")) == str(tmp_path / f"second {name}")
        assert (tmp_path / f"second {name}").read_text() == name
    assert [(tmp_path / n).stat().st_nlink for n in ("a.safetensors", "a.json")] == [2, 1]

    def refuses(*_):
        raise OSError("no links here")

    monkeypatch.setattr(module.os, "link", refuses)
    copy = Path(linked(str(tmp_path / "a.safetensors"), str(tmp_path / "third.safetensors")))
    assert copy.read_text() == "a.safetensors" and copy.stat().st_nlink == 1


@pytest.mark.parametrize(("count", "kept"), [(0, []), (1, []), (2, [30, 400]), (3, [7, 30, 400])])
def test_the_last_few_checkpoints_are_kept_by_their_step(tmp_path, count, kept):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    for step in (2, 7, 30, 400):
        keep_copy(tmp_path, step, count)
    found = sorted(place.name for place in tmp_path.glob("checkpoints/*"))
    assert found == [f"step-{step:08d}" for step in kept]
