"""What an opened checkpoint's files say of it, the sources one by one; and what is written, byte by byte. No network."""

import json
import mmap
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from pi0_ros.model.checkpoints import tensorfile
from pi0_ros.model.checkpoints.load import (
    _detect_origin,
    _folder,
    _merge,
    _notes,
    _numerics,
    fill,
    finite,
    naming,
    stored_type,
)
from pi0_ros.model.checkpoints.names import EMBEDDING, LM_HEAD
from pi0_ros.model.checkpoints.orbax import OrbaxSource
from pi0_ros.model.checkpoints.peft import PeftSource
from pi0_ros.model.checkpoints.save import cast, sizes_json, split, write_weights
from pi0_ros.model.checkpoints.shards import open_shards, open_weights
from pi0_ros.model.checkpoints.sources import ShardSource, TrunkSource
from pi0_ros.model.checkpoints.tensorfile import TensorFile, dtype_named, write
from pi0_ros.model.config import NUMERICS, preset
from pi0_ros.model.errors import CheckpointError

TRUNK = "paligemma.model.language_model.norm.weight"


def shards(folder, **tensors):
    """A file with these names (`__` for a dot) and numbers, opened."""
    save_file(
        {name.replace("__", "."): np.float32(value) for name, value in tensors.items()}, folder / "model.safetensors"
    )
    return open_weights(folder)


def source(maker, **values):
    """A source of that class with these attributes and no files."""
    made = maker.__new__(maker)
    vars(made).update({"kind": "pi0", "untied": False, "names": SimpleNamespace(wrapped=False, legacy=False)} | values)
    return made


def names(wrapped=False, legacy=False):
    return SimpleNamespace(wrapped=wrapped, legacy=legacy)


