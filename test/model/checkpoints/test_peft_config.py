"""adapter_config.json of a LoRA folder: what is read, what is refused, and what a pair is scaled by."""

import json

import pytest

from pi0_ros.model.checkpoints import CheckpointError
from pi0_ros.model.checkpoints.peft import WEIGHTS, open_source, read_peft

PLAIN = {"peft_type": "LORA", "r": 4, "lora_alpha": 6}


def read(folder, **values):
    (folder / "adapter_config.json").write_text(json.dumps(PLAIN | values))
    return read_peft(folder)


def test_a_pair_is_scaled_by_alpha_over_the_rank_or_its_root(tmp_path):
    assert read(tmp_path).scale("model.q_proj") == 6 / 4
    assert read(tmp_path, use_rslora=True).scale("model.q_proj") == 6 / 2


def test_patterns_go_by_the_end_of_a_modules_name(tmp_path):
    config = read(tmp_path, rank_pattern={"q_proj": 2}, alpha_pattern={"a.q_proj": 10, "k_proj": 3})
    modules = ("model.a.q_proj", "model.b.q_proj", "k_proj", "model.k_proj.x", "model.ak_proj")
    assert [config.scale(m) for m in modules] == [10 / 2, 6 / 2, 3 / 4, 6 / 4, 6 / 4]


@pytest.mark.parametrize(
    ("key", "inside", "outside"),
    [("r", 1, 0), ("r", 65536, 65537), ("lora_alpha", 1e-6, 0.0), ("lora_alpha", 999_999.9, 1e6)],
)
def test_rank_and_alpha_are_bounded_on_both_sides_and_so_are_their_patterns(tmp_path, key, inside, outside):
    pattern = {"r": "rank_pattern", "lora_alpha": "alpha_pattern"}[key]
    assert read(tmp_path, **{key: inside}).file == tmp_path / "adapter_config.json"
    assert read(tmp_path, **{pattern: {"q_proj": inside}}).rank == 4
    for values in ({key: outside}, {pattern: {"q_proj": outside}}):
        with pytest.raises(CheckpointError, match=f"no LoRA configuration in it: .*{key} is "):
            read(tmp_path, **values)


@pytest.mark.parametrize(
    ("key", "value"),
    [("peft_type", "IA3"), ("use_dora", True), ("bias", "all"), ("fan_in_fan_out", True)],
)
def test_what_plain_pairs_do_not_express_is_refused(tmp_path, key, value):
    with pytest.raises(CheckpointError, match=f"{key} .* is not read; merge it with PEFT's merge_and_unload first"):
        read(tmp_path, **{key: value})


def test_the_base_is_named_or_left_open(tmp_path):
    assert read(tmp_path, base_model_name_or_path="folder/base").base == "folder/base"
    assert read(tmp_path, base_model_name_or_path=None).base == read(tmp_path).base == ""


@pytest.mark.parametrize("base", ["gone/base", "é" * 140, "a\0b"])
def test_a_base_that_is_not_there_is_refused_also_by_a_name_that_no_folder_can_have(tmp_path, base):
    read(tmp_path, base_model_name_or_path=base)
    (tmp_path / WEIGHTS).write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint on this machine"):
        open_source(tmp_path)
