"""Damaged and hostile checkpoints: one clear error each, no code run, nothing half loaded."""

import json
import pickle
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from pi0_ros.model import CheckpointError, load, save
from pi0_ros.model.checkpoints import orbax
from pi0_ros.model.checkpoints.tensorfile import TensorFile, read_all, read_header, write
from pi0_ros.model.safetensors_header import MAX_HEADER


def refused(path, match: str) -> str:
    """The one-line message of the refusal."""
    with pytest.raises(CheckpointError, match=match) as error:
        load(path)
    message = str(error.value)
    assert str(path) in message and "\n" not in message and len(message) < 1500
    return message


def raw(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.fixture
def folder(variant) -> Path:
    return variant("openpi_pi0", dict)


class Bomb:
    """Writes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_named_safetensors_is_refused_unopened(folder, tmp_path, protocol):
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb(tmp_path / "ran"), protocol))
    refused(folder, "pickle")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_named_safetensors_is_refused(folder, tmp_path, zipped):
    torch.save({"x": Bomb(tmp_path / "ran")}, folder / "model.safetensors", _use_new_zipfile_serialization=zipped)
    refused(folder, "zip archive|pickle")
    assert not (tmp_path / "ran").exists()


def test_an_ancient_pickle_is_no_safetensors_file(folder, tmp_path):
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb(tmp_path / "ran"), 0) + bytes(64))
    refused(folder, "no safetensors file|header")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "policy.pkl", "weights.ckpt", "model.pth"])
def test_a_folder_of_pickles_says_what_to_do(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    assert "convert" in refused(tmp_path, "pickled weights are refused")
    refused(tmp_path / name, "pickle")
    assert not (tmp_path / "ran").exists()


def test_an_archive_with_a_path_outside_is_not_unpacked(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    with zipfile.ZipFile(inside / "model.safetensors", "w") as archive:
        archive.writestr("../outside.txt", "x")
    refused(inside, "zip archive")
    (tmp_path / "file").write_text("x")
    with tarfile.open(inside / "model.safetensors", "w") as archive:
        archive.add(tmp_path / "file", "../outside.txt")
    refused(inside, "tar archive")
    assert not (tmp_path / "outside.txt").exists()


@pytest.mark.parametrize(
    "name", ["../evil.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "a\\b", "é" * 140, 3, None, ["a"]]
)
def test_an_index_names_only_files_beside_it(folder, name):
    shutil.move(folder / "model.safetensors", folder.parent / "evil.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"state_proj.bias": name}}))
    refused(folder, "plain file names")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ("{}", "weight_map"),
        ('{"weight_map": []}', "weight_map"),
        ('{"weight_map": {"x": "gone.safetensors"}}', "missing"),
        ('{"weight_map": {"x": "part.safetensors"}}', "not in the shard"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_broken_index_is_one_error(folder, content, match):
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(content)
    refused(folder, match)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, 5000, -1, -4, -1000])
def test_a_truncated_file_is_refused(folder, keep):
    file = folder / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:keep])
    refused(folder, "truncated")


def test_trailing_bytes_are_refused(folder):
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"xxxx")
    refused(folder, "follow the last tensor")


def test_a_header_of_a_gigabyte_is_not_read(folder):
    file = folder / "model.safetensors"
    with file.open("wb") as handle:
        handle.write(struct.pack("<Q", 1 << 30) + b"{")
        handle.truncate((1 << 30) + 8)  # sparse
    refused(folder, "announces a header of 1073741824 bytes")


@pytest.mark.parametrize("length", [MAX_HEADER + 1, 1 << 62, (1 << 64) - 1])
def test_an_announced_header_longer_than_allowed_is_refused(folder, length):
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", length) + bytes(100))
    refused(folder, "announces a header")


GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "header",
    [
        b"not json at all",
        b"[" * 50_000,
        b'{"a": 1, "a": 2}',
        b"\xff\xfe",
        [],
        {"a": None},
        {"a": []},
        {"a": {}},
        {"a": GOOD | {"dtype": "F8_UNKNOWN"}},
        {"a": GOOD | {"dtype": ["F32"]}},
        {"a": GOOD | {"shape": [-2]}},
        {"a": GOOD | {"shape": [2.0]}},
        {"a": GOOD | {"shape": [True, 2]}},
        {"a": GOOD | {"shape": [3]}},
        {"a": GOOD | {"shape": [1 << 40, 1 << 40]}},
        {"a": GOOD | {"shape": "2"}},
        {"a": GOOD | {"data_offsets": [8, 0]}},
        {"a": GOOD | {"data_offsets": [0]}},
        {"a": GOOD | {"data_offsets": [-8, 0]}},
        {"a": GOOD | {"data_offsets": [1 << 60, (1 << 60) + 8]}},
        {"a": GOOD, "b": GOOD},
        {"a": GOOD | {"data_offsets": [4, 12]}},
    ],
    ids=repr,
)
def test_a_malformed_header_is_refused(tmp_path, header):
    file = raw(tmp_path / "model.safetensors", header, bytes(8))
    refused(tmp_path, str(file))


def test_every_flipped_header_byte_is_harmless(folder):
    """Any single damaged byte either is refused by the one error or changes a name that nobody reads."""
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    outcomes = {"refused": 0, "read": 0}
    for at in range(0, 8 + length, 97):
        damaged = bytearray(data)
        damaged[at] ^= 0x15
        file.write_bytes(damaged)
        try:
            read_header(file)
            outcomes["read"] += 1
        except CheckpointError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 0.3 * sum(outcomes.values())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_single_damaged_weight_is_found_and_named(variant, value, dtype):
    def change(tensors):
        tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        tensors["state_proj.weight"][3, 2] = value
        return tensors

    refused(variant("openpi_pi0", change), "'state_proj.weight' holds NaN or infinite")


def test_large_finite_weights_are_not_taken_for_damage(variant):
    def change(tensors):
        tensors["state_proj.weight"].fill_(3e38)
        return tensors

    assert load(variant("openpi_pi0", change)).model.state_proj.weight.max() == 3e38


def test_damage_behind_the_first_piece_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("pi0_ros.model.checkpoints.tensorfile.PIECE", 4096)
    tensor = torch.arange(5000, dtype=torch.float32)
    write(tmp_path / "a.safetensors", {"a": tensor})
    file = TensorFile(tmp_path / "a.safetensors")
    assert len(list(file.pieces("a"))) == 5 and torch.equal(file.read("a"), tensor)
    tensor[4999] = float("nan")
    write(tmp_path / "b.safetensors", {"a": tensor})
    seen = TensorFile(tmp_path / "b.safetensors")
    assert not seen.copy_into("a", torch.empty(5000), lambda piece: bool(piece.isfinite().all()))


def test_integer_weights_are_refused(variant):
    def change(tensors):
        tensors["state_proj.bias"] = tensors["state_proj.bias"].to(torch.int32)
        return tensors

    refused(variant("openpi_pi0", change), "state_proj.bias.*floating point")


@pytest.mark.parametrize("depth", [9_999, 10**9])
def test_a_layer_number_from_nowhere_does_not_build_a_giant(variant, depth):
    def change(tensors):
        key = "paligemma_with_expert.gemma_expert.model.layers.2.mlp.up_proj.weight"
        tensors[key.replace("layers.2", f"layers.{depth}")] = tensors.pop(key)
        return tensors

    refused(variant("openpi_pi0", change), f"lack.*layers.2.mlp.up_proj|lack layer 3 .*have layer {depth}")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("config.json", "{", "config.json.*not valid JSON"),
        ("config.json", "[" * 100_000, "config.json.*not valid JSON"),
        ("config.json", "3", "JSON object"),
        ("config.json", '{"action_horizon": "six"}', "action_horizon"),
        ("config.json", '{"action_horizon": -6}', "action_horizon"),
        ("config.json", '{"type": "pi0", "max_period": -1}', "max_period"),
        ("config.json", '{"format": "pi0_ros", "version": 99}', "version 99"),
        ("config.json", '{"format": "pi0_ros", "version": 1}', "vision"),
        ("sizes.json", '{"vision": 3}', "vision"),
        ("sizes.json", '{"vision": {"heads": 0}}', "heads"),
        ("sizes.json", '{"vision": {"heads": 5}}', "heads"),
        ("sizes.json", '{"vision": {"heads": 2}, "gemma": {"heads": 7}}', "7"),
    ],
)
def test_a_broken_json_file_is_named(folder, name, content, match):
    for file in ("config.json", "sizes.json"):
        if file != name and '"format"' not in content:
            continue
        (folder / file).write_text(content if file == name else "{}")
    if name == "config.json" and "action_horizon" in content:
        sizes = json.loads((folder / "sizes.json").read_text())
        del sizes["horizon"]
        (folder / "sizes.json").write_text(json.dumps(sizes))
    refused(folder, match)


def test_a_json_file_of_a_gigabyte_is_not_read(folder):
    with (folder / "config.json").open("wb") as file:
        file.truncate(1 << 30)
    refused(folder, "more than 16777216 are not read")


def test_our_own_format_is_checked_like_others(golden, tmp_path):
    save(load(golden / "openpi_pi0").model, tmp_path)
    tensors = read_all(tmp_path / "model.safetensors")
    tensors.pop("state_proj.bias")
    write(tmp_path / "model.safetensors", tensors)
    refused(tmp_path, "1 missing: state_proj.bias")


@pytest.mark.parametrize(
    "content", ["version https://git-lfs.github.com/spec/v1\noid sha256:0", "<!DOCTYPE html><html>"]
)
def test_what_a_failed_download_leaves_is_named(folder, content):
    (folder / "model.safetensors").write_text(content)
    refused(folder, "git-lfs|web page")


def test_nothing_there_is_said_plainly(tmp_path):
    refused(tmp_path / "gone", "no such file")
    refused(tmp_path, "holds no model.safetensors")


def test_the_folder_above_a_checkpoint_points_to_it(golden, tmp_path):
    for case in ("orbax_pi0", "orbax_pi05"):
        shutil.copytree(golden / case, tmp_path / "runs" / case)
    runs = tmp_path / "runs"
    assert refused(runs, "holds no").endswith(f"did you mean {runs / 'orbax_pi05'}?")


# JAX folders


def tree(folder: Path, keys: list[str]) -> None:
    entry = {"key_metadata": [{"key": key, "key_type": 2} for key in keys]}
    (folder / "_METADATA").write_text(json.dumps({"tree_metadata": {"x": entry}}))


@pytest.mark.parametrize("key", ["../../etc", "a/b", "..", "", "a b", "a\\b", 3])
def test_a_jax_tree_holds_plain_names_only(tmp_path, key):
    tree(tmp_path, ["params", key])
    refused(tmp_path, "plain names")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"tree_metadata": []}', '{"tree_metadata": {"a": {}}}'])
def test_a_broken_jax_tree_is_one_error(tmp_path, content):
    (tmp_path / "_METADATA").write_text(content)
    refused(tmp_path, "_METADATA")


def test_a_jax_folder_without_its_data_is_refused(golden, tmp_path):
    shutil.copytree(golden / "orbax_pi0" / "params", tmp_path / "params")
    shutil.rmtree(tmp_path / "params" / "ocdbt.process_0")
    refused(tmp_path, "cannot be opened|cannot be read")


def test_a_truncated_jax_array_is_refused(golden, tmp_path):
    shutil.copytree(golden / "orbax_pi0", tmp_path / "case")
    largest = max((tmp_path / "case" / "params").rglob("d/*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:1000])
    refused(tmp_path / "case", "cannot be opened|cannot be read")


def test_without_tensorstore_the_extra_is_named(golden, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorstore", None)
    assert "pi0_ros[jax]" in refused(golden / "orbax_pi0", "optional extra")
    assert orbax.find_orbax(golden / "orbax_pi0") == golden / "orbax_pi0" / "params"