@pytest.mark.parametrize(
    ("settings", "about", "origin"),
    [
        ({"type": "pi05"}, {}, "lerobot"), ({"type": "pi0_fast", "action_horizon": 9}, {}, "lerobot"),
        ({"type": "act"}, {}, "openpi"), ({"type": 3}, {}, "openpi"), ({"action_horizon": 9}, {"names": names(True)}, "openpi"),
        ({"action_horizon": 9, "type": "act"}, {"names": names(True)}, "lerobot"), ({}, {"names": names(True)}, "lerobot"),
        ({}, {"names": names(False, True)}, "lerobot"), ({}, {"untied": True}, "lerobot"), ({}, {}, "openpi"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [ShardSource, PeftSource])
def test_the_project_is_told_by_its_config_and_else_by_its_names(kind, settings, about, origin):
    assert _detect_origin(source(kind, **about), settings) == origin


def test_what_is_worth_a_line_in_the_log_is_noted():
    note = lambda made, origin="openpi", version=None: " ".join(_notes(made, origin, version))
    assert note(source(ShardSource)) == note(source(ShardSource), "lerobot") == ""
    assert "embed_tokens is used" in note(source(ShardSource, untied=True))
    assert "each is used" in note(source(ShardSource, untied=True, kind="pi0_fast"))
    assert "0.4" in note(source(ShardSource, kind="pi05"), "lerobot") and note(source(ShardSource, kind="pi05")) == ""
    assert note(source(ShardSource, kind="pi05"), "lerobot", "0.4.1") == ""
    assert note(source(PeftSource, pairs={1: 2, 3: 4}, base_path="base")) == "LoRA pairs merged into 2 weights of base"
    assert "merged into 5 weights" in note(source(OrbaxSource, lora=5)) and note(source(OrbaxSource, lora=0)) == ""


def test_given_sizes_go_over_those_beside_the_weights_one_level_deep():
    low = {"gemma": {"heads": 4, "kv_heads": 1}, "horizon": 9, "vision": {"heads": 2}}
    high = {"gemma": {"heads": 8}, "horizon": 7, "vision": 3}
    assert _merge(low, high) == {"gemma": {"heads": 8, "kv_heads": 1}, "horizon": 7, "vision": 3}
    assert _merge({"vision": 3}, {"vision": {"heads": 2}}) == {"vision": {"heads": 2}} and low["horizon"] == 9


def test_periods_of_a_config_replace_the_projects_own():
    found = _numerics("lerobot", "pi0", {"min_period": 0.01, "width": 4})
    assert (found.min_period, found.max_period, found.embedding_scale) == (0.01, 4.0, "activation")
    assert (
        _numerics("openpi", "pi0", {"max_period": 9.0}).max_period == 9.0
        and _numerics("openpi", "pi0", {}) == NUMERICS["openpi"]
    )
    with pytest.raises(CheckpointError, match="config.json: numerics: min_period"):
        _numerics("openpi", "pi0", {"min_period": 5.0})


def test_the_folder_of_the_json_files_is_above_jaxs_params(tmp_path):
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"")
    assert _folder(file, None) == _folder(tmp_path, None) == tmp_path
    assert (
        _folder(tmp_path, tmp_path / "params") == tmp_path and _folder(tmp_path, tmp_path / "step") == tmp_path / "step"
    )


def test_an_error_is_given_the_path_it_does_not_name():
    for text, told in (("is damaged", "here: is damaged"), ("here/a is damaged", "here/a is damaged")):
        with pytest.raises(CheckpointError) as error, naming("here"):
            raise CheckpointError(text)
        assert str(error.value) == told


def test_weights_are_kept_as_they_are_in_32_or_16_bits_and_others_as_32():
    kept = {d: stored_type(d, "w") for d in (torch.bfloat16, torch.float32, torch.float16, torch.float64)}
    assert kept == {
        torch.bfloat16: torch.bfloat16,
        torch.float32: torch.float32,
        torch.float16: torch.float32,
        torch.float64: torch.float32,
    }
    with pytest.raises(CheckpointError, match=r"'w' is stored as torch.int32; weights must be floating point"):
        stored_type(torch.int32, "w")
    assert dtype_named("bfloat16") == torch.bfloat16 and dtype_named("float32") == torch.float32
    with pytest.raises(CheckpointError, match="dtype 'half' is not known; choose one of bfloat16, float32"):
        dtype_named("half")


@pytest.mark.parametrize(
    ("values", "sound"),
    [([], True), ([1.0, -2.0], True), ([1.0, np.nan], False), ([np.inf, 0.0], False), ([0.0, -np.inf], False)],
)
def test_one_number_that_is_none_is_damage(values, sound):
    assert finite(torch.tensor(values)) is sound


def test_a_network_is_filled_in_the_files_order_in_the_type_asked_for_and_says_how_far(tmp_path):
    made = shards(
        tmp_path,
        **{
            TRUNK.replace(".", "__"): [1.0, 2.0],
            "state_proj__bias": [3.0],
            "gemma_expert__model__norm__weight": [4.0, 5.0, 6.0],
        },
    )
    own, seen = ShardSource(made), []
    net = torch.nn.ModuleDict(
        {"a": torch.nn.Linear(1, 1, bias=False, device="meta"), "b": torch.nn.Linear(1, 3, device="meta")}
    )
    net["b"].register_buffer("mean", torch.zeros(2))
    net["a"].weight = torch.nn.Parameter(torch.empty(1, device="meta"))
    plan = {TRUNK: "b.mean", "state_proj.bias": "a.weight", "gemma_expert.model.norm.weight": "b.bias"}
    fill(net, own, plan, torch.bfloat16, torch.device("cpu"), lambda done, of: seen.append((done, of)))
    assert (
        net["a"].weight.tolist() == [3.0]
        and net["b"].bias.tolist() == [4.0, 5.0, 6.0]
        and net["b"].mean.tolist() == [1.0, 2.0]
    )
    assert net["b"].bias.dtype == torch.bfloat16 and isinstance(net["b"].bias, torch.nn.Parameter)
    assert (
        seen[-1] == (6, 7) and len(seen) == 3 and seen == sorted(seen)
    )  # of the network's numbers; one stays as it is
    assert own.nbytes == 6 * 4 and own.key("state_proj.bias") == "state_proj.bias"


def test_of_two_heads_the_embedding_wins_unless_the_network_acts_in_tokens(tmp_path):
    both = {EMBEDDING.replace(".", "__"): [[1.0]], LM_HEAD.replace(".", "__"): [[2.0]], TRUNK.replace(".", "__"): [3.0]}
    fast = ShardSource(shards(tmp_path, **both))
    assert fast.untied and set(fast.shapes) == {EMBEDDING, LM_HEAD, TRUNK}
    expert = {"gemma_expert__model__norm__weight": [4.0]}
    acts = ShardSource(shards(tmp_path, **both, **expert))
    assert acts.untied and LM_HEAD not in acts.shapes and acts.key(EMBEDDING) == EMBEDDING
    del both[EMBEDDING.replace(".", "__")]
    alone = ShardSource(shards(tmp_path, **both, **expert))
    assert not alone.untied and alone.key(EMBEDDING) == LM_HEAD and alone.shapes[EMBEDDING] == (1, 1)


@pytest.mark.parametrize(
    ("settings", "rows"),
    [({}, 5), ({"image_token_index": 3}, 3), ({"image_token_id": 4}, 4), ({"image_token_index": 3, "image_token_id": 4}, 3), ({"image_token_index": 9}, 5), ({"image_token_index": 0}, 5), ({"image_token_index": "3"}, 5)],
)  # fmt: skip
def test_a_paligemmas_embedding_ends_where_its_text_does(tmp_path, settings, rows):
    table = np.arange(10.0).reshape(5, 2)
    base = ShardSource(
        shards(
            tmp_path,
            **{
                EMBEDDING.replace(".", "__"): table,
                LM_HEAD.replace(".", "__"): table,
                TRUNK.replace(".", "__"): [7.0, 8.0],
            },
        )
    )
    trunk = TrunkSource(base, settings)
    assert trunk.shapes == {EMBEDDING: (rows, 2), TRUNK: (2,)} and trunk.nbytes == base.nbytes
    out = torch.empty(rows, 2)
    assert trunk.copy_into(EMBEDDING, out, lambda piece: True) and out.tolist() == table[:rows].tolist()
    assert trunk.copy_into(EMBEDDING, out, lambda piece: False) is False
    norm = torch.empty(2)
    assert trunk.copy_into(TRUNK, norm, lambda piece: True) and norm.tolist() == [7.0, 8.0]


def test_head_counts_of_a_paligemma_are_those_of_its_config(tmp_path):
    base = ShardSource(shards(tmp_path, **{TRUNK.replace(".", "__"): [7.0]}))
    config = {
        "text_config": {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 6},
        "vision_config": {"num_attention_heads": 3},
    }
    assert TrunkSource(base, config).sizes == {
        "gemma": {"heads": 8, "kv_heads": 2, "head_dim": 6},
        "vision": {"heads": 3},
    }
    assert TrunkSource(base, {"text_config": {"head_dim": 6}, "vision_config": 3}).sizes == {
        "gemma": {"head_dim": 6},
        "vision": {},
    }


# ---------------------------------------------------------------- files


def test_a_tensor_is_copied_in_pieces_and_the_first_bad_one_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorfile, "PIECE", 16)
    values = np.arange(11, dtype=np.float32).reshape(11, 1)
    save_file({"a": np.float32([9.0]), "w": values}, tmp_path / "a.safetensors")
    file = TensorFile(tmp_path / "a.safetensors")
    sizes, out = [], torch.zeros(11, 1, dtype=torch.float64)
    assert file.copy_into("w", out, lambda piece: sizes.append(piece.numel()) or True)
    assert sizes == [4, 4, 3] and out.flatten().tolist() == list(range(11))
    seen = []
    assert not file.copy_into("w", out, lambda piece: seen.append(1) or float(piece[0]) < 4.0) and len(seen) == 2
    assert torch.equal(file.read("w"), torch.tensor(values)) and file.read("a").dtype == torch.float32


