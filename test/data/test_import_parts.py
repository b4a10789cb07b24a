"""Parts of importers: protobuf by hand, which keys of a record are what, features of a frame."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from pi0_ros.data.errors import DataError
from pi0_ros.data.imports import aloha, rlds
from pi0_ros.data.imports.episodes import _even, features_of
from pi0_ros.data.imports.tfrecord import parse_example


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def entry(name: str, feature: bytes) -> bytes:
    return field(1, field(1, name.encode()) + field(2, feature))


SKIPPED = (
    varint(9 << 3) + varint(300) + varint(10 << 3 | 1) + bytes(8) + varint(11 << 3 | 5) + bytes(4) + field(12, b"xyz")
)


def test_an_example_has_its_lists_by_name_and_what_is_not_known_is_passed_over():
    """Packed and one by one; numbers below zero take ten bytes."""
    floats = np.array([0.5, -2.0], "<f4")
    data = b"".join(
        [
            entry("bytes", field(1, field(1, b"ab") + SKIPPED + field(1, b""))),
            entry("floats", field(2, field(1, floats.tobytes()))),
            entry("single", field(2, b"".join(varint(1 << 3 | 5) + struct.pack("<f", f) for f in floats))),
            entry("numbers", field(3, field(1, varint(3) + varint(-7) + varint(2**40)))),
            entry("ones", field(3, varint(1 << 3) + varint(5) + varint(1 << 3) + varint(-1))),
            entry("empty", b""),
            SKIPPED,
        ]
    )
    found = parse_example(memoryview(SKIPPED + field(1, data)))
    assert found["bytes"] == [b"ab", b""] and found["empty"] == []
    assert found["floats"].tolist() == found["single"].tolist() == [0.5, -2.0]
    assert found["numbers"].tolist() == [3, -7, 2**40] and found["ones"].tolist() == [5, -1]
    assert found["numbers"].dtype == np.int64 and found["floats"].dtype == np.float32 and len(found) == 6
    assert parse_example(memoryview(field(2, data))) == {}


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (varint(1 << 3 | 3), "wire type 3"),
        (varint(1 << 3 | 2) + varint(5) + bytes(4), "cut off"),
        (varint(1 << 3 | 1) + bytes(7), "cut off"),
        (varint(1 << 3 | 5) + bytes(3), "cut off"),
    ],
)
def test_a_message_that_is_cut_off_or_of_another_kind_is_refused(data, match):
    with pytest.raises(ValueError, match=match):
        parse_example(memoryview(data))


def test_how_many_steps_a_record_has_is_told_by_its_flags_or_by_its_longest_list():
    lists = {"a": [b""] * 4, "b": [b""] * 6, "numbers": np.zeros(70, np.float32)}
    assert rlds._length("x", {**lists, "is_first": np.zeros(5, np.int64)}) == 5
    assert rlds._length("x", {**lists, "is_first": np.zeros(0, np.int64), "reward": np.zeros(7, np.float32)}) == 7
    assert rlds._length("x", lists) == 6
    with pytest.raises(DataError, match="x: holds no steps"):
        rlds._length("x", {"numbers": np.zeros(7, np.float32)})


def test_vectors_are_joined_step_by_step_in_the_order_of_their_keys():
    steps = {
        "arm": np.arange(6.0),
        "grip": np.array([10, 20, 30]),
        "words": [b"a"] * 3,
        "odd": np.zeros(7),
        "none": np.zeros(0),
    }
    assert rlds._vector("x", steps, ("grip", "arm"), 3).tolist() == [[10, 0, 1], [20, 2, 3], [30, 4, 5]]
    assert rlds._vector("x", steps, ("arm",), 3).dtype == np.float32
    for key in ("words", "odd", "none", "lost"):
        with pytest.raises(
            DataError, match=f"x: '{key}' is not 3 vectors; numbers are under arm, grip, odd, none: name"
        ):
            rlds._vector("x", steps, ("arm", key), 3)


def test_cameras_are_all_pictures_of_every_step_or_those_that_are_named():
    jpeg, png = b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"
    steps = {
        "observation/eye": [jpeg] * 3, "observation/hand": [png] * 3, "words": [b"go"] * 3, "few": [jpeg] * 2,
        "numbers": np.zeros(3),
    }  # fmt: skip
    assert list(rlds._cameras(steps, rlds.Keys(), 3)) == ["eye", "hand"]
    named = rlds.Keys(cameras={"front": "observation/eye", "lost": "x", "short": "few", "wrong": "numbers"})
    assert rlds._cameras(steps, named, 3) == {"front": [jpeg] * 3}


def test_the_instruction_is_the_first_key_that_has_words_for_the_step_or_the_one_that_was_given():
    keys = rlds.Keys(task=("a", "b"))
    steps = {"a": [b"", b" wave ", b""], "b": [b"nod"]}
    assert [rlds._words(steps, keys, t, "given") for t in range(3)] == ["nod", "wave", "nod"]
    assert rlds._words({"a": [b" "], "b": []}, keys, 2, "given") == "given"
    assert rlds._words({}, keys, 0, None) == "" and rlds._words({"a": np.zeros(2)}, keys, 0, None) == ""
    assert rlds._text(b"gr\xc3\xbcn \xff") == "grün \ufffd"


def test_presets_have_the_rates_and_as_many_names_as_their_papers_vectors():
    """Bridge: a pose of six and a gripper at 5 Hz. DROID: seven joints and a gripper at 15 Hz."""
    bridge, droid = rlds.PRESETS["bridge"], rlds.PRESETS["droid"]
    assert (bridge.fps, droid.fps, rlds.PRESETS[""].fps) == (5, 15, None)
    assert [len(bridge.names[k]) for k in ("observation.state", "action")] == [7, 7]
    assert droid.names["observation.state"] == [*(f"joint{k}" for k in (1, 2, 3, 4, 5, 6, 7)), "gripper"]
    assert [len(droid.names[k]) for k in ("observation.state", "action")] == [8, 8]
    assert list(bridge.cameras) == ["image_0", "image_1", "image_2", "image_3"] and len(droid.cameras) == 3


def test_files_are_found_by_folder_in_the_order_of_their_numbers_or_names(tmp_path):
    for name in ("b/episode_10.hdf5", "b/episode_9.hdf5", "a/episode_11.hdf5", "b/last.hdf5", "b/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    own = tmp_path / "elsewhere.h5"
    found = aloha.files_in([own, tmp_path])
    assert [str(f.relative_to(tmp_path)) for f in found] == [
        *("elsewhere.h5", "a/episode_11.hdf5", "b/last.hdf5", "b/episode_9.hdf5", "b/episode_10.hdf5"),
    ]
    with pytest.raises(DataError, match=f"{tmp_path}/none: no .hdf5 file is there"):
        aloha.files_in([_folder(tmp_path / "none")])
    for name in ("c-00001.tfrecord", "deep/a.tfrecord-00000-of-00002"):
        (tmp_path / "r" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "r" / name).touch()
    assert [f.name for f in rlds.files_in([tmp_path / "r"])] == ["c-00001.tfrecord", "a.tfrecord-00000-of-00002"]
    with pytest.raises(DataError, match="no .tfrecord file is there"):
        rlds.files_in([tmp_path / "none"])


def _folder(place: Path) -> Path:
    place.mkdir()
    return place


def test_features_are_those_that_a_frame_shows():
    frame = {
        "observation.state": np.array([1.0, 2.0]), "action": np.array([1.0, 2.0, 3.0], np.float64), "grip": 0.5,
        "stamp": np.array([1e9]), "flags": np.array([True, False]), "count": np.array([3], np.int32), "word": "a",
        "eye": np.zeros((4, 6, 3), np.uint8), "levels": np.zeros(2, np.uint8), "task": "go",
    }  # fmt: skip
    found = features_of(frame, {"action": ["x", "y", "z"]})
    listed = {k: (f["dtype"], tuple(f["shape"]), f["names"]) for k, f in found.items()}
    assert listed == {
        "observation.state": ("float32", (2,), ["state_0", "state_1"]), "action": ("float32", (3,), ["x", "y", "z"]),
        "grip": ("float32", (1,), None), "stamp": ("float64", (1,), None), "flags": ("bool", (2,), ["flags_0", "flags_1"]),
        "count": ("int32", (1,), None), "word": ("string", (1,), None),
        "eye": ("video", (4, 6, 3), ["height", "width", "channels"]), "levels": ("uint8", (2,), ["levels_0", "levels_1"]),
    }  # fmt: skip
    with pytest.raises(DataError, match="action has 3 numbers, and 2 names: x, y"):
        features_of(frame, {"action": ["x", "y"]})


def test_an_odd_last_row_or_column_of_a_picture_is_left_out():
    picture = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    turned = picture.transpose(1, 0, 2)
    (found,) = _even([{"a": picture, "b": turned, "c": np.zeros((5, 5)), "task": "go"}])
    assert np.array_equal(found["a"], picture[:4]) and np.array_equal(found["b"], turned[:, :4])
    assert found["c"].shape == (5, 5) and found["task"] == "go"
