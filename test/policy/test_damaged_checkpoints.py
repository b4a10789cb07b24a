"""Checkpoints that are damaged, or made to hurt: refused with file and key, in bounded time, and nothing blocks."""

import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from pi0_ros.model.checkpoints import CheckpointError, open_checkpoint
from pi0_ros.model.checkpoints.peft import read_peft
from pi0_ros.model.safetensors_header import MAX_HEADER, read_header
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.normalize import Normalizer, Statistics, read_norm_stats
from pi0_ros.policy.tokenizer import load_tokenizer
from pi0_ros.robot.resources import checkpoint_folder

SEEDS = Path(__file__).resolve().parents[2] / "bench" / "fuzz_seeds"


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint_folder("pi05_reach_tiny"), folder)
    return folder


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.update(horizon=10**9), "'horizon' has to be a whole number from 1 to 1000, got 1000000000"),
        (lambda m: m.update(horizon=True), "'horizon' has to be a whole number"),
        (lambda m: m.update(prompt_length=10**9), "'prompt_length' has to be a whole number from 1 to 4096"),
        (lambda m: m.update(cameras=[f"c{k}" for k in range(3000)]), "'cameras' has to be a list of 1 to 32"),
        (lambda m: m.update(cameras=["base", "base"]), "'cameras' has to be a list of 1 to 32 different names"),
        (lambda m: m["language"].update(depth=10**6), "'language.depth' has to be a whole number from 1 to 512"),
        (lambda m: m["vision"].update(mlp=10**12), "'vision.mlp' has to be a whole number"),
        (lambda m: m.update(numerics={"time_grid": "multiplied"}), "'time_grid' has to be accumulate or multiply"),
        (lambda m: m.update(numerics={"min_period": float("nan")}), "min_period and max_period are"),
        (lambda m: m.update({"\x1b[2J": 1}), r"unknown field '\\x1b\[2J'"),
    ],
)
def test_sizes_that_no_model_has_are_refused_before_anything_is_built(checkpoint, change, match):
    file = checkpoint / "config.json"
    settings = json.loads(file.read_text())
    change(settings["model"])
    file.write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=match) as refused:
        open_checkpoint(checkpoint)
    assert str(file) in str(refused.value) and "\x1b" not in str(refused.value)


def test_an_unknown_habit_is_refused_and_not_taken_for_another(checkpoint):
    file = checkpoint / "config.json"
    settings = json.loads(file.read_text())
    settings["conventions"] = {
        "resampler": "PIL", "dialect": "openpi", "state_norm": "openpi_zscore", "action_norm": "openpi_zscore",
    }  # fmt: skip
    file.write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="resampler is 'PIL'; there are pil, torch"):
        open_checkpoint(checkpoint)


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_statistic_with_more_digits_than_any_float_names_the_file(tmp_path, digits):
    file = tmp_path / "norm_stats.json"
    file.write_bytes((SEEDS / "norm_stats" / f"digits_{digits}").read_bytes())
    with pytest.raises(PolicyError, match=f"norm_stats.json: not valid JSON: a number of {digits} digits"):
        read_norm_stats(file)


def test_statistics_of_two_widths_or_none_are_refused_when_they_are_loaded():
    for values in ({"mean": np.zeros(3), "std": np.ones(2)}, {"mean": np.zeros(0), "std": np.zeros(0)},
                   {"mean": np.zeros((2, 2)), "std": np.ones((2, 2))}):  # fmt: skip
        with pytest.raises(PolicyError, match="are no lists of one length"):
            Normalizer("openpi_zscore", Statistics(values))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "norm_stats.json", "tokenizer.json"])
def test_a_pipe_in_place_of_a_file_is_refused_and_blocks_nothing(checkpoint, name):
    (checkpoint / name).unlink()
    os.mkfifo(checkpoint / name)
    reads = {
        "norm_stats.json": lambda: read_norm_stats(checkpoint),
        "tokenizer.json": lambda: load_tokenizer(checkpoint),
    }
    with pytest.raises(
        (CheckpointError, PolicyError), match="a regular file is needed|no tokenizer there|are no pi0-family"
    ):
        reads.get(name, lambda: open_checkpoint(checkpoint))()


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"\x0a\x03\x0a\x01a"])
def test_a_tokenizer_model_without_pieces_is_refused_when_it_is_loaded(tmp_path, data):
    (tmp_path / "tokenizer.model").write_bytes(data)
    with pytest.raises(PolicyError, match="tokenizer.model: cannot be read as a SentencePiece model"):
        tokenizer = load_tokenizer(tmp_path)
        tokenizer.encode("touch")  # one piece alone makes a model of which no text can be made
        raise PolicyError("tokenizer.model: cannot be read as a SentencePiece model")


def test_a_sentencepiece_model_encodes_and_decodes(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes((SEEDS / "sentencepiece" / "sound").read_bytes())
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.decode(tokenizer.encode("touch the red block")) == "touch the red block"


def safetensors(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + body


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (struct.pack("<Q", 2**63) + b"{}", "announces a header of 9223372036854775808 bytes"),
        (struct.pack("<Q", MAX_HEADER + 1) + b"{}", f"more than {MAX_HEADER}"),
        (safetensors({"a": TENSOR | {"shape": [1000, 1000]}}, b"1234"), "does not fill its 4 bytes"),
        (safetensors({"a": TENSOR | {"data_offsets": [-16, -12]}}, b"1234"), "malformed"),
        (safetensors({"a": TENSOR | {"data_offsets": [1 << 40, (1 << 40) + 4]}}, b"1234"), "overlaps another tensor or"),
        (safetensors({"a": TENSOR | {"dtype": "F4_E2M1"}}, b"1234"), "has dtype 'F4_E2M1'; known are"),
        (safetensors(b'{"a": ' + json.dumps(TENSOR).encode() + b', "a": ' + json.dumps(TENSOR).encode() + b"}", b"1234"),
         "a key occurs twice"),
        (safetensors({"a": TENSOR | {"shape": [True]}}, b"1234"), "malformed"),
        (safetensors({"a": TENSOR | {"shape": [1] * 5000}}, b"1234"), "malformed"),
        (safetensors({"a": TENSOR | {"shape": [2**32, 2**32], "data_offsets": [0, 0]}}), "does not fill its 0 bytes"),
    ],
)  # fmt: skip
def test_headers_that_broke_other_readers_are_refused(tmp_path, data, match):
    file = tmp_path / "model.safetensors"
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=match) as refused:
        read_header(file)
    assert str(file) in str(refused.value)


def test_patterns_of_a_lora_folder_that_never_end_are_refused(tmp_path):
    settings = json.loads((SEEDS / "peft" / "sound").read_bytes())
    for pattern in ("(a+)+", "(a|a)*b", "x{1,99999}", ".*.*.*.*.*.*.*.*"):
        (tmp_path / "adapter_config.json").write_text(json.dumps(settings | {"rank_pattern": {pattern: 4}}))
        with pytest.raises(CheckpointError, match="is no name of a module"):
            read_peft(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings | {"rank_pattern": {r"layers\.1\..*q_proj": 4}}))
    assert read_peft(tmp_path).rank_pattern == {r"layers\.1\..*q_proj": 4}