def test_what_is_written_is_what_another_reader_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorfile, "PIECE", 24)
    tensors = {
        "small": torch.tensor([1, 0, 1], dtype=torch.bool), "b": torch.arange(15.0).reshape(5, 3), "empty": torch.zeros(0, 4),
        "a": torch.tensor(3.5, dtype=torch.float64), "wide": torch.tensor([[2.0]]).expand(4, 9), "i": torch.tensor([[5, -6]]).T,
        "h": torch.tensor([1.5, -2.0], dtype=torch.float16),
    }  # fmt: skip
    write(tmp_path / "x.safetensors", tensors, {"by": "hand"})
    found = load_file(tmp_path / "x.safetensors")
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value.numpy())
        assert found[name].dtype == value.numpy().dtype and found[name].shape == tuple(value.shape)
    infos, metadata = tensorfile.read_header(tmp_path / "x.safetensors")
    assert metadata == {"by": "hand"}
    for info in infos.values():  # each begins where its numbers are aligned
        assert info.begin % info.dtype.itemsize == 0
    first = min(infos.values(), key=lambda info: info.begin)
    assert first.begin % 8 == 0 and [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize(
    ("limit", "groups"),
    [
        (1, [["a"], ["b"], ["c"]]),
        (12, [["a", "b"], ["c"]]),
        (11, [["a"], ["b"], ["c"]]),
        (30, [["a", "b"], ["c"]]),
        (32, [["a", "b", "c"]]),
    ],
)
def test_weights_are_cut_into_files_of_at_most_so_many_bytes(limit, groups):
    tensors = {"a": torch.zeros(1), "b": torch.zeros(4, dtype=torch.bfloat16), "c": torch.zeros(5)}
    assert split(tensors, limit) == groups


def test_a_group_that_follows_another_is_filled_to_the_limit_too():
    tensors = {name: torch.zeros(size) for name, size in (("a", 2), ("b", 1), ("c", 1), ("d", 1))}
    assert split(tensors, 8) == [["a"], ["b", "c"], ["d"]]


def test_only_whole_pages_that_have_been_copied_are_given_back(tmp_path):
    save_file({"a": np.float32([9.0])}, tmp_path / "a.safetensors")
    file, page, calls = TensorFile(tmp_path / "a.safetensors"), mmap.PAGESIZE, []
    file._map = SimpleNamespace(madvise=lambda *given: calls.append(given))
    file._release(page + 7, 4 * page + 5)
    file._release(5, page - 1)
    file._release(3 * page, 4 * page)
    assert calls == [(mmap.MADV_DONTNEED, page, 3 * page), (mmap.MADV_DONTNEED, 3 * page, page)]


def test_shards_are_numbered_and_their_index_says_where_each_weight_is(tmp_path):
    tensors = {"a": torch.tensor([1.0]), "b": torch.tensor([2.0, 3.0]), "c": torch.zeros(5)}
    (tmp_path / "model-00009-of-00009.safetensors").write_bytes(b"old")
    write_weights(tmp_path, tensors, 12)
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [*files, "model.safetensors.index.json"]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index == {"metadata": {"total_size": 32}, "weight_map": {"a": files[0], "b": files[0], "c": files[1]}}
    opened = open_shards(tmp_path)
    assert opened.nbytes == 32 and opened.file("c").path.name == files[1] and len(opened.files) == 2
    write_weights(tmp_path, tensors, 0)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_one_file_is_meant_by_its_name_or_because_it_is_alone(tmp_path):
    def holds(name, value):
        save_file({"a": np.float32([value])}, tmp_path / name)

    holds("other.safetensors", 1.0)
    for beside in ("io.safetensors", "policy_preprocessor.safetensors", ".hidden.safetensors"):
        holds(beside, 5.0)
    assert open_shards(tmp_path).file("a").path.name == "other.safetensors"
    holds("second.safetensors", 2.0)
    with pytest.raises(CheckpointError, match="holds 2 safetensors files and no model.safetensors.index.json"):
        open_shards(tmp_path)
    holds("model.safetensors", 3.0)
    assert open_shards(tmp_path).file("a").path.name == "model.safetensors"
    assert open_weights(tmp_path / "second.safetensors").file("a").read("a").tolist() == [2.0]


def test_sizes_and_types_of_what_is_saved():
    config = preset("tiny")
    found = sizes_json(config)
    assert found["vision"] == {
        "hidden": 128,
        "layers": 4,
        "heads": 4,
        "intermediate": 512,
        "image_size": 96,
        "patch": 16,
    }
    assert (
        found["gemma"]
        == found["expert"]
        == {"width": 128, "depth": 6, "heads": 4, "kv_heads": 2, "head_dim": 32, "mlp": 512}
    )
    rest = ("model", "vocab", "action_dim", "horizon", "prompt_length", "cameras")
    assert [found[key] for key in rest] == ["pi05", 1536, 18, 16, 64, ["base", "left_wrist", "right_wrist"]]
    assert "expert" not in sizes_json(preset("pi0_fast"))
    layer = torch.nn.Linear(2, 1)
    assert {t.dtype for t in cast(layer, torch.bfloat16).values()} == {torch.bfloat16} and cast(layer, None).keys() == {
        "weight",
        "bias",
    }
