"""Which folder was meant."""

import os
from pathlib import Path

import pytest

from pi0_ros.model.checkpoints import nearby
from pi0_ros.model.checkpoints.nearby import has_weights, hint, hub_hint


def checkpoint(folder, name="model.safetensors"):
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors", "params/_METADATA", "_METADATA"]
)  # fmt: skip
def test_weights_are_recognised_by_each_projects_file(tmp_path, name):
    assert not has_weights(tmp_path)
    checkpoint(tmp_path / "run", name)
    assert has_weights(tmp_path / "run") and hint(tmp_path) == f"; did you mean {tmp_path / 'run'}?"


def test_the_highest_step_is_meant_and_of_runs_without_steps_the_newest(tmp_path):
    assert hint(tmp_path / "none") == hint(tmp_path) == ""
    for at, name in enumerate(("first", "second", "third")):
        os.utime(checkpoint(tmp_path / name), (1000 + at, 1000 + at))
    os.utime(tmp_path / "second", (2000, 2000))
    assert "second" in hint(tmp_path)
    for at, step in enumerate(("900", "10000", "2000")):
        os.utime(checkpoint(tmp_path / "steps" / step), (3000 + at, 3000 + at))
    assert hint(tmp_path).endswith("/steps/10000?")


def test_lerobots_link_to_the_last_one_wins_where_it_is_a_link(tmp_path):
    for step in ("100", "200"):
        checkpoint(tmp_path / "run" / step / "pretrained_model")
    (tmp_path / "run" / "last").symlink_to("200")
    assert hint(tmp_path).endswith("/last/pretrained_model?")
    checkpoint(tmp_path / "other" / "last")  # a folder that is called so is one like others
    assert hint(tmp_path).endswith("/run/last/pretrained_model?")


def test_four_levels_down_are_looked_at_and_nothing_inside_a_checkpoint(tmp_path):
    checkpoint(tmp_path / "1/2/3/4/5")
    assert hint(tmp_path) == ""
    checkpoint(tmp_path / "a/b/c/d")
    assert hint(tmp_path).endswith("/a/b/c/d?")
    checkpoint(tmp_path / "a/b/c/d/9999")
    assert hint(tmp_path).endswith("/a/b/c/d?")


def test_in_a_large_folder_the_search_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(nearby, "MAX_FOLDERS", 3)
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).mkdir()
    checkpoint(tmp_path / "a" / "deep")
    assert hint(tmp_path) == ""
    monkeypatch.setattr(nearby, "MAX_FOLDERS", 5)
    checkpoint(tmp_path / "d" / "deep")
    assert hint(tmp_path).endswith("/d/deep?")


@pytest.mark.parametrize(
    ("path", "found"),
    [("lerobot/pi0_base", True), ("a/b.c-d", True), ("/lerobot/pi0", False), ("lerobot", False), ("a/b/c", False), ("./a", False), ("a/b c", False)],
)  # fmt: skip
def test_a_name_on_the_hub_is_told_how_to_download(path, found):

    words = hub_hint(Path(path) if path[0] != "." else path)
    assert words.endswith(f"hf download {path} --local-dir {Path(path).name}") if found else words == ""
