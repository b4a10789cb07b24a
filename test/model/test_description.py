"""What is written of a checkpoint beside its graphs is read back, and what is damaged is refused with the file's name."""

import json
from types import SimpleNamespace

import pytest
from model_cases import small_config

from pi0_ros.model.conventions import Conventions
from pi0_ros.model.description import Description, read_description, write_description
from pi0_ros.model.errors import CheckpointError

HABITS = Conventions("torch", "lerobot", "lerobot_mean_std", "lerobot_quantiles", 7, True, ("hand",), (True, False))
CONFIG = small_config("pi05", state_dim=4).with_origin("lerobot")


@pytest.fixture
def written(tmp_path):
    """(file, folder of the checkpoint)"""
    made = SimpleNamespace(origin="lerobot", config=CONFIG, conventions=HABITS, assumed=("horizon",))
    (tmp_path / "graphs").mkdir()
    (tmp_path / "own").mkdir()
    return write_description(made, tmp_path / "graphs"), tmp_path / "own"


def test_a_description_is_read_as_it_was_written_with_the_checkpoints_own_settings(written):
    file, own = written
    assert file.name == "network.json"
    assert read_description(file, own) == Description("lerobot", CONFIG, own, HABITS, {}, ("horizon",))
    (own / "config.json").write_text('{"policy": {"a": 1}}')
    assert read_description(file, own).settings == {"policy": {"a": 1}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, "not a description of graphs of this version"), ({"version": 2}, "not a description of graphs of this version"),
        ({"origin": 3}, "origin, model or assumed is missing"), ({"model": [1]}, "origin, model or assumed is missing"),
        ({"assumed": None}, "origin, model or assumed is missing"), ({"assumed": [1]}, "origin, model or assumed is missing"),
        ({"model": {"kind": "pi0"}}, "'vision' has to be a mapping"), ({"conventions": {"dialect": "x"}}, "'conventions' is malformed"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_it_is_said_with_the_file(written, changes, words):
    file, own = written
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(CheckpointError, match=words) as error:
        read_description(file, own)
    assert str(file) in str(error.value)
    file.write_text("[1]")
    with pytest.raises(CheckpointError, match="network.json: has to be a mapping"):
        read_description(file, own)
