"""Scales of `pi0 quantise` beside the weights that they were measured with."""

import hashlib
import json

import pytest

from pi0_ros.policy import PolicyError
from pi0_ros.policy.fp8_scales import BLOCK, FILE, STRIDE, Fp8Scales, load_scales, save_scales, weights_mark

PAIRS = ((0.1, 2.5), (0.02, 31.0))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def save(folder, **changes):
    told = {"layers": PAIRS, "weights": weights_mark(folder), "dataset": "shown", "observations": 12}
    return save_scales(folder, Fp8Scales(**(told | changes)))


def test_scales_come_back_as_they_were_measured(folder):
    save(folder)
    found = load_scales(folder, 2)
    assert found.layers == PAIRS and found.dataset == "shown" and found.observations == 12


def test_a_checkpoint_without_scales_has_none(folder):
    assert load_scales(folder, 2) is None


@pytest.mark.parametrize("place", [0, 128_000, 255_999])
def test_weights_that_were_trained_on_refuse_the_old_scales(folder, place):
    save(folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    for at in range(place % 4096, len(weights), 4096):  # training moves every weight a little
        weights[at] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(weights))
    with pytest.raises(PolicyError, match=r"fp8_scales.json: was measured with other weights .* `pi0 quantise`"):
        load_scales(folder, 2)


def test_a_block_of_every_16_mb_counts_and_so_does_the_end(tmp_path):
    file = tmp_path / "model.safetensors"
    with file.open("wb") as stream:
        stream.truncate(2 * STRIDE + 5 * BLOCK)
    marks = {weights_mark(tmp_path)}
    for place in (BLOCK - 1, STRIDE + 7, 2 * STRIDE, 2 * STRIDE + 5 * BLOCK - 1):
        with file.open("r+b") as stream:
            stream.seek(place)
            stream.write(b"\1")
        marks.add(weights_mark(tmp_path))
    assert len(marks) == 5


def test_what_is_no_weight_does_not_count(folder):
    save(folder)
    (folder / "README.md").write_text("mine")
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "onnx").mkdir()
    (folder / "onnx" / "vision.onnx.data").write_bytes(b"graph")
    assert load_scales(folder, 2) is not None


def test_a_weight_file_more_is_another_checkpoint(folder):
    save(folder)
    (folder / "model-00002.safetensors").write_bytes(b"more")
    with pytest.raises(PolicyError, match="other weights"):
        load_scales(folder, 2)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": 2}, "version 1"),
        ({"layers": [[0.1, 0.0], [1, 1]]}, "pairs of positive numbers"),
        ({"layers": [[0.1, True], [1, 1]]}, "pairs of positive numbers"),
        ({"layers": [[0.1], [1, 1]]}, "pairs of positive numbers"),
        ({"layers": [[0.1, 0.2]]}, "scales of 1 layers and the network has 2"),
        ({"weights": None}, "key weights"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(folder, change, why):
    file = save(folder)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(PolicyError, match=why) as refused:
        load_scales(folder, 2)
    assert FILE in str(refused.value)


def test_scales_that_cannot_be_written_are_an_error_of_the_policy(tmp_path):
    with pytest.raises(PolicyError, match=r"gone/fp8_scales.json: cannot be written: No such file or directory"):
        save_scales(tmp_path / "gone", Fp8Scales(PAIRS, "mark", "shown", 12))


def test_an_empty_weight_file_counts_by_its_name(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"")
    first = weights_mark(tmp_path)
    (tmp_path / "a.safetensors").rename(tmp_path / "b.safetensors")
    assert weights_mark(tmp_path) != first
    (tmp_path / "b.safetensors").write_bytes(b"\0")
    assert len({first, weights_mark(tmp_path)}) == 2


@pytest.mark.parametrize("place", ["onnx", "assets", "fast_tokenizer", "optimizer"])
def test_what_lies_in_other_folders_is_no_weight_but_a_file_of_that_name_is(folder, place):
    mark = weights_mark(folder)
    (folder / place / "deep").mkdir(parents=True)
    (folder / place / "deep" / "more.safetensors").write_bytes(b"more")
    assert weights_mark(folder) == mark
    (folder / "params").mkdir()
    (folder / "params" / place).write_bytes(b"more")
    assert weights_mark(folder) != mark


def test_a_folder_without_weights_has_no_mark(tmp_path):
    with pytest.raises(PolicyError, match="no weight file"):
        weights_mark(tmp_path)


def test_a_block_of_every_sixteen_megabytes_and_the_end_are_looked_at(tmp_path):
    """A file of 40 MB with holes: what lies in a block changes the mark, what lies between two does not."""
    whole = 40 << 20
    file = tmp_path / "model.safetensors"
    with file.open("wb") as stream:
        stream.truncate(whole)
    before, seen = weights_mark(tmp_path), {}
    for at in (
        0,
        (64 << 10) - 1,
        64 << 10,
        (16 << 20) + 5,
        20 << 20,
        (32 << 20) + 5,
        whole - 1,
        whole - (64 << 10) - 1,
    ):
        with file.open("r+b") as stream:
            stream.seek(at)
            stream.write(b"\x01")
        seen[at] = weights_mark(tmp_path) != before
        with file.open("r+b") as stream:
            stream.seek(at)
            stream.write(b"\x00")
    assert list(seen.values()) == [True, True, False, True, False, True, True, False]


def test_the_mark_of_a_small_file_is_of_its_name_its_size_and_all_of_it_as_a_block_and_as_the_end(tmp_path):
    """Scales measured long ago fit as long as the mark is made in the same way."""
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    assert weights_mark(tmp_path) == hashlib.sha256(b"model.safetensors\0" + b"3\0" + b"abc" + b"abc").hexdigest()
